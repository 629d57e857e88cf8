"""One request and one answer of a route, apart from HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workforce_local.azureml.errors import user_error
from workforce_local.azureml.ids import WorkspaceId, workspace_id


@dataclass(frozen=True)
class Call:
    """One authenticated request."""

    base_url: str
    path: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    principal: str
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def workspace_id(self) -> WorkspaceId:
        """The workspace in the path."""
        return workspace_id(self.names["subscription"], self.names["group"], self.names["workspace"])

    @property
    def url(self) -> str:
        """The address that was called, without its query."""
        return self.base_url + self.path

    def properties(self) -> Mapping[str, Any]:
        """The `properties` of the body, or a refusal."""
        found = self.body.get("properties")
        if not isinstance(found, Mapping):
            raise user_error("The request body must have an object 'properties'.")
        return found


@dataclass(frozen=True)
class Reply:
    """One answer; no body is an empty one, and bytes are JSON already."""

    status: int = 200
    body: Mapping[str, Any] | list[Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Reply]
