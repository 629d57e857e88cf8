"""Nothing of a task survives its agent, however the agent dies."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.agent import push, until
from workforce_agent import guard
from workforce_agent.guard import Guard


def proc(pid, what):
    return Path(f"/proc/{pid}/{what}").read_text()


def alive(pid):
    try:
        return proc(pid, "stat").rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def guards_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"guard_program.py") for word in words) and str(pid).encode() in words:
            found.append(int(path.parent.name))
    return found


ESCAPES = {
    "plain": "sleep 300 & echo $! > {}; wait",
    "ignores-term": "trap '' TERM; echo $$ > {}; while :; do sleep 1; done",
    "other-group": "set -o monitor; sleep 300 & echo $! > {}; wait",
    "setsid": "setsid bash -c 'echo $$ > {}; exec sleep 300' & wait",
    "orphan-setsid": "(setsid bash -c 'trap \"\" TERM; echo $$ > {}; exec sleep 300' >/dev/null 2>&1 &); sleep 300",
    "orphan-setsid-without-mark": "(env -i setsid bash -c 'echo $$ > {}; exec sleep 300' &); sleep 300",
}


SEEN_SECONDS = 3
"""Without a cgroup a guard must have seen an orphan that carries no mark before its agent died."""


async def test_nothing_survives_a_killed_agent(queue, agent, tmp_path):
    files = {name: tmp_path / name for name in ESCAPES}
    await push(queue, *(command.format(files[name]) for name, command in ESCAPES.items()))
    worker = await agent("--num-workers", str(len(ESCAPES)))
    for name, file in files.items():
        await until(lambda file=file: file.exists() and file.read_text().strip(), f"a start of {name}")
    pids = {name: int(file.read_text()) for name, file in files.items()}
    (guarding,) = await until(lambda: guards_of(worker.process.pid), "a guard")
    if "workforce-agent-" not in proc(worker.process.pid, "cgroup"):
        await asyncio.sleep(SEEN_SECONDS)
    worker.signal(signal.SIGKILL)
    await worker.exit_code()
    await until(lambda: not any(alive(pid) for pid in pids.values()), f"the end of {pids}")
    await until(lambda: not alive(guarding), "the end of the guard")


OTHER_AGENT = """
import asyncio, os, sys
from workforce_agent.family import become_subreaper
from workforce_agent.guard import Guard
from workforce_agent.output import TaskOutput, Writer
from workforce_agent.process import TaskProcess

async def main():
    become_subreaper()
    with Guard(own_cgroup=False) as guard:
        await guard.ready()
        for command in sys.argv[1:]:
            TaskProcess(["bash", "-c", command], os.environ, None, TaskOutput("t", Writer()), guarded_by=guard)
        await asyncio.sleep(300)

asyncio.run(main())
"""


async def test_nothing_survives_a_killed_agent_where_cgroups_cannot_be_written(tmp_path):
    files = {name: tmp_path / name for name in ESCAPES}
    commands = [command.format(files[name]) for name, command in ESCAPES.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_AGENT, *commands, stdout=asyncio.subprocess.DEVNULL
    )
    for name, file in files.items():
        await until(lambda file=file: file.exists() and file.read_text().strip(), f"a start of {name}")
    pids = {name: int(file.read_text()) for name, file in files.items()}
    await until(lambda: guards_of(process.pid), "a guard")
    await asyncio.sleep(SEEN_SECONDS)
    process.kill()
    await process.wait()
    await until(lambda: not any(alive(pid) for pid in pids.values()), f"the end of {pids}")


@pytest.fixture
def guarded(monkeypatch):
    monkeypatch.setattr(guard, "RESTART_SECONDS", 0.05)


async def test_a_guard_that_is_ready_cannot_be_ended_politely(guarded):
    with Guard(own_cgroup=False) as watching:
        assert await watching.ready()
        first = watching.pid
        status = dict(line.split(":", 1) for line in proc(first, "status").splitlines())
        assert int(status["SigIgn"], 16) >> (signal.SIGTERM - 1) & 1
        watching.dismiss()


@pytest.fixture
def another_program(monkeypatch, tmp_path):
    """Lets a guard be started whose program is this text."""

    def starts(text):
        program = tmp_path / "guard.py"
        program.write_text(text)
        with monkeypatch.context() as patch:
            patch.setattr(guard.guard_program, "__file__", str(program))
            return Guard(own_cgroup=False)

    return starts


async def test_a_guard_that_dies_before_it_is_ready_is_waited_for_again(guarded, another_program):
    with another_program("raise SystemExit(1)") as watching:
        first = watching.pid
        assert await watching.ready()
        assert watching.pid not in {first, None}
        watching.dismiss()


async def test_a_guard_that_does_not_get_ready_is_waited_for_in_vain_and_said(guarded, another_program):
    with another_program("import time; time.sleep(600)") as watching, capture_logs() as said:
        assert not await watching.ready(0.2)
        os.kill(watching.pid, signal.SIGKILL)
        assert await watching.ready()
        watching.dismiss()
    assert [entry["event"] for entry in said] == ["guard_is_late", "guard_ended"]


async def test_a_guard_that_lets_go_of_its_pipe_without_a_word_is_not_ready(guarded, another_program):
    with another_program("import os, time; os.close(1); time.sleep(600)") as watching:
        assert not await watching.ready(0.5)
        os.kill(watching.pid, signal.SIGKILL)
        assert await watching.ready()
        watching.dismiss()


async def test_a_guard_ends_with_its_agent(agent):
    worker = await agent()
    await worker.said("worker_start")
    (guarding,) = await until(lambda: guards_of(worker.process.pid), "a guard")
    os.kill(guarding, signal.SIGTERM)
    worker.signal(signal.SIGUSR1)
    assert await worker.exit_code() == 0
    await until(lambda: not alive(guarding), "the end of the guard")


async def test_a_guard_that_was_killed_is_replaced_and_the_new_one_knows_what_runs(queue, agent, files):
    worker = await agent()
    await push(queue, files.gated("a"))
    await files.started("a")
    (first,) = await until(lambda: guards_of(worker.process.pid), "a guard")
    os.kill(first, signal.SIGKILL)
    (second,) = await until(lambda: [pid for pid in guards_of(worker.process.pid) if pid != first], "another guard")
    worker.signal(signal.SIGKILL)
    await worker.exit_code()
    pid = int((files.folder / "a.started").read_text())
    await until(lambda: not alive(pid) and not alive(second), "the end of the task")


async def test_a_guard_that_is_let_go_ends_and_harms_nobody(guarded):
    sleeper = await asyncio.create_subprocess_exec("sleep", "300", start_new_session=True)
    with Guard(own_cgroup=False) as watching:
        watching.watch(sleeper.pid)
        pid = watching.pid
        watching.dismiss()
    assert not alive(pid)
    assert alive(sleeper.pid)
    sleeper.kill()
    await sleeper.wait()
    assert guard.helpers == set()


async def test_a_guard_that_does_not_listen_is_replaced_and_blocks_nobody(guarded):
    with Guard(own_cgroup=False) as watching:
        first = watching.pid
        os.kill(first, signal.SIGSTOP)
        for _ in range(20_000):
            watching.watch(2**22 + 1)
        await until(lambda: watching.pid not in {first, None}, "another guard")
        watching.dismiss()
