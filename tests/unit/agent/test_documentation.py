"""The pages about the worker: complete, and in step with the program."""

import re
from pathlib import Path

import click

from jobq import names
from tests.support.tables import table
from workforce_agent.cli import main
from workforce_agent.cli.run import run
from workforce_agent.lifecycle import Trigger

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "worker"
RUNNING = (PAGES / "running.md").read_text()
MIGRATION = (PAGES / "from-ai4s-jobq.md").read_text()


def words(page):
    """Everything that stands in code quotes."""
    return set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL)))


@table("option", [found for found in run.params if isinstance(found, click.Option)])
def test_every_flag_has_a_row_with_its_variable_and_its_default(option):
    rows = [line for line in RUNNING.splitlines() if line.startswith("|") and f"`{option.opts[-1]}" in line]
    assert rows, option.opts
    if option.envvar:
        assert f"`{option.envvar}`" in rows[0]
    if isinstance(option.default, str | int) and not isinstance(option.default, bool) and not option.count:
        assert f"| {option.default} |" in rows[0]


def test_every_variable_that_a_worker_reads_is_named():
    variables = {value for name, value in vars(names).items() if name.endswith("_VARIABLE")}
    assert {variable for variable in variables if variable not in RUNNING} == set()


def test_every_event_that_is_logged_is_listed_or_a_detail_of_one_that_is():
    listed = words(RUNNING)
    for name in ("task_start", "task_canceled", "worker_running", "preemption_detected", "control_unavailable"):
        assert name in listed
    told = {name for path in (ROOT / "worker_agent").rglob("*.py") for name in logged(path)}
    gone = {name for name in listed if re.fullmatch(r"(task|worker|processor|preemption|queue|control)_[a-z_]+", name)}
    # Of a lifecycle's step the name is chosen from these.
    chosen = set(re.findall(r'"([a-z_]+)"', (ROOT / "worker_agent/workforce_agent/events.py").read_text()))
    chosen |= set(re.findall(r'"([a-z_]+)"', (ROOT / "worker_agent/workforce_agent/preemption.py").read_text()))
    assert gone - told - chosen - {"queue_size", "task_id", "worker_id"} == set()


def logged(path):
    """The names of events in a module."""
    return re.findall(r'\.(?:debug|info|warning|error|exception)\(\s*"([^"]*)"', path.read_text())


def test_the_migration_guide_knows_no_verb_of_ours_that_is_not_there():
    verbs = set(re.findall(r"`workforce-agent ([a-z]+)", MIGRATION))
    assert verbs == set(main.list_commands(click.Context(main)))


def test_links_between_the_pages_lead_somewhere():
    for page in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_trigger_that_people_cause_is_explained():
    for trigger in (Trigger.SIGINT, Trigger.SIGTERM, Trigger.SIGUSR1, Trigger.SIGUSR2):
        assert f"| {trigger.value.upper()}" in RUNNING
