"""What a worker is told at its start, by the command line or by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Self

from jobq import names
from jobq.cloud import Cloud
from workforce_agent.locks import SHORTEST
from workforce_agent.processors.opening import ProcessorSettings


class WhenEmpty(StrEnum):
    """What an empty queue means."""

    WAIT = "wait"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """The control channel's entities; each of them may be missing.

    Attributes:
        host: Fully qualified host name of the Service Bus namespace.
        topic: Untargeted orders.
        node_queue: Targeted orders; used only with a job.
        reports_queue: Where reports go.
        job: This node's AzureML job.
    """

    host: str
    topic: str | None = None
    node_queue: str | None = None
    reports_queue: str | None = None
    job: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], cloud: Cloud) -> Self | None:
        """What the environment says; None without a namespace."""
        namespace = environ.get(names.BACK_CHANNEL_VARIABLE)
        if not namespace:
            return None
        return cls(
            host=cloud.service_bus_host(namespace),
            topic=environ.get(names.CONTROL_TOPIC_VARIABLE) or None,
            node_queue=environ.get(names.NODE_QUEUE_VARIABLE) or None,
            reports_queue=environ.get(names.REPORTS_QUEUE_VARIABLE) or None,
            job=job_name(environ),
        )

    @property
    def topic_name(self) -> str | None:
        """Names the topic among all namespaces, for the files of worker processes."""
        return f"{self.host}/{self.topic}" if self.topic else None


def job_name(environ: Mapping[str, str]) -> str | None:
    """The AzureML job that this process belongs to."""
    return environ.get(names.JOB_NAME_VARIABLE) or environ.get(names.AZUREML_RUN_ID_VARIABLE) or None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a worker runs tasks. `docs/` lists the flags and variables behind each of them."""

    slots: int = 1
    visibility_timeout: timedelta = SHORTEST
    heartbeat: bool = True
    time_limit: timedelta | None = timedelta(days=14)
    max_consecutive_failures: int = 2
    when_empty: WhenEmpty = WhenEmpty.WAIT
    idle_timeout: timedelta | None = None
    kill_timeout: timedelta | None = timedelta(seconds=600)
    eviction_timeout: timedelta = timedelta(seconds=120)
    processor: ProcessorSettings = field(default_factory=ProcessorSettings)
