"""Python tasks in the worker and in processes of their own, timeouts, terminals and output files: real workers."""

import asyncio
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from jobq.task import Task
from tests.support.agent import push, total, until
from workforce_agent.guard_program import children_of

MODULE = """
import asyncio, os, signal, subprocess, sys, time
from pathlib import Path

def note(folder, name, text="x"):
    with open(Path(folder, name), "a") as file:
        file.write(text + "\\n")

async def later(folder, name, _job_id, _worker_id):
    await asyncio.sleep(0.01)
    note(folder, name, f"{_job_id} {len(_worker_id)}")

def sync(folder, name, _job_id=None):
    note(folder, name, _job_id)

def blocking(folder, name):
    note(folder, "started")
    time.sleep(6)
    note(folder, name)

async def blocks_its_loop(folder, name):
    blocking(folder, name)

async def checkpoints(folder, name):
    if Path(folder, "saved").exists():
        return note(folder, name)
    note(folder, "started")
    try:
        await asyncio.sleep(300)
    except asyncio.CancelledError:
        note(folder, "saved")
        raise

def slow_to_end(folder, name):
    note(folder, "started")
    while not Path(folder, "gate").exists():
        time.sleep(0.02)
    note(folder, name)

def fails(folder, name):
    raise RuntimeError("no luck")

def mixed(folder, name):
    note(folder, "checkpoints", os.environ["JOBQ_CHECKPOINT_FILE"])
    print("hello from", name)
    if name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exits":
        sys.exit(4)
    if name == "vanishes":
        os._exit(0)
    if name == "leaves":
        note(folder, "left", str(subprocess.Popen(["setsid", "sleep", "300"]).pid))
    note(folder, name, str(os.getpid()))

def saves_on_sigterm(folder, name):
    if Path(folder, "saved").exists():
        return note(folder, name)
    def stop(*_):
        note(folder, "saved")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    note(folder, "started")
    time.sleep(300)

class Counting:
    def __init__(self, num_workers):
        self.slots = num_workers
    async def __aenter__(self):
        self.entered = True
    async def __aexit__(self, *_):
        print("LEFT")
    async def __call__(self, folder, name):
        note(folder, name, f"{self.slots} {self.entered}")
"""


@pytest.fixture
def python_agent(agent, tmp_path):
    (tmp_path / "mymodule.py").write_text(MODULE)

    async def start(function, *arguments, node="node-0"):
        return await agent("--proc", f"mymodule{function}", *arguments, node=node, PYTHONPATH=str(tmp_path))

    return start


async def push_calls(queue, files, *names, num_retries=0):
    for name in names:
        task = Task.new({"folder": str(files.folder), "name": name}, id=f"id-{name}", num_retries=num_retries)
        await queue.push_task(task)


def noted(files, name):
    file = files.folder / name
    return file.read_text().split("\n")[:-1] if file.exists() else []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


CALLS = {
    "coroutine": (":later", (), "id-a 32"),
    "function": (":sync", (), "id-a"),
    "pool": (":sync", ("--pool",), "id-a"),
    "class": (".Counting", (), "2 True"),
}

SLOW_START = """
import time
from pathlib import Path
FOLDER = Path(__file__).parent
(FOLDER / "importing").touch()
while not (FOLDER / "go-on").exists():
    time.sleep(0.02)
def work(**_):
    pass
"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
async def test_a_signal_that_comes_while_the_worker_starts_is_kept(agent, queue, tmp_path, number):
    """A callable's module is imported before the worker hears signals; it may take long."""
    (tmp_path / "slow.py").write_text(SLOW_START)
    await queue.push({"a": 1})
    worker = await agent("--proc", "slow:work", PYTHONPATH=str(tmp_path))
    await until((tmp_path / "importing").exists, "its import")
    worker.signal(number)
    (tmp_path / "go-on").touch()
    if number is signal.SIGTERM:
        await worker.said('"mode": "evicted"')
        worker.signal(signal.SIGINT)
    assert await worker.exit_code() == 0
    assert (worker.events("task_start"), (await queue.size()).visible) == ([], 1)


@pytest.mark.parametrize("kind", CALLS)
async def test_a_python_callable_is_called_with_the_tasks_arguments(queue, python_agent, files, kind):
    function, flags, expected = CALLS[kind]
    await push_calls(queue, files, "a", "b", "c")
    worker = await python_agent(function, *flags, "-n", "2", "--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert noted(files, "a") == [expected]
    assert (len(noted(files, "b")), len(noted(files, "c")), await total(queue)) == (1, 1, 0)
    assert ("LEFT" in worker.words) == (function == ".Counting")


@pytest.mark.parametrize("function", [":later", ":sync"])
@pytest.mark.parametrize("flags", [(), ("--pool",)])
async def test_arguments_that_the_callable_does_not_take_are_a_failure(queue, python_agent, function, flags):
    await queue.push({"colour": "red"}, num_retries=0)
    worker = await python_agent(function, *flags, "--when-empty", "exit")
    assert await worker.exit_code() == 0
    (letter,) = await queue.failed()
    assert letter.failure is not None
    assert letter.failure.error.startswith("TypeError: ")
    assert await total(queue) == 0


@pytest.mark.parametrize(("function", "flags"), [(":later", ()), (":sync", ("--pool",))])
async def test_a_callable_need_not_take_what_the_command_line_adds_for_shells(
    queue, python_agent, files, function, flags
):
    await queue.push({"folder": str(files.folder), "name": "a", "env": {}, "bg_dirsync_to": None})
    await queue.push({"folder": str(files.folder), "name": "b", "env": {"K": "V"}}, num_retries=0)
    worker = await python_agent(function, *flags, "--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert (len(noted(files, "a")), noted(files, "b")) == (1, [])
    (letter,) = await queue.failed()
    assert letter.failure is not None
    assert "'env'" in letter.failure.error


async def test_an_exception_is_a_failure_with_its_text_and_traceback(queue, python_agent, files):
    await push_calls(queue, files, "a")
    worker = await python_agent(":fails", "--when-empty", "exit")
    assert await worker.exit_code() == 0
    (letter,) = await queue.failed()
    assert letter.failure is not None
    assert letter.failure.error == "RuntimeError: no luck"
    assert any("in fails" in line for line in letter.failure.last_lines)


@pytest.mark.parametrize("function", [":blocking", ":blocks_its_loop"])
async def test_locks_are_renewed_while_python_code_blocks(queue, python_agent, files, function):
    await push_calls(queue, files, "a")
    worker = await python_agent(function, "--visibility-timeout", "2s", "-n", "2", "--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert (len(noted(files, "started")), len(noted(files, "a"))) == (1, 1)
    assert worker.events("task_lock_lost") == []


async def test_a_coroutine_is_cancelled_to_checkpoint_and_returned(queue, python_agent, files):
    await push_calls(queue, files, "a")
    worker = await python_agent(":checkpoints")
    await until(lambda: noted(files, "started"), "a start")
    worker.signal(signal.SIGUSR2)
    assert await worker.exit_code() == 0
    assert (len(noted(files, "saved")), (await queue.size()).visible) == (1, 1)
    second = await python_agent(":checkpoints", "--when-empty", "exit", node="node-1")
    assert await second.exit_code() == 0
    assert len(noted(files, "a")) == 1


async def test_a_python_task_that_completes_while_the_worker_stops_is_not_run_again(queue, python_agent, files):
    await push_calls(queue, files, "a")
    worker = await python_agent(":slow_to_end")
    await until(lambda: noted(files, "started"), "a start")
    worker.signal(signal.SIGUSR2)
    await worker.said('"mode": "returning"')
    (files.folder / "gate").touch()
    assert await worker.exit_code() == 0
    assert (len(noted(files, "a")), await total(queue)) == (1, 0)


async def test_a_thread_that_does_not_end_is_given_up_after_the_kill_timeout(queue, python_agent, files):
    await push_calls(queue, files, "a")
    worker = await python_agent(":slow_to_end", "--kill-timeout", "1s")
    await until(lambda: noted(files, "started"), "a start")
    worker.signal(signal.SIGINT)
    assert await worker.exit_code() == 0
    assert (await queue.size()).visible == 1


async def test_the_death_of_a_pools_process_fails_its_own_task_only(queue, python_agent, files):
    names = ["a", "dies", "b", "exits", "vanishes", "leaves", "c", "d"]
    await push_calls(queue, files, *names)
    worker = await python_agent(
        ":mixed", "--pool", "-n", "2", "--max-consecutive-failures", "9", "--when-empty", "exit"
    )
    assert await worker.exit_code() == 0
    assert [len(noted(files, name)) for name in ("a", "b", "c", "d", "leaves")] == [1] * 5
    assert len(set(noted(files, "checkpoints"))) == len(names)
    reasons = {letter.id: letter.failure.error for letter in await queue.failed() if letter.failure}
    assert reasons == {
        "id-dies": "killed by signal 9",
        "id-exits": "exit code 4",
        "id-vanishes": "its process ended before the call did",
    }
    assert "[id-a] hello from a" in worker.words
    await until(lambda: not alive(int(noted(files, "left")[0])), "the end of what a task has left")


async def test_a_pool_passes_sigterm_on_and_a_task_that_saves_goes_back(queue, python_agent, files):
    await push_calls(queue, files, "a")
    worker = await python_agent(":saves_on_sigterm", "--pool")
    await until(lambda: noted(files, "started"), "a start")
    worker.signal(signal.SIGUSR2)
    assert await worker.exit_code() == 0
    assert (len(noted(files, "saved")), (await queue.size()).visible) == (1, 1)
    second = await python_agent(":saves_on_sigterm", "--pool", "--when-empty", "exit", node="node-1")
    assert await second.exit_code() == 0
    assert len(noted(files, "a")) == 1


async def test_a_pools_process_does_not_outlive_a_killed_agent(queue, python_agent, files):
    await push_calls(queue, files, "a")
    worker = await python_agent(":saves_on_sigterm", "--pool")
    await until(lambda: noted(files, "started"), "a start")
    children = children_of(worker.process.pid)
    assert len(children) == 2  # the pool and the guard
    worker.signal(signal.SIGKILL)
    await worker.exit_code()
    await until(lambda: not any(alive(pid) for pid in children), "the end of the pool")


@pytest.mark.parametrize("flags", [(), ("--pool",)])
async def test_a_callable_that_is_missing_ends_the_worker_before_it_takes_a_task(queue, python_agent, files, flags):
    await push_calls(queue, files, "a")
    worker = await python_agent(":nothing", *flags)
    assert await worker.exit_code() == 1
    assert "mymodule:nothing cannot be loaded: AttributeError" in worker.words
    assert (await queue.size()).visible == 1


async def test_a_task_that_takes_too_long_has_failed(queue, agent, files):
    await queue.push_task(Task.new({"cmd": "trap '' TERM; sleep 300 & wait; sleep 300"}, id="slow"))
    await queue.push("sleep 300", id="own", num_retries=0, timeout=timedelta(seconds=0.5))
    await push(queue, files.quick("quick"))
    worker = await agent("--task-timeout", "2s", "--kill-timeout", "1s", "--when-empty", "exit")
    assert await worker.exit_code() == 0
    reasons = {letter.id: letter.failure.error for letter in await queue.failed() if letter.failure}
    assert reasons == {"slow": "timed out after 2 s", "own": "timed out after 0.5 s"}
    assert files.count("quick", "done") == 1


async def test_a_failing_task_with_a_terminal_is_a_failure_and_each_output_has_a_file(queue, agent, tmp_path):
    await queue.push_task(Task.new({"cmd": "test -t 1 && echo it is one; exit 3"}, id="a/b"))
    worker = await agent("-t", "--output-dir", str(tmp_path / "out"), "--when-empty", "exit")
    assert await worker.exit_code() == 0
    (letter,) = await queue.failed()
    assert letter.failure is not None
    assert letter.failure.exit_code == 3
    assert (tmp_path / "out" / "a%2Fb.log").read_text() == "it is one\n"


async def test_a_relative_working_directory_and_a_login_shell(queue, agent, tmp_path):
    (tmp_path / "node-0" / "sub").mkdir(parents=True)
    (tmp_path / "node-0" / ".bash_profile").write_text("export FROM_PROFILE=yes\n")
    await queue.push_task(Task.new({"cmd": "pwd; echo profile $FROM_PROFILE", "cwd": "tests"}, id="a"))
    worker = await agent("--login-shell", "--when-empty", "exit")
    assert await worker.exit_code() == 0
    assert f"[a] {Path.cwd() / 'tests'}" in worker.words
    assert "[a] profile yes" in worker.words


async def test_an_idle_worker_takes_a_new_task_soon_and_uses_little_processor_time(queue, agent, files):
    worker = await agent()
    await worker.said("worker_start")
    before = processor_seconds(worker.process.pid)
    await asyncio.sleep(5)
    used = processor_seconds(worker.process.pid) - before
    assert used < 1.0  # a busy loop would use all of it; start-up may still be going on
    loop = asyncio.get_running_loop()
    times = []
    for number in range(3):
        begun = loop.time()
        await push(queue, files.quick(f"t{number}"))
        await files.done(f"t{number}")
        times.append(loop.time() - begun)
    assert min(times) < 2


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100
