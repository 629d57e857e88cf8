"""The story: apply, hire, run real tasks, shrink by drain, survive a kill, delete; and what came of it.

Every step is what a user would type. The verdict is counted from the tasks' own record and from ARM's list of jobs.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workforce_local.demo.bench import Bench, DemoError
from workforce_local.demo.narrator import Narrator
from workforce_local.demo.verdict import TaskRun, Verdict, busy_at, judge, parse_record

NAMESPACE = "default"
RELEASE = "workforce-operator"
LEAST_MID_TASK = 2
"""At least this many of the drained workers must be in the middle of a task, or the story proves nothing."""


@dataclass(frozen=True, slots=True)
class Script:
    """How big the story is.

    Attributes:
        tasks: Tasks to run.
        task_seconds: Length of one task.
        scale_up: Replicas in the middle of the story.
        scale_down: Replicas at the end.
    """

    tasks: int = 200
    task_seconds: float = 2.0
    scale_up: int = 6
    scale_down: int = 2


class Story:
    """One run of the demonstration on a local cloud.

    Args:
        bench: Where it happens.
        narrator: Who tells it.
        checkout: Root of the repository: the chart and the example are there.
        script: How big it is.
    """

    def __init__(self, bench: Bench, narrator: Narrator, checkout: Path, script: Script) -> None:
        self._bench = bench
        self._say = narrator.say
        self._narrator = narrator
        self._chart = checkout / "helm" / "workforce-operator"
        self._example = checkout / "examples" / "workforce.yaml"
        self._script = script
        self._workforce: dict[str, Any] = yaml.safe_load(self._example.read_text(encoding="utf-8"))
        self._name = self._workforce["metadata"]["name"]
        self._folder = bench.state_dir / "demo"
        self._record = self._folder / "record.txt"
        self._mid_task = 0

    def run(self) -> Verdict:
        """Tell it from the beginning to the verdict.

        Raises:
            DemoError: A step did not succeed; the text says which.
        """
        self._enqueue()
        self._install()
        self._apply()
        self._scale_up()
        self._scale_down_with_a_kill()
        self._drain_the_queue()
        self._delete()
        return self._judge()

    def _enqueue(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._record.touch()
        lines = "".join(self._task(number) + "\n" for number in range(self._script.tasks))
        self._bench.run("workforce-agent", "push", self.queue, stdin=lines)
        self._say(f"{self._script.tasks} shell tasks of {self._script.task_seconds:.0f} s are in {self.queue}")

    @property
    def queue(self) -> str:
        """The queue of the example's tasks, as the agent's commands name it."""
        storage = self._workforce["spec"]["queue"]["storage"]
        return f"{storage['account']}/{storage['name']}"

    def _task(self, number: int) -> str:
        def note(event: str) -> str:
            return f'echo "{event} {number} $AZUREML_RUN_ID $(date +%s.%N)" >> {shlex.quote(str(self._record))}'

        # Half of the time the task computes, so that it is work and not only waiting.
        work = f"seq 20000 | sha256sum > /dev/null; sleep {self._script.task_seconds}"
        return f"{note('start')}; {work}; {note('end')}"

    def _install(self) -> None:
        values = {"azure.cloud": os.environ["WORKFORCE_CLOUD"], "pollSeconds": "1"}
        values |= {f"extraEnv.{name}": os.environ[name] for name in sorted(os.environ) if name.startswith("AZURE_")}
        flags = [flag for name, value in values.items() for flag in ("--set-string", f"{name}={value}")]
        with self._narrator.progress("helm install --wait"):
            self._bench.run("helm", "install", RELEASE, str(self._chart), "--wait", "--timeout", "90s", *flags)
        self._say("helm install --wait: the operator runs")

    def _apply(self) -> None:
        self._bench.kubectl("apply", "-f", str(self._example))
        self._say(f"kubectl apply -f examples/workforce.yaml: {self._replicas_wanted()} replicas in 2 regions")
        self._await_ready()

    def _replicas_wanted(self) -> int:
        return int(self._bench.get_json("wf", self._name)["spec"]["replicas"])

    def _await_ready(self) -> None:
        with self._narrator.progress("waiting for Ready") as progress:
            self._bench.wait("Ready", self._not_ready, timeout=90, tell=progress.update)
        self._say(f"Ready; {self._running()} workers run")
        self._narrator.show(self._bench.kubectl("get", "wf"))

    def _not_ready(self) -> str | None:
        stored = self._bench.get_json("wf", self._name)
        status = stored.get("status", {})
        ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), None)
        current = status.get("observedGeneration") == stored["metadata"]["generation"]
        running = status.get("runningReplicas", 0)
        if ready and ready["status"] == "True" and current and running >= stored["spec"]["replicas"]:
            return None
        return f"{running} running, {status.get('pendingReplicas', 0)} pending, {self._done()} tasks done"

    def _running(self) -> int:
        return int(self._bench.get_json("wf", self._name).get("status", {}).get("runningReplicas", 0))

    def _runs(self) -> list[TaskRun]:
        return parse_record(self._record.read_text(encoding="utf-8"))

    def _done(self) -> int:
        return sum(1 for run in self._runs() if run.event == "end")

    def _scale(self, replicas: int) -> None:
        self._bench.kubectl("scale", "wf", self._name, f"--replicas={replicas}")
        self._say(f"kubectl scale wf/{self._name} --replicas={replicas}")

    def _scale_up(self) -> None:
        self._scale(self._script.scale_up)
        self._await_ready()
        # A job runs before its worker does, and who has nothing to do leaves first.
        with self._narrator.progress("waiting for all of them to work") as progress:
            self._bench.wait("a task on each worker", self._not_at_work, timeout=60, tell=progress.update)

    def _not_at_work(self) -> str | None:
        at_work = len({run.worker for run in self._runs()})
        return None if at_work >= self._script.scale_up else f"{at_work} of {self._script.scale_up} workers have a task"

    def _scale_down_with_a_kill(self) -> None:
        self._scale(self._script.scale_down)
        with self._narrator.progress("waiting for the drain") as progress:
            self._bench.wait("the first drain order", self._no_drain_yet, timeout=60, tell=progress.update)
            ordered = time.time()
            self._kill_the_operator()
            self._bench.wait("the shrink", self._not_shrunk, timeout=90, tell=progress.update)
        left = {job["name"] for job in self._jobs() if job["properties"]["status"] == "Completed"}
        self._mid_task = len(left & busy_at(self._runs(), ordered).keys())
        self._say(f"{len(left)} workers left by drain; {self._mid_task} of them were in the middle of a task")
        self._await_ready()

    def _no_drain_yet(self) -> str | None:
        status = self._bench.get_json("wf", self._name).get("status", {})
        ordered = any(region.get("drains") for region in status.get("regions", []))
        return None if ordered else "no drain is ordered yet"

    def _kill_the_operator(self) -> None:
        """SIGKILL to the operator's own processes: Pods are processes here."""
        pod = self._bench.get_json("pods", "-l", f"app.kubernetes.io/instance={RELEASE}")["items"][0]
        killed = [process for process in _processes_of(pod["metadata"]["name"]) if _kill(process)]
        if not killed:
            raise DemoError(f"no process of the operator's pod {pod['metadata']['name']} was found to kill")
        self._say("kill -9 of the operator, in the middle of it; its Pod is restarted")

    def _not_shrunk(self) -> str | None:
        live = [job for job in self._jobs() if job["properties"]["status"] not in ("Completed", "Failed", "Canceled")]
        if len(live) <= self._script.scale_down:
            return None
        return f"{len(live)} workers, {self._done()} tasks done"

    def _jobs(self) -> list[dict[str, Any]]:
        async def collect() -> list[dict[str, Any]]:
            regions = self._workforce["spec"]["regions"]
            return [job for found in await asyncio.gather(*map(self._bench.jobs, regions)) for job in found]

        return asyncio.run(collect())

    def _drain_the_queue(self) -> None:
        def pending() -> str | None:
            done = self._done()
            return None if done >= self._script.tasks else f"{done} of {self._script.tasks} tasks done"

        with self._narrator.progress("waiting for the tasks") as progress:
            self._bench.wait("the tasks", pending, timeout=240, tell=progress.update)
        self._say(f"all {self._script.tasks} tasks are done")
        self._show_conditions()

    def _show_conditions(self) -> None:
        conditions = self._bench.get_json("wf", self._name)["status"]["conditions"]
        rows = [f"{c['type']:<20} {c['status']:<8} {c['reason']}" for c in conditions]
        self._narrator.show("\n".join(rows))

    def _delete(self) -> None:
        with self._narrator.progress("kubectl delete wf"):
            self._bench.kubectl("delete", "wf", self._name, "--timeout=90s")
        self._say(f"kubectl delete wf/{self._name}: its last workers were drained")

    def _judge(self) -> Verdict:
        return judge(enqueued=self._script.tasks, runs=self._runs(), jobs=self._jobs(), drained_mid_task=self._mid_task)


def _processes_of(pod: str) -> list[int]:
    """Processes whose environment names the pod (Kubernetes sets HOSTNAME to it)."""
    marker = f"HOSTNAME={pod}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # it ended, or is not ours
            if marker in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


def _kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def tell(verdict: Verdict, narrator: Narrator) -> bool:
    """Print the verdict; returns whether the promise was kept."""
    rows: list[tuple[str, Callable[[Verdict], int]]] = [
        ("tasks enqueued", lambda v: v.enqueued),
        ("tasks completed exactly once", lambda v: v.completed_once),
        ("tasks lost", lambda v: v.lost),
        ("tasks run twice", lambda v: v.started_twice),
        ("workers hired", lambda v: v.hired),
        ("workers drained in the middle of a task", lambda v: v.drained_mid_task),
        ("workers cancelled while running", lambda v: v.cancelled_while_running),
        ("jobs left", lambda v: v.jobs_left),
    ]
    narrator.say("The verdict, counted from the tasks' files and ARM's job list:")
    narrator.show("\n".join(f"{label:<42}{count(verdict):>6}" for label, count in rows))
    faults = verdict.faults(least_mid_task=LEAST_MID_TASK)
    for fault in faults:
        narrator.say(f"WRONG: {fault}", style="bold red")
    if not faults:
        narrator.say("No task lost, none run twice, nobody cancelled at work.", style="bold green")
    return not faults
