"""A storm: workers on a storage service that fails, while they are killed, frozen, preempted and drained.

Everything is real but the weather: worker processes, Azurite behind the local cloud's fault proxy, and one metadata
service for each worker. The workers are replaced as a platform would replace them. The plan is drawn from a seed;
what happens in between is up to the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobq.cloud import PUBLIC_CLOUDS
from jobq.operations import Mode, OnDeadline, Operation
from jobq.queue import JobQ
from jobq.task import Task, shell_kwargs
from tests.soak.verdict import Facts, Why
from tests.support.storage import ACCOUNT
from workforce_agent.pid_file import workers, write_intents
from workforce_local.chaos.engine import Engine
from workforce_local.chaos.scenario import read
from workforce_local.chaos.storage import StorageFront
from workforce_local.identity.tokens import Issuer
from workforce_local.imds import Machine, MetadataServer, ScheduledEvent
from workforce_local.storage import Azurite

QUEUE, NODE_VARIABLE = "soak", "SOAK_WORKER"
VISIBILITY_SECONDS = 10
DEPTH = 300
"""Azurite answers slowly when it holds many messages."""
FAULTS = [
    {"name": "late", "kind": "latency", "distribution": "exponential", "seconds": 0.02, "share": 0.2},
    {"name": "busy", "kind": "throttle", "share": 0.02},
    {"name": "error", "kind": "error", "status": 500, "share": 0.02},
    {"name": "lost-answer", "kind": "lostResponse", "share": 0.005},
    {"name": "drop", "kind": "drop", "share": 0.01},
]
OUTAGE_EVERY, OUTAGE_SECONDS = 30.0, 3.0
LULL_SECONDS = 10.0
LET_GO = {'"task_lock_lost"': Why.LOCK_LOST, '"settled": false': Why.LOCK_LOST, '"task_canceled"': Why.TOLD_TO_STOP}
"""What a worker says of a task that will be handed out again, and why."""


@dataclass(frozen=True)
class Plan:
    """How much of what.

    Attributes:
        tasks: How many; one in fifty fails once, one in two hundred always.
        workers: How many at a time.
        slots: Of each.
        kills: SIGKILLs.
        preemptions: Announcements; every second one is withdrawn.
        drains: Half of them finish, half checkpoint; half by an order, half by the ancestor's signals.
        freezes: Workers that stop for longer than their locks last.
        patience: After so many seconds it has failed.
        seed: Of the plan.
    """

    tasks: int = 10_000
    workers: int = 8
    slots: int = 4
    kills: int = 200
    preemptions: int = 200
    drains: int = 200
    freezes: int = 10
    patience: float = 1200.0
    seed: int = 1

    @property
    def hopeless(self) -> frozenset[int]:
        """Tasks that always fail."""
        return frozenset(range(0, self.tasks, 200))

    @property
    def failing_once(self) -> frozenset[int]:
        """Tasks whose first attempt fails."""
        return frozenset(range(7, self.tasks, 50))


class Place:
    """Where one worker at a time lives: a machine with its metadata service, replaced when it is gone."""

    def __init__(self, storm: Storm, number: int, metadata: MetadataServer, environ: dict[str, str]) -> None:
        self.metadata = metadata
        self._storm = storm
        self._number = number
        self._environ = environ
        self._lives = 0
        self._expected: set[str] = set()
        self.turn = asyncio.Lock()
        self.name = ""
        self.process: asyncio.subprocess.Process | None = None

    @property
    def folder(self) -> Path:
        """Of the PID files of this life."""
        return self._storm.folder / "pids" / self.name

    async def live(self) -> None:
        """Start one worker after the other until the storm is over."""
        while not self._storm.over:
            self._lives += 1
            self.name = f"w{self._number}.{self._lives}"
            environ = {**self._environ, NODE_VARIABLE: self.name, "JOBQ_PID_DIR": str(self.folder)}
            with (self._storm.folder / "logs" / self.name).open("wb") as log:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "workforce_agent", "run", "-n", str(self._storm.plan.slots),
                    "--visibility-timeout", f"{VISIBILITY_SECONDS}s", "--max-consecutive-failures", "1000",
                    "--kill-timeout", "5s",
                    env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            code = await self.process.wait()
            if code != 0 and self.name not in self._storm.killed:
                self._storm.died[self.name] = code

    @property
    def up(self) -> bool:
        """Whether its worker has recorded itself, so that it hears signals."""
        return self.process is not None and self.process.returncode is None and any(self.folder.glob("*.pid"))

    def signal(self, number: signal.Signals) -> None:
        """Send its worker a signal."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: from now on its tasks may run again."""
        self._storm.killed.add(self.name)
        self.signal(signal.SIGKILL)

    def order(self, mode: Mode) -> None:
        """Do what an order's listener does on the node."""
        fields: dict[str, Any] = {"id": None, "revision": 0, "deadline": None, "on_deadline": OnDeadline.WAIT}
        write_intents(workers(self.folder), operation=Operation.GRACEFUL_DOWNSCALE, mode=mode, **fields).send()

    async def gone(self, seconds: float) -> None:
        """Wait until its worker has ended."""
        process = self.process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if process is not None:
                    await process.wait()


class Storm:
    """One storm.

    Args:
        plan: How much of what.
        folder: Where everything is kept.
        azurite: The storage service.
    """

    def __init__(self, plan: Plan, folder: Path, azurite: Azurite) -> None:
        self.plan = plan
        self.folder = folder
        self.over = False
        self.killed: set[str] = set()
        self.died: dict[str, int] = {}
        self.happened: Counter[str] = Counter()
        self.engine = Engine()
        self._azurite = azurite
        self._dice = random.Random(plan.seed)
        self._pushed = 0
        self._journal = folder / "journal"

    async def run(self, say: Callable[[str], None]) -> Facts:
        """Let it happen. Returns what is known afterwards."""
        for name in ("logs", "pids", "failed-once"):
            (self.folder / name).mkdir(parents=True)
        self._journal.touch()
        begun = time.monotonic()
        async with self._opened() as (queue, places):
            living = [asyncio.create_task(place.live()) for place in places]
            feeding = asyncio.create_task(self._feed(queue))
            raging = asyncio.create_task(self._rage(places))
            waiting = -1
            while time.monotonic() - begun < self.plan.patience:
                await asyncio.sleep(1.0)
                for task in (feeding, raging, *living):
                    if task.done():
                        task.result()  # an error of ours ends the storm
                waiting = (await queue.size()).total
                say(f"{time.monotonic() - begun:4.0f} s: {waiting} tasks in the queue, {dict(self.happened)}")
                if feeding.done() and raging.done() and waiting == 0:
                    break
            feeding.cancel()
            raging.cancel()
            self.over = True
            for place in places:
                place.signal(signal.SIGCONT)
                if place.up:
                    place.signal(signal.SIGUSR1)
                else:
                    place.kill()  # one that is starting hears nothing yet
            await asyncio.wait(living, timeout=60)
            for place in places:
                place.kill()
            await asyncio.gather(*living, feeding, raging, return_exceptions=True)
            letters = [_number(letter.task) async for letter in queue.all_failed() if letter.task is not None]
            return Facts(
                tasks=range(self._pushed),
                unpushed=self.plan.tasks - self._pushed,
                hopeless=self.plan.hopeless,
                journal=self._journal.read_text().splitlines(),
                dead_letters=letters,
                killed=frozenset(self.killed),
                let_go=self._let_go(),
                died=self.died,
                left=await self._left(),
                waiting=(await queue.size()).total,
            )

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[JobQ, list[Place]]]:
        async with AsyncExitStack() as stack:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # Azurite speaks plain HTTP here
            front = StorageFront(
                "queue", self._azurite.queue_url("{account}"), 0, self.engine, server_tls=tls, client_tls=tls
            )
            await stack.enter_async_context(front)
            faults = [{**each, "where": {"service": "queue"}} for each in FAULTS]
            self.engine.set(read({"seed": self.plan.seed, "faults": faults}))
            await front.changed()
            direct = self._azurite.connection_string(ACCOUNT)
            stormy = direct.replace(self._azurite.queue_url(ACCOUNT), front.url.format(account=ACCOUNT))
            queue = await stack.enter_async_context(JobQ.from_connection_string(QUEUE, connection_string=direct))
            issuer = Issuer.load(self.folder / "issuer.pem", "8f2c2d5e-0000-4000-8000-000000000000")
            places = []
            for number in range(self.plan.workers):
                machine = Machine(f"vm-{number}", "westus", "Standard", "s", "g", "c")
                metadata = await stack.enter_async_context(MetadataServer(machine, issuer, host="127.0.0.1"))
                cloud = self.folder / f"cloud-{number}.json"
                cloud.write_text(json.dumps(_cloud_document(metadata.url)))
                places.append(Place(self, number, metadata, self._environ(cloud, stormy)))
                stack.callback(self._end, places[-1])
            yield queue, places

    def _end(self, place: Place) -> None:
        """Leave no worker behind, also when the storm itself has failed."""
        self.over = True
        place.kill()

    def _environ(self, cloud: Path, connection_string: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "WORKFORCE_CLOUD": str(cloud),
            "AZ_BATCH_TASK_ID": "soak",
            "JOBQ_CONNECTION_STRING": connection_string,
            "JOBQ_STORAGE": ACCOUNT,
            "JOBQ_QUEUE": QUEUE,
        }

    # The tasks

    async def _feed(self, queue: JobQ) -> None:
        """Push every task once, past the faults, and never so many that Azurite suffers."""
        for first in range(0, self.plan.tasks, 50):
            while (await queue.size()).total > DEPTH:  # noqa: ASYNC110 - a service is asked
                await asyncio.sleep(0.2)
            some = range(first, min(first + 50, self.plan.tasks))
            self._pushed = some.stop  # what is under way may be in the queue
            await asyncio.gather(*(queue.push_task(self._task(number)) for number in some))

    def _task(self, number: int) -> Task:
        note = f"echo $0 {number} ${NODE_VARIABLE} >> {self._journal}"
        body = f"sleep 0.{self._dice.randrange(1, 30):02d}"
        if number in self.plan.hopeless:
            body = "exit 3"
        elif number in self.plan.failing_once:
            flag = self.folder / "failed-once" / str(number)
            body = f"[ -e {flag} ] || {{ : > {flag}; exit 4; }}"
        command = f"{note.replace('$0', 'begin')}; {body} && {note.replace('$0', 'done')}"
        return Task.new(shell_kwargs(command), num_retries=int(number in self.plan.failing_once), id=f"t{number}")

    # The weather

    async def _rage(self, places: list[Place]) -> None:
        plan = self.plan
        acts: list[Callable[[Place], Any]] = (
            [self._kill] * plan.kills
            + [self._preempt_for_good, self._preempt_and_withdraw] * (plan.preemptions // 2)
            + [self._order_finish, self._order_checkpoint, self._signal_finish, self._signal_checkpoint]
            * (plan.drains // 4)
            + [self._freeze] * plan.freezes
        )
        self._dice.shuffle(acts)
        running = set[asyncio.Task[None]]()
        outage = time.monotonic() + OUTAGE_EVERY / 2
        for number, act in enumerate(acts):
            await self._work_goes_on(plan.tasks * number // (len(acts) + 1))
            if time.monotonic() > outage:
                outage += OUTAGE_EVERY
                self.happened["outage"] += 1
                self.engine.set(read({"name": "outage", "kind": "outage", "where": {"service": "queue"},
                                      "shows_as": "cut", "lasting_seconds": OUTAGE_SECONDS}))  # fmt: skip
            running.add(task := asyncio.create_task(self._act(act, places)))
            task.add_done_callback(running.discard)
            while len(running) >= plan.workers:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if running:
            await asyncio.wait(running)

    async def _work_goes_on(self, tasks: int) -> None:
        """Wait until so many tasks are done, so that workers work between what happens to them; but not for long."""
        end = time.monotonic() + LULL_SECONDS
        while time.monotonic() < end and self._journal.read_text().count("done") < tasks:  # noqa: ASYNC110 - processes
            await asyncio.sleep(0.1)

    async def _act(self, act: Callable[[Place], Any], places: list[Place]) -> None:
        """Do something to a worker that nothing else is being done to, once it is up."""
        while not (free := [each for each in places if each.up and not each.turn.locked()]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        place = self._dice.choice(free)
        async with place.turn:
            await act(place)
            self.happened[act.__name__.strip("_")] += 1

    async def _kill(self, place: Place) -> None:
        place.kill()
        await place.gone(10)

    async def _preempt_for_good(self, place: Place) -> None:
        notice = place.metadata.events.schedule(ScheduledEvent("Preempt", (place.metadata.machine.name,)))
        await asyncio.sleep(self._dice.uniform(0.5, 2.5))
        place.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        place.kill()
        await place.gone(10)
        place.metadata.events.withdraw(notice)

    async def _preempt_and_withdraw(self, place: Place) -> None:
        notice = place.metadata.events.schedule(ScheduledEvent("Preempt", (place.metadata.machine.name,)))
        await asyncio.sleep(self._dice.uniform(0.5, 2.5))
        place.metadata.events.withdraw(notice)
        await asyncio.sleep(1.0)

    async def _order_finish(self, place: Place) -> None:
        place.order(Mode.FINISH)
        await place.gone(30)

    async def _order_checkpoint(self, place: Place) -> None:
        place.order(Mode.CHECKPOINT)
        await place.gone(30)

    async def _signal_finish(self, place: Place) -> None:
        place.signal(signal.SIGUSR1)
        await place.gone(30)

    async def _signal_checkpoint(self, place: Place) -> None:
        place.signal(signal.SIGUSR2)
        await place.gone(30)

    async def _freeze(self, place: Place) -> None:
        """Its locks end while it cannot know; its tasks go on, and run elsewhere too."""
        self.killed.add(place.name)
        place.signal(signal.SIGSTOP)
        await asyncio.sleep(VISIBILITY_SECONDS * 1.2)
        place.signal(signal.SIGCONT)
        await asyncio.sleep(1.0)

    # What is left

    def _let_go(self) -> dict[tuple[int, str], Why]:
        found: dict[tuple[int, str], Why] = {}
        for log in (self.folder / "logs").iterdir():
            for line in log.read_text(errors="replace").splitlines():
                why = next((why for words, why in LET_GO.items() if words in line), None)
                if why is not None and line.startswith("{"):
                    found.setdefault((int(json.loads(line)["task_id"][1:]), log.name), why)
        return found

    async def _left(self) -> int:
        """Processes of tasks, once their guards have had a moment."""
        for _ in range(50):
            if not (left := _processes_of_tasks(str(self.folder))):
                return 0
            await asyncio.sleep(0.1)
        return left


def _processes_of_tasks(folder: str) -> int:
    found = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                environ = (process / "environ").read_bytes()
                found += f"HOME={folder}".encode() in environ and b"JOBQ_TASK_ID=" in environ
    return found


def _number(task: Task) -> int:
    return int(task.id[1:])


def _cloud_document(imds: str) -> dict[str, Any]:
    public = PUBLIC_CLOUDS["AzureCloud"]
    audiences = public.audiences
    return {
        "name": "Soak",
        "resourceManager": public.resource_manager,
        "authority": public.authority,
        "audiences": {
            "resourceManager": audiences.resource_manager, "machineLearning": audiences.machine_learning,
            "storage": audiences.storage, "serviceBus": audiences.service_bus,
        },
        "mlIndex": public.ml_index,
        "storageQueueSuffix": public.storage_queue_suffix,
        "blob": public.blob,
        "serviceBusSuffix": public.service_bus_suffix,
        "imds": imds,
    }  # fmt: skip
