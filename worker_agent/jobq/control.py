"""Orders and reports: what travels on the control channel between operator, people and workers.

Pure models and codecs of the protocol. A bare ``{"operation": "graceful-downscale"}`` from anybody is a valid order;
fields that a reader does not know are ignored, wrong ones are refused with a reason that goes to the dead-letter queue.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from jobq.operations import Mode, OnDeadline, Operation

__all__ = [
    "ORDER_TTL",
    "ControlError",
    "DrainAccepted",
    "DrainFinished",
    "Exit",
    "Hello",
    "Mode",
    "OnDeadline",
    "Operation",
    "Order",
    "Report",
    "State",
    "decode_order",
    "decode_report",
    "encode_order",
    "encode_report",
    "message_id",
    "order_id",
    "resend_number",
]

ORDER_TTL = timedelta(minutes=15)
"""Time to live of orders on every control entity; an order is sent again each half of it."""

T = TypeVar("T")
CONTROL_VERSION = 1


class ControlError(ValueError):
    """A control message that cannot be understood. The text is the dead-letter reason's description."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Order(_Message):
    """One order. Only ``operation`` is required; the operator fills in the rest for targeted orders."""

    operation: Operation
    version: int = CONTROL_VERSION
    id: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    revision: Annotated[int, Field(ge=0)] = 0
    mode: Mode = Mode.FINISH
    deadline: AwareDatetime | None = None
    on_deadline: OnDeadline = OnDeadline.WAIT
    node: str | None = None
    workforce: str | None = None
    reason: str | None = None
    traceparent: str | None = None
    """W3C trace context of the sender: the drain becomes a part of that trace."""


class _Report(_Message):
    version: int = CONTROL_VERSION
    job: str
    workforce: str | None = None
    time: AwareDatetime


class Hello(_Report):
    """A worker agent has started."""

    kind: Literal["hello"] = "hello"
    agent_version: str
    slots: Annotated[int, Field(ge=1)]


class State(_Report):
    """What a worker is doing now: every 5 minutes and on going idle or busy, at most every 30 s."""

    kind: Literal["state"] = "state"
    busy_slots: Annotated[int, Field(ge=0)]
    oldest_task_start: AwareDatetime | None = None
    last_checkpoint: AwareDatetime | None = None
    """When one of the running tasks last said that it has saved its state."""
    completed: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    accepting: bool
    drain_id: str | None = None
    revision: int = 0
    running_seconds: Annotated[float, Field(ge=0)] | None = None
    """Time that the running tasks have run, or since they saved, over all slots: what a kill would lose now."""


class DrainAccepted(_Report):
    """A worker has recorded a drain and pulls no further task."""

    kind: Literal["drain-accepted"] = "drain-accepted"
    drain_id: str
    revision: int = 0
    mode: Mode = Mode.FINISH


class DrainFinished(_Report):
    """A drained worker has no task left and is about to exit."""

    kind: Literal["drain-finished"] = "drain-finished"
    drain_id: str
    completed: Annotated[int, Field(ge=0)] = 0
    returned: Annotated[int, Field(ge=0)] = 0
    lost_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Time that the returned tasks had run, or since they saved: it will be run again."""


class Exit(_Report):
    """A worker agent ends, and why."""

    kind: Literal["exit"] = "exit"
    why: str
    exit_code: int
    error: list[str] = Field(default_factory=list, max_length=50)


Report = Annotated[Hello | State | DrainAccepted | DrainFinished | Exit, Field(discriminator="kind")]

_report_adapter: TypeAdapter[Hello | State | DrainAccepted | DrainFinished | Exit] = TypeAdapter(Report)


def order_id(wave: str, hash10: str, sequence: int) -> str:
    """Id of the order that drains one job as part of a wave of the ledger."""
    return f"{wave}-{hash10}-{sequence}"


def resend_number(sent: datetime, now: datetime) -> int:
    """How many half TTLs have passed since the order was first sent: equal numbers are the same message."""
    return max(0, int((now - sent) / (ORDER_TTL / 2)))


def message_id(order: str, number: int) -> str:
    """Service Bus message id of the n-th sending of an order: duplicate detection swallows repeats and nothing else."""
    return f"{order}-{number}"


def encode_order(order: Order) -> str:
    """JSON text of an order, without fields that were not set."""
    body = order.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return json.dumps({"operation": order.operation.value, "version": order.version, **body})


def decode_order(body: str | bytes) -> Order:
    """Read an order.

    Raises:
        ControlError: Not JSON, not an object, an unknown operation or a field of a wrong type.
    """
    return _validated(Order.model_validate, body, "order")


def encode_report(report: Hello | State | DrainAccepted | DrainFinished | Exit) -> str:
    """JSON text of a report."""
    return report.model_dump_json(by_alias=True, exclude_none=True)


def decode_report(body: str | bytes) -> Hello | State | DrainAccepted | DrainFinished | Exit:
    """Read a report.

    Raises:
        ControlError: Not JSON, an unknown kind or a field of a wrong type.
    """
    return _validated(_report_adapter.validate_python, body, "report")


def _validated(validate: Callable[[Any], T], body: str | bytes, what: str) -> T:
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"the {what} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ControlError(f"the {what} must be a JSON object, got {type(raw).__name__}")
    try:
        return validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or what
        raise ControlError(f"{where}: {first['msg']}") from error
