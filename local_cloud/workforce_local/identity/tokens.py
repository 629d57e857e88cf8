"""Access tokens of the local Azure: minted and checked with one RSA key per state folder.

No network and no clock of its own. Tokens have the shape of Entra ID's version 1 tokens, because Azurite accepts those
issuers only. Invariant: what `verify` accepts was minted with this key, is for the audience asked and has not expired.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from workforce_local.identity.certificates import write_private

LIFETIME_SECONDS = 3600
_ALGORITHM = "RS256"
_ISSUED = "xms_local_iat"
"""When exactly a token was minted: `iat` has whole seconds only, too coarse for a revocation within the same one."""
_REMEMBERED = 1000
_NAMESPACE = uuid.UUID("6f0a0f6e-6f38-4d0c-8f5b-0d6a3c1c9f11")


class TokenError(ValueError):
    """A token that is not accepted.

    Attributes:
        code: What Azure Resource Manager would call it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RevokedError(TokenError):
    """A token from before its principal was revoked.

    Attributes:
        claims: What a client passes on to be given a token of later.
    """

    def __init__(self, since: float) -> None:
        super().__init__(
            "InvalidAuthenticationToken",
            "TokenIssuedBeforeRevocationTimestamp: the access token was issued before its sessions were revoked.",
        )
        wanted = {"access_token": {"nbf": {"essential": True, "value": str(int(since))}}}
        self.claims = base64.b64encode(json.dumps(wanted).encode()).decode("ascii")


@dataclass(frozen=True)
class Token:
    """A minted token and when it ends."""

    value: str
    audience: str
    expires_on: int
    expires_in: int


@dataclass(frozen=True)
class Principal:
    """Who a verified token stands for."""

    client_id: str
    object_id: str
    audience: str
    expires_on: int


@lru_cache
def audience_of(scope: str) -> str:
    """The audience that a scope asks for: ``<audience>/.default``; a version 1 resource is its own audience.

    Service Bus asks with a double slash; audiences are kept without trailing slashes.
    """
    return scope.removesuffix("/.default").rstrip("/")


def object_id_of(client_id: str) -> str:
    """The directory object of an application: made up, but always the same."""
    return str(uuid.uuid5(_NAMESPACE, client_id.lower()))


class Issuer:
    """Mints and verifies the tokens of one tenant."""

    def __init__(
        self, key: rsa.RSAPrivateKey, tenant_id: str, *, clock: Callable[[], float] = time.time,
        lifetime: int = LIFETIME_SECONDS,
    ) -> None:  # fmt: skip
        self.lifetime = lifetime
        self.disabled: set[str] = set()
        self._revoked: dict[str, float] = {}
        self._decoded: dict[str, dict[str, Any]] = {}
        self.tenant_id = tenant_id
        self.issuer = f"https://sts.windows.net/{tenant_id}/"
        self._key = key
        self._public = key.public_key()
        self._clock = clock
        numbers = self._public.public_numbers()
        self._jwk = {"kty": "RSA", "use": "sig", "alg": _ALGORITHM, "n": _b64(numbers.n), "e": _b64(numbers.e)}
        self.key_id = uuid.uuid5(_NAMESPACE, self._jwk["n"]).hex

    @classmethod
    def load(cls, key_file: Path, tenant_id: str, *, lifetime: int = LIFETIME_SECONDS) -> Issuer:
        """The issuer of a state folder; the key is made at the first start and kept: tokens outlive restarts."""
        if key_file.exists():
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            if not isinstance(key, rsa.RSAPrivateKey):
                raise TokenError("InvalidKey", f"{key_file}: not an RSA key; remove the file to have a new one made")
            return cls(key, tenant_id, lifetime=lifetime)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(key_file, pem)
        return cls(key, tenant_id, lifetime=lifetime)

    def keys(self) -> dict[str, Any]:
        """The public key as a JSON web key set."""
        return {"keys": [{**self._jwk, "kid": self.key_id, "issuer": self.issuer}]}

    def revoke(self, client_id: str, *, disable: bool = False) -> None:
        """Refuse all tokens that an application has been given so far.

        Args:
            client_id: The application.
            disable: Give it no new ones either, until it is restored.
        """
        self._revoked[client_id.lower()] = self._clock()
        if disable:
            self.disabled.add(client_id.lower())

    def restore(self, client_id: str) -> None:
        """Give an application tokens again; what was revoked stays so."""
        self.disabled.discard(client_id.lower())

    def mint(self, audience: str, client_id: str, *, lifetime: int | None = None) -> Token:
        """A token for an application and an audience."""
        now = int(self._clock())
        lifetime = self.lifetime if lifetime is None else lifetime
        object_id = object_id_of(client_id)
        claims = {
            "aud": audience, "iss": self.issuer, "iat": now, "nbf": now - 5, "exp": now + lifetime,
            _ISSUED: self._clock(),
            "appid": client_id, "appidacr": "1", "idp": self.issuer, "idtyp": "app", "oid": object_id,
            "sub": object_id, "tid": self.tenant_id, "uti": uuid.uuid4().hex, "ver": "1.0",
        }  # fmt: skip
        value = jwt.encode(claims, self._key, algorithm=_ALGORITHM, headers={"kid": self.key_id})
        return Token(value, audience, now + lifetime, lifetime)

    def verify(self, token: str, audience: str | Collection[str]) -> Principal:
        """Check a token against one or several audiences.

        Raises:
            TokenError: Malformed, of another issuer, badly signed, for another audience, or expired.
        """
        wanted = {audience_of(one) for one in ([audience] if isinstance(audience, str) else audience)}
        claims = self._decode(token)
        now = self._clock()
        if claims["exp"] <= now:
            raise TokenError("ExpiredAuthenticationToken", f"The access token expired {now - claims['exp']:.0f} s ago.")
        if claims["nbf"] > now:
            raise TokenError("InvalidAuthenticationToken", "The access token is not valid yet.")
        if audience_of(str(claims["aud"])) not in wanted:
            expected = ", ".join(sorted(wanted))
            raise TokenError(
                "InvalidAuthenticationTokenAudience",
                f"The access token has been obtained for wrong audience or resource '{claims['aud']}'. "
                f"It should exactly match with one of the allowed audiences '{expected}'.",
            )
        since = self._revoked.get(str(claims["appid"]).lower())
        if since is not None and claims.get(_ISSUED, claims["nbf"]) <= since:
            raise RevokedError(since)
        return Principal(claims["appid"], claims["oid"], claims["aud"], claims["exp"])

    def accepts(self, token: str, audience: str | Collection[str]) -> bool:
        """Whether `verify` accepts the token."""
        try:
            self.verify(token, audience)
        except TokenError:
            return False
        return True

    def _decode(self, token: str) -> dict[str, Any]:
        """The claims of a token with a good signature; remembered, because each is presented thousands of times."""
        claims = self._decoded.get(token)
        if claims is None:
            claims = self._check_signature(token)
            if len(self._decoded) >= _REMEMBERED:
                self._decoded.clear()
            self._decoded[token] = claims
        return claims

    def _check_signature(self, token: str) -> dict[str, Any]:
        # Times and audience are checked above, against the injected clock and without regard to trailing slashes.
        options: Any = {
            "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False,
            "require": ["aud", "iss", "exp", "nbf", "appid", "oid"],
        }  # fmt: skip
        try:
            return jwt.decode(token, self._public, algorithms=[_ALGORITHM], issuer=self.issuer, options=options)
        except jwt.InvalidTokenError as error:
            raise TokenError("InvalidAuthenticationToken", f"The access token is invalid: {error}") from error


def _b64(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
