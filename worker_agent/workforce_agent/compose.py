"""Puts a worker together: the one place that knows every part, from the queue to the control channel.

Side tasks (listeners, reports) are started under a watch that logs what goes wrong and starts them again: whatever
happens to them, task work goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from jobq.address import QueueAddress
from jobq.cloud import Cloud
from jobq.connect import open_credential, service_bus_client
from jobq.opening import open_backend
from jobq.version import __version__
from workforce_agent import early_signals, preemption
from workforce_agent.execution import Surroundings
from workforce_agent.family import become_subreaper
from workforce_agent.guard import Guard
from workforce_agent.lifecycle import Trigger
from workforce_agent.output import Writer
from workforce_agent.outside import Outside
from workforce_agent.pid_file import PidFile, pid_folder, pid_root
from workforce_agent.processors.opening import open_processor
from workforce_agent.pulse import Pulse
from workforce_agent.report import OpenSender, Reporter, idle
from workforce_agent.settings import ControlSettings, RunSettings, job_name
from workforce_agent.supervisor import Worker
from workforce_agent.understudy import Understudy

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

REPORT_SECONDS = 3.0
"""How long the last reports may take."""
CLOSE_SECONDS = 0.25
"""How long links may take to close. What closes them is written at once; then the SDK waits, up to a second for each,
for a timer of its own. Nothing is lost with it: orders are settled and reports confirmed by then."""
RESTART_SECONDS = (1.0, 60.0)

_log = structlog.get_logger()


async def run_worker(
    address: QueueAddress,
    settings: RunSettings,
    control: ControlSettings | None,
    cloud: Cloud,
    *,
    outside: Outside,
    guard: Guard,
) -> int:
    """Run a worker to its end, and show it to the outside. Returns the exit code."""
    worker_id = uuid.uuid4().hex
    writer = Writer(sink=outside.output)
    try:
        async with AsyncExitStack() as stack:
            stack.enter_context(guard)
            credential = None
            if control is not None or address.connection_string is None:
                credential = await stack.enter_async_context(open_credential(cloud))
            await guard.ready()
            processor = await stack.enter_async_context(
                open_processor(
                    settings.processor,
                    slots=settings.slots,
                    queue_name=address.queue,
                    worker=worker_id,
                    guard=guard,
                )
            )
            around = Surroundings(
                backend=await stack.enter_async_context(open_backend(address, cloud, credential)),
                processor=processor,
                worker=worker_id,
                writer=writer,
                visibility=settings.visibility_timeout,
                heartbeat=settings.heartbeat,
                task_timeout=settings.processor.task_timeout,
                kill_timeout=settings.kill_timeout,
                output_folder=settings.processor.output_folder,
                understudy=stack.enter_context(Understudy(partial(open_backend, address, cloud))),
            )
            queue = f"sb://{address.account}/{address.queue}" if address.service_bus else around.backend.full_name
            structlog.contextvars.bind_contextvars(queue=queue, worker_id=worker_id)
            job = job_name(os.environ)
            topic = control.topic_name if control else None
            pid_file = PidFile(pid_folder(around.backend.full_name), worker_id, topic=topic, job=job)
            worker = Worker(settings, around, pid_file.take_intents)
            install_signals(worker)
            stack.enter_context(pid_file)
            await stack.enter_async_context(_shown(worker, around, outside))
            return await _live(worker, settings, control, cloud, credential)
    finally:
        writer.close()


async def tell_failed_start(control: ControlSettings | None, cloud: Cloud, error: str, exit_code: int) -> None:
    """Tell the operator why this worker ends before it has begun: it says so where people look for the reason.

    Takes a few seconds at most, and never fails: the reason is in the job's logs anyway.
    """
    if control is None or not control.reports_queue:
        return
    try:
        async with open_credential(cloud) as credential:
            from workforce_agent.service_bus import OPTIONS, open_report_sender  # noqa: PLC0415 - see `_control`

            client = service_bus_client(cloud, control.host, credential, **OPTIONS)
            reporter = Reporter(control.job, partial(open_report_sender, client, control.reports_queue), idle)
            reporter.exit("crashed", exit_code, [error])
            sending = asyncio.create_task(watch("reports", reporter.run), name="reports")
            await reporter.flush(REPORT_SECONDS)
            await _end([sending], client.close)
    except Exception as failure:  # what cannot be reached must not hide why the worker ends
        _log.warning("the operator cannot be told why this worker ends", error=str(failure))


def install_signals(worker: Worker) -> None:
    """Turn signals into triggers, also those that came before."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.on_sigterm)
    for number, trigger in (
        (signal.SIGINT, Trigger.SIGINT),
        (signal.SIGUSR1, Trigger.SIGUSR1),
        (signal.SIGUSR2, Trigger.SIGUSR2),
    ):
        loop.add_signal_handler(number, partial(worker.trigger, trigger))
    early_signals.deliver()


async def _live(
    worker: Worker,
    settings: RunSettings,
    control: ControlSettings | None,
    cloud: Cloud,
    credential: AsyncTokenCredential | None,
) -> int:
    if not become_subreaper():
        _log.warning("no_subreaper", effect="a process that leaves its task's session may outlive it")
    _log.info("worker_start", version=__version__, pid=os.getpid(), slots=settings.slots, host=socket.gethostname())
    async with _preemption(worker, cloud), _control(worker, control, cloud, credential) as first_look:
        worker.reporter.hello(settings.slots)
        await _unless_leaving(worker, first_look)
        try:
            exit_code = await worker.run()
        except Exception as error:
            worker.reporter.exit("crashed", 1, [f"{type(error).__name__}: {error}"])
            await worker.reporter.flush(REPORT_SECONDS)
            raise
        worker.report_end()
        await worker.reporter.flush(REPORT_SECONDS)
    counters = worker.counters
    _log.info(
        "worker_end",
        exit_code=exit_code,
        completed=counters.completed,
        failed=counters.failed,
        returned=counters.returned,
    )
    return exit_code


@asynccontextmanager
async def _shown(worker: Worker, around: Surroundings, outside: Outside) -> AsyncIterator[None]:
    """Let the outside see the worker."""
    pulse = Pulse(around.backend, shown=outside.display is not None)
    outside.read = lambda: worker.sample(pulse.queue_size)
    beating = asyncio.create_task(watch("pulse", pulse.run), name="pulse")
    try:
        yield
    finally:
        beating.cancel()


@asynccontextmanager
async def _preemption(worker: Worker, cloud: Cloud) -> AsyncIterator[None]:
    """Watch for scheduled events beside the worker, on nodes that have them."""
    if not preemption.enabled(os.environ):
        yield
        return
    from workforce_agent.metadata import open_metadata  # noqa: PLC0415 - only nodes of AzureML have one

    async with open_metadata(cloud.imds) as fetch:
        watching = asyncio.create_task(watch("preemption", preemption.Watcher(fetch, worker).run), name="preemption")
        try:
            yield
        finally:
            await _end([watching])


@asynccontextmanager
async def _control(
    worker: Worker, control: ControlSettings | None, cloud: Cloud, credential: AsyncTokenCredential | None
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Run listeners and reports beside the worker. Yields what to wait for before the first pull."""
    if control is None or credential is None:
        yield _nothing
        return
    # Imported here, because a worker without a control channel need not pay for it.
    from workforce_agent.control import TargetedListener, UntargetedListener  # noqa: PLC0415 - see above
    from workforce_agent.service_bus import (  # noqa: PLC0415 - see above
        OPTIONS,
        SESSION_OPTIONS,
        ServiceBus,
        open_report_sender,
    )

    async with AsyncExitStack() as stack:
        client = service_bus_client(cloud, control.host, credential, **OPTIONS)
        clients = [client]
        open_sender: OpenSender | None = None
        if control.reports_queue:
            open_sender = partial(open_report_sender, client, control.reports_queue)
        worker.reporter = Reporter(control.job, open_sender, worker.activity)
        sides: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = [("reports", worker.reporter.run)]
        first_look: Callable[[], Coroutine[Any, Any, None]] = _nothing
        if control.node_queue and control.job:
            # A client of its own: the other one asks again by itself, and says only then that the session is held.
            prompt = service_bus_client(cloud, control.host, credential, **SESSION_OPTIONS)
            clients.append(prompt)
            sessions = ServiceBus(prompt, node_queue=control.node_queue)
            targeted = TargetedListener(sessions, worker, pid_root(), job=control.job)
            first_look = targeted.first_look
            sides.append(("session", targeted.run))
        if control.topic_name:
            bus = ServiceBus(client, topic=control.topic)
            listener = UntargetedListener(bus, worker, pid_root(), topic=control.topic_name, job=control.job)
            sides.append(("topic", listener.run))
        tasks = [asyncio.create_task(watch(name, side), name=name) for name, side in sides]

        async def close() -> None:
            await asyncio.gather(*(each.close() for each in clients))

        stack.push_async_callback(_end, tasks, close)
        yield first_look


async def watch(name: str, side: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Keep a side task running: an error that it did not expect is logged, and it starts again after a while."""
    pause = RESTART_SECONDS[0]
    while True:
        try:
            return await side()
        except Exception:
            _log.exception("side_task_failed", side=name, restart_in=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, RESTART_SECONDS[1])


async def _unless_leaving(worker: Worker, first_look: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait for the first look at the session, but not if the worker is told to leave meanwhile."""
    looking = asyncio.create_task(first_look())
    while not looking.done() and not worker.leaving:
        changed = asyncio.create_task(worker.until_changed())
        await asyncio.wait({looking, changed}, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
    looking.cancel()


async def _nothing() -> None:
    """There is nothing to wait for."""


async def _end(tasks: list[asyncio.Task[None]], close: Callable[[], Coroutine[Any, Any, None]] = _nothing) -> None:
    """End side tasks, all at once, and then what they shared; what takes longer is cut when the loop ends."""
    for task in tasks:
        task.cancel()

    async def ended() -> None:
        # Closing links cleanly frees the session for a successor; a bus that does not answer must not hold us up.
        await asyncio.gather(*tasks, return_exceptions=True)
        await close()

    await asyncio.wait({asyncio.create_task(ended(), name="end")}, timeout=CLOSE_SECONDS)
