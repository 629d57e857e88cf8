"""A small client of the Kubernetes API: JSON in, JSON out, lists and watches, credentials from a kubeconfig file.

For the pod runner, which needs a handful of calls and little memory; it knows no resource type. It does not retry:
callers are loops that come again.

Invariant: a watch never loses an event silently. It resumes where it was, and when it cannot it lists again, saying so.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from typing_extensions import override

Json = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WATCH_SECONDS = 280
# A watch without any event or bookmark for this long is a dead connection (the server sends bookmarks each minute).
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SECONDS + 20)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class ApiError(RuntimeError):
    """The API server refused a request."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message

    @override
    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


TRANSIENT = (aiohttp.ClientError, TimeoutError, OSError)
"""What a request raises when the API server cannot be reached."""


@dataclass(frozen=True)
class Access:
    """Where the API server is and how to authenticate."""

    server: str
    authority: str
    """PEM text of the certificates that sign the server's."""
    token: str

    @classmethod
    def from_file(cls, path: Path) -> Access:
        """The current context of a kubeconfig file.

        Raises:
            ValueError: something is missing in it, with its name.
        """
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(content, "contexts", content.get("current-context"), path)["context"]
        cluster = _named(content, "clusters", context["cluster"], path)["cluster"]
        user = _named(content, "users", context["user"], path)["user"]
        authority = cluster.get("certificate-authority-data")
        text = (
            base64.b64decode(authority).decode("ascii")
            if authority
            else (path.parent / cluster["certificate-authority"]).read_text(encoding="ascii")
        )
        if not user.get("token"):
            raise ValueError(f"{path}: user {context['user']}: only users with a token are supported")
        return cls(server=cluster["server"].rstrip("/"), authority=text, token=user["token"])


def _named(content: Mapping[str, Any], key: str, name: object, path: Path) -> Json:
    for entry in content.get(key) or []:
        if entry.get("name") == name:
            found: Json = entry
            return found
    raise ValueError(f"{path}: {key} has no entry {name!r}")


@dataclass(frozen=True)
class Listed:
    """All objects at one moment: what is not among them is gone."""

    objects: tuple[Json, ...]


@dataclass(frozen=True)
class Changed:
    """One object was added or modified."""

    object: Json


@dataclass(frozen=True)
class Deleted:
    """One object is gone; this is how it was."""

    object: Json


WatchEvent = Listed | Changed | Deleted


class KubeClient:
    """Requests to one API server; an async context manager."""

    def __init__(self, access: Access) -> None:
        self.access = access
        context = ssl.create_default_context(cadata=access.authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=32),
            headers={"Authorization": f"Bearer {access.token}", "Accept": "application/json"},
            timeout=_TIMEOUT,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        """Read an object or a list."""
        return await self._request("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """POST."""
        return await self._request("POST", path, body=body)

    async def replace(self, path: str, body: Json) -> Json:
        """PUT."""
        return await self._request("PUT", path, body=body)

    async def patch(self, path: str, body: Json, *, kind: str = MERGE_PATCH) -> Json:
        """PATCH, by default a merge patch."""
        return await self._request("PATCH", path, body=body, content_type=kind)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """DELETE with options."""
        return await self._request("DELETE", path, body=body)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        async with self._session.request(
            method,
            f"{self.access.server}{path}",
            params=query,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type} if body is not None else None,
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise _error(answer.status, text)
            content: Json = json.loads(text)
            return content

    async def watch(self, path: str) -> AsyncGenerator[WatchEvent, None]:
        """List, then every change, for ever; waits out an unreachable server and lists again when it has to."""
        pause = _FIRST_PAUSE
        while True:
            version = None
            try:
                listing = await self.get(path)
                version = str(listing["metadata"]["resourceVersion"])
                yield Listed(tuple(listing.get("items") or ()))
                pause = _FIRST_PAUSE
            except (*TRANSIENT, ApiError):
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            async with contextlib.aclosing(self._watch_from(path, version)) as events:
                async for event in events:
                    yield event

    async def _watch_from(self, path: str, version: str) -> AsyncGenerator[WatchEvent, None]:
        """Changes since a version, over as many connections as it takes; ends when the server forgot that version."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with contextlib.aclosing(self._connection(path, version)) as lines:
                    async for line in lines:
                        pause = _FIRST_PAUSE
                        if line["type"] == "ERROR":
                            return
                        version = str(line["object"]["metadata"]["resourceVersion"])
                        if line["type"] == "DELETED":
                            yield Deleted(line["object"])
                        elif line["type"] != "BOOKMARK":
                            yield Changed(line["object"])
            except ApiError:
                return
            except TRANSIENT:
                pause = min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _connection(self, path: str, version: str) -> AsyncGenerator[Json, None]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with self._session.get(f"{self.access.server}{path}", params=query, timeout=_WATCH_TIMEOUT) as answer:
            if answer.status >= 400:
                raise _error(answer.status, await answer.text())
            # Not readline(): that refuses lines beyond 128 kB, and an object may be larger.
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)


def _error(status: int, text: str) -> ApiError:
    try:
        content = json.loads(text)
        return ApiError(status, str(content.get("reason", "")), str(content.get("message", text)))
    except (ValueError, AttributeError):
        return ApiError(status, "", text[:500])
