"""The state folder's record and lock, and what people and shells are told of it."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from workforce_local import console
from workforce_local.console import ConsoleReporter, export_lines, status_lines, table
from workforce_local.processes import STATE_VARIABLE, Identity
from workforce_local.state import HOME_VARIABLE, Phase, Process, Record, StateError, StateFolder, default_folder
from workforce_local.supervisor import Started

SOMEBODY = Identity(pid=1234, started=99, boot="a-boot")


def a_record(**fields: object) -> Record:
    web = Process(name="web", identity=SOMEBODY, log=Path("/x/web.log"), address="http://127.0.0.1:1")
    return Record(supervisor=SOMEBODY, processes=(web,), **fields)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder.at(tmp_path / "state")
    made.create()
    return made


def test_a_record_is_read_as_it_was_written(folder: StateFolder) -> None:
    record = a_record(phase=Phase.READY, exports={"A": "b"}, path_folders=(Path("/bin"),), reason="why")
    folder.write(record)
    assert folder.read() == record


def test_a_missing_record_is_none(folder: StateFolder) -> None:
    assert folder.read() is None


@pytest.mark.parametrize("content", ["", "not json", "[]", "{}", '{"supervisor": 3}'])
def test_a_record_that_cannot_be_understood_proves_nothing(folder: StateFolder, content: str) -> None:
    folder.record_file.write_text(content)
    assert folder.read() is None


@pytest.mark.parametrize(
    "changes", [{"phase": "asleep"}, {"supervisor": {"pid": 1}}, {"processes": [{"name": "web"}]}, {"of a later": 1}]
)
def test_a_record_of_another_version_proves_nothing(folder: StateFolder, changes: dict[str, object]) -> None:
    folder.write(a_record())
    written = json.loads(folder.record_file.read_text())
    folder.record_file.write_text(json.dumps({**written, **changes}))
    assert folder.read() is None


def test_the_record_holds_secrets_and_is_for_its_owner_only(folder: StateFolder) -> None:
    folder.write(a_record(exports={"AZURE_CLIENT_SECRET": "x"}))
    assert folder.record_file.stat().st_mode & 0o077 == 0
    assert folder.root.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="file/state: cannot be used as the state folder: Not a directory"):
        StateFolder.at(tmp_path / "file" / "state").create()


def test_only_one_holds_the_lock_and_others_see_who(folder: StateFolder) -> None:
    other = StateFolder.at(folder.root)
    assert folder.holder() is None
    assert folder.acquire()
    assert not other.acquire()
    assert other.holder() == Identity.myself()
    folder.release()
    assert other.holder() is None
    assert other.acquire()
    other.release()


def test_nobody_holds_the_lock_of_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert StateFolder.at(tmp_path / "none").holder() is None


def test_the_state_folder_is_named_by_the_environment_or_lies_in_the_current_folder() -> None:
    assert default_folder({}) == Path(".workforce")
    assert default_folder({HOME_VARIABLE: "/else/where"}) == Path("/else/where")


def test_a_folder_reached_by_a_link_is_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state")
    assert StateFolder.at(tmp_path / "link") == StateFolder.at(tmp_path / "state")


def test_exports_survive_any_character(folder: StateFolder) -> None:
    value = """a 'b' "c" $HOME `id` ; d"""
    lines = export_lines(folder, a_record(exports={"TEXT": value}, path_folders=(Path("/k8s"),)))
    script = "\n".join([*lines, 'printf "%s" "$TEXT"'])
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == value
    assert lines[-1].startswith('export PATH="/k8s:$PATH:')
    assert STATE_VARIABLE not in script


def test_status_shows_a_fault_in_place_of_healthy() -> None:
    record = a_record()
    (web,) = record.processes
    assert [line.split() for line in status_lines(record, {web: ""})][1] == [
        "web",
        "1234",
        "healthy",
        "http://127.0.0.1:1",
    ]
    assert "no answer" in status_lines(record, {web: "no answer"})[1]


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert table([("a", "b"), ("long", "c")]) == ["a     b", "long  c"]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_start_is_told_in_lines_that_fit_the_screen(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setattr(console, "shown", lambda _: ".workforce")
    monkeypatch.setenv(HOME_VARIABLE, str(folder.root))
    output = io.StringIO()
    record = a_record(exports={"KUBECONFIG": "/k"})
    stream = Console(file=output, force_terminal=terminal, color_system=None, width=80, soft_wrap=True, _environ={})
    reporter = ConsoleReporter(folder, attached=True, console=stream)
    reporter.starting("web")
    reporter.started("web", Started(record.processes), 1.25)
    reporter.ready(record, 2.0)
    reporter.stopping("asked to stop")
    reporter.close()

    told = output.getvalue()
    assert "started web in 1.2 s" in told
    assert "ready after 2.0 s" in told
    assert "kubectl get nodes" in told
    assert "stopping: asked to stop" in told
    if not terminal:
        assert max(map(len, told.splitlines())) <= 80


def test_another_state_folder_than_the_default_is_named_in_the_next_steps(folder: StateFolder) -> None:
    steps = [step for step, _ in console.next_steps(folder, a_record())]
    assert steps[0] == f"export {HOME_VARIABLE}={folder.root}"
