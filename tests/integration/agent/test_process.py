"""Real processes of a task: nothing of it survives, and everybody gets the signal."""

import asyncio
import errno
import os
import signal
from pathlib import Path

import pytest

from workforce_agent.family import become_subreaper
from workforce_agent.output import TaskOutput
from workforce_agent.process import TaskProcess


class Sink:
    """Keeps what a task prints."""

    def __init__(self):
        self.full = False
        self.data = b""

    def write(self, data):
        self.data += data


@pytest.fixture(autouse=True)
def subreaper():
    assert become_subreaper()
    yield
    become_subreaper(on=False)


def start(command, *, terminal=False, **env):
    sink = Sink()
    output = TaskOutput("t", sink)
    process = TaskProcess(["bash", "-c", command], {"PATH": os.environ["PATH"], **env}, None, output, terminal=terminal)
    return process, output, sink


async def finish(process, seconds=60):
    async with asyncio.timeout(seconds):
        return await process.wait()


async def pid_in(path):
    """The process id that a task wrote to a file."""
    async with asyncio.timeout(30):
        while True:
            if path.exists() and (text := path.read_text().strip()):
                return int(text)
            await asyncio.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def zombies():
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in children if Path("/proc", pid).exists() and not alive(pid)]


async def said(sink, words):
    async with asyncio.timeout(30):
        while True:
            if words in sink.data:
                return
            await asyncio.sleep(0.02)


async def test_the_exit_code_is_the_shells():
    process, output, sink = start("echo out; echo err >&2; exit 7")
    assert await finish(process) == 7
    assert output.close() == ["out", "err"]
    assert sink.data == b"[t] out\n[t] err\n"


async def test_much_output_of_any_bytes_does_not_block_a_task():
    process, output, sink = start(
        "head -c 3000000 /dev/urandom; echo; head -c 3000000 /dev/zero; echo; printf '\\377\\376 bad\\n'; echo end"
    )
    assert await finish(process) == 0
    assert output.close()[-2:] == ["\ufffd\ufffd bad", "end"]
    assert len(sink.data) > 6_000_000
    assert sink.data.endswith(b"[t] \xff\xfe bad\n[t] end\n")


async def test_a_slow_reader_slows_the_task_and_loses_nothing():
    process, output, sink = start("for i in $(seq 2000); do echo line-$i; done")
    sink.full = True
    await asyncio.sleep(0.3)
    assert sink.data == b""
    sink.full = False
    assert await finish(process) == 0
    output.close()
    assert sink.data.count(b"\n") == 2000


@pytest.mark.parametrize(
    "escape",
    [
        "sleep 300 & echo $! > $F",
        "sleep 300 >/dev/null 2>&1 & echo $! > $F",
        "set -o monitor; sleep 300 & echo $! > $F",
        "setsid bash -c 'echo $$ > $F; exec sleep 300' & sleep 0.5",
        "(setsid bash -c 'echo $$ > $F; exec sleep 300' >/dev/null 2>&1 &) ; sleep 0.5",
        "setsid bash -c 'trap \"\" TERM; echo $$ > $F; exec sleep 300' & sleep 0.5",
        "env -i F=$F setsid bash -c 'echo $$ > $F; exec sleep 300' & sleep 0.5",
    ],
)
async def test_nothing_survives_its_task(escape, tmp_path, monkeypatch):
    monkeypatch.setattr("workforce_agent.process.SURVIVOR_GRACE", 1.0)
    file = tmp_path / "pid"
    process, _, _ = start(escape, F=str(file))
    assert await finish(process) == 0
    assert not alive(await pid_in(file))


async def test_a_task_leaves_other_children_of_its_agent_alone():
    other = await asyncio.create_subprocess_exec("sleep", "300", start_new_session=True)
    process, _, _ = start("true")
    assert await finish(process) == 0
    assert alive(other.pid)
    other.kill()
    await other.wait()


async def test_a_task_leaves_the_processes_of_another_alone(tmp_path):
    one, _, _ = start("sleep 300")
    file = tmp_path / "pid"
    two, _, _ = start("setsid bash -c 'echo $$ > $F; exec sleep 300' & sleep 0.5", F=str(file))
    assert await finish(two) == 0
    assert not alive(await pid_in(file))
    assert alive(one.pid)
    one.kill()
    assert await finish(one) == -signal.SIGKILL


PYTHON = """
import signal, sys, time
def stop(*_):
    print("CHECKPOINTING", flush=True)
    time.sleep(0.5)
    print("SAVED", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("READY", flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("line", ["cd /; python3 {}; echo y", "set -o monitor && python3 {}", "true && python3 {}"])
async def test_sigterm_reaches_a_python_child_and_waits_for_its_checkpoint(line, tmp_path):
    script = tmp_path / "job.py"
    script.write_text(PYTHON)
    process, output, sink = start(line.format(script))
    await said(sink, b"READY")
    process.terminate(kill_after=60)
    await finish(process)
    assert process.told_to_stop
    assert {"CHECKPOINTING", "SAVED"} <= set(output.close())


async def test_a_task_that_has_ended_unheard_when_it_is_told_to_stop_counts_as_told():
    """Somebody who evicts a node may signal the task first: it saves its state, ends well, and is not done."""
    over, *_ = start("exit 0")
    running, *_ = start("sleep 300")
    while alive(over.pid):
        pass  # the event loop hears nothing meanwhile
    for process in (over, running):
        process.terminate(10.0)
    assert (await finish(over), over.told_to_stop) == (0, True)
    assert (await finish(running), running.told_to_stop) == (-signal.SIGTERM, True)


async def test_what_ignores_sigterm_is_killed_after_the_timeout(tmp_path):
    file = tmp_path / "pid"
    process, _, sink = start(
        "trap '' TERM; (trap '' TERM; echo $BASHPID > $F; while :; do sleep 1; done) & echo READY; wait; sleep 300",
        F=str(file),
    )
    await said(sink, b"READY")
    process.terminate(kill_after=0.5)
    assert await finish(process) == -signal.SIGKILL
    assert not alive(await pid_in(file))


async def test_a_task_that_cannot_start_says_why():
    with pytest.raises(OSError, match="nowhere"):
        TaskProcess(["true"], {}, "/nowhere", TaskOutput("t", Sink()))
    with pytest.raises(ValueError, match="null byte"):
        start("echo \0")


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_task_that_was_started_and_cannot_be_watched_does_not_run_on(monkeypatch, tmp_path):
    def full(_pid):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("os.pidfd_open", full)
    before = open_files()
    with pytest.raises(OSError, match="Too many open files"):
        start(f"sleep 1; touch {tmp_path}/ran")
    assert open_files() == before
    assert zombies() == []
    await asyncio.sleep(1.5)
    assert not (tmp_path / "ran").exists()


async def test_orphans_do_not_stay_as_zombies():
    process, _, _ = start("(setsid bash -c 'exit 0' &) ; sleep 0.3")
    await finish(process)
    assert zombies() == []


async def test_an_emulated_terminal_is_one_and_the_exit_status_is_the_tasks():
    process, output, sink = start(
        "test -t 1 && test -t 2 && echo terminal; tput cols; exit 3", terminal=True, TERM="xterm"
    )
    assert await finish(process) == 3
    assert output.close()[0] == "terminal"
    assert b"\r" not in sink.data


async def test_much_output_to_a_terminal_is_read_to_its_end():
    process, output, _ = start("seq 20000; echo end", terminal=True)
    assert await finish(process) == 0
    assert output.close()[-1] == "end"
