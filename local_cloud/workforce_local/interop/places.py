"""Which names and addresses of Azure exist for a program, and what of the local cloud answers there.

Pure: made of the cloud's own description. It opens no socket and writes no file. Invariant: a name of Azure that no
part of the local cloud answers for is not known at all, so that it fails at once and never leads out of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from workforce_local.config import LocalConfig

IMDS_ADDRESS = "169.254.169.254"
HTTPS_PORT = 443
AMQP_TLS_PORT = 5671
NODE_VARIABLES = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "MSI_ENDPOINT")
"""Where a simulated node says that its own metadata service is."""

_LOGIN_NAMES = ("login.microsoftonline.com", "login.windows.net", "sts.windows.net")
_ARM_NAMES = ("management.azure.com", "management.core.windows.net")
_STUDIO_NAMES = ("ml.azure.com",)


@dataclass(frozen=True)
class Endpoint:
    """An address and port of this machine where a part of the local cloud listens."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Where a URL, or a bare ``host:port``, leads."""
        parts = urlsplit(url if "://" in url else f"//{url}")
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{url}: an address of the local cloud must have a host and a port")
        return cls(parts.hostname, parts.port, tls=parts.scheme == "https")


@dataclass(frozen=True)
class Place:
    """One address that the program can connect to, and what answers there.

    Attributes:
        address: As the program sees it.
        port: The same.
        target: Who answers.
        names: Host names of this address. With names the certificate is for them, and the connection to the target
            is encrypted anew; without names bytes go through as they are.
    """

    address: str
    port: int
    target: Endpoint
    names: tuple[str, ...] = ()


def places(cloud: Mapping[str, Any], config: LocalConfig, environ: Mapping[str, str]) -> list[Place]:
    """All places of a local cloud.

    Args:
        cloud: The content of its `cloud.json`.
        config: What it contains.
        environ: The caller's environment: on a simulated node the metadata service is the node's own.
    """
    metadata = Endpoint.of(environ.get(NODE_VARIABLES[0]) or cloud["imds"])
    named = _named(cloud, config)
    own = [place.target for place in named] + [metadata]
    own += [Endpoint.of(environ[name]) for name in NODE_VARIABLES if environ.get(name)]
    return [
        *named,
        Place(IMDS_ADDRESS, 80, metadata),
        # The local cloud tells its clients its own addresses too, for instance in the links of a list.
        *(Place(host, port, Endpoint(host, port)) for host, port in dict.fromkeys((one.host, one.port) for one in own)),
    ]


def _named(cloud: Mapping[str, Any], config: LocalConfig) -> list[Place]:
    regions = {workspace.location for workspace in config.workspaces}
    services: list[tuple[list[str], int, Endpoint]] = [
        (
            [*_ARM_NAMES, *_STUDIO_NAMES, *_LOGIN_NAMES, *(f"{region}.api.azureml.ms" for region in sorted(regions))],
            HTTPS_PORT,
            Endpoint.of(cloud["resourceManager"]),
        ),
        (_accounts(config, "queue"), HTTPS_PORT, Endpoint.of(cloud["storageQueue"].format(account="x"))),
        (_accounts(config, "blob"), HTTPS_PORT, Endpoint.of(cloud["blob"].format(account="x"))),
        (
            [f"{namespace.name}.{cloud['serviceBusSuffix']}" for namespace in config.service_bus],
            AMQP_TLS_PORT,
            replace(Endpoint.of(cloud["serviceBus"]), tls=True),
        ),
    ]
    # An address for each service, so that it need not be guessed from the first bytes which one is meant.
    return [
        Place(f"127.250.0.{number}", port, target, tuple(names))
        for number, (names, port, target) in enumerate(services, start=1)
        if names
    ]


def _accounts(config: LocalConfig, service: str) -> list[str]:
    return [f"{account}.{service}.core.windows.net" for account in config.storage_accounts]


def hosts_file(found: Iterable[Place]) -> str:
    """The content of `/etc/hosts` for the program."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{place.address} {name}" for place in found for name in place.names]
    return "\n".join(lines) + "\n"
