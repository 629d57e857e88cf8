"""Identities, tags, the guard and the ways to end a process, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.local.conftest import PATIENCE, wait_until
from workforce_local.health import fault
from workforce_local.processes import STATE_VARIABLE, Identity, end, guarded, lineage, tagged
from workforce_local.program import Program
from workforce_local.state import Process
from workforce_local.supervisor import PartError

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(1000)"
)


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def identity(process: subprocess.Popen[str]) -> Identity:
    found = Identity.of(process.pid)
    assert found is not None
    return found


def test_an_identity_ends_with_its_process_also_while_nobody_has_waited_for_it() -> None:
    with running("sleep", "1000") as process:
        before = identity(process)
        assert before.alive
        process.kill()
        wait_until(lambda: not before.alive, "a zombie is not alive")
        assert before.open() is None
        assert Identity.of(process.pid) is None


def test_another_start_or_another_boot_is_another_process() -> None:
    myself = Identity.myself()
    assert myself.alive
    assert not Identity(myself.pid, myself.started + 1, myself.boot).alive
    assert not Identity(myself.pid, myself.started, "another boot").alive


def test_a_process_that_listens_is_ended_by_sigterm() -> None:
    with running("sleep", "1000") as process:
        assert end([identity(process)], grace=PATIENCE) == []
        assert process.wait() == -signal.SIGTERM


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    with running(sys.executable, "-c", STUBBORN) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert end([identity(process)], grace=0.2) == []
        assert process.wait() == -signal.SIGKILL


def test_ending_somebody_who_has_gone_is_nothing() -> None:
    with running("sleep", "0") as process:
        before = Identity.of(process.pid)
        process.wait()
    assert end([before] if before else [], grace=0) == []


def test_the_tag_finds_children_but_neither_ourselves_nor_our_ancestors(tmp_path: Path) -> None:
    """Somebody may start the local cloud from a shell that runs inside of one of its jobs."""
    code = (
        "import os, subprocess, sys; from pathlib import Path; from workforce_local.processes import tagged\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        f"print([found.pid for found in tagged(Path({str(tmp_path)!r}))] == [child.pid]); child.kill(); child.wait()"
    )
    tag = {STATE_VARIABLE: str(tmp_path)}
    with running("bash", "-c", '"$0" -c "$1"; true', sys.executable, code, **tag) as shell:
        output, _ = shell.communicate(timeout=PATIENCE)
    assert output == "True\n"
    assert tagged(tmp_path) == []


def test_a_lineage_goes_up_to_the_first_process() -> None:
    assert {os.getpid(), os.getppid(), 1} <= lineage(os.getpid())


def test_a_guarded_process_dies_with_its_parent_however_that_dies() -> None:
    code = (
        "import subprocess, sys, time; from workforce_local.processes import guarded\n"
        "child = subprocess.Popen(guarded(['sleep', '1000']), stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); time.sleep(1000)"
    )
    with running(sys.executable, "-c", code) as parent:
        assert parent.stdout is not None
        child = Identity.of(int(parent.stdout.readline()))
        assert child is not None
        wait_until(lambda: "sleep" in Path(f"/proc/{child.pid}/comm").read_text(), "the guard became the command")
        parent.kill()
        wait_until(lambda: not child.alive, "the kernel has told it")


def test_a_guard_whose_parent_is_gone_starts_nothing(tmp_path: Path) -> None:
    command = guarded(["touch", str(tmp_path / "started")])
    command[3] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "guard: the parent is gone already\n"
    assert not (tmp_path / "started").exists()


def test_a_command_that_cannot_be_run_is_said_in_one_line() -> None:
    done = subprocess.run(guarded(["/no/such/program"]), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "guard: /no/such/program: No such file or directory\n")


async def test_a_program_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    program = Program("slow", ["sleep", "1000"], log=tmp_path / "slow.log", ready_words="ready", ready_seconds=0.2)
    try:
        with pytest.raises(PartError, match=r"not ready after 0 s; its log: .*slow\.log"):
            await program.start()
    finally:
        await program.stop()


async def test_a_program_is_ready_when_its_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("ready, said an earlier run")
    command = ["bash", "-c", "echo now ready; exec sleep 1000"]
    program = Program("quick", command, log=tmp_path / "log", ready_words="ready")
    started = await program.start()
    try:
        (process,) = started.processes
        assert process.alive
        assert (tmp_path / "log").read_text() == "now ready\n"
    finally:
        await program.stop()
    assert not process.alive


async def test_a_part_whose_port_is_closed_is_not_healthy(tmp_path: Path) -> None:
    process = Process(name="me", identity=Identity.myself(), log=tmp_path, address="tcp://127.0.0.1:1")
    assert (await fault(process)).startswith("no answer")
    assert await fault(replace(process, address="")) == ""
    gone = Identity(os.getpid(), 1, "another boot")
    assert await fault(replace(process, identity=gone)) == "has ended"
