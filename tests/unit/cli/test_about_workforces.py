"""The verbs about one Workforce: what they print, and how they find what they need."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from workforce_operator.cli import drain as drain_verb
from workforce_operator.cli import explain as explain_verb
from workforce_operator.cli import workers as workers_verb
from workforce_operator.cli.main import workforce
from workforce_operator.cli.reach import default_namespace
from workforce_operator.domain.errors import Missing

NOW = datetime.now(UTC)

DECISIONS = {
    "decisions": [
        {
            "firstTime": (NOW - timedelta(seconds=40)).isoformat(),
            "lastTime": NOW.isoformat(),
            "passes": 2,
            "decision": {"generation": 3, "desired": 2, "steps": [{"about": "uksouth", "text": "2 wanted, 1 there"}]},
        }
    ]
}

WORKERS = {
    "time": NOW.isoformat(),
    "unreadable": ["westeurope"],
    "workers": [
        {
            "name": "md-uksouth-0123456789-0",
            "region": "uksouth",
            "state": "Running",
            "phase": "running",
            "createdTime": (NOW - timedelta(hours=3, minutes=30)).isoformat(),
            "slots": 4,
            "busySlots": 3,
            "studio": "https://studio/runs/md-uksouth-0123456789-0",
        },
        {
            "name": "md-uksouth-0123456789-1",
            "region": "uksouth",
            "state": "Queued",
            "phase": "pending",
            "drain": {
                "id": "w1",
                "reason": "ScaleDown",
                "sentTime": (NOW - timedelta(hours=5, minutes=30)).isoformat(),
                "deadlineTime": NOW.isoformat(),
            },
            "studio": "https://studio/runs/md-uksouth-0123456789-1",
        },
    ],
}


def answering(monkeypatch: pytest.MonkeyPatch, module: Any, answer: dict[str, Any]) -> list[str]:
    """Have the operator answer a verb so; gives the paths that were asked for."""
    asked: list[str] = []

    async def ask(target: Any, path: str) -> dict[str, Any]:
        asked.append(path)
        return answer

    monkeypatch.setattr(module, "ask", ask)
    return asked


def in_a_terminal(arguments: list[str], *, columns: int) -> list[str]:
    """The lines that a verb prints in a terminal of so many columns."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    with os.fdopen(slave, "w", encoding="utf-8") as terminal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setattr(sys, "__stdout__", terminal)
        patch.delenv("COLUMNS", raising=False)
        workforce(arguments, standalone_mode=False)
    shown = b""
    with contextlib.suppress(OSError):  # Nobody writes any more. One read may give only a part.
        while chunk := os.read(master, 65_536):
            shown += chunk
    os.close(master)
    return shown.decode().splitlines()


def test_explain_prints_the_last_decision_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, explain_verb, DECISIONS)
    shown = CliRunner().invoke(workforce, ["explain", "md", "-n", "chem"])
    assert asked == ["/debug/decisions/chem/md?last=1"]
    assert shown.output.splitlines()[0].startswith("chem/md: generation 3, decided ")
    assert "  uksouth: 2 wanted, 1 there" in shown.output.splitlines()


def test_explain_is_not_wrapped_where_no_terminal_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"generation": 3, "desired": 2, "steps": [{"about": "uksouth", "text": "word " * 40}]}
    answering(monkeypatch, explain_verb, {"decisions": [DECISIONS["decisions"][0] | {"decision": record}]})
    shown = CliRunner().invoke(workforce, ["explain", "md", "-n", "chem"], env={"COLUMNS": "40"})
    assert f"  uksouth: {'word ' * 40}" in shown.output.splitlines()


def test_explain_wraps_what_is_wider_than_the_terminal_and_breaks_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "md-sims-westeurope-0123456789-21"
    record = {"generation": 3, "desired": 2, "steps": [{"about": "uksouth", "text": f"told to leave: {name}, {name}"}]}
    answering(monkeypatch, explain_verb, {"decisions": [DECISIONS["decisions"][0] | {"decision": record}]})
    lines = in_a_terminal(["explain", "md", "-n", "chem"], columns=40)
    at = lines.index("  uksouth: told to leave:")
    assert lines[at + 1 : at + 3] == [f"      {name},", f"      {name}"]
    assert max(map(len, lines)) <= 40


def test_explain_breaks_no_line_within_the_number_of_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"generation": 3, "desired": 2, "steps": [{"about": "uksouth", "text": "2 wanted, 1 there", "rule": 4}]}
    answering(monkeypatch, explain_verb, {"decisions": [DECISIONS["decisions"][0] | {"decision": record}]})
    lines = in_a_terminal(["explain", "md", "-n", "chem"], columns=36)
    assert lines[lines.index("  uksouth: 2 wanted, 1 there") + 1] == "      [rule 4]"


def test_explain_gives_the_stored_records_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, explain_verb, DECISIONS)
    shown = CliRunner().invoke(workforce, ["explain", "md", "-n", "chem", "-o", "json"])
    assert json.loads(shown.output) == DECISIONS["decisions"]


def test_workers_are_listed_a_line_each_and_unreadable_regions_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, workers_verb, WORKERS)
    shown = CliRunner().invoke(workforce, ["workers", "md", "-n", "chem"])
    header, first, second = shown.stdout.splitlines()
    assert header.split() == ["NAME", "REGION", "STATE", "AGE", "BUSY", "DRAIN"]
    assert first.split() == ["md-uksouth-0123456789-0", "uksouth", "Running", "3h", "3/4"]
    assert second.split()[2:] == ["Queued", "?", "?/?", "ScaleDown", "5h"]
    assert "westeurope" in shown.stderr


def test_workers_who_are_told_to_leave_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"name": "md-sims-westeurope-0123456789-21", "region": "westeurope", "state": "Running"}
    leaving = WORKERS["workers"][1] | named | {"createdTime": WORKERS["workers"][0]["createdTime"]}  # type: ignore[operator,index]
    answering(monkeypatch, workers_verb, WORKERS | {"workers": [leaving]})
    shown = CliRunner().invoke(workforce, ["workers", "md-sims", "-n", "chem"])
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_workers_are_given_as_json_and_with_links_to_the_studio(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, workers_verb, WORKERS)
    shown = CliRunner().invoke(workforce, ["workers", "md", "-n", "chem", "-o", "json"])
    assert json.loads(shown.output) == WORKERS
    wide = CliRunner().invoke(workforce, ["workers", "md", "-n", "chem", "-o", "wide"])
    assert "https://studio/runs/md-uksouth-0123456789-0" in wide.output


def test_busy_slots_of_a_worker_that_has_not_reported_for_long_are_shown_with_their_age(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = [
        WORKERS["workers"][0] | {"reportedTime": (NOW - timedelta(minutes=minutes)).isoformat()}  # type: ignore[operator,index]
        for minutes in (9, 90)
    ]
    answering(monkeypatch, workers_verb, WORKERS | {"workers": told})
    _, young, old = CliRunner().invoke(workforce, ["workers", "md", "-n", "chem"]).stdout.splitlines()
    assert (young.split()[4:], old.split()[4:]) == (["3/4"], ["3/4", "90m"])


def test_no_workers_are_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, workers_verb, {"time": NOW.isoformat(), "workers": []})
    assert CliRunner().invoke(workforce, ["workers", "md"]).output == "no worker jobs\n"


def test_what_cannot_be_had_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(target: Any, path: str) -> dict[str, Any]:
        raise Missing("no Pod of the operator was found")

    monkeypatch.setattr(explain_verb, "ask", ask)
    shown = CliRunner().invoke(workforce, ["explain", "md"])
    assert (shown.exit_code, shown.output) == (1, "Error: no Pod of the operator was found\n")


def test_an_address_that_gives_no_answer_is_named() -> None:
    shown = CliRunner().invoke(workforce, ["explain", "md", "--url", "http://127.0.0.1:1"])
    assert shown.exit_code == 1
    assert "http://127.0.0.1:1 gives no answer" in shown.output


@pytest.mark.parametrize(
    ("content", "namespace"),
    [
        ("current-context: b\ncontexts: [{name: b, context: {namespace: chem}}]", "chem"),
        ("current-context: b\ncontexts: [{name: b, context: {}}]", "default"),
        ("", "default"),
        ("{", "default"),
    ],
)
def test_the_namespace_is_that_of_the_kubeconfig_s_context(tmp_path: Any, content: str, namespace: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    assert default_namespace({"KUBECONFIG": str(path)}) == namespace


class Api:
    """The API server as the verb `drain` sees it."""

    def __init__(self, **spec: Any) -> None:
        annotations = {"workforce.dev/drain": "gone-0,md-uksouth-0123456789-2"}
        self.found = {"metadata": {"resourceVersion": "7", "annotations": annotations}, "spec": spec}
        self.patches: list[Any] = []

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/apis/workforce.dev/v1alpha1/namespaces/chem/workforces/md"
        return self.found

    async def patch(self, path: str, body: Any) -> dict[str, Any]:
        self.patches.append(body)
        return self.found


@pytest.fixture
def draining(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `workforce drain md JOB` against an API server."""

    def run(job: str, api: Api) -> Any:
        third = WORKERS["workers"][0] | {"name": "md-uksouth-0123456789-2"}  # type: ignore[operator]
        answering(monkeypatch, drain_verb, WORKERS | {"workers": [*WORKERS["workers"], third]})

        @asynccontextmanager
        async def opened() -> AsyncIterator[Api]:
            yield api

        monkeypatch.setattr(drain_verb, "open_kubernetes", opened)
        return CliRunner().invoke(workforce, ["drain", "md", job, "-n", "chem"])

    return run


def test_drain_names_the_job_on_the_workforce_and_forgets_those_that_are_gone(draining: Any) -> None:
    api = Api(control={"serviceBus": {}})
    shown = draining("md-uksouth-0123456789-0", api)
    assert (shown.exit_code, shown.output) == (0, "md-uksouth-0123456789-0 is to finish its tasks and leave\n")
    names = "md-uksouth-0123456789-0,md-uksouth-0123456789-2"
    assert api.patches == [{"metadata": {"resourceVersion": "7", "annotations": {"workforce.dev/drain": names}}}]


@pytest.mark.parametrize(
    ("job", "spec", "said"),
    [
        ("nobody", {"control": {}}, "is no living worker of chem/md"),
        ("md-uksouth-0123456789-1", {"control": {}}, "is Queued and runs no task"),
        ("md-uksouth-0123456789-0", {}, "spec.control is not set"),
        ("md-uksouth-0123456789-0", {"control": {"dialect": "JobQ"}}, "cannot be told to leave one by one"),
        ("md-uksouth-0123456789-0", {"suspend": "Hold", "control": {}}, "spec.suspend is Hold"),
    ],
)
def test_drain_says_why_it_cannot(draining: Any, job: str, spec: Any, said: str) -> None:
    api = Api(**spec)
    shown = draining(job, api)
    assert (shown.exit_code, said in shown.output, api.patches) == (1, True, [])
