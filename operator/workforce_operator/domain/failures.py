"""Why a worker job failed: by the worker's own last report, else by AzureML's error codes. Pure.

AzureML does not document its codes, so that a code is known by a part of it; a message is never searched. Whatever is
not understood is unknown, which counts like a fault of the template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from jobq.control import Exit
from workforce_operator.domain.observed import Job
from workforce_operator.domain.words import cut

LAST_LINES = 5
"""So many of a worker's last error lines are told in conditions."""
LONGEST_ERROR = 1000


class FailureClass(StrEnum):
    """Whose fault it was. The values are read by people."""

    USER = "user error"
    QUOTA = "quota"
    IMAGE_PULL = "image pull"
    PREEMPTED = "preempted"
    NODE_LOST = "node lost"
    UNKNOWN = "unknown failure"

    @property
    def blames_template(self) -> bool:
        """Whether another job of the same template would probably fail as well, wherever it runs."""
        return self in _TEMPLATE


_TEMPLATE = frozenset({FailureClass.USER, FailureClass.IMAGE_PULL, FailureClass.UNKNOWN})

_CODES = (
    (FailureClass.PREEMPTED, ("preempt", "evicted", "eviction")),
    (FailureClass.NODE_LOST, ("nodelost", "nodefail", "nodeunusable", "nodenotready", "nodeunhealthy", "nodereboot")),
    (FailureClass.QUOTA, ("quota", "insufficientcapacity", "allocationfailed", "overconstrained")),
    (FailureClass.IMAGE_PULL, ("imagepull", "imagebuild", "imagenotfound", "dockerpull", "containerregistry")),
    (FailureClass.USER, ("usererror", "userprocess", "badargument", "validationerror")),
)
"""Parts of lower-case codes, the most particular class first: AzureML nests what happened inside of a UserError."""

_PREEMPTED = frozenset({"sigterm", "preemption", "eviction-timeout"})
"""Words of an exit report that say that the platform took the node."""


_DRAINED = frozenset({"drain-finish", "drain-checkpoint", "drain-deadline"})
"""Words of an exit report that say that the worker was told to leave."""


def was_told_to_leave(last_words: Exit | None) -> bool:
    """Whether a worker that has ended says that it was drained."""
    return last_words is not None and last_words.why in _DRAINED


def classify(job: Job, last_words: Exit | None) -> FailureClass:
    """Whose fault a failed job's end was.

    Args:
        job: A job that failed.
        last_words: The exit report of its worker, if one came.
    """
    if last_words is not None and last_words.why in _PREEMPTED:
        return FailureClass.PREEMPTED
    if last_words is not None and last_words.exit_code != 0:
        return FailureClass.USER
    return _by_codes(job.error_codes)


def describe(job: Job, last_words: Exit | None) -> str | None:
    """What is known of a failure, for conditions: its class, then the last error lines. None if nothing is known."""
    kind = classify(job, last_words)
    text = _text(job, last_words)
    if text is None:
        return None if kind is FailureClass.UNKNOWN else kind.value
    return cut(f"{kind.value}: {text}", LONGEST_ERROR)


def last_description(failed: Iterable[Job], last_words: Mapping[str, Exit]) -> str | None:
    """What is known of the first of these failures of which anything is; else whose logs to look at."""
    jobs = tuple(failed)
    told = next((text for job in jobs if (text := describe(job, last_words.get(job.name)))), None)
    if told is None and jobs:
        return f"not told; the logs of {jobs[0].name} in the studio may say it"
    return told


def _by_codes(codes: Iterable[str]) -> FailureClass:
    told = [code.replace("_", "").replace("-", "").lower() for code in codes]
    for kind, parts in _CODES:
        if any(part in code for code in told for part in parts):
            return kind
    return FailureClass.UNKNOWN


def _text(job: Job, last_words: Exit | None) -> str | None:
    if last_words is None:
        return job.error
    lines = " | ".join(line.strip() for line in last_words.error[-LAST_LINES:] if line.strip())
    said = lines or job.error or last_words.why
    return f"{said} (exit code {last_words.exit_code})" if last_words.exit_code else said
