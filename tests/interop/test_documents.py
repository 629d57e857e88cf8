"""The users' documents, word for word: what they say to type works here, with what they get wrong put right.

`documents/` holds their text; the programs are taken out of it and run as if they were in Azure.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import textwrap
import time
from pathlib import Path

import certifi
import pytest

from tests.interop.conftest import ACCOUNT, NAMESPACE, Ancestor, OurAgent, Program, wait_until
from tests.interop.test_monitor import gated, noted

DOCUMENTS = Path(__file__).parent / "documents"
TASKS = 40


def code(document: str, language: str) -> list[str]:
    """The code blocks of a document."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCUMENTS / document).read_text(), re.DOTALL)


def changed(text: str, changes: dict[str, str]) -> str:
    """A text with changes, each of which must apply."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def in_azure(ancestor: Ancestor, *command: str | Path) -> list[str]:
    """A command of our own environment, whose certifi has the local authority while it runs."""
    return ancestor.cloud.into_azure(*command, trust=Path(certifi.where()))


def agent(ancestor: Ancestor, our_agent: OurAgent, *words: str, node: str = "node", **more: str) -> Program:
    """Our worker, in place of the ancestor's."""
    path = f"{Path(sys.executable).parent}:{ancestor.environ()['PATH']}"
    environ = {**ancestor.environ(), "PATH": path, "JOBQ_PID_DIR": str(ancestor.folder / f"pids-{node}"), **more}
    return our_agent.background(in_azure(ancestor, sys.executable, "-m", "workforce_agent", *words), environ)


def events(program: Program, name: str) -> list[dict[str, object]]:
    """Log records of our agent."""
    lines = [json.loads(line) for line in program.words.splitlines() if line.startswith("{")]
    return [record for record in lines if record["event"] == name]


def test_the_snippet_that_drains_nodes_works_with_nothing_changed_but_its_constants(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """Two nodes of three finish their task and leave; the third goes on."""
    topic = ancestor.topic()
    host = f"{NAMESPACE}.servicebus.windows.net"
    (snippet,) = code("graceful_shutdown.txt", "python")
    program = changed(
        snippet,
        {
            'WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE = ""': (
                f'WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE = "{host}"'
            ),
            'WORKFORCE_CONTROL_TOPIC_NAME = ""': f'WORKFORCE_CONTROL_TOPIC_NAME = "{topic}"',
            "nb_nodes_to_shutdown = 1": "nb_nodes_to_shutdown = 2",
        },
    )
    (tmp_path / "shut_down.py").write_text(program)
    names = ["one", "two", "three"]
    for name in names:
        our_agent("push", f"{ACCOUNT}/{queue}", "-c", gated(tmp_path, name))
    channel = {
        "WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE": host,
        "WORKFORCE_CONTROL_TOPIC_NAME": topic,
    }
    nodes = [agent(ancestor, our_agent, "run", f"{ACCOUNT}/{queue}", node=name, **channel) for name in names]
    wait_until(lambda: all(noted(tmp_path, name) for name in names), "the start of all tasks")

    done = our_agent.background(in_azure(ancestor, sys.executable, tmp_path / "shut_down.py"), ancestor.environ())
    assert done.exit_code() == 0, done.words
    wait_until(lambda: ancestor.waiting_orders(topic) == 0, "the orders' completion")
    drained = wait_until(
        lambda: [node for node in nodes if events(node, "order_followed")][1:] and
        [node for node in nodes if events(node, "order_followed")],
        "two nodes that follow",
    )  # fmt: skip
    for name in names:
        (tmp_path / f"{name}.gate").touch()
    for node in drained:
        assert node.exit_code() == 0, node.words
    assert len(drained) == 2
    (left,) = [node for node in nodes if node not in drained]
    wait_until(lambda: events(left, "task_success"), "the end of the third task")
    assert left.process.poll() is None
    assert [noted(tmp_path, name) for name in names] == [["start", "end"]] * 3


@pytest.mark.slow
def test_the_preemption_walkthrough(ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path) -> None:
    """Forty tasks, two slots, Ctrl-C: CHECKPOINTING is seen, and all are done afterwards, none twice but two."""
    dummy, enqueue = code("preemption_walkthrough.txt", "python")
    dummy_task = tmp_path / "dummy_task.py"
    dummy_task.write_text(dummy)
    head, body = changed(
        enqueue,
        {
            "from ai4s.jobq import": "from jobq import",
            "AzureDefaultCredential": "DefaultAzureCredential",
            "<YOUR-STORAGE-ACCOUNT>": ACCOUNT,
            '"demo-preemption"': f'"{queue}"',
        },
    ).split("# Enqueue the commands")
    program = f"{head}\nimport asyncio\n\nasync def main():\n{textwrap.indent('# Enqueue the commands' + body, '    ')}"
    (tmp_path / "enqueue.py").write_text(f"{program}\nasyncio.run(main())\n")
    pushed = our_agent.background(in_azure(ancestor, sys.executable, tmp_path / "enqueue.py"), ancestor.environ())
    assert pushed.exit_code() == 0, pushed.words

    (command,) = (line for block in code("preemption_walkthrough.txt", "shell") for line in block.splitlines() if line)
    _, _, verb, *flags = changed(command, {"<YOUR-STORAGE-ACCOUNT>/demo-preemption": f"{ACCOUNT}/{queue}"}).split()
    assert verb == "worker"
    here = ["env", "--chdir", str(tmp_path), sys.executable, "-m", "workforce_agent", "run", f"{ACCOUNT}/{queue}"]
    path = f"{Path(sys.executable).parent}:{ancestor.environ()['PATH']}"
    first = our_agent.background(in_azure(ancestor, *here, *flags), {**ancestor.environ(), "PATH": path})
    first.said("Starting dummy task", times=2)
    time.sleep(1)  # its next statement sets the handler
    first.process.send_signal(signal.SIGINT)
    assert first.exit_code() == 0, first.words
    assert first.words.count("CHECKPOINTING Received signal: 15") == 2
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == str(TASKS)

    dummy_task.write_text(changed(dummy, {"time.sleep(10)": "time.sleep(0.1)"}))
    second = our_agent.background(
        in_azure(ancestor, *here, *flags, "--when-empty", "exit"), {**ancestor.environ(), "PATH": path}
    )
    assert second.exit_code(300) == 0, second.words
    assert second.words.count("Finished dummy task.") == TASKS
    assert our_agent("size", f"{ACCOUNT}/{queue}").strip() == "0"
    assert our_agent("failed", "list", f"{ACCOUNT}/{queue}") == ""


def test_the_ancestors_tools_signal_our_workers_by_their_pid_files(
    ancestor: Ancestor, our_agent: OurAgent, queue: str, tmp_path: Path
) -> None:
    """ai4s-jobq 3.13.1: `send_signal_by_glob` over the queue's folder; SIGUSR1 lets a worker finish and leave."""
    our_agent("push", f"{ACCOUNT}/{queue}", "-c", gated(tmp_path, "one"), "-c", gated(tmp_path, "two"))
    command = in_azure(ancestor, sys.executable, "-m", "workforce_agent", "run", f"{ACCOUNT}/{queue}")
    worker = our_agent.background(command, ancestor.environ())
    wait_until(lambda: noted(tmp_path, "one"), "the start of the task")
    send = (
        "import signal; from appdirs import user_cache_dir; "
        "from ai4s.jobq.orchestration.pid_file import send_signal_by_glob; "
        f"send_signal_by_glob(user_cache_dir('jobq/{ACCOUNT}/{queue}') + '/*.pid', signal.SIGUSR1)"
    )
    ancestor.run("python", "-c", send)
    wait_until(lambda: events(worker, "soft_shutdown_requested_without_cancelling"), "the signal")
    (tmp_path / "one.gate").touch()
    assert worker.exit_code() == 0, worker.words
    assert noted(tmp_path, "one") == ["start", "end"]
    assert noted(tmp_path, "two") == []
