"""The inspection and control interface of the local Azure under ``/_local/``: its key, its server side, its client.

Who can read the token in the state folder may use it. It knows none of the resources. Invariant: nothing under
``/_local/`` is answered without the token.
"""

from __future__ import annotations

import hmac
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Handler

PREFIX = "/_local/"
HOW_TO_START = "to start it: workforce local up"
_TIMEOUT_SECONDS = 30.0


def guarded(token: str, handler: Handler) -> Handler:
    """The handler, for those who know the token."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
            return refusal("give the token in admin.token as Bearer", status=401)
        return await handler(request)

    return answer


def unknown(token: str) -> web.RouteDef:
    """To be added behind all others: whoever mistypes a path is told so, not that some other service wants a token."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return refusal(
            f"there is no {request.method} {request.path}; docs/local-cloud.md names what there is", status=404
        )

    return web.route("*", PREFIX + "{name:.*}", guarded(token, answer))


@web.middleware
async def refuse_unreadable(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A body that is not encoded as its headers say is its sender's mistake, whichever service it was for."""
    try:
        return await handler(request)
    except web.RequestPayloadError as error:
        return refusal(f"the body cannot be read: {' '.join(str(error).split())}")


def refusal(text: str, status: int = 400) -> web.Response:
    """An error answer."""
    return web.json_response({"error": text}, status=status)


class AdminError(RuntimeError):
    """The local Azure cannot be asked, or refuses. The message says why."""


@dataclass(frozen=True)
class AdminClient:
    """Asks one local Azure."""

    base_url: str
    token: str
    ca_file: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The client of the local Azure with this state folder.

        Raises:
            AdminError: None has been started there.
        """
        try:
            cloud = json.loads((folder / "cloud.json").read_text(encoding="utf-8"))
            token = (folder / "admin.token").read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise AdminError(f"{folder}: no local Azure was started here; {HOW_TO_START}") from error
        return cls(cloud["resourceManager"], token, cloud["caBundle"])

    def get(self, path: str, **query: object) -> Any:
        """Read something; parameters without a value are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(given)}" if given else path)

    def post(self, path: str, document: Mapping[str, Any]) -> Any:
        """Send something."""
        return self._ask("POST", path, json.dumps(document).encode())

    def delete(self, path: str) -> Any:
        """Take something away."""
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  (the address is that of our own cloud file)
            f"{self.base_url}{PREFIX}{path}",
            data=data,
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AdminError(_reason(error)) from error
        except OSError as error:
            said = getattr(error, "reason", error)
            raise AdminError(f"the local Azure at {self.base_url} does not answer ({said}); {HOW_TO_START}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the local Azure answered {error.code}"
