"""Claims-based security: tokens that a client puts for its connection, and what they cover.

Invariant: with an authorizer, no link attaches to an entity that no accepted token covers. A token is checked when it
is put; links that are attached then stay attached.
"""

from __future__ import annotations

import urllib.parse
from typing import Any

from workforce_local.servicebus.amqp_types import Int
from workforce_local.servicebus.errors import unauthorized
from workforce_local.servicebus.message import Message, reply
from workforce_local.servicebus.tokens import Authorize

CBS_ADDRESS = "$cbs"


class Claims:
    """What one connection may use.

    Args:
        authorize: Decides about tokens; None lets everybody use everything.
    """

    def __init__(self, authorize: Authorize | None) -> None:
        self._authorize = authorize
        self._paths: set[str] = set()

    def put_token(self, request: Message) -> bytes:
        """Answer a put-token request."""
        properties = request.application_properties
        audience = str(properties.get("name") or "")
        if properties.get("operation") != "put-token":
            return _answer(request, 400, "The only operation of $cbs is put-token.")
        if self._authorize is not None and not self._authorize(_text(request.value), audience):
            return _answer(request, 401, "InvalidSignature or InvalidToken: the token is not accepted for this entity.")
        self._paths.add(entity_path(audience).lower())
        return _answer(request, 202, "Accepted")

    def check(self, path: str) -> None:
        """Let an accepted user of an entity pass.

        Raises:
            EntityError: No token that was put covers the entity.
        """
        if self._authorize is None:
            return
        wanted = path.lower()
        if not any(not path or wanted == path or wanted.startswith(f"{path}/") for path in self._paths):
            raise unauthorized(path)


def entity_path(address: str) -> str:
    """The path of an entity in an address or an audience; clients write either URLs or paths."""
    return (urllib.parse.urlsplit(address).path if "://" in address else address).strip("/")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _answer(request: Message, code: int, description: str) -> bytes:
    return reply(request.message_id, {"status-code": Int(code), "status-description": description}, None)
