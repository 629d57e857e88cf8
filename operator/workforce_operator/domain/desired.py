"""What one Workforce asks for: the validated spec with the identity of the object. Input of every decision.

Not the ledger and not the world: two passes over an unchanged object see an equal ``Desired``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobq import names
from workforce_operator.api.spec import Control, DeletionPolicy, Region, WorkforceSpec
from workforce_operator.api.status import RegionCoordinates
from workforce_operator.domain.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Desired:
    """One Workforce, as people want it.

    Attributes:
        installation_id: Whose jobs these are: this operator's id, or the one that it takes over from.
        spec: Valid; see ``validate.read_spec``.
        deletion_time: When deletion was asked for, or None.
        drain_requested: Names of worker jobs that somebody wants to have drained; others take their place.
        jobs_stay: The object goes without its jobs, whatever its policy: the CustomResourceDefinition itself is being
            deleted, or the jobs are another installation's.
        created: When the object was made, as far as it is known: what ended before was a former object's.
    """

    namespace: str
    name: str
    installation_id: str
    generation: int
    spec: WorkforceSpec
    deletion_time: datetime | None = None
    jobs_stay: bool = False
    drain_requested: frozenset[str] = frozenset()
    created: datetime | None = None

    @property
    def owner(self) -> str:
        """Value of the owner property of our jobs."""
        return names.owner(self.installation_id, self.namespace, self.name)

    @property
    def deleting(self) -> bool:
        """Whether the object is being deleted."""
        return self.deletion_time is not None or self.jobs_stay

    @property
    def deletion_deadline(self) -> datetime | None:
        """When deletion gives up waiting for workers; what it does then may take ``deletion.GRACE`` more."""
        if self.deletion_time is None:
            return None
        return self.deletion_time + timedelta(seconds=self.spec.deletion_deadline_seconds)

    def drain_deadline(self, now: datetime) -> datetime:
        """When workers that are told to leave now are expected to be gone."""
        own, last = now + timedelta(seconds=self.spec.drain.deadline_seconds), self.deletion_deadline
        return own if last is None else min(own, max(last, now))

    @property
    def deletion_policy(self) -> DeletionPolicy | None:
        """The policy in force; None = cancel pending jobs and report running ones (unset, and no control channel)."""
        if self.jobs_stay:
            return DeletionPolicy.ORPHAN
        if self.spec.deletion_policy is None and self.spec.control is not None:
            return DeletionPolicy.DRAIN
        return self.spec.deletion_policy

    def hash10(self, region: str) -> str:
        """Hash in the names of a region's jobs."""
        return names.region_hash(self.installation_id, self.namespace, self.name, region)

    def job_prefix(self, region: str) -> str:
        """Everything of a job's name before ``-<sequence>``."""
        return f"{self.name}-{region}-{self.hash10(region)}"

    def job_name(self, region: str, sequence: int) -> str:
        """Name of the job with this sequence."""
        return names.job_name(self.name, region, self.hash10(region), sequence)

    def coordinates(self, region: Region) -> RegionCoordinates:
        """Where the spec wants a region's jobs, defaults filled in."""
        default = f"{self.namespace}-{self.name}-{region.name}"
        return RegionCoordinates(
            subscription_id=region.subscription_id,
            resource_group=region.resource_group,
            workspace=region.workspace,
            compute=region.compute,
            experiment=region.experiment or default,
            topic=region.topic or default,
            control=region.control,
        )


def control_of(control: Control | None, coordinates: RegionCoordinates) -> Control | None:
    """The control channel of a region's jobs: ``spec.control``, in the region's own namespace if it has one."""
    if control is None or coordinates.control is None:
        return control
    return control.model_copy(update={"service_bus": coordinates.control.service_bus})


def region_places(desired: Desired, ledger: Ledger) -> dict[str, RegionCoordinates]:
    """Where to look for jobs: every region of the ledger where it stands, then the spec's new ones."""
    places = {name: region.coordinates for name, region in ledger.regions.items()}
    for region in desired.spec.regions:
        places.setdefault(region.name, desired.coordinates(region))
    return places


def moved_regions(desired: Desired, ledger: Ledger) -> tuple[str, ...]:
    """Regions that the spec has at other coordinates than the ledger: they are emptied first (RegionStillDraining)."""
    return tuple(
        region.name
        for region in desired.spec.regions
        if region.name in ledger.regions and ledger.regions[region.name].coordinates != desired.coordinates(region)
    )
