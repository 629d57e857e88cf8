"""Lists of jobs: filters, order and pages.

Pure. A page's continuation names the last job that was given, not a count, so that jobs which are hired between two
pages neither repeat nor hide others. Invariant: following the links gives each job that matched throughout once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from workforce_local.azureml.errors import user_error

_VIEWS = ("ActiveOnly", "ArchivedOnly", "All")


class Listed(Protocol):
    """What a list needs to know of a job."""

    @property
    def sequence(self) -> int:
        """Position in the order of creation."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """The job's properties as they are answered."""


T = TypeVar("T", bound=Listed)
Wanted = tuple[str, str | None]
"""A key, and the value that it must have; None for any."""


@dataclass(frozen=True)
class Filter:
    """The filters that ARM offers; it has none for status or experiment."""

    view: str = "ActiveOnly"
    job_type: str | None = None
    tag: str | None = None
    properties: str | None = None
    nothing: bool = False
    """Asked for jobs of schedules or of assets: none is run here."""
    before: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filter:
        """Read a request's parameters.

        Raises:
            ArmError: A view or a continuation that does not exist.
        """
        view = query.get("listViewType", "ActiveOnly")
        if view not in _VIEWS:
            raise user_error(f"listViewType '{view}' is not one of {', '.join(_VIEWS)}.")
        skip = query.get("$skip")
        if skip is not None and not skip.isdecimal():
            raise user_error(f"$skip '{skip}' is not a continuation of this list.")
        scheduled = query.get("scheduled", "").lower() == "true" or "scheduleId" in query or "assetName" in query
        return cls(
            view, query.get("jobType"), query.get("tag"), query.get("properties"), scheduled,
            int(skip) if skip else None,
        )  # fmt: skip

    def admits(self, properties: Mapping[str, Any]) -> bool:
        """Whether a job is in the list."""
        archived = bool(properties.get("isArchived"))
        if self.nothing or (self.view == "ActiveOnly" and archived) or (self.view == "ArchivedOnly" and not archived):
            return False
        if self.job_type and str(properties.get("jobType", "")).lower() != self.job_type.lower():
            return False
        return _has(properties.get("tags"), self._tags) and _has(properties.get("properties"), self._pairs)

    # A list asks every job of a workspace, so what is asked for is read once.

    @cached_property
    def _tags(self) -> tuple[Wanted, ...]:
        return (_wanted(self.tag),) if self.tag else ()

    @cached_property
    def _pairs(self) -> tuple[Wanted, ...]:
        return tuple(_wanted(pair.strip()) for pair in (self.properties or "").split(",") if pair.strip())


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page, and what to pass as `$skip` for the next one."""

    items: Sequence[T]
    skip: str | None


def page(jobs: Iterable[T], chosen: Filter, size: int) -> Page[T]:
    """The next page of the jobs, which come newest first; it looks no further than the page's end."""
    items: list[T] = []
    for job in jobs:
        if (chosen.before is None or job.sequence < chosen.before) and chosen.admits(job.properties):
            if len(items) == size:
                return Page(items, str(items[-1].sequence))
            items.append(job)
    return Page(items, None)


def _wanted(pair: str) -> Wanted:
    key, separator, value = pair.partition("=")
    return key, value if separator else None


def _has(pairs: Mapping[str, str] | None, wanted: Iterable[Wanted]) -> bool:
    for key, value in wanted:
        found = (pairs or {}).get(key)
        if found is None or (value is not None and found != value):
            return False
    return True
