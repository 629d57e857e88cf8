"""Tells which service of the local Azure a request is for, and which region it concerns. Pure.

Requests of the local cloud's own interface are nobody's: faults never strike what sets them.
"""

from __future__ import annotations

import re

from workforce_local.admin import PREFIX
from workforce_local.chaos.engine import Request
from workforce_local.config import LocalConfig
from workforce_local.servicebus.atom import PREFIX as ATOM_PREFIX

_WORKSPACE = re.compile(r"/workspaces/(?P<name>[^/]+)", re.IGNORECASE)
_NAMESPACE = re.compile(r"/Microsoft\.ServiceBus/namespaces/(?P<name>[^/]+)", re.IGNORECASE)
_ATOM = re.compile(rf"^{ATOM_PREFIX}/(?P<name>[^/]+)")
_LOCATION = re.compile(r"/locations/(?P<name>[^/]+)", re.IGNORECASE)
_STUDIO = re.compile(r"^(?:/api/(?P<region>[^/]+))?/(?:ux|index|execution|history)/v1\.0/", re.IGNORECASE)
_INSIGHTS = re.compile(r"^//?v2(\.1)?/track$")
_IDENTITY = re.compile(r"^/[^/]+/(?:oauth2/|discovery/|v2\.0/\.well-known/|\.well-known/)", re.IGNORECASE)


class Classifier:
    """Knows where workspaces and namespaces are."""

    def __init__(self, config: LocalConfig) -> None:
        self._workspaces = {space.name.lower(): space.location for space in config.workspaces}
        self._namespaces = {space.name.lower(): space.location for space in config.service_bus}

    def https(self, method: str, path: str) -> Request | None:
        """A request to the resource manager's server, which is the identity's and the studio's, too."""
        if path.startswith((PREFIX, "/metadata/")) or path == "/discovery":
            return None
        if (found := _ATOM.match(path)) is not None:
            return Request("serviceBusManagement", method, path, self._namespaces.get(found["name"].lower()))
        if _IDENTITY.match(path) and not path.lower().startswith("/subscriptions/"):
            return Request("identity", method, path)
        if _INSIGHTS.match(path):
            return Request("insights", method, path)
        studio = _STUDIO.match(path)
        region = (studio["region"] if studio else None) or self._region(path)
        return Request("index" if studio else "arm", method, path, region)

    def _region(self, path: str) -> str | None:
        if (found := _NAMESPACE.search(path)) is not None:
            return self._namespaces.get(found["name"].lower())
        if (found := _WORKSPACE.search(path)) is not None:
            return self._workspaces.get(found["name"].lower())
        found = _LOCATION.search(path)
        return found["name"] if found else None
