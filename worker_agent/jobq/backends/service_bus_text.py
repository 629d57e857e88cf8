"""Dead letters of Service Bus: reason and description on the message there, one text with the reason inside it here.

The service keeps a dead letter's body as it was. So the reason goes where the service's own tools show it, and comes
back as the text that `jobq.dead_letter` reads, whoever gave the message up. Nothing here does input or output.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import ValidationError

from jobq.dead_letter import Failure, decode_dead_letter, encode_dead_letter, encode_malformed
from jobq.errors import TaskError
from jobq.task import decode_task

NATIVE_LIMIT = 4096
"""Characters of a reason, and of a description, that the service keeps."""


def to_native(body: str) -> tuple[str, str]:
    """Reason and description of a dead letter's text."""
    failure = decode_dead_letter(body).failure
    if failure is None:
        return "given up", ""
    return failure.error[:NATIVE_LIMIT], _description(failure)


def from_native(body: str, reason: str | None, description: str | None) -> str:
    """The text of a dead letter with that reason and description."""
    if not (reason or description):
        return body
    failure = _failure(reason or "", description or "")
    try:
        return encode_dead_letter(decode_task(body), failure, sys.maxsize)
    except TaskError:
        return encode_malformed(body, failure, sys.maxsize)


def _description(failure: Failure) -> str:
    """All but the error, which is the reason; output lines give way to the limit, the oldest first."""
    fields: dict[str, Any] = failure.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"error"})
    while True:
        text = json.dumps(fields)
        if len(text) <= NATIVE_LIMIT or not fields.get("lastLines"):
            return text[:NATIVE_LIMIT]
        fields["lastLines"] = fields["lastLines"][1:]


def _failure(reason: str, description: str) -> Failure:
    """What we wrote ourselves, or the words of somebody else."""
    try:
        fields = json.loads(description)
        return Failure.model_validate({**fields, "error": reason})
    except (ValueError, TypeError, RecursionError, ValidationError):
        return Failure(error=": ".join(part for part in (reason, description) if part))
