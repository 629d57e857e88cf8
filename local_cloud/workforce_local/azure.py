"""The local Azure as a whole: one HTTPS server, metadata services, Service Bus, and the file that describes them.

Composes the parts and owns the state folder: certificate authority, keys, secrets and ports are made once and kept, so
that a restart changes nothing that clients were told. ``python -m workforce_local.azure`` runs it until SIGTERM.

Invariants: everything listens on loopback only; `cloud.json` is complete before anybody is told that it is ready; no
job's process is left when it has stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import click
from aiohttp import web

from workforce_local import admin
from workforce_local.azureml.control import Control
from workforce_local.azureml.control_routes import control_routes
from workforce_local.azureml.happenings import Happenings
from workforce_local.azureml.jobs import JobView
from workforce_local.azureml.node import Node, Site
from workforce_local.azureml.request_log import RequestLog
from workforce_local.azureml.routes import MachineLearningRoutes
from workforce_local.azureml.server import ArmServer, admin_routes
from workforce_local.azureml.service import MachineLearning
from workforce_local.azureml.studio import StudioRoutes
from workforce_local.chaos.mount import Chaos
from workforce_local.chaos.nodes import AzureNodes
from workforce_local.config import ConfigError, LocalConfig
from workforce_local.identity import Issuer
from workforce_local.identity.certificates import CertificateAuthority, write_private
from workforce_local.identity.federation import Federation
from workforce_local.identity.grants import ADFS
from workforce_local.identity.routes import IdentityService
from workforce_local.imds import Machine, MetadataServer
from workforce_local.insights import Insights
from workforce_local.kept import KeptPorts, kept_secret, write_json
from workforce_local.ports import HOST
from workforce_local.processes import STATE_VARIABLE
from workforce_local.servicebus import atom
from workforce_local.servicebus.arm import ServiceBusResources
from workforce_local.servicebus.arm_entities import PROVIDER
from workforce_local.servicebus.namespaces import PUBLIC_SUFFIX, Namespaces
from workforce_local.servicebus.server import ServiceBusServer
from workforce_local.servicebus.tokens import authorizer

STORAGE_AUDIENCE = "https://storage.azure.com"
SERVICE_BUS_AUDIENCE = "https://servicebus.azure.net"
ROOT_KEY = "RootManageSharedAccessKey"
MACHINE_LEARNING_AUDIENCE = "https://ml.azure.com"
DEFAULT_STORAGE_QUEUE = "https://127.0.0.1:10001/{account}"
DEFAULT_BLOB = "https://127.0.0.1:10000/{account}"
_STOP_SECONDS = 2.0
_MAX_BODY = 16 << 20
_COLLECT = (20_000, 50, 1_000)


class LocalAzure:
    """The Azure of one state folder. An asynchronous context manager.

    Args:
        state_dir: Where everything is kept; made if it is missing.
        config: What there is.
        storage_queue_url: URL template of the queue service with `{account}`; may be set until it is started.
        blob_url: URL template of the blob service with `{account}`; the same.
    """

    def __init__(
        self,
        state_dir: Path,
        config: LocalConfig | None = None,
        *,
        storage_queue_url: str | None = None,
        blob_url: str | None = None,
    ) -> None:
        self.state_dir = state_dir.resolve()
        self.config = config or LocalConfig()
        self.requests = RequestLog()
        self.insights = Insights()
        self.certificates = CertificateAuthority(self.state_dir)
        self.issuer = Issuer.load(
            self.state_dir / "identity-key.pem", self.config.tenant_id,
            lifetime=self.config.identity.token_lifetime_seconds,
        )  # fmt: skip
        self.admin_token = kept_secret(self.state_dir / "admin.token")
        self._client_secret = kept_secret(self.state_dir / "client.secret")
        self._ports = KeptPorts(self.state_dir / "ports.json")
        self._https_port = self._ports.choose("https", self.config.ports.https)
        self.storage_queue_url = storage_queue_url or DEFAULT_STORAGE_QUEUE
        self.blob_url = blob_url or DEFAULT_BLOB
        # Started by a supervisor, this is a part of its local cloud, and so are the jobs.
        tag = os.environ.get(STATE_VARIABLE) or str(self.state_dir)
        self.chaos = Chaos(self.config, lambda: self.base_url)
        site = Site(self.state_dir, self.base_url, tag, self.chaos.imds_middleware)
        self.machine_learning = MachineLearning(self.config, site, self.issuer)
        self.imds = MetadataServer(
            self._host_machine(), self.issuer, host=HOST, port=self._ports.choose("imds", self.config.ports.imds),
            before=self.chaos.imds_middleware(self._host_machine()),
        )  # fmt: skip
        self._service_bus_key = kept_secret(self.state_dir / "service-bus.key")
        self.namespaces = self._declare_namespaces()
        self.arm = self._make_arm()
        self.control = Control(self.machine_learning, self.arm, self.issuer)
        self._happenings = Happenings(self.config.scenario, self.machine_learning.fleet, self.control)
        self.service_bus = self._make_service_bus()
        self.chaos.add_parts(self.service_bus, self.namespaces, AzureNodes(self.control, self.machine_learning.fleet))
        self._stack = contextlib.AsyncExitStack()
        self._stack.callback(self._ports.release)

    # -- what clients need to know

    @property
    def base_url(self) -> str:
        """Base URL of the resource manager, the token issuer and the AzureML services."""
        return f"https://{HOST}:{self._https_port}"

    @property
    def ca_file(self) -> Path:
        """What to trust."""
        return self.certificates.ca_file

    @property
    def cloud_file(self) -> Path:
        """The value of `WORKFORCE_CLOUD`."""
        return self.state_dir / "cloud.json"

    def environment(self) -> dict[str, str]:
        """Variables with which an unchanged `DefaultAzureCredential` is the operator's service principal here.

        The tenant is written as `adfs`: for any other one MSAL asks a public service about an authority that it does
        not know, unless the caller switches that off in code.
        """
        return {
            "AZURE_AUTHORITY_HOST": self.base_url,
            "AZURE_TENANT_ID": ADFS,
            "AZURE_CLIENT_ID": self.config.client_id,
            "AZURE_CLIENT_SECRET": self._client_secret,
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "SSL_CERT_FILE": str(self.ca_file),
            "WORKFORCE_CLOUD": str(self.cloud_file),
        }

    def managed_identity_environment(self) -> dict[str, str]:
        """Variables with which an unchanged `DefaultAzureCredential` is this machine's managed identity."""
        return {**self.imds.environment(), "WORKFORCE_CLOUD": str(self.cloud_file)}

    def service_bus_connection_string(self) -> str:
        """For clients with a shared key and without TLS, as for Microsoft's own emulator: the first namespace."""
        return (
            f"Endpoint=sb://{HOST}:{self.service_bus.plain_port};SharedAccessKeyName={ROOT_KEY};"
            f"SharedAccessKey={self._service_bus_key};UseDevelopmentEmulator=true;"
        )

    def jobs(self) -> list[JobView]:
        """All jobs, the oldest first, as they really are: not by way of the resource manager."""
        return self.machine_learning.jobs()

    def node(self, node_id: str) -> Node:
        """The node that a job runs on, for instance to schedule an event on it.

        Raises:
            LookupError: No such node is up.
        """
        return self.machine_learning.node(node_id)

    def cloud(self) -> dict[str, Any]:
        """The content of `cloud.json`."""
        return {
            # Client libraries remember a cloud by its name: another address is another cloud.
            "name": f"Local{self._https_port}",
            "resourceManager": self.base_url,
            "authority": self.base_url,
            "audiences": {
                "resourceManager": self.base_url,
                "machineLearning": MACHINE_LEARNING_AUDIENCE,
                "storage": STORAGE_AUDIENCE,
                "serviceBus": SERVICE_BUS_AUDIENCE,
            },
            "mlIndex": self.base_url,
            "storageQueue": self.chaos.fronts["queue"].url,
            "blob": self.chaos.fronts["blob"].url,
            "serviceBusSuffix": PUBLIC_SUFFIX,
            "serviceBus": f"{HOST}:{self.service_bus.tls_port}",
            "serviceBusManagement": f"{HOST}:{self._https_port}{atom.PREFIX}/{{namespace}}",
            "imds": self.imds.url,
            "caBundle": str(self.ca_file),
        }

    # -- life

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        await self._stack.enter_async_context(self.imds)
        await self._stack.enter_async_context(self.service_bus)
        self._add_storage()
        await self._stack.enter_async_context(self.chaos)
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_STOP_SECONDS)
        self._stack.push_async_callback(_stop_serving, runner)
        await runner.setup()
        context = self.certificates.server_context()
        await web.TCPSite(runner, HOST, self._https_port, ssl_context=context, backlog=1024).start()
        self.config.write(self.state_dir)
        write_json(self.cloud_file, self.cloud())
        self._stack.push_async_callback(self.machine_learning.close)
        self.machine_learning.start()
        self._stack.push_async_callback(self.control.close)
        self._stack.push_async_callback(self._happenings.close)
        self._happenings.start()

    def _application(self) -> web.Application:
        given = self.config.identity.federation
        identity = IdentityService(
            self.issuer, {self.config.client_id: self._client_secret}, base_url=lambda: self.base_url,
            assertions=Federation(given, self.config.client_id).check if given else None,
        )  # fmt: skip
        inspection = {
            "jobs": lambda: [job.document() for job in self.jobs()],
            "requests": self.requests.document,
        }
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[admin.refuse_unreadable, self.chaos.middleware()])
        app.add_routes([*self.chaos.routes(self.admin_token), *self.insights.routes(self.admin_token)])
        app.add_routes(admin_routes(self.admin_token, inspection))
        app.add_routes([*control_routes(self.admin_token, self.control), admin.unknown(self.admin_token)])
        app.add_routes([web.get("/metadata/endpoints", self._endpoints), web.get("/discovery", self._discovery)])
        app.add_routes(identity.routes())
        app.add_routes(atom.routes(self.namespaces, self._manages_service_bus))
        # Both to the same: most requests are found under the first, without being compared with every other route.
        app.router.add_route("*", "/subscriptions/{path:.*}", self.arm.handle)
        app.router.add_route("*", "/{path:.*}", self.arm.handle)
        return app

    def _make_arm(self) -> ArmServer:
        routes = [*MachineLearningRoutes(self.machine_learning).table(), *StudioRoutes(self.machine_learning).table()]
        arm = ArmServer(
            routes, self.issuer, base_url=lambda: self.base_url, log=self.requests,
            throttle=self.config.arm.throttle, put_latency=self.config.timing.put_latency_seconds,
            region_of=self.machine_learning.location_of,
        )  # fmt: skip
        arm.add_provider(PROVIDER, ServiceBusResources(self.namespaces).handle)
        return arm

    async def _endpoints(self, request: web.Request) -> web.Response:
        """The clouds' metadata document, which names this cloud alone."""
        authentication = {
            "loginEndpoint": self.base_url, "audiences": [self.base_url], "tenant": "common", "identityProvider": "AAD",
        }  # fmt: skip
        document = {
            "name": f"Local{self._https_port}",
            "portal": self.base_url,
            "resourceManager": f"{self.base_url}/",
            "authentication": authentication,
            "suffixes": {"storage": "core.local.test", "keyVaultDns": "vault.local.test"},
            "graph": "",
            "media": "",
        }
        return web.json_response([document])

    async def _discovery(self, request: web.Request) -> web.Response:
        """Where a workspace's services are: all of them here."""
        services = ("api", "catalog", "experimentation", "history", "modelmanagement", "pipelines", "studio")
        return web.json_response(dict.fromkeys(services, self.base_url))

    def _declare_namespaces(self) -> Namespaces:
        namespaces = Namespaces()
        for given in self.config.service_bus:
            namespaces.declare(
                given.name, subscription_id=self.config.subscription_id, resource_group=given.resource_group,
                location=given.location,
            )  # fmt: skip
        return namespaces

    def _add_storage(self) -> None:
        """Stand before storage, whose addresses are known by now."""
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        for service, upstream in (("queue", self.storage_queue_url), ("blob", self.blob_url)):
            port = self._ports.choose(f"{service}Front", 0)
            tls = self.certificates.server_context()
            self.chaos.add_storage(service, upstream, port, server_tls=tls, client_tls=trust)

    def _manages_service_bus(self, token: str) -> bool:
        return self.issuer.accepts(token, SERVICE_BUS_AUDIENCE)

    def _make_service_bus(self) -> ServiceBusServer:
        hosts = [namespace.host for namespace in self.namespaces]
        return ServiceBusServer(
            self.namespaces,
            host=HOST,
            tls_port=self._ports.choose("serviceBus", self.config.ports.service_bus),
            ssl_context=self.certificates.server_context(*hosts),
            authorize=self.chaos.authorizing(
                authorizer({ROOT_KEY: self._service_bus_key}, self._manages_service_bus), self.namespaces
            ),
        )

    def _host_machine(self) -> Machine:
        return Machine(
            name="host", location="local", vm_size="local", subscription_id=self.config.subscription_id,
            resource_group=self.config.resource_groups[0], client_id=self.config.client_id,
        )  # fmt: skip


async def _stop_serving(runner: web.AppRunner) -> None:
    """Stop, without waiting for clients that keep idle TLS connections open and never read their end."""
    server = runner.server
    transports = [handler.transport for handler in server.connections] if server is not None else []
    await runner.cleanup()
    for transport in transports:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
    # Aborted transports give up their sockets in the next turns of the loop.
    await asyncio.sleep(0.01)


async def run(azure: LocalAzure, ready_file: Path | None) -> None:
    """Run until SIGTERM or SIGINT. The ready file appears once everything answers, and goes in the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with azure:
        with _ready(azure, ready_file):
            click.echo(f"the local Azure is at {azure.base_url}; WORKFORCE_CLOUD={azure.cloud_file}")
            await stop.wait()


@contextlib.contextmanager
def _ready(azure: LocalAzure, file: Path | None) -> Iterator[None]:
    if file is None:
        yield
        return
    telemetry = azure.insights.environment(azure.base_url)
    environment = {**azure.environment(), **telemetry}
    content = json.dumps({"cloud": str(azure.cloud_file), "environment": environment}, indent=2)
    write_private(file, content.encode())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@click.command()
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="JSON, see workforce_local.config.")
@click.option("--storage-queue-url", help="URL template with {account}.")
@click.option("--blob-url", help="URL template with {account}.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written once everything answers.")
def main(
    state_dir: Path, config_file: Path | None, storage_queue_url: str | None, blob_url: str | None,
    ready_file: Path | None,
) -> None:  # fmt: skip
    """Run the local Azure until SIGTERM."""
    try:
        config = LocalConfig.load(config_file) if config_file else LocalConfig()
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    # Records of jobs stay as long as the process does: looking through all of them over and over took more time than
    # answering the requests that made them.
    gc.set_threshold(*_COLLECT)
    azure = LocalAzure(state_dir, config, storage_queue_url=storage_queue_url, blob_url=blob_url)
    try:
        asyncio.run(run(azure, ready_file))
    except OSError as error:
        raise click.ClickException(f"the local Azure cannot listen: {error}") from error


if __name__ == "__main__":
    main()
