"""Who may use an entity: shared access signatures, and JSON web tokens that somebody else verifies.

Invariant: a shared access signature is accepted for the resource that it signs and what lies under it, until its
expiry, and with the key of its name; comparing takes the same time for every wrong signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Callable, Mapping

Authorize = Callable[[str, str], bool]
"""Whether a token may use an audience, such as `sb://bus.servicebus.windows.net/orders`."""

SAS_PREFIX = "SharedAccessSignature "
"""How a shared access signature is told from a JSON web token; what the client calls it cannot be relied on."""


def authorizer(
    shared_keys: Mapping[str, str],
    verify_jwt: Callable[[str], bool] | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> Authorize:
    """The usual rule: a signature by one of the keys, or a JSON web token that the verifier accepts.

    Args:
        shared_keys: Key by key name, as in connection strings.
        verify_jwt: Decides about JSON web tokens; without it none is accepted.
        clock: Seconds since the epoch.
    """

    def authorize(token: str, audience: str) -> bool:
        if token.startswith(SAS_PREFIX):
            return check_signature(token, audience, shared_keys, clock())
        return verify_jwt is not None and verify_jwt(token)

    return authorize


def check_signature(token: str, audience: str, shared_keys: Mapping[str, str], now: float) -> bool:
    """Whether a shared access signature is right, current, and for the audience."""
    fields = dict(urllib.parse.parse_qsl(token.removeprefix(SAS_PREFIX)))
    resource, expiry, name = fields.get("sr", ""), fields.get("se", ""), fields.get("skn", "")
    key = shared_keys.get(name)
    if key is None or not expiry.isdigit() or int(expiry) <= now:
        return False
    # What is signed is the resource as it was written into the token: quoted.
    signed = [_raw_field(token, "sr"), resource]
    right = any(hmac.compare_digest(_sign(key, one, expiry), fields.get("sig", "")) for one in signed)
    return right and _covers(_path(resource), _path(audience))


def _sign(key: str, resource: str, expiry: str) -> str:
    digest = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _raw_field(token: str, name: str) -> str:
    pairs = (part.partition("=") for part in token.removeprefix(SAS_PREFIX).split("&"))
    return next((value for key, _, value in pairs if key == name), "")


def _path(address: str) -> str:
    return urllib.parse.urlsplit(address).path.strip("/").lower()


def _covers(granted: str, wanted: str) -> bool:
    return granted in ("", wanted) or wanted.startswith(f"{granted}/")
