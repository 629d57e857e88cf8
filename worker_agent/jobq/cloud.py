"""Which Azure: the one setting that tells operator, agent and command line where the services are.

``WORKFORCE_CLOUD`` holds the name of a public cloud or the path of a JSON file that describes another one. Nothing
else in the product knows an endpoint, a token audience or a certificate authority.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Self

CLOUD_VARIABLE = "WORKFORCE_CLOUD"
DEFAULT_CLOUD = "AzureCloud"


class CloudError(ValueError):
    """The cloud setting names no known cloud and no readable file. The message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Audiences:
    """Token audiences per service, without the trailing ``/.default``."""

    resource_manager: str
    machine_learning: str
    storage: str
    service_bus: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Endpoints, audiences and trust of one Azure. URLs carry no trailing slash.

    Attributes:
        name: Shown to people and given to azure-ai-ml as the cloud's name.
        resource_manager: Base URL of Azure Resource Manager.
        authority: Base URL of the token issuer (Entra ID).
        audiences: See there.
        ml_index: Base URL of the AzureML studio services.
        storage_queue_suffix: DNS suffix: https://<account>.<suffix>.
        storage_queue: URL template with {account}, instead of the suffix.
        blob: URL template of blob storage, with {account}.
        service_bus_suffix: DNS suffix of a Service Bus namespace's host name.
        service_bus: AMQP endpoint host:port for every namespace, if not DNS.
        service_bus_management: HTTPS endpoint host:port that makes and counts queues, if not the namespace itself; it
            may have a path, in which {namespace} stands for the namespace's name.
        imds: Base URL of the instance metadata service.
        ca_bundle: PEM file to trust instead of the public authorities.
    """

    name: str
    resource_manager: str
    authority: str
    audiences: Audiences
    ml_index: str
    storage_queue_suffix: str | None = None
    storage_queue: str | None = None
    blob: str
    service_bus_suffix: str
    service_bus: str | None = None
    service_bus_management: str | None = None
    imds: str = "http://169.254.169.254"
    ca_bundle: Path | None = None

    def __post_init__(self) -> None:
        if (self.storage_queue is None) == (self.storage_queue_suffix is None):
            raise ValueError("give exactly one of storageQueue and storageQueueSuffix")
        if self.storage_queue is not None and "{account}" not in self.storage_queue:
            raise ValueError("storageQueue must contain {account}")

    @classmethod
    def read(cls, document: object) -> Self:
        """The cloud that a JSON document describes, with the attributes' names in camel case.

        Raises:
            ValueError: It describes none; the text names the field.
        """
        given = _fields(cls, document, "the file")
        return cls(**{**given, "audiences": Audiences(**_fields(Audiences, given["audiences"], "audiences"))})

    def storage_queue_url(self, account: str) -> str:
        """URL of the queue service of a storage account."""
        if self.storage_queue is not None:
            return self.storage_queue.replace("{account}", account)
        return f"https://{account}.{self.storage_queue_suffix}"

    def service_bus_host(self, namespace: str) -> str:
        """Fully qualified host name of a Service Bus namespace; a name that has a dot already is kept."""
        return namespace if "." in namespace else f"{namespace}.{self.service_bus_suffix}"


def _public(
    name: str, *, arm: str, authority: str, ml: str, ml_audience: str, core: str, bus: str, bus_audience: str
) -> Cloud:
    return Cloud(
        name=name,
        resource_manager=arm,
        authority=authority,
        audiences=Audiences(
            resource_manager=arm,
            machine_learning=ml_audience,
            storage="https://storage.azure.com",
            service_bus=bus_audience,
        ),
        ml_index=ml,
        storage_queue_suffix=f"queue.core.{core}",
        blob=f"https://{{account}}.blob.core.{core}",
        service_bus_suffix=bus,
    )


PUBLIC_CLOUDS: Mapping[str, Cloud] = {
    cloud.name: cloud
    for cloud in (
        _public(
            "AzureCloud",
            arm="https://management.azure.com",
            authority="https://login.microsoftonline.com",
            ml="https://ml.azure.com",
            ml_audience="https://ml.azure.com",
            core="windows.net",
            bus="servicebus.windows.net",
            bus_audience="https://servicebus.azure.net",
        ),
        _public(
            "AzureUSGovernment",
            arm="https://management.usgovcloudapi.net",
            authority="https://login.microsoftonline.us",
            ml="https://ml.azure.us",
            ml_audience="https://ml.azure.us",
            core="usgovcloudapi.net",
            bus="servicebus.usgovcloudapi.net",
            bus_audience="https://servicebus.azure.net",
        ),
        _public(
            "AzureChinaCloud",
            arm="https://management.chinacloudapi.cn",
            authority="https://login.chinacloudapi.cn",
            ml="https://studio.ml.azure.cn",
            ml_audience="https://ml.azure.cn",
            core="chinacloudapi.cn",
            bus="servicebus.chinacloudapi.cn",
            bus_audience="https://servicebus.azure.net",
        ),
    )
}
"""The clouds that need no file. Endpoints as azure-cli lists them."""


def load_cloud(setting: str | None = None, *, environ: Mapping[str, str] = os.environ) -> Cloud:
    """Resolve the cloud setting.

    Args:
        setting: A public cloud's name or a JSON file's path; by default ``$WORKFORCE_CLOUD``, then ``AzureCloud``.
        environ: Where to look for the variable.

    Raises:
        CloudError: The setting is neither a known name nor a readable, valid file.
    """
    setting = setting or environ.get(CLOUD_VARIABLE) or DEFAULT_CLOUD
    if setting in PUBLIC_CLOUDS:
        return PUBLIC_CLOUDS[setting]
    path = Path(setting)
    known = ", ".join(PUBLIC_CLOUDS)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CloudError(f"{CLOUD_VARIABLE}={setting}: no such file, and not one of {known}") from None
    except (OSError, ValueError) as error:
        raise CloudError(f"{CLOUD_VARIABLE}={setting}: cannot be read as JSON: {error}") from error
    try:
        return Cloud.read(raw)
    except ValueError as error:
        raise CloudError(f"{CLOUD_VARIABLE}={setting}: {error}") from error


def _fields(kind: type, document: object, where: str) -> dict[str, Any]:
    """The fields of a JSON object as the constructor's arguments. No pydantic: every start of a worker would pay it."""
    if not isinstance(document, dict):
        raise ValueError(f"{where}: must be an object")  # noqa: TRY004 - one error for all that can be wrong
    known = {_camel(field.name): field for field in fields(kind)}
    for name in document:
        if name not in known:
            raise ValueError(f"{name}: no such field; there are {', '.join(known)}")
    found: dict[str, Any] = {}
    for name, field in known.items():
        value = document.get(name)
        if value is None:
            if field.default is MISSING:
                raise ValueError(f"{name}: is missing")
        elif field.name == "audiences":
            found[field.name] = value
        elif not isinstance(value, str):
            raise ValueError(f"{name}: must be a text")
        else:
            found[field.name] = Path(value) if field.name == "ca_bundle" else value
    return found


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
