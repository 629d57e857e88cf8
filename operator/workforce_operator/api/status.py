"""The observed state of a Workforce, and the operator's memory of its intentions.

A region's ``desired``, ``next_sequence``, ``first_sequence``, ``open_cohorts``, ``filled``, ``hiring``, ``idle``,
``failing``, ``fast_ends``, ``drains``, ``surveyed_time``, ``restored_time`` and ``moved_time`` are the ledger, and so
is the ``next_sequence`` of the whole: it is written with a resourceVersion precondition *before* the act that it
announces, and read back after a restart. ``reserved``, ``circuit`` and ``stale_since_time`` are what was last known of
a region, and ``last_scale_decision`` is where autoscaling goes on from after a restart. Everything else is output only.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, Field, ValidationError

from workforce_operator.api.base import Model, map_list
from workforce_operator.api.spec import DrainMode, RegionControl

ModelT = TypeVar("ModelT", bound=Model)


class Condition(Model):
    """A condition in the shape of metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int
    """Generation of the spec that it speaks of."""
    last_transition_time: AwareDatetime
    """When the status last changed."""
    reason: Annotated[str, Field(max_length=1024)]
    """One word for programs."""
    message: Annotated[str, Field(max_length=32_768)]
    """A sentence for people."""


class Range(Model):
    """A closed range of numbers."""

    first: Annotated[int, Field(ge=0)]
    """First number."""
    last: Annotated[int, Field(ge=0)]
    """Last number, included."""


class DrainState(StrEnum):
    """State of a drain wave."""

    SENT = "Sent"
    RECALLED = "Recalled"


class DrainWave(Model):
    """Worker jobs that were told to leave together."""

    id: Annotated[str, Field(min_length=1, max_length=63)]
    """Id of the wave; part of its orders' ids."""
    mode: DrainMode
    """How the workers treat their running tasks."""
    state: DrainState
    """Sent: told to leave. Recalled: told to stay after all."""
    revision: Annotated[int, Field(ge=0)]
    """Rises with every change; workers ignore orders with a lower one."""
    jobs: Annotated[list[Range], Field(max_length=50_000)]
    """Sequences of the jobs."""
    count: Annotated[int, Field(ge=0)] | None = None
    """How many were told to leave without being named (dialect JobQ); it ends when so many jobs have ended since."""
    sent_time: AwareDatetime
    """When the wave, or its recall, was decided; resends are counted from here."""
    deadline_time: AwareDatetime
    """When the workers are expected to be gone."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why."""


class FastEnds(Model):
    """Workers of a region that ended within 10 minutes one after the other, and were replaced."""

    outcome: Literal["Completed", "Failed"]
    """How all of them ended."""
    template_hash: str | None = None
    """Template that was hired then; after an edit waits begin anew."""
    replaced: Annotated[int, Field(ge=0)]
    """How many were replaced; the more, the longer the next one waits."""
    end_time: AwareDatetime
    """When the last of them ended."""


class RegionCoordinates(Model):
    """Where a region's jobs are, kept so that a region taken out of the spec can still be emptied."""

    subscription_id: str
    """Azure subscription of the workspace."""
    resource_group: str
    """Resource group of the workspace."""
    workspace: str
    """AzureML workspace."""
    compute: str
    """Compute."""
    experiment: str
    """Experiment of the jobs."""
    topic: str
    """Control topic."""
    control: RegionControl | None = None
    """The region's own control channel; absent = that of `spec.control`."""


class ResolvedEnvironment(Model):
    """What an environment's label stood for when the template changed."""

    template_hash: Annotated[str, Field(max_length=64)]
    """Hash of the region's template that it was looked up for."""
    version: Annotated[str, Field(max_length=255)]
    """The version; all jobs of that template have it."""


class CircuitStatus(Model):
    """Hires that failed in a region since the last one that worked."""

    failures: Annotated[int, Field(ge=1)]
    """Passes in a row whose hires failed."""
    changed_time: AwareDatetime
    """When the first one failed; once hiring has stopped, when it stopped."""
    retry_time: AwareDatetime | None = None
    """When one hire may be tried; absent while hiring goes on."""
    reason: Annotated[str, Field(max_length=1024)]
    """One word for programs."""
    message: Annotated[str, Field(max_length=1024)]
    """What failed last."""


class RegionStatus(Model):
    """One region: counts, and the ledger of its reserved names and drains."""

    name: Annotated[str, Field(max_length=40)]
    """Name of the region."""
    coordinates: RegionCoordinates
    """Where its jobs are."""
    desired: int | None = None
    """Replicas placed here: remembered, so that nothing moves without a reason; absent = not decided yet."""
    pending: int = 0
    """Jobs that wait for a node."""
    running: int = 0
    """Jobs that have a process."""
    paused: int = 0
    """Jobs that are paused."""
    draining: int = 0
    """Jobs that were told to leave and have not left."""
    next_sequence: int | None = None
    """First sequence that is not reserved; absent = nothing is hired until all jobs have been listed."""
    first_sequence: int | None = None
    """Where the region's own names begin; those below were used before it was taken out and added again. Absent = 0."""
    filled: int = 0
    """How many of the desired replicas have been hired at least once; what is missing beyond that is growth."""
    hiring: Annotated[list[Range], Field(max_length=50_000)] = Field(default_factory=list)
    """Sequences of hires that were decided and whose jobs have not been seen yet."""
    environment: ResolvedEnvironment | None = None
    """The version that the environment's label stands for; absent = the template has no label, or hired nobody yet."""
    idle: int = 0
    """Replicas whose workers completed; their replacement waits for work in the queue."""
    failing: int = 0
    """Replicas whose workers failed; their replacement waits for a back-off."""
    fast_ends: FastEnds | None = None
    """Workers that ended within 10 minutes one after the other; absent = the last one lasted, or none has ended."""
    reserved: int | None = None
    """At most this many jobs live here; what counts while the region cannot be read."""
    open_cohorts: Annotated[list[Range], Field(max_length=4096)] = Field(default_factory=list)
    """Cohorts that hold a reserved name not seen ended; only these are listed."""
    drains: Annotated[list[DrainWave], Field(max_length=16, json_schema_extra=map_list("id"))] = Field(
        default_factory=list
    )
    """Drains that were ordered and have not ended, at most 16."""
    surveyed_time: AwareDatetime | None = None
    """When all jobs here were first listed. Lists lag, so that it is done once more 15 minutes later; absent = done."""
    restored_time: AwareDatetime | None = None
    """When the ledger was lost and began anew with jobs alive; absent once no drain from before can be under way."""
    moved_time: AwareDatetime | None = None
    """When jobs that had waited for a node for too long were last moved away from here."""
    circuit: CircuitStatus | None = None
    """Failures of hires here; absent = the last one worked."""
    capacity: int | None = None
    """Further jobs that would find a node here, five minutes old at most; absent = not known, 0 is told sooner."""
    conditions: Annotated[list[Condition], Field(max_length=4, json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    """Available: whether hires are made here."""
    stale_since_time: AwareDatetime | None = None
    """Since when the region cannot be read; the counts are from before."""
    message: str | None = None
    """Why the region cannot be read, or waits before hiring."""


class Clamp(Model):
    """One rule that changed the number wanted."""

    name: Annotated[str, Field(max_length=128)]
    """The field of the spec that says so."""
    # "from" is a word of Python's.
    before: Annotated[int, Field(alias="from")]
    """The number before."""
    to: int
    """The number after."""


class ScaleDecision(Model):
    """How the number wanted came about."""

    time: AwareDatetime
    """When it was decided so."""
    backlog: int | None = None
    """Tasks in the queue at that time, including those being run; absent = unknown."""
    raw_desired: int
    """What replicas or the autoscaling policy asks for."""
    desired: int
    """What is wanted after all clamps."""
    clamps: Annotated[list[Clamp], Field(max_length=32)] = Field(default_factory=list)
    """What changed the number, in this order."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """The arithmetic, for people."""


class WorkforceStatus(Model):
    """What is, as far as it is known."""

    observed_generation: int | None = None
    """Generation of the spec that this status speaks of."""
    installation_id: str | None = None
    """Id of the operator installation that owns the jobs."""
    desired_replicas: int = 0
    """Worker jobs wanted now."""
    replicas: int = 0
    """Supply: pending and running jobs that were not told to leave."""
    pending_replicas: int = 0
    """Jobs that wait for a node."""
    running_replicas: int = 0
    """Jobs that have a process."""
    paused_replicas: int = 0
    """Jobs that are paused."""
    draining_replicas: int = 0
    """Jobs that were told to leave and have not left."""
    queue_length: int | None = None
    """Tasks in the queue, including those being run; absent = unknown."""
    template_hash: str | None = None
    """Hash of the template that new jobs are made of."""
    regions_summary: str | None = None
    """Supply and desired number of the first regions, for the printer column."""
    selector: str | None = None
    """Label selector, for the scale subresource."""
    next_sequence: int | None = None
    """Where the names of a region that is added begin: above those of regions that were taken out, so that no job gets
    the name of an earlier one. Absent = 0."""
    last_scale_decision: ScaleDecision | None = None
    """How the number wanted came about; written when it changes."""
    regions: Annotated[list[RegionStatus], Field(max_length=1000, json_schema_extra=map_list("name"))] = Field(
        default_factory=list
    )
    """One entry per region."""
    conditions: Annotated[list[Condition], Field(max_length=32, json_schema_extra=map_list("type"))] = Field(
        default_factory=list
    )
    """What holds and what does not."""


def lenient_status(content: Any) -> tuple[WorkforceStatus, tuple[str, ...]]:
    """The status in a document, and what of it could not be read: the rest stays.

    A region that cannot be read has lost its ledger; if its place at least is legible, its jobs are found again even
    when the spec does not have it any more.
    """
    raw = dict(content) if isinstance(content, Mapping) else {}
    try:
        return WorkforceStatus.model_validate(raw), ()
    except ValidationError as error:
        problems = tuple(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:10])
    legible = {
        "regions": [each for each in map(_region_of, _items(raw, "regions")) if each is not None],
        "conditions": [each for each in (_read(Condition, item) for item in _items(raw, "conditions")) if each],
    }
    for name, field in WorkforceStatus.model_fields.items():
        key = field.alias or name
        if name not in legible and key in raw and _read(WorkforceStatus, {key: raw[key]}) is not None:
            legible[name] = raw[key]
    return _read(WorkforceStatus, legible) or WorkforceStatus(), problems


def _region_of(item: Any) -> RegionStatus | None:
    place = {key: item.get(key) for key in ("name", "coordinates")} if isinstance(item, Mapping) else {}
    return _read(RegionStatus, item) or _read(RegionStatus, place)


def _read(model: type[ModelT], value: Any) -> ModelT | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def _items(raw: Mapping[str, Any], key: str) -> list[Any]:
    value = raw.get(key)
    return value if isinstance(value, list) else []
