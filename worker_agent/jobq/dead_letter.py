"""Dead letters: a task that is given up, with why, in one field that readers of the plain format ignore.

The task's own fields stay as they were, so that it can be retried from the dead letter alone. A message that is no task
is kept as it was, inside an object beside the reason. Nothing here does input or output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from jobq.errors import TaskError
from jobq.task import LINE_LIMIT, MESSAGE_LIMIT, Task, decode_task, message_size

FAILURE_FIELD = "failure"
MALFORMED_FIELD = "malformed"


class Failure(BaseModel):
    """Why a task was given up."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    error: str
    exit_code: int | None = None
    last_lines: list[str] = Field(default_factory=list)
    attempts: int = 1
    worker: str | None = None
    started: AwareDatetime | None = None
    failed: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What a message of the dead-letter queue holds: a task or a malformed text, and why if it says so."""

    task: Task | None
    malformed: str | None
    failure: Failure | None
    enqueued: datetime | None = None

    @property
    def id(self) -> str | None:
        """The task's id; a malformed message has none."""
        return self.task.id if self.task else None


def encode_dead_letter(task: Task, failure: Failure, limit: int = MESSAGE_LIMIT) -> str:
    """The dead letter of a task. Output lines, then the rest of the reason, give way to the size limit."""
    for candidate in (failure, failure.model_copy(update={"last_lines": []}), None):
        extra = {key: value for key, value in task.extra.items() if key != FAILURE_FIELD}
        if candidate is not None:
            extra[FAILURE_FIELD] = _dump(candidate)
        text = replace(task, extra=extra).encode()
        if message_size(text) <= limit:
            return text
    return task.encode()


def encode_malformed(text: str, failure: Failure, limit: int = MESSAGE_LIMIT) -> str:
    """The dead letter of a message that is no task; where both do not fit, the message is kept, not the reason."""
    wrapped = json.dumps({MALFORMED_FIELD: text, FAILURE_FIELD: _dump(failure)})
    return wrapped if message_size(wrapped) <= limit else text


def decode_dead_letter(text: str, enqueued: datetime | None = None) -> DeadLetter:
    """Read a dead letter, whoever wrote it. Never fails: what is no task is malformed."""
    try:
        task = decode_task(text)
    except TaskError:
        return _decode_malformed(text, enqueued)
    failure = _read_failure(task.extra.get(FAILURE_FIELD))
    extra = {key: value for key, value in task.extra.items() if key != FAILURE_FIELD}
    return DeadLetter(replace(task, extra=extra), None, failure, enqueued)


def last_lines(lines: Sequence[str], count: int = 50) -> list[str]:
    """The end of an output in a size that fits into a dead letter."""
    return [line[:LINE_LIMIT] for line in lines[-count:]]


def _decode_malformed(text: str, enqueued: datetime | None) -> DeadLetter:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return DeadLetter(None, text, None, enqueued)
    if isinstance(body, dict) and isinstance(body.get(MALFORMED_FIELD), str):
        return DeadLetter(None, body[MALFORMED_FIELD], _read_failure(body.get(FAILURE_FIELD)), enqueued)
    return DeadLetter(None, text, None, enqueued)


def _read_failure(value: Any) -> Failure | None:
    try:
        return Failure.model_validate(value)
    except ValidationError:
        return None


def _dump(failure: Failure) -> dict[str, Any]:
    return failure.model_dump(mode="json", by_alias=True, exclude_none=True)
