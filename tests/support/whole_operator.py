"""A whole operator over fakes: the real loop and domain, a world that tests move by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from jobq.cloud import load_cloud
from workforce_operator.adapters.memory import (
    ManualClock,
    MemoryCapacity,
    MemoryControlChannel,
    MemoryEventSink,
    MemoryGuard,
    MemoryTaskQueueDepth,
    MemoryTemplates,
    MemoryWorkerJobs,
    MemoryWorkforceStore,
)
from workforce_operator.api.spec import Control, Queue
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.ports.azure import Workplace
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.execute import Executor
from workforce_operator.reconcile.losses import Losses
from workforce_operator.reconcile.observe import Absences, Observer
from workforce_operator.reconcile.reconciler import Reconciler

INSTALLATION = "k3v9x2ab"
KEY = Key("chem", "md")


class CountingTelemetry:
    """Keeps what it was told."""

    def __init__(self):
        self.passes, self.unread, self.actions, self.losses = Counter(), Counter(), Counter(), Counter()
        self.statuses = {}

    def pass_ended(self, result, seconds):
        self.passes[result.value] += 1

    def read_failed(self, source):
        self.unread[source.value] += 1

    def acted(self, kind, result):
        self.actions[kind.value, result.value] += 1

    def told(self, key, status):
        self.statuses[key] = status

    def lost(self, cause, seconds):
        self.losses[cause.value] += seconds


class World:
    """Everything around one operator process; ``restart`` replaces the process and keeps the world."""

    def __init__(self):
        self.clock = ManualClock()
        self.guard = MemoryGuard()
        self.store = MemoryWorkforceStore(self.clock)
        self.jobs = MemoryWorkerJobs(self.clock, self.guard)
        self.control = MemoryControlChannel(self.clock, self.guard)
        self.depth = MemoryTaskQueueDepth()
        self.capacity = MemoryCapacity()
        self.templates = MemoryTemplates()
        self.events = MemoryEventSink()
        self.telemetry = CountingTelemetry()
        self.restart()

    def restart(self, *, installation_id=INSTALLATION, begin_seconds=30.0, recent=None):
        self.absences = Absences(settled=self.guard.settled)
        self.observer = Observer(
            jobs=self.jobs,
            depth=self.depth,
            control=self.control,
            capacity=self.capacity,
            clock=self.clock,
            telemetry=self.telemetry,
            absences=self.absences,
        )
        self.executor = Executor(
            jobs=self.jobs,
            control=self.control,
            telemetry=self.telemetry,
            absences=self.absences,
            begin_seconds=begin_seconds,
        )
        self.reconciler = Reconciler(
            store=self.store,
            events=self.events,
            observer=self.observer,
            executor=self.executor,
            templates=self.templates,
            clock=self.clock,
            guard=self.guard,
            losses=Losses(self.telemetry),
            cloud=load_cloud("AzureCloud"),
            installation_id=installation_id,
            recent=recent,
        )

    def coordinates(self, region="uksouth"):
        return RegionCoordinates(
            subscription_id="sub",
            resource_group="rg",
            workspace=f"ws-{region}",
            compute="cluster",
            experiment=f"chem-md-{region}",
            topic=f"chem-md-{region}",
        )

    def place(self, region="uksouth"):
        return Workplace(
            region=region,
            owner=f"{INSTALLATION}/chem/md",
            installation_id=INSTALLATION,
            hash10="0123456789",
            prefix=f"md-{region}-0123456789",
            coordinates=self.coordinates(region),
        )

    def spec(self, replicas=2, regions=("uksouth",), control=True, **more):
        spec = {
            "replicas": replicas,
            "queue": {"type": "Storage", "storage": {"account": "acct", "name": "tasks"}},
            "regions": [
                {
                    "name": name,
                    "subscriptionId": "00000000-0000-0000-0000-000000000001",
                    "resourceGroup": "rg",
                    "workspace": f"ws-{name}",
                    "compute": "cluster",
                    "maxReplicas": 100,
                }
                for name in regions
            ],
            "template": {"command": "sleep 3600", "environment": {"type": "Image", "image": "python:3.11"}},
        }
        if control:
            spec["control"] = {
                "serviceBus": {
                    "subscriptionId": "00000000-0000-0000-0000-000000000001",
                    "resourceGroup": "rg",
                    "namespace": "bus",
                }
            }
        return spec | more


@pytest.fixture
def world():
    return World()


@pytest.fixture
def bus():
    return Control.model_validate(
        {
            "serviceBus": {
                "subscriptionId": "00000000-0000-0000-0000-000000000001",
                "resourceGroup": "rg",
                "namespace": "bus",
            }
        }
    )


@pytest.fixture
def queue():
    return Queue.model_validate({"type": "Storage", "storage": {"account": "acct", "name": "tasks"}})
