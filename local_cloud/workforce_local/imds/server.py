"""The metadata service of one simulated machine: instance document, scheduled events, managed identity tokens.

Plain HTTP on a loopback address of its own, as 169.254.169.254 is for a real machine. It issues tokens for the
machine's identity and holds no secret but the one that AzureML gives to its jobs. Invariant: without the header
``Metadata: true`` (or the secret) nothing is answered.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web
from aiohttp.typedefs import Middleware

from workforce_local.identity.grants import is_guid
from workforce_local.identity.tokens import Issuer, audience_of
from workforce_local.imds.events import ScheduledEvents

MSI_PATH = "/MSI/auth"
_VERSIONS = ["2018-02-01", "2019-08-01", "2020-07-01", "2021-02-01"]
_STOP_SECONDS = 1.0


@dataclass(frozen=True)
class Machine:
    """What a machine knows of itself."""

    name: str
    location: str
    vm_size: str
    subscription_id: str
    resource_group: str
    client_id: str
    priority: str = "Regular"

    def instance(self, address: str) -> dict[str, Any]:
        """The instance document."""
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
        return {
            "compute": {
                "azEnvironment": "AzurePublicCloud",
                "location": self.location,
                "name": self.name,
                "osType": "Linux",
                "priority": self.priority,
                "resourceGroupName": self.resource_group,
                "resourceId": f"{group}/providers/Microsoft.Compute/virtualMachines/{self.name}",
                "subscriptionId": self.subscription_id,
                "vmId": self.name,
                "vmScaleSetName": "",
                "vmSize": self.vm_size,
                "tags": "",
                "tagsList": [],
            },
            "network": {
                "interface": [
                    {"ipv4": {"ipAddress": [{"privateIpAddress": address, "publicIpAddress": ""}], "subnet": []}}
                ]
            },
        }


class MetadataServer:
    """One machine's endpoint. An asynchronous context manager."""

    def __init__(
        self, machine: Machine, issuer: Issuer, *, host: str, port: int = 0, before: Middleware | None = None
    ) -> None:
        self.machine = machine
        self.events = ScheduledEvents()
        self.msi_secret = secrets.token_hex(16)
        self._issuer = issuer
        self.host = host
        self._port = port
        self._before = before
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"http://{self.host}:{self._port}"

    @property
    def port(self) -> int:
        """The port, once started."""
        return self._port

    def environment(self) -> dict[str, str]:
        """Variables by which azure-identity and MSAL find this machine's managed identity."""
        return {
            "MSI_ENDPOINT": self.url + MSI_PATH,
            "MSI_SECRET": self.msi_secret,
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url,
        }

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[*filter(None, [self._before]), _require_metadata])
        app.add_routes(
            [
                web.get("/metadata/instance", self._instance),
                web.get("/metadata/instance/{path:.+}", self._instance),
                web.get("/metadata/scheduledevents", self._get_events),
                web.post("/metadata/scheduledevents", self._approve),
                web.get("/metadata/identity/oauth2/token", self._token),
                web.get(MSI_PATH, self._msi),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        try:
            await runner.setup()
            await web.TCPSite(runner, self.host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _instance(self, request: web.Request) -> web.Response:
        """The instance document, or what is at a path in it: objects as JSON, single values as text."""
        found: Any = self.machine.instance(self.host)
        for part in request.match_info.get("path", "").rstrip("/").split("/"):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part] if part else found
            except (KeyError, IndexError, ValueError, TypeError):
                return web.json_response({"error": "Not found"}, status=404)
        if isinstance(found, dict | list):
            return web.json_response(found)
        if request.query.get("format") != "text":
            return _bad_request("a single value is given with format=text only")
        return web.Response(text=str(found))

    async def _get_events(self, request: web.Request) -> web.Response:
        return web.json_response(self.events.document())

    async def _approve(self, request: web.Request) -> web.Response:
        try:
            ids = [start["EventId"] for start in (await request.json())["StartRequests"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return _bad_request("the body must be {StartRequests: [{EventId: ...}]}")
        known = [self.events.approve(event_id) for event_id in ids]
        if not all(known):
            return _bad_request("no such event")
        return web.Response()

    async def _token(self, request: web.Request) -> web.Response:
        return self._issue(request.query, ("client_id", "object_id", "msi_res_id", "mi_res_id"))

    async def _msi(self, request: web.Request) -> web.Response:
        presented = request.headers.get("secret", "")
        if not hmac.compare_digest(presented.encode(), self.msi_secret.encode()):
            return web.json_response({"statusCode": 401, "message": "the secret header is wrong"}, status=401)
        return self._issue(request.query, ("clientid", "client_id"))

    def _issue(self, query: Mapping[str, str], names: tuple[str, ...]) -> web.Response:
        audience = audience_of(query.get("resource", ""))
        if not audience:
            return _bad_request("the resource parameter is missing")
        given = next((query[name] for name in names if query.get(name)), self.machine.client_id)
        client_id = given if is_guid(given) else self.machine.client_id if given.startswith("/") else None
        if client_id is None or client_id.lower() in self._issuer.disabled:
            return _bad_request("Identity not found")
        token = self._issuer.mint(audience, client_id)
        return web.json_response(
            {
                "access_token": token.value,
                "client_id": client_id,
                "expires_in": str(token.expires_in),
                "expires_on": str(token.expires_on),
                "ext_expires_in": str(token.expires_in),
                "not_before": str(token.expires_on - token.expires_in),
                "resource": token.audience,
                "token_type": "Bearer",
            }
        )


@web.middleware
async def _require_metadata(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.path.startswith("/metadata/"):
        if request.headers.get("Metadata", "").lower() != "true":
            return _bad_request("Required metadata header not specified")
        if not request.query.get("api-version"):
            text = "Bad request. api-version was not specified in the request"
            return web.json_response({"error": text, "newest-versions": _VERSIONS}, status=400)
    response: web.StreamResponse = await handler(request)
    return response


def _bad_request(text: str) -> web.Response:
    return web.json_response({"error": "invalid_request", "error_description": text}, status=400)
