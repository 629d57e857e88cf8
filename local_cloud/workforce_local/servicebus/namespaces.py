"""Which namespaces there are, and which of them a connection means.

Invariant: a connection for a host that names no declared namespace reaches none; only addresses that cannot name one
(`localhost`, an IP address) mean the first.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.errors import NOT_FOUND, EntityError

PUBLIC_SUFFIX = "servicebus.windows.net"


@dataclass(frozen=True)
class Namespace:
    """One namespace.

    Attributes:
        name: Its name, unique in the world.
        host: Its fully qualified host name.
        subscription_id: Where it is, as the resource manager addresses it.
        resource_group: The same.
        location: The same.
        broker: Its entities.
        created: When it was declared, in seconds since the epoch.
    """

    name: str
    host: str
    subscription_id: str
    resource_group: str
    location: str
    broker: Broker
    created: float


class Namespaces:
    """All namespaces of one server.

    Args:
        suffix: What follows a namespace's name in its host name.
        clock: Clock of their brokers.
    """

    def __init__(self, *, suffix: str = PUBLIC_SUFFIX, clock: Callable[[], float] = time.time) -> None:
        self._suffix = suffix
        self._clock = clock
        self._by_name: dict[str, Namespace] = {}

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self._by_name.values())

    def declare(
        self, name: str, *, subscription_id: str = "", resource_group: str = "", location: str = "local"
    ) -> Namespace:
        """Say that there is a namespace; the first one is the default.

        Raises:
            ValueError: There is one of that name already.
        """
        if name.lower() in self._by_name:
            raise ValueError(f"the Service Bus namespace {name} is declared twice")
        namespace = Namespace(
            name=name,
            host=f"{name}.{self._suffix}",
            subscription_id=subscription_id,
            resource_group=resource_group,
            location=location,
            broker=Broker(self._clock),
            created=self._clock(),
        )
        self._by_name[name.lower()] = namespace
        return namespace

    def get(self, name: str) -> Namespace | None:
        """The namespace of a name, if there is one."""
        return self._by_name.get(name.lower())

    def for_host(self, host: str) -> Namespace:
        """The namespace that a connection for this host means.

        Raises:
            EntityError: It names one that nobody declared.
        """
        host = host.partition(":")[0].lower()
        default = next(iter(self._by_name.values()), None)
        if default is not None and _names_nothing(host):
            return default
        found = self._by_name.get(host.partition(".")[0])
        if found is None:
            raise EntityError(NOT_FOUND, f"There is no Service Bus namespace '{host}'.")
        return found


def _names_nothing(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
