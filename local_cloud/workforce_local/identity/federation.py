"""Workload identity federation: whose signed tokens an application may be used with instead of a secret.

Checks issuer, subject, audience, time and signature of a client assertion against the federated identity credentials
of the configuration. It asks nobody for keys: they are in files, read again when they change. Invariant: an assertion
is accepted only if a credential of that very application names its issuer, its subject and its audience, and one of
the issuer's keys signed it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from workforce_local.config import FederationConfig
from workforce_local.identity.grants import Refused, read_assertion

_ALGORITHMS = ("RS256", "ES256")
_LEEWAY_SECONDS = 300
"""How far clocks may differ."""


class KeyFileError(ValueError):
    """The file of an issuer's keys cannot be used. The message names it."""


@dataclass
class KeyFile:
    """An issuer's keys, in a file: a JSON web key set, or one key as PEM."""

    path: Path
    _stamp: tuple[int, int] | None = None
    _keys: dict[str | None, Any] = field(default_factory=dict, repr=False)

    def keys(self, key_id: str | None) -> list[Any]:
        """The key of an id; all of them if no id is given or a key has none.

        Raises:
            KeyFileError: The file cannot be read.
        """
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._keys = _read(self.path.read_bytes())
                self._stamp = stamp
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise KeyFileError(f"{self.path}: cannot be read as a JSON web key set or PEM: {error}") from error
        return [key for known, key in self._keys.items() if key_id is None or known in (None, key_id)]


def _read(content: bytes) -> dict[str | None, Any]:
    if content.lstrip().startswith(b"{"):
        keys = jwt.PyJWKSet.from_dict(json.loads(content)).keys
        return {key.key_id: key.key for key in keys}
    if b"PRIVATE KEY" not in content:
        return {None: serialization.load_pem_public_key(content)}
    private = serialization.load_pem_private_key(content, password=None)
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("neither an RSA nor an elliptic curve key")
    return {None: private.public_key()}


class Federation:
    """The federated identity credentials of all applications."""

    def __init__(self, credentials: Iterable[FederationConfig], default_client_id: str) -> None:
        self._credentials = [(given, KeyFile(given.keys)) for given in credentials]
        self._default = default_client_id

    def check(self, assertion: str, client_id: str, now: float) -> Refused | None:
        """Whether a client assertion stands for an application; None is yes."""
        claims = read_assertion(assertion)
        if isinstance(claims, Refused):
            return claims
        found = self._matching(client_id, claims)
        if isinstance(found, Refused):
            return found
        refusal = _in_time(claims, now)
        return refusal or _signed(assertion, found)

    def _matching(self, client_id: str, claims: dict[str, Any]) -> list[KeyFile] | Refused:
        """The keys that may have signed, or the first part of the assertion that no credential names."""
        known = [
            (given, keys)
            for given, keys in self._credentials
            if (given.client_id or self._default).lower() == client_id.lower()
        ]
        audiences = claims.get("aud") or []
        audiences = [audiences] if isinstance(audiences, str) else audiences
        issuer, subject = str(claims.get("iss")), str(claims.get("sub"))
        known = [(given, keys) for given, keys in known if given.issuer == issuer]
        if not known:
            return _no_record(700211, "issuer", issuer)
        known = [(given, keys) for given, keys in known if fnmatchcase(subject, given.subject)]
        if not known:
            return _no_record(700213, "subject", subject)
        known = [(given, keys) for given, keys in known if given.audience in audiences]
        if not known:
            return _no_record(700212, "audience", ", ".join(map(str, audiences)))
        return [keys for _, keys in known]


def _no_record(number: int, what: str, value: str) -> Refused:
    return Refused(
        401, "invalid_client", number,
        f"No matching federated identity record found for presented assertion {what} '{value}'.",
    )  # fmt: skip


def _in_time(claims: dict[str, Any], now: float) -> Refused | None:
    begins, ends = claims.get("nbf", 0), claims.get("exp")
    if not isinstance(ends, int | float) or ends <= now or begins > now + _LEEWAY_SECONDS:
        return Refused(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
    return None


def _signed(assertion: str, files: Iterable[KeyFile]) -> Refused | None:
    header = jwt.get_unverified_header(assertion)
    try:
        keys = [key for file in files for key in file.keys(header.get("kid"))]
    except KeyFileError as error:
        return Refused(401, "invalid_client", 50166, f"Request to External OIDC endpoint failed: {error}")
    for key in keys:
        try:
            jwt.decode(
                assertion, key, algorithms=_ALGORITHMS,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )  # fmt: skip
        except (jwt.InvalidTokenError, TypeError):
            continue  # another key, or a key of another kind
        return None
    return Refused(401, "invalid_client", 700027, "Client assertion failed signature validation.")
