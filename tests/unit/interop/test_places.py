"""Which names and addresses of Azure a program sees, and what answers there."""

from __future__ import annotations

import pytest

from tests.support.tables import table
from workforce_local.config import LocalConfig, WorkspaceConfig
from workforce_local.interop.places import IMDS_ADDRESS, Endpoint, Place, hosts_file, places

CLOUD = {
    "resourceManager": "https://127.0.0.1:4001",
    "storageQueue": "https://127.0.0.1:4002/{account}",
    "blob": "https://127.0.0.1:4003/{account}",
    "serviceBus": "127.0.0.1:4004",
    "serviceBusSuffix": "servicebus.windows.net",
    "imds": "http://127.0.0.1:4005",
}
CONFIG = LocalConfig(storage_accounts=("one", "two"), workspaces=(WorkspaceConfig(name="ws", location="uksouth"),))


def at(name: str, port: int) -> Endpoint:
    """Who answers a name; exactly one place does."""
    [found] = [place for place in places(CLOUD, CONFIG, {}) if name in place.names and place.port == port]
    return found.target


@table(
    ("name", "port", "target"),
    [
        ("management.azure.com", 443, 4001),
        ("ml.azure.com", 443, 4001),
        ("login.microsoftonline.com", 443, 4001),
        ("uksouth.api.azureml.ms", 443, 4001),
        ("one.queue.core.windows.net", 443, 4002),
        ("two.blob.core.windows.net", 443, 4003),
        ("wf-bus.servicebus.windows.net", 5671, 4004),
    ],
)
def test_each_name_of_azure_leads_to_the_part_that_imitates_it(name: str, port: int, target: int) -> None:
    assert at(name, port) == Endpoint("127.0.0.1", target, tls=True)


def test_every_named_address_is_of_one_service_only() -> None:
    named = [place for place in places(CLOUD, CONFIG, {}) if place.names]
    assert len({place.address for place in named}) == len(named)


def test_the_metadata_service_is_the_machines() -> None:
    [imds] = [place for place in places(CLOUD, CONFIG, {}) if place.address == IMDS_ADDRESS]
    assert (imds.port, imds.target) == (80, Endpoint("127.0.0.1", 4005))


def test_on_a_simulated_node_the_metadata_service_is_the_nodes() -> None:
    node = {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.64.0.1:4100",
        "MSI_ENDPOINT": "http://127.64.0.1:4100/MSI/auth",
    }
    found = places(CLOUD, CONFIG, node)
    [imds] = [place for place in found if place.address == IMDS_ADDRESS]
    assert imds.target == Endpoint("127.64.0.1", 4100)
    assert found.count(Place("127.64.0.1", 4100, Endpoint("127.64.0.1", 4100))) == 1


def test_the_local_clouds_own_addresses_go_through_untouched() -> None:
    plain = {(place.address, place.port) for place in places(CLOUD, CONFIG, {}) if not place.names}
    assert {("127.0.0.1", port) for port in range(4001, 4006)} <= plain


def test_what_the_local_cloud_does_not_have_has_no_name() -> None:
    bare = places(CLOUD, LocalConfig(storage_accounts=(), service_bus=(), workspaces=()), {})
    assert ".queue." not in hosts_file(bare)
    assert ".blob." not in hosts_file(bare)
    assert "servicebus" not in hosts_file(bare)


def test_the_hosts_file_knows_the_machine_itself() -> None:
    assert hosts_file([]) == "127.0.0.1 localhost\n::1 localhost\n"


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a host and a port"):
        Endpoint.of("https://127.0.0.1")
