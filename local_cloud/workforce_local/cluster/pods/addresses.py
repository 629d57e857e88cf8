"""Loopback addresses for Pods: each Pod has one of its own in 127.0.0.0/8, which Linux answers without any set-up.

Pure. Invariant: no two Pods of one runner have the same address at the same time, and a freed one is used again as
late as possible, so that a client of a dead Pod does not meet its successor.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address

_PER_NETWORK = 254 * 256
_FIRST_NETWORK, _NETWORKS = 16, 224
"""127.16.0.0 to 127.239.0.0: resolvers and other local services like the low ones."""


class AddressPool:
    """Addresses of one runner, in a /16 that its name chooses, so that two runners seldom share one."""

    def __init__(self, name: str) -> None:
        digest = hashlib.sha256(name.encode()).digest()
        network = _FIRST_NETWORK + digest[0] % _NETWORKS
        self._base = int(IPv4Address(f"127.{network}.0.0"))
        self._next = 0
        self._owners: dict[str, str] = {}

    def take(self, owner: str, wanted: str = "") -> str:
        """An address for this owner: the same on every call, and the wanted one if it is ours and free.

        Raises:
            RuntimeError: all 65,024 are taken.
        """
        held = next((address for address, holder in self._owners.items() if holder == owner), None)
        if held is not None:
            return held
        address = wanted if self._is_ours(wanted) and wanted not in self._owners else self._free()
        self._owners[address] = owner
        return address

    def give_back(self, owner: str) -> None:
        """The owner is gone."""
        self._owners = {address: holder for address, holder in self._owners.items() if holder != owner}

    def _free(self) -> str:
        for _ in range(_PER_NETWORK):
            third, fourth = divmod(self._next, 254)
            self._next = (self._next + 1) % _PER_NETWORK
            address = str(IPv4Address(self._base + 256 * third + fourth + 1))
            if address not in self._owners:
                return address
        raise RuntimeError("all addresses for Pods are taken")

    def _is_ours(self, address: str) -> bool:
        try:
            offset = int(IPv4Address(address)) - self._base
        except ValueError:
            return False
        return 0 <= offset < 1 << 16 and offset % 256 not in {0, 255}
