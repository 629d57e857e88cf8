"""How the demonstration begins: with nothing of an earlier one, and never at the cost of one that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from workforce_local.demo.bench import Bench, DemoError
from workforce_local.demo.command import next_commands
from workforce_local.demo.narrator import Narrator
from workforce_local.demo.story import Script, Story
from workforce_local.processes import Identity
from workforce_local.state import Phase, Record, StateFolder

CHECKOUT = Path(__file__).parents[3]


class Quiet(Bench):
    """Notes the commands instead of running them."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.called: list[str] = []

    def local(self, *words: str) -> str:
        self.called.append(" ".join(words))
        return ""


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """The state folder of a demonstration that has ended, in which somebody keeps other things, too."""
    made = StateFolder.at(tmp_path)
    made.create()
    for name in ("azure", "demo", "kubernetes/etcd", "storage", "mine"):
        (made.root / name).mkdir(parents=True)
        (made.root / name / "file").touch()
    made.write(Record(supervisor=Identity.myself(), phase=Phase.STOPPED))
    return made


def test_nothing_of_an_earlier_demonstration_is_left_and_nothing_else_is_touched(folder):
    bench = Quiet(folder.root)
    bench.begin_anew()
    assert bench.called == ["down"]
    assert sorted(path.name for path in folder.root.iterdir()) == ["mine", "supervisor.json"]
    assert (folder.root / "mine" / "file").exists()


def test_a_folder_that_never_was_a_state_folder_is_left_alone(tmp_path):
    (tmp_path / "logs").mkdir()
    bench = Quiet(tmp_path)
    bench.begin_anew()
    assert bench.called == []
    assert (tmp_path / "logs").exists()


def test_a_demonstration_that_still_runs_is_neither_ended_nor_disturbed(folder):
    assert folder.acquire()
    bench = Quiet(folder.root)
    try:
        with pytest.raises(DemoError, match=f"still runs; to end it:\nworkforce local down --state-dir {folder.root}"):
            bench.begin_anew()
    finally:
        folder.release()
    assert bench.called == []
    assert (folder.root / "kubernetes" / "etcd" / "file").exists()


def test_a_command_that_fails_is_named_without_its_secrets(tmp_path):
    command = ("sh", "-c", "echo why >&2; exit 3", "name", "--set", "password=hidden")
    with pytest.raises(DemoError, match=r"ended with 3:\nwhy") as failed:
        Bench(tmp_path).run(*command)
    assert "hidden" not in str(failed.value)


def test_what_to_try_next_fills_the_queue_of_the_example_that_it_applies(tmp_path):
    story = Story(Quiet(tmp_path), Narrator(), CHECKOUT, Script())
    tried = next_commands(Path("/my state"), story.queue)
    assert "kubectl apply -f examples/workforce.yaml" in tried
    assert "workforce-agent push wfdemo/md-tasks -c 'echo hello from a task'" in tried
    assert tried[0].endswith("local env --state-dir '/my state')\"")
