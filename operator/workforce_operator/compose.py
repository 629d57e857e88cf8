"""The composition root: the one place that knows every part and puts them together.

``run`` is the whole life of the process. ``build`` is what tests use to run the operator within their own process.
Nothing here decides anything about Workforces, and nothing else in the product constructs an adapter.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from jobq.cloud import Cloud, CloudError, load_cloud
from jobq.connect import open_credential, open_transport
from jobq.version import __version__
from workforce_operator import logs
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.governor import Governor, Kind
from workforce_operator.adapters.azureml.capacity import ArmCapacity
from workforce_operator.adapters.azureml.templates import ChildTemplates
from workforce_operator.adapters.azureml.worker_jobs import ArmWorkerJobs
from workforce_operator.adapters.clock import SystemClock
from workforce_operator.adapters.depths import QueueDepths
from workforce_operator.adapters.identity import SharedRefusals
from workforce_operator.adapters.kubernetes.api import KubernetesApi, open_kubernetes
from workforce_operator.adapters.kubernetes.events import KubernetesEventSink
from workforce_operator.adapters.kubernetes.installation import installation_id
from workforce_operator.adapters.kubernetes.lease import Lease
from workforce_operator.adapters.kubernetes.store import KubernetesWorkforceStore
from workforce_operator.adapters.servicebus.control import ServiceBusControl
from workforce_operator.adapters.servicebus.depth import ServiceBusQueueDepth
from workforce_operator.adapters.storage_queue.depth import StorageQueueDepth
from workforce_operator.domain.errors import Unavailable
from workforce_operator.edge import decisions, event_loop
from workforce_operator.edge.daemon import Daemon, ExitCode, Parts, State
from workforce_operator.edge.informer import Informer
from workforce_operator.edge.kopf_edge import kopf_run
from workforce_operator.edge.metrics import Metrics
from workforce_operator.edge.probes import build_app, serve
from workforce_operator.ports.azure import WriteGuard
from workforce_operator.ports.kubernetes import Key, StoredWorkforce
from workforce_operator.reconcile.execute import Executor
from workforce_operator.reconcile.loop import Loop
from workforce_operator.reconcile.losses import Losses
from workforce_operator.reconcile.observe import Absences, Observer
from workforce_operator.reconcile.recent import Recent
from workforce_operator.reconcile.reconciler import Reconciler
from workforce_operator.reconcile.shared import SharedCapacity, SharedDepth, SharedJobs
from workforce_operator.reconcile.telemetry import Pulse
from workforce_operator.reconcile.work_queue import WorkQueue
from workforce_operator.settings import KEEP_SECONDS, Settings, SettingsError, load_settings

log = structlog.stdlib.get_logger(__name__)

COLLECT = (20_000, 20, 50)
"""Objects, and collections of each younger generation, until the garbage collector looks again."""


class StartError(RuntimeError):
    """The process cannot begin, and trying again will not help. The text is one line for whoever started it."""


def run() -> int:
    """Run the operator until it is asked to end. Returns the exit code of the process."""
    try:
        settings = load_settings()
        cloud = load_cloud(settings.cloud)
    except (SettingsError, CloudError) as error:
        sys.stderr.write(f"workforce-operator: {error}\n")
        return ExitCode.SETTINGS
    logs.configure(style=settings.log_format, level=settings.log_level)
    log.info("starting", version=__version__, cloud=cloud.name, namespaces=list(settings.namespaces) or "all")
    try:
        return event_loop.run(_live(settings, cloud))
    except StartError as error:
        sys.stderr.write(f"workforce-operator: {error}\n")
        return ExitCode.SETTINGS


async def _live(settings: Settings, cloud: Cloud) -> int:
    """Build, serve and run; the exit code."""
    async with build(settings, cloud) as operator:
        operator.daemon.handle_signals()
        _leave_the_libraries_alone()
        code = await operator.daemon.run()
        if code is ExitCode.LEASE_LOST:
            _end_now(code)
    log.info("ended")
    return code


def _leave_the_libraries_alone() -> None:
    """Have the garbage collector look at what passes leave behind, and not at the modules of the SDKs over and over.

    They are most of the objects of this process. Measured in a pass over 84 regions: 15 % of its CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


def _end_now(code: ExitCode) -> None:
    """End without any clean-up: requests on their way would be waited for, and whoever leads now must not wait."""
    log.error("the lease is lost: this process ends at once", exit_code=int(code))
    logging.shutdown()
    os._exit(code)


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator, built and serving its probes.

    Attributes:
        daemon: To be run.
        metrics: What ``/metrics`` shows.
        port: Of the probes and metrics.
    """

    daemon: Daemon
    metrics: Metrics
    port: int


@asynccontextmanager
async def build(settings: Settings, cloud: Cloud) -> AsyncIterator[Operator]:
    """Put all parts together. Within the block the probes are served; ``daemon.run`` does the rest.

    Raises:
        StartError: There is no configuration to reach Kubernetes with, or the probes cannot be served.
    """
    async with AsyncExitStack() as stack:
        kubernetes = await _kubernetes(stack, settings)
        azure = await _azure(stack, cloud, kubernetes.lease)
        metrics, pulse, ring = Metrics(), Pulse(), decisions.DecisionRing()
        queue: WorkQueue[Key] = WorkQueue(max_delay=settings.resync_seconds)
        recent, absences = Recent(), Absences(settled=kubernetes.lease.settled)

        def wake(key: Key, new: StoredWorkforce | None) -> None:
            recent.changed(key, new)
            queue.hurry(key)

        def loop(installation: str) -> Loop:
            reconciler = _reconciler(
                settings,
                cloud,
                kubernetes,
                azure,
                metrics,
                ring=ring,
                outdated=queue.is_dirty,
                recent=recent,
                absences=absences,
                installation=installation,
            )
            return Loop(
                queue,
                reconciler.reconcile,
                telemetry=metrics,
                pulse=pulse,
                pass_seconds=settings.pass_seconds,
                workers=settings.workers,
            )

        async def installation() -> str:
            return await installation_id(kubernetes.api, settings.pod_namespace, override=settings.installation_id)

        daemon = Daemon(
            Parts(
                leadership=kubernetes.lease,
                store=kubernetes.store,
                queue=queue,
                pulse=pulse,
                installation=installation,
                loop=loop,
                informer=Informer(kopf_run(settings.namespaces), wake).run,
                pass_seconds=settings.pass_seconds,
                drain_seconds=settings.drain_seconds,
                settled=absences.are_settled,
            )
        )
        _watch(metrics, queue, pulse, daemon)
        for kind in Kind:
            metrics.watch(
                f"workforce_arm_{kind.value}_waiting",
                f"ARM {kind.value} that wait for their turn.",
                azure.waiting(kind),
            )
        app = build_app(alive=daemon.alive, ready=daemon.ready, metrics=metrics)
        decisions.add_routes(app, ring)
        try:
            port = await stack.enter_async_context(serve(app, host=settings.pod_ip, port=settings.http_port))
        except OSError as error:
            raise StartError(f"cannot serve probes on {settings.pod_ip}:{settings.http_port}: {error}") from error
        yield Operator(daemon, metrics, port)


@dataclass(frozen=True, slots=True)
class _Kubernetes:
    api: KubernetesApi
    lease: Lease
    store: KubernetesWorkforceStore
    events: KubernetesEventSink


async def _kubernetes(stack: AsyncExitStack, settings: Settings) -> _Kubernetes:
    try:
        api = await stack.enter_async_context(open_kubernetes())
    except Unavailable as error:
        raise StartError(str(error)) from error
    return _Kubernetes(
        api=api,
        lease=Lease(api, namespace=settings.pod_namespace, name=settings.lease_name, identity=settings.pod_name),
        store=KubernetesWorkforceStore(api, settings.namespaces),
        events=KubernetesEventSink(api, SystemClock(), instance=settings.pod_name),
    )


@dataclass(frozen=True, slots=True)
class _Azure:
    jobs: SharedJobs
    templates: ChildTemplates
    depth: SharedDepth
    control: ServiceBusControl
    capacity: SharedCapacity
    governor: Governor

    def waiting(self, kind: Kind) -> Callable[[], float]:
        """How many ARM requests of a kind wait for their turn."""
        return lambda: self.governor.waiting(kind)


async def _azure(stack: AsyncExitStack, cloud: Cloud, guard: WriteGuard) -> _Azure:
    credential = SharedRefusals(await stack.enter_async_context(open_credential(cloud)))
    transport = await stack.enter_async_context(open_transport(cloud, keep_seconds=KEEP_SECONDS))
    governor = Governor()
    arm = ArmClient(cloud, credential, transport, governor, guard)
    depths = QueueDepths(
        StorageQueueDepth(cloud, credential, transport), ServiceBusQueueDepth(cloud, credential, transport)
    )
    azure = _Azure(
        jobs=SharedJobs(ArmWorkerJobs(arm)),
        templates=ChildTemplates(cloud, credential, governor, guard),
        depth=SharedDepth(depths),
        control=ServiceBusControl(cloud, credential, arm, guard),
        capacity=SharedCapacity(ArmCapacity(arm)),
        governor=governor,
    )
    for part in (azure.templates, depths, azure.jobs, azure.depth, azure.control, azure.capacity):
        stack.push_async_callback(part.close)
    return azure


def _reconciler(
    settings: Settings,
    cloud: Cloud,
    kubernetes: _Kubernetes,
    azure: _Azure,
    metrics: Metrics,
    *,
    ring: decisions.DecisionRing,
    outdated: Callable[[Key], bool],
    recent: Recent,
    absences: Absences,
    installation: str,
) -> Reconciler:
    clock = SystemClock()
    observer = Observer(
        jobs=azure.jobs,
        depth=azure.depth,
        control=azure.control,
        capacity=azure.capacity,
        clock=clock,
        telemetry=metrics,
        absences=absences,
        source_seconds=settings.source_seconds,
    )
    return Reconciler(
        store=kubernetes.store,
        events=kubernetes.events,
        observer=observer,
        executor=Executor(jobs=azure.jobs, control=azure.control, telemetry=metrics, absences=absences),
        templates=azure.templates,
        clock=clock,
        guard=kubernetes.lease,
        losses=Losses(metrics),
        cloud=cloud,
        installation_id=installation,
        cloud_setting=settings.cloud,
        insights=settings.applicationinsights_connection_string,
        poll_seconds=settings.poll_seconds,
        resync_seconds=settings.resync_seconds,
        decisions=ring,
        outdated=outdated,
        recent=recent,
    )


def _watch(metrics: Metrics, queue: WorkQueue[Key], pulse: Pulse, daemon: Daemon) -> None:
    """Gauges that read the live parts."""
    metrics.watch("workforce_workqueue_depth", "Workforces that wait for a worker.", lambda: len(queue))
    metrics.watch("workforce_workqueue_scheduled", "Workforces that wait for a time.", lambda: queue.scheduled)
    metrics.watch("workforce_workqueue_processing", "Workforces that are worked on.", lambda: queue.processing)
    metrics.watch("workforce_oldest_pass_seconds", "Age of the oldest pass under way.", pulse.oldest_seconds)
    metrics.watch("workforce_leader", "1 if this replica leads.", lambda: daemon.state is State.LEADING)
