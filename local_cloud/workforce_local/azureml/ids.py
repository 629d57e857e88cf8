"""ARM resource ids, read without regard to case, and the patterns of the routes under them.

Pure. Names keep the case in which they were configured; a lookup folds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from typing_extensions import override

PROVIDER = "Microsoft.MachineLearningServices"
_REMEMBERED = 1024
"""How many ids are kept as they were read: thousands of requests name the same few."""
_WORKSPACE = re.compile(
    r"^/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    rf"/providers/{re.escape(PROVIDER)}/workspaces/(?P<workspace>[^/]+)(?P<rest>/.*)?$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WorkspaceId:
    """The address of a workspace."""

    subscription: str
    group: str
    workspace: str

    @override
    def __str__(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
            f"/providers/{PROVIDER}/workspaces/{self.workspace}"
        )

    @cached_property
    def key(self) -> str:
        """The same for every spelling of this id."""
        return str(self).lower()


@dataclass(frozen=True)
class ChildId:
    """Something in a workspace: its workspace and the segments after it."""

    workspace: WorkspaceId
    segments: tuple[str, ...]

    def named(self, *kinds: str) -> tuple[str, ...] | None:
        """The names, if the segments are exactly these kinds with a name each (`computes/x`)."""
        if len(self.segments) != 2 * len(kinds):
            return None
        if any(segment.lower() != kind.lower() for segment, kind in zip(self.segments[::2], kinds, strict=True)):
            return None
        return self.segments[1::2]


@lru_cache(_REMEMBERED)
def workspace_id(subscription: str, group: str, workspace: str) -> WorkspaceId:
    """The address of a workspace, from the names in a path."""
    return WorkspaceId(subscription, group, workspace)


@lru_cache(_REMEMBERED)
def parse(resource_id: str) -> ChildId | None:
    """Read an ARM id of a workspace or of something in one; None if it is neither."""
    match = _WORKSPACE.match(resource_id)
    if match is None:
        return None
    workspace = WorkspaceId(match["subscription"], match["group"], match["workspace"])
    return ChildId(workspace, tuple(part for part in (match["rest"] or "").split("/") if part))


def pattern(template: str) -> re.Pattern[str]:
    """Compile a route template: `{name}` is one segment; everything else is matched without regard to case."""
    parts = re.split(r"(\{\w+\})", template)
    text = "".join(f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in parts)
    return re.compile(f"^{text}/?$", re.IGNORECASE)
