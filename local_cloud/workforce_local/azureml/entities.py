"""The studio's index of jobs: filters, order and pages of `entities`, with its own words for some statuses.

Pure. It is not documented by its maker; what is imitated is what was seen of it. Invariants: no page has more than 100
entities, and nothing is given past the 50,000th.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workforce_local.azureml.errors import user_error

MAX_PAGE = 100
MAX_RESULTS = 50_000
_WORDS = {"NotStarted": "Not started", "CancelRequested": "Cancel requested"}


def studio_status(status: str) -> str:
    """What the studio calls a status."""
    return _WORDS.get(status, status)


@dataclass(frozen=True)
class Condition:
    """One field and the values that it may (`eq`) or may not (`ne`) have."""

    field: str
    wanted: bool
    values: frozenset[str]

    @classmethod
    def read(cls, given: Any) -> Condition:
        """Read one filter, or refuse it."""
        if not isinstance(given, Mapping) or not isinstance(given.get("field"), str):
            raise user_error("filters: each must be {field, operator, values}.")
        operator, values = given.get("operator"), given.get("values")
        if operator not in ("eq", "ne") or not isinstance(values, list):
            raise user_error(f"filters: {given['field']}: give operator eq or ne, and a list of values.")
        return cls(given["field"], operator == "eq", frozenset(str(value).lower() for value in values))

    def admits(self, entity: Mapping[str, Any]) -> bool:
        """Whether an entity has the field as it should be."""
        return (_text(look_up(entity, self.field)) in self.values) is self.wanted


@dataclass(frozen=True)
class Question:
    """What is asked of the index."""

    conditions: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    """Fields, and whether the order is ascending."""
    size: int
    start: int
    count: bool

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Question:
        """Read a request's body.

        Raises:
            ArmError: Something in it cannot be used.
        """
        size = body.get("pageSize", MAX_PAGE)
        if not isinstance(size, int) or not 0 <= size <= MAX_PAGE:
            raise user_error(f"pageSize must be a number from 0 to {MAX_PAGE}, got {size}.")
        order = tuple(
            (str(one.get("field", "")), str(one.get("direction", "Asc")).lower() != "desc")
            for one in body.get("order") or []
        )
        conditions = tuple(Condition.read(given) for given in body.get("filters") or [])
        start = _start(body.get("continuationToken"))
        return cls(conditions, order, size, start, bool(body.get("includeTotalResultCount")))


def answer(entities: Iterable[Mapping[str, Any]], question: Question) -> dict[str, Any]:
    """One page."""
    found = [entity for entity in entities if all(one.admits(entity) for one in question.conditions)]
    for field, ascending in reversed(question.order):
        found.sort(key=lambda entity: _text(look_up(entity, field)), reverse=not ascending)
    total = len(found)
    end = min(question.start + question.size, MAX_RESULTS)
    page: Sequence[Mapping[str, Any]] = found[question.start : end]
    more = question.size > 0 and end < min(total, MAX_RESULTS)
    return {
        "value": page,
        "continuationToken": base64.b64encode(str(end).encode()).decode() if more else None,
        "totalCount": total if question.count else None,
    }


def look_up(entity: Mapping[str, Any], field: str) -> Any:
    """A field by its path; the last part may itself contain dots, as in `userProperties/azureml.VC`."""
    found: Any = entity
    for part in field.split("/"):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower()


def _start(token: Any) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(str(token), validate=True))
    except ValueError as error:
        raise user_error("continuationToken is not one of this index.") from error
