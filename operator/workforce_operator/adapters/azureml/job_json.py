"""Between AzureML's job documents and ours. Pure.

Nothing here fails on a field that is missing or strange: what is not understood is not told, and a state that is not
known counts as running (``domain.observed.phase_of``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jobq.names import (
    COHORT_PROPERTY,
    INSTALLATION_PROPERTY,
    OWNER_PROPERTY,
    TEMPLATE_PROPERTY,
    TIME_LIMIT_VARIABLE,
    cohort,
    cohort_value,
    parse_job_name,
)
from workforce_operator.domain.observed import Job
from workforce_operator.ports.azure import JobBody, Workplace

_SECONDS = re.compile(r"^(\d+)s$")
MOST_CODES = 16
"""Of one error; what is nested deeper says nothing new."""
_GOLDEN = 0.6180339887498949


def job_of(document: Mapping[str, Any], place: Workplace) -> Job | None:
    """The job in a document, or None if it is not ours: another owner, or a name that is not of this region."""
    found = worker_of(document)
    return found[1] if found is not None and found[0] == (place.owner, place.prefix) else None


def worker_of(document: Mapping[str, Any]) -> tuple[tuple[str, str], Job] | None:
    """The job in a document, with its owner and its name's prefix; None if it is no worker of any Workforce."""
    name = str(document.get("name") or "")
    parsed = parse_job_name(name)
    properties = _mapping(document.get("properties"))
    own = _mapping(properties.get("properties"))
    owner = own.get(OWNER_PROPERTY)
    if parsed is None or not isinstance(owner, str) or not name.endswith(f"-{parsed[1]}"):
        return None
    return (owner, name.removesuffix(f"-{parsed[1]}")), Job(
        name=name,
        sequence=parsed[1],
        state=str(properties.get("status") or "Unknown"),
        template_hash=_text(own.get(TEMPLATE_PROPERTY)),
        created=parse_time(_mapping(document.get("systemData")).get("createdAt")),
        started=parse_time(own.get("StartTimeUtc")),
        ended=parse_time(own.get("EndTimeUtc")),
        error=_error(properties.get("error")),
        error_codes=_codes(properties.get("error")),
    )


def body_of(place: Workplace, name: str, sequence: int, body: JobBody) -> dict[str, Any]:
    """The ARM body of one hire: the resolved template, and what differs from job to job."""
    properties = dict(body.properties)
    properties["displayName"] = name
    properties["properties"] = _mapping(body.properties.get("properties")) | {
        OWNER_PROPERTY: place.owner,
        INSTALLATION_PROPERTY: place.installation_id,
        COHORT_PROPERTY: cohort_value(place.hash10, cohort(sequence)),
        TEMPLATE_PROPERTY: body.template_hash,
    }
    variables = _mapping(body.properties.get("environmentVariables"))
    if TIME_LIMIT_VARIABLE in variables:
        variables[TIME_LIMIT_VARIABLE] = spread_time_limit(str(variables[TIME_LIMIT_VARIABLE]), sequence)
        properties["environmentVariables"] = variables
    return {"properties": properties}


def spread_time_limit(limit: str, sequence: int) -> str:
    """A time limit between 90 and 100 % of the one given, so that jobs hired together do not all end together.

    The same sequence gives the same limit, because a PUT that is repeated must carry the same body. It is never
    longer than what the template allows, or the platform would kill the worker first.
    """
    match = _SECONDS.match(limit)
    if match is None:
        return limit
    share = (sequence * _GOLDEN) % 1
    return f"{int(int(match[1]) * (0.9 + 0.1 * share))}s"


def parse_time(text: Any) -> datetime | None:
    """A time of ARM's (seven digits, offset) or of a run's properties (UTC without saying so)."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _error(error: Any) -> str | None:
    nested = _mapping(error)
    return _text(nested.get("message")) or _text(_mapping(nested.get("error")).get("message"))


def _codes(error: Any) -> tuple[str, ...]:
    """All codes in an error, from the outermost to the innermost."""
    codes: list[str] = []
    waiting = [error]
    while waiting and len(codes) < MOST_CODES:
        inner = _mapping(waiting.pop(0))
        code = _text(inner.get("code"))
        codes += [code] if code else []
        waiting += [inner[key] for key in ("error", "innerError", "innererror") if key in inner]
        for each in _list(inner.get("additionalInfo")):
            info = _mapping(_mapping(each).get("info"))
            waiting += [info, info.get("value")]
        waiting += _list(inner.get("details"))
    return tuple(codes)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
