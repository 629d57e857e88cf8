"""HTTP of the local Entra ID: discovery, keys, and the token endpoint.

Translates requests into `grants.grant` and its answers into OAuth's. It keeps no state. Invariant: errors have the
shape that MSAL reads (``error``, ``error_description`` with the AADSTS number).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from aiohttp import web

from workforce_local.identity.grants import ADFS, AssertionCheck, Refused, grant
from workforce_local.identity.tokens import Issuer

_ALIASES = frozenset({ADFS, "common", "organizations"})


class IdentityService:
    """The endpoints of one tenant."""

    def __init__(
        self, issuer: Issuer, secrets: Mapping[str, str], *, base_url: Callable[[], str],
        assertions: AssertionCheck | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._issuer = issuer
        self._secrets = {client.lower(): secret for client, secret in secrets.items()}
        self._base_url = base_url
        self._assertions = assertions
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """What to add to a server."""
        return [
            web.get("/common/discovery/instance", self.instance),
            web.get("/{tenant}/v2.0/.well-known/openid-configuration", self.configuration),
            web.get("/{tenant}/.well-known/openid-configuration", self.configuration),
            web.get("/{tenant}/discovery/v2.0/keys", self.keys),
            web.post("/{tenant}/oauth2/v2.0/token", self.token),
            web.post("/{tenant}/oauth2/token", self.token),
        ]

    async def instance(self, request: web.Request) -> web.Response:
        """Instance discovery: this authority knows itself."""
        base = f"{self._base_url()}/{self._issuer.tenant_id}"
        return web.json_response(
            {"tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration", "api-version": "1.1"}
        )

    async def configuration(self, request: web.Request) -> web.Response:
        """The OpenID configuration of the tenant."""
        tenant = request.match_info["tenant"]
        if not self._knows(tenant):
            return _refuse(Refused(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found."))
        base = f"{self._base_url()}/{tenant}"
        return web.json_response(
            {
                "issuer": self._issuer.issuer,
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": None,
            }
        )

    async def keys(self, request: web.Request) -> web.Response:
        """The keys that tokens are signed with."""
        return web.json_response(self._issuer.keys())

    async def token(self, request: web.Request) -> web.Response:
        """The token endpoint, for client secrets and client assertions."""
        tenant = request.match_info["tenant"]
        if not self._knows(tenant):
            return _refuse(Refused(400, "invalid_request", 90002, f"Tenant '{tenant}' not found."))
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        decision = grant(
            form, self._secrets, self._clock(), assertions=self._assertions, disabled=self._issuer.disabled
        )
        if isinstance(decision, Refused):
            return _refuse(decision)
        token = self._issuer.mint(decision.audience, decision.client_id)
        return web.json_response(
            {
                "token_type": "Bearer",
                "expires_in": token.expires_in,
                "ext_expires_in": token.expires_in,
                "expires_on": str(token.expires_on),
                "resource": token.audience,
                "access_token": token.value,
            }
        )

    def _knows(self, tenant: str) -> bool:
        return tenant.lower() in _ALIASES | {self._issuer.tenant_id.lower()}


def _refuse(refused: Refused) -> web.Response:
    trace = str(uuid.uuid4())
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return web.json_response(
        {
            "error": refused.error,
            "error_description": f"AADSTS{refused.number}: {refused.description} Trace ID: {trace} Timestamp: {now}",
            "error_codes": [refused.number],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": str(uuid.uuid4()),
        },
        status=refused.status,
    )
