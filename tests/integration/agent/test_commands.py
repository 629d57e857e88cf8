"""The command line against a real queue: what it prints and how it ends."""

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta

import pytest

from tests.support.agent import total
from tests.support.storage import ACCOUNT


@pytest.fixture
def command(azurite, queue):
    """Runs a verb of the command and returns exit code, output and errors."""

    async def run(*arguments, stdin=None, connection_string=None, **more):
        environ = {
            **more,
            "PATH": os.environ["PATH"],
            "JOBQ_CONNECTION_STRING": connection_string or azurite.connection_string(ACCOUNT),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "workforce_agent", *arguments, env=environ,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
        return process.returncode, out.decode(), err.decode()

    return run


async def test_commands_are_pushed_and_counted_and_seen(command, queue):
    name = queue.full_name
    code, out, err = await command("push", name, "-c", "echo a", "-c", "echo b", "-e", "K=V", "--num-retries", "2")
    assert (code, out, err) == (0, "", "2 stored\n")
    assert await command("size", name) == (0, "2\n", "")
    assert (await command("size", name, "--detail"))[1] == "2 in all, 2 visible, 0 in flight or waiting\n"
    _, out, _ = await command("peek", name, "-n", "5", "--json")
    bodies = [json.loads(line) for line in out.splitlines()]
    assert sorted(json.loads(body["kwargs"])["cmd"] for body in bodies) == ["echo a", "echo b"]
    assert {body["num_retries"] for body in bodies} == {2}
    assert "retries 2  attempts 0  echo a" in (await command("peek", name, "-n", "2"))[1]
    assert (await command("clear", name, "--yes"))[0] == 0
    assert await total(queue) == 0


async def test_lines_of_standard_input_are_tasks(command, queue):
    lines = 'echo one\n\n{ echo two; }\n{"cmd": "echo three"}\necho four'
    code, _, err = await command("push", queue.full_name, stdin=lines)
    assert (code, err) == (0, "4 stored\n")
    seen = await queue.peek(32)
    assert {looked.task.kwargs["cmd"] for looked in seen} == {"echo one", "{ echo two; }", "echo three", "echo four"}


async def test_a_line_of_any_bytes_is_a_task(command, queue):
    """Also one that comes in pieces, or has no end."""
    code, _, err = await command("push", queue.full_name, stdin=f"echo {'é' * 5_000}\r\n#{'x' * 59_999}\necho last")
    assert (code, err) == (0, "3 stored\n")
    assert {len(looked.task.kwargs["cmd"]) for looked in await queue.peek(3)} == {5_005, 60_000, 9}


async def test_a_push_that_waits_for_lines_ends_when_it_is_interrupted(queue, azurite):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workforce_agent", "push", queue.full_name,
        env={"PATH": os.environ["PATH"], "JOBQ_CONNECTION_STRING": azurite.connection_string(ACCOUNT)},
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(b"echo one\n")
    async with asyncio.timeout(60):
        while not await queue.peek():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().strip() == "Aborted!"


async def test_a_task_that_is_not_stored_is_named_and_the_exit_code_says_so(command, queue):
    lines = "\n".join(["echo good", "x" * 70_000, "echo fine"])
    code, _, err = await command("push", queue.full_name, stdin=lines)
    assert code == 1
    assert "above the limit of 65536 bytes" in err
    assert "2 stored, 1 not" in err
    assert await total(queue) == 2


@pytest.mark.parametrize("verb", ["run", "size"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("AccountKey=c2VjcmV0", "neither QueueEndpoint nor AccountName"),
        ("AccountName=a;AccountKey=c2VjcmV0x", "not base64"),
        ("Endpoint=sb://;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0", "Service Bus cannot be read"),
    ],
)
async def test_a_connection_string_that_is_none_is_wrong_usage_and_is_not_shown(command, verb, given, words):
    code, out, err = await command(verb, "a/tasks", connection_string=given, HOME="/nonexistent")
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err
    assert "c2VjcmV0" not in err


async def test_a_pushed_task_may_have_a_timeout_of_its_own(command, queue):
    assert (await command("push", queue.full_name, "-c", "true", "--task-timeout", "2m"))[0] == 0
    (looked,) = await queue.peek()
    assert looked.task is not None
    assert looked.task.extra == {"timeout_seconds": 120.0}


async def test_more_failures_than_pushes_at_a_time_end_all_the_same(command, queue):
    code, _, err = await command("push", queue.full_name, "--num-workers", "2", stdin=("y" * 70_000 + "\n") * 12)
    assert code == 1
    assert "0 stored, 12 not" in err


async def test_dead_letters_are_listed_shown_retried_and_dropped(command, queue, agent):
    name = queue.full_name
    assert await command("failed", "list", name) == (0, "", "")
    for word in ("one", "two"):
        await queue.push(f"echo {word}; exit 3", num_retries=0, id=word)
    worker = await agent("--when-empty", "exit")
    assert await worker.exit_code() == 0
    code, out, _ = await command("failed", "list", name)
    assert code == 0
    assert sorted(out.splitlines()) == [
        "one  attempts 1  exit code 3  echo one; exit 3",
        "two  attempts 1  exit code 3  echo two; exit 3",
    ]
    shown = json.loads((await command("failed", "show", name, "one"))[1])
    assert (shown["failure"]["exitCode"], shown["failure"]["lastLines"]) == (3, ["one"])
    code, out, err = await command("failed", "export", name)
    exported = [json.loads(line) for line in out.splitlines()]
    assert (code, err, {line["id"] for line in exported}) == (0, "2 exported\n", {"one", "two"})
    assert {json.loads(line["message"])["id"] for line in exported} == {"one", "two"}
    assert len(await queue.failed()) == 2
    code, _, err = await command("failed", "show", name, "three")
    assert code == 1
    assert "no dead letter of task three" in err
    code, _, err = await command("failed", "retry", name, "one", "three", "--num-retries", "4")
    assert (code, "1 enqueued again" in err, "no dead letter of task three" in err) == (1, True, True)
    (looked,) = await queue.peek()
    assert looked.task is not None
    assert (looked.task.id, looked.task.num_retries) == ("one", 4)
    code, _, err = await command("failed", "drop", name, "two", "three")
    assert (code, "1 dropped" in err, f"no dead letter of task three in {name}" in err) == (1, True, True)
    assert await queue.failed() == []


async def test_the_environment_names_the_queue_of_every_command(command, queue):
    await queue.push("echo hi; exit 1", id="one")
    (delivery,) = await queue.backend.receive(1, timedelta(minutes=1))
    await queue.backend.dead_letter(delivery, delivery.body)
    named = {"JOBQ_STORAGE": ACCOUNT, "JOBQ_QUEUE": queue.full_name.partition("/")[2]}
    for words, answer in (
        (("size",), "0"), (("peek",), ""), (("clear", "--yes"), ""), (("push", "-c", "true"), "1 stored"),
        (("failed", "list"), "one  attempts"), (("failed", "show", "one"), '"id": "one"'),
        (("failed", "export"), "1 exported"), (("failed", "retry", "one"), "1 enqueued again"),
        (("failed", "drop", "--all"), "0 dropped"),
    ):  # fmt: skip
        code, out, err = await command(*words, **named)
        assert (code, answer in out + err) == (0, True), words


async def test_the_dead_letters_of_a_queue_that_is_missing_are_not_none(command):
    code, _, err = await command("failed", "list", f"{ACCOUNT}/not-there")
    assert (code, err) == (1, f"Error: queue {ACCOUNT}/not-there does not exist\n")


async def test_a_queue_that_is_missing_and_a_service_that_is_gone_are_one_line_each(command):
    code, _, err = await command("size", f"{ACCOUNT}/not-there")
    assert code == 1
    assert "does not exist" in err
    gone = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a"
    code, _, err = await command("size", "a/q-one", connection_string=gone)
    assert code == 1
    assert err.startswith("Error: a/q-one: ")
    assert "Traceback" not in err
    gone = "Endpoint=sb://127.0.0.1/;SharedAccessKeyName=a;SharedAccessKey=a2V5"
    code, _, err = await command("size", "sb://a/q-one", connection_string=gone)
    assert (code, err.count("\n"), err.partition(": ")[0]) == (1, 1, "Error")


async def run_in_shell(azurite, queue, redirections, *flags, **more):
    """A worker until the queue is empty, with its standard files as a shell opens or closes them."""
    program = [sys.executable, "-m", "workforce_agent", "run", queue.full_name, "--when-empty", "exit", *flags]
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f'exec "$@" {redirections}', "bash", *program,
        env={"PATH": os.environ["PATH"], "JOBQ_CONNECTION_STRING": azurite.connection_string(ACCOUNT), **more},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


@pytest.mark.parametrize("redirections", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full", "2>&1 | true"])
async def test_output_that_goes_nowhere_costs_no_task(azurite, queue, tmp_path, redirections):
    await queue.push(f"echo out; echo ran > {tmp_path}/proof")
    pids = {"JOBQ_PID_DIR": str(tmp_path / "pids")}
    assert await run_in_shell(azurite, queue, redirections, **pids) == (0, "")
    assert (tmp_path / "proof").read_text() == "ran\n"
    assert await total(queue) == 0


async def test_folders_that_cannot_be_written_end_the_worker_before_it_takes_a_task(azurite, queue, tmp_path):
    await queue.push("true")
    (tmp_path / "file").touch()
    code, out = await run_in_shell(azurite, queue, "", JOBQ_PID_DIR=str(tmp_path / "file"))
    last = out.splitlines()[-1]
    assert (code, last.startswith(f"Error: the PID file {tmp_path / 'file'}"), "Traceback" in out) == (1, True, False)
    assert last.endswith("cannot be written (File exists): name another folder with JOBQ_PID_DIR")
    code, out = await run_in_shell(azurite, queue, "", "--output-dir", str(tmp_path / "file" / "below"))
    assert code == 2
    assert "--output-dir: cannot be made: Not a directory" in out
    assert await total(queue) == 1
