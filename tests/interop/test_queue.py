"""One Storage Queue for both: what either side enqueues the other one runs, and both read what was given up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.interop.conftest import ACCOUNT, Ancestor, OurAgent


def writes(folder: Path, name: str) -> str:
    """A command that leaves a file behind with what it was given by its environment."""
    return f'printf "%s %s" "$COLOUR" "$JOBQ_TASK_ID" > {folder}/{name}'


def test_our_agent_runs_what_the_ancestor_enqueues(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: plain JSON text with `kwargs` as JSON inside; environment and id reach the task."""
    ancestor.jobq(queue, "push", "-c", writes(tmp_path, "one"), "-c", writes(tmp_path, "two"), "-e", "COLOUR=blue")
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == "2"
    our_agent("run", f"{ACCOUNT}/{queue}", "--when-empty", "exit")
    for name in ("one", "two"):
        colour, task_id = (tmp_path / name).read_text().split()
        assert colour == "blue"
        assert len(task_id) == 32
    assert ancestor.jobq(queue, "size").strip() == "0"


def test_the_ancestors_worker_runs_what_we_enqueue(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: a worker leaves with 0 when the queue is empty."""
    our_agent("push", f"{ACCOUNT}/{queue}", "-c", writes(tmp_path, "one"), "-e", "COLOUR=red")
    assert ancestor.jobq(queue, "size").strip() == "1"
    ancestor.jobq(queue, "worker")
    assert (tmp_path / "one").read_text().startswith("red ")
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == "0"


def test_both_give_the_same_task_the_same_id(ancestor: Ancestor, our_agent: OurAgent, queue: str) -> None:
    """ai4s-jobq 3.13.1: the id is the MD5 of version, reply_requested, kwargs and num_retries in that order."""
    for push in (ancestor.jobq, lambda name, verb, *rest: our_agent(verb, f"{ACCOUNT}/{name}", *rest)):
        push(queue, "push", "-c", 'echo "hi <é> & $NAME"', "-e", "NAME=bob", "--num-retries", "2")
    lines = our_agent("peek", f"{ACCOUNT}/{queue}", "-n", "2", "--json").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first == second
    assert first["id"] == "7975e1c5a278d71374620eaa2ab8e6d4"


def test_a_task_that_the_ancestor_returns_with_a_retry_is_run_by_us(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: what the ancestor sends again carries `_job_id` in its arguments, which no callee asked for."""
    marker = tmp_path / "tried"
    ancestor.jobq(queue, "push", "--num-retries", "1", "-c", f"test -e {marker} || {{ touch {marker}; exit 5; }}")
    ancestor.jobq(queue, "pull")
    assert marker.exists()
    our_agent("run", f"{ACCOUNT}/{queue}", "--when-empty", "exit")
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == "0"
    assert our_agent("failed", "list", f"{ACCOUNT}/{queue}").strip() == ""


def test_we_read_and_retry_what_the_ancestor_has_given_up(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: its dead letter is the task in `<queue>-failed`, without the error."""
    marker = tmp_path / "repaired"
    ancestor.jobq(queue, "push", "-c", f"test -e {marker} && echo again > {marker}")
    ancestor.jobq(queue, "worker")
    [line] = our_agent("failed", "list", f"{ACCOUNT}/{queue}").splitlines()
    assert f"test -e {marker}" in line
    marker.touch()
    our_agent("failed", "retry", f"{ACCOUNT}/{queue}", "--all")
    ancestor.jobq(queue, "worker")
    assert marker.read_text() == "again\n"


def test_the_ancestor_reads_and_runs_what_we_have_given_up(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1 reads its own fields only: why a task was given up is in one that it ignores."""
    marker = tmp_path / "repaired"
    our_agent("push", f"{ACCOUNT}/{queue}", "-c", f"test -e {marker} && echo again > {marker}")
    our_agent("run", f"{ACCOUNT}/{queue}", "--when-empty", "exit")
    shown = ancestor.jobq(f"{queue}-failed", "peek")
    assert f"test -e {marker}" in shown
    assert "failure" in shown
    marker.touch()
    ancestor.jobq(f"{queue}-failed", "worker")
    assert marker.read_text() == "again\n"


def test_our_agent_needs_no_setting_where_azure_has_its_public_names(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """Without WORKFORCE_CLOUD the cloud is the public one."""
    ancestor.jobq(queue, "push", "-c", f"echo ran > {tmp_path}/one")
    command = ancestor.cloud.into_azure(
        sys.executable, "-m", "workforce_agent", "run", f"{ACCOUNT}/{queue}", "--when-empty", "exit"
    )
    program = our_agent.background(command, ancestor.environ())
    assert program.exit_code() == 0, program.words
    assert (tmp_path / "one").read_text() == "ran\n"
