"""Ports to Azure: worker jobs, templates, the task queue and the control channel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from jobq.control import DrainFinished, Exit, Order
from workforce_operator.api.spec import Control, Queue
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.api.template import Template
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.observed import Job, LastReport, QueueDepth

LATE_SECONDS = 180.0
"""How long after it was sent a hire without an answer may still arrive: we wait for an answer for a third of it."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """A region as the adapters need it: whose jobs, and where.

    Attributes:
        owner: Value of the owner property, ``<installationId>/<namespace>/<name>``.
        hash10: Hash in the names of this region's jobs.
        prefix: Everything of a job's name before ``-<sequence>``.
        coordinates: Workspace, compute, experiment and topic.
    """

    region: str
    owner: str
    installation_id: str
    hash10: str
    prefix: str
    coordinates: RegionCoordinates


@dataclass(frozen=True, slots=True)
class JobBody:
    """A resolved job: what every PUT of one template and region carries, less the name.

    Attributes:
        properties: The ``properties`` object of the ARM body, as azure-ai-ml would send it.
        template_hash: Hash of the template that it was made of.
    """

    properties: Mapping[str, Any]
    template_hash: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All jobs of an installation in one workspace.

    Attributes:
        jobs: By the owner and the prefix of the ``Workplace`` that they are of.
        pages: How many the service made of it.
    """

    jobs: Mapping[tuple[str, str], tuple[Job, ...]]
    pages: int


class WorkerJobs(Protocol):
    """The AzureML jobs of our workers.

    Every method raises ``Throttled``, ``Unavailable``, ``Denied`` or, for a workspace or compute that is not there,
    ``Missing``. Writes check the lease first and raise ``Fenced``.
    """

    async def list_cohorts(self, place: Workplace, cohorts: frozenset[int]) -> tuple[Job, ...]:
        """All our jobs of these cohorts, ended ones included; never foreign ones. May lag behind recent writes."""
        ...

    async def list_installation(self, place: Workplace, *, most_pages: int) -> Listing | None:
        """All jobs of the installation in this workspace, whichever Workforce's, ended ones included, however old.

        May lag behind recent writes. None if that is more pages than ``most_pages``.
        """
        ...

    async def list_owned(self, place: Workplace) -> tuple[Job, ...]:
        """All our jobs of this region, of any cohort: the complete list that restores a lost ledger. Costly."""
        ...

    async def get(self, place: Workplace, name: str) -> Job | None:
        """Read one job: strongly consistent. None if there is no job of that name.

        Raises:
            SpecError: A job of that name exists and is not ours.
        """
        ...

    async def hire(self, place: Workplace, name: str, sequence: int, body: JobBody) -> Job:
        """Submit a job under a reserved name with exactly one PUT, and return it.

        Idempotent: a job of ours that exists already under that name is returned as it is (200, and 400 with
        JobPropertyImmutable, are settled by reading it). ``Unavailable`` means that the job may exist: call again.

        Raises:
            SpecError: The service refuses the body (``InvalidTemplate``; ``ComputeNotFound`` if it is the
                region's compute), or the name is somebody else's job.
        """
        ...

    async def resume(self, place: Workplace, name: str) -> bool:
        """Let a paused job wait for a node again. Idempotent: a job that is not paused (any more) is no error.

        Returns:
            False if it has used up its execution time: it will never run again, and is to be cancelled.
        """
        ...

    async def cancel(self, place: Workplace, name: str) -> None:
        """Ask for the job's end. Idempotent: an ended or missing job is no error."""
        ...


class Templates(Protocol):
    """Turns a template into the body that azure-ai-ml would send."""

    async def resolve(
        self, template: Template, place: Workplace, *, environment: Mapping[str, str], template_hash: str
    ) -> JobBody:
        """Resolve once per template and compute; equal input is answered from memory.

        Args:
            template: The job template.
            place: Where the job runs.
            environment: All environment variables of the job, secrets already read.
            template_hash: Hash that the jobs carry as a property.

        Raises:
            SpecError: azure-ai-ml refuses the template (reason ``InvalidTemplate``).
            Transient: Azure could not be asked.
        """
        ...

    async def latest_version(self, place: Workplace, name: str) -> str:
        """The newest version of an environment in the region's workspace.

        Raises:
            SpecError: There is none of that name (reason ``InvalidTemplate``).
            Transient: Azure could not be asked.
        """
        ...


class Capacity(Protocol):
    """How many nodes a region's compute has, and may have."""

    async def read(self, place: Workplace) -> ClusterCapacity | None:
        """The node counts of the compute; None if it is of a kind that does not tell them.

        At most one request. Raises ``Missing`` (workspace or compute), ``Denied``, ``Throttled`` or ``Unavailable``.
        """
        ...


class TaskQueueDepth(Protocol):
    """How much work there is."""

    async def read(self, queue: Queue) -> QueueDepth:
        """Length and whether a task waits. Raises ``Missing``, ``Denied``, ``Throttled`` or ``Unavailable``."""
        ...


class ControlChannel(Protocol):
    """Topic, subscription and queues of the control channel, and the reports that workers send back."""

    async def ensure(self, control: Control, topics: frozenset[str], installation_id: str) -> None:
        """Make what is missing: each topic with its subscription ``shutdown``, and the installation's two queues.

        With dialect JobQ there are no queues, and nobody reports.

        Idempotent, cheap when everything was seen before by this process. Also starts listening for reports of that
        Service Bus namespace. Raises ``Denied``, ``Missing`` (the namespace), ``Throttled`` or ``Unavailable``.
        """
        ...

    async def send(self, control: Control, installation_id: str, job: str, order: Order, message_id: str) -> None:
        """Send a targeted order to the job's session and return when the service has confirmed it.

        Duplicate detection swallows a message id that was sent within the last five minutes. ``Unavailable`` means
        that the message may have been stored.
        """
        ...

    async def send_to_any(self, control: Control, topic: str, order: Order, message_id: str) -> None:
        """Send an order to a topic, for whichever worker takes it; return when the service has confirmed it.

        Nothing swallows a repetition. ``Unavailable`` means that the message may have been stored; ``Denied``,
        ``Missing`` and ``Throttled`` mean that it was not.
        """
        ...

    def reports(self, control: Control, jobs: Collection[str]) -> Mapping[str, LastReport]:
        """The latest ``state`` report of each of these jobs, by name, as far as they came. Never waits."""
        ...

    def last_words(self, control: Control, jobs: Collection[str]) -> Mapping[str, Exit]:
        """The latest ``exit`` report of those of these jobs that have not spoken since; bounded. Never waits."""
        ...

    def take_finished(self, control: Control) -> tuple[DrainFinished, ...]:
        """The ``drain-finished`` reports since the last call, of any Workforce's workers; each is given once."""
        ...

    def recall_confirmed(self, control: Control, job: str, revision: int) -> bool:
        """Whether a report said that the job accepts tasks again under this or a later revision."""
        ...


class WriteGuard(Protocol):
    """Fencing: asked before every write to Azure."""

    def check(self) -> None:
        """Return if this process holds the lease by a clock that counts suspend; else raise ``Fenced``."""
        ...

    def settled(self) -> bool:
        """Whether what a former leader had checked its lease for, and then slept over, must have arrived by now."""
        ...
