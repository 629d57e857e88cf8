"""The ancestor's workers on a control topic: untargeted orders, as people send them, taken by whoever is first."""

from __future__ import annotations

import json
from pathlib import Path

from tests.interop.conftest import ACCOUNT, NAMESPACE, Ancestor, OurAgent, Program, wait_until

LEAVES = "Stopping as we are not accepting new tasks."


def gated(folder: Path, name: str) -> str:
    """A command that notes its start, waits for a file, and notes its end; a SIGTERM is noted, too."""
    return (
        f"trap 'echo term >> {folder}/{name}; exit 143' TERM; echo start >> {folder}/{name}; "
        f"until [ -e {folder}/{name}.gate ]; do sleep 0.1; done; echo end >> {folder}/{name}"
    )


def noted(folder: Path, name: str) -> list[str]:
    file = folder / name
    return file.read_text().split() if file.exists() else []


def listening(ancestor: Ancestor, queue: str, topic: str, node: str = "node") -> Program:
    """A worker of the ancestor that listens to a topic; a node has its own folder of PID files."""
    worker = ancestor.worker(
        queue,
        WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE=f"{NAMESPACE}.servicebus.windows.net",
        WORKFORCE_CONTROL_TOPIC_NAME=topic,
        JOBQ_PID_DIR=str(ancestor.folder / f"pids-{node}"),
    )
    worker.said("Listening shutdown events from")
    return worker


def test_a_worker_that_shall_take_no_new_tasks_finishes_its_task_and_leaves(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: `do-not-accept-new-tasks` is SIGUSR1: finish the current task, leave the rest, exit 0."""
    topic = ancestor.topic()
    ancestor.jobq(queue, "push", "--num-workers", "1", "-c", gated(tmp_path, "one"), "-c", gated(tmp_path, "two"))
    worker = listening(ancestor, queue, topic)
    wait_until(lambda: noted(tmp_path, "one") == ["start"], "the start of the task")
    ancestor.order(topic, "do-not-accept-new-tasks")
    wait_until(lambda: ancestor.waiting_orders(topic) == 0, "the order's completion")
    (tmp_path / "one.gate").touch()
    assert worker.exit_code() == 0, worker.words
    assert LEAVES in worker.words
    assert noted(tmp_path, "one") == ["start", "end"]
    assert noted(tmp_path, "two") == []
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == "1"


def test_a_worker_that_shall_leave_cancels_its_task_and_returns_it(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: `graceful-downscale` is SIGUSR2: SIGTERM to the task, back to the queue at once, exit 0."""
    topic = ancestor.topic()
    ancestor.jobq(queue, "push", "--num-retries", "3", "-c", gated(tmp_path, "one"))
    worker = listening(ancestor, queue, topic)
    wait_until(lambda: noted(tmp_path, "one") == ["start"], "the start of the task")
    ancestor.order(topic, "graceful-downscale")
    assert worker.exit_code() == 0, worker.words
    assert noted(tmp_path, "one") == ["start", "term"]
    [line] = our_agent("peek", f"{ACCOUNT}/{queue}", "--json").splitlines()
    assert json.loads(line)["num_retries"] == 3
    assert ancestor.waiting_orders(topic) == 0


def test_one_order_is_for_one_worker(ancestor: Ancestor, queue: str, tmp_path: Path) -> None:
    """ai4s-jobq 3.13.1: competing consumers; the listener ends with the first order that it takes."""
    topic = ancestor.topic()
    ancestor.jobq(queue, "push", "--num-workers", "1", "-c", gated(tmp_path, "one"), "-c", gated(tmp_path, "two"))
    workers = [listening(ancestor, queue, topic, node) for node in ("one", "two")]
    wait_until(lambda: all(noted(tmp_path, name) == ["start"] for name in ("one", "two")), "the start of both tasks")
    ancestor.order(topic, "do-not-accept-new-tasks")
    wait_until(lambda: ancestor.waiting_orders(topic) == 0, "the order's completion")
    (tmp_path / "one.gate").touch()
    (tmp_path / "two.gate").touch()
    assert [worker.exit_code() for worker in workers] == [0, 0]
    took = [worker for worker in workers if LEAVES in worker.words]
    assert len(took) == 1, "\n".join(worker.words for worker in workers)
