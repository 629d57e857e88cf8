"""Who is given a token: the decision about one token request, apart from HTTP.

Pure but for the comparison of secrets. Client secrets are checked against the known ones; a client assertion (workload
identity) is checked by whoever is passed in: `federation` looks at who signed it, and without any federation it must be
a well-formed, unexpired JSON web token for the token exchange and no more.
Invariant: a refusal carries Entra ID's error code, and never the secret that was presented.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from workforce_local.identity.tokens import audience_of

EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ADFS = "adfs"
"""A tenant name for which MSAL asks no public service whether it knows this authority."""


@dataclass(frozen=True)
class Granted:
    """The request gets a token."""

    client_id: str
    audience: str


@dataclass(frozen=True)
class Refused:
    """The request gets an OAuth error."""

    status: int
    error: str
    number: int
    description: str


AssertionCheck = Callable[[str, str, float], Refused | None]
"""Whether an assertion stands for an application at a time; None is yes."""


def grant(
    form: Mapping[str, str], secrets: Mapping[str, str], now: float, *,
    assertions: AssertionCheck | None = None, disabled: Collection[str] = (),
) -> Granted | Refused:  # fmt: skip
    """Decide about a client credentials request.

    Args:
        form: The fields of the request.
        secrets: Client secrets by application id in lower case.
        now: The time, for assertions.
        assertions: Checks client assertions.
        disabled: Application ids in lower case that are given nothing.
    """
    if form.get("grant_type") != "client_credentials":
        return Refused(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
    client_id = form.get("client_id", "")
    if not is_guid(client_id):
        return Refused(400, "unauthorized_client", 700016, f"Application with identifier '{client_id}' was not found.")
    audience = _audience(form)
    if isinstance(audience, Refused):
        return audience
    if client_id.lower() in disabled:
        return Refused(400, "unauthorized_client", 7000112, f"Application '{client_id}' is disabled.")
    refusal = _prove(form, client_id, secrets, now, assertions or _well_formed)
    return refusal or Granted(client_id, audience)


def is_guid(text: str) -> bool:
    """Whether the text is an application's or an identity's id."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _audience(form: Mapping[str, str]) -> str | Refused:
    if resource := form.get("resource"):
        return audience_of(resource)
    # MSAL adds OpenID's own scopes to what the caller asked for.
    scopes = [scope for scope in form.get("scope", "").split() if scope not in {"openid", "profile", "offline_access"}]
    if len(scopes) != 1 or not scopes[0].endswith("/.default"):
        asked = form.get("scope", "")
        return Refused(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {asked} is not valid: give <audience>/.default",
        )
    return audience_of(scopes[0])


def _prove(
    form: Mapping[str, str], client_id: str, secrets: Mapping[str, str], now: float, assertions: AssertionCheck
) -> Refused | None:
    if assertion := form.get("client_assertion"):
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            return Refused(400, "invalid_request", 900144, f"client_assertion_type must be {ASSERTION_TYPE}")
        return assertions(assertion, client_id, now)
    if client_id.lower() not in secrets:
        return Refused(400, "unauthorized_client", 700016, f"Application with identifier '{client_id}' was not found.")
    presented = form.get("client_secret")
    if presented is None:
        return Refused(
            401, "invalid_client", 7000218, "The request body must contain client_assertion or client_secret."
        )
    if not hmac.compare_digest(presented.encode(), secrets[client_id.lower()].encode()):
        return Refused(401, "invalid_client", 7000215, f"Invalid client secret provided for app '{client_id}'.")
    return None


def read_assertion(assertion: str) -> dict[str, Any] | Refused:
    """The claims of an assertion, whoever signed it."""
    try:
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        return Refused(401, "invalid_client", 50027, f"JWT token is invalid or malformed: {error}")
    return claims


def _well_formed(assertion: str, client_id: str, now: float) -> Refused | None:
    claims = read_assertion(assertion)
    if isinstance(claims, Refused):
        return claims
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or expires <= now:
        return Refused(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")
    audience = claims.get("aud")
    if EXCHANGE_AUDIENCE not in ([audience] if isinstance(audience, str) else audience or []):
        return Refused(401, "invalid_client", 700212, f"No matching federated identity record for audience {audience}.")
    return None
