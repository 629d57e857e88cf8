"""Ports are ours from their choice on, and a start that fails midway leaves nothing open."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.chaos.mount import Chaos
from workforce_local.config import LocalConfig
from workforce_local.kept import KeptPorts
from workforce_local.ports import HOST, KEPT, reserve, reserve_again


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def open_sockets() -> set[str]:
    """All sockets of this process."""
    gc.collect()
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


async def listens(port: int) -> bool:
    try:
        server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, port)
    except OSError:
        return False
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
    server.close()
    await server.wait_closed()
    return True


async def test_a_server_listens_on_a_reserved_port_again_and_again():
    with reserve() as reserved:
        assert await listens(reserved.port)
        assert await listens(reserved.port)


def test_nobody_else_gets_a_reserved_port():
    with reserve() as reserved, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, reserved.port))


def test_a_port_for_one_start_is_never_one_that_a_restart_asks_for_again(tmp_path: Path):
    """Both look alike until somebody listens: Azurite lost its port to a part beside it that had it the time before."""
    kept = KeptPorts(tmp_path / "ports.json")
    try:
        assert kept.choose("https", 0) in KEPT
        for _ in range(20):
            with reserve() as once:
                assert once.port not in KEPT
    finally:
        kept.release()


async def test_a_port_is_reserved_again_after_a_restart_while_its_old_connections_are_remembered():
    with reserve() as first:
        assert await listens(first.port)
    second = reserve_again(first.port)
    assert second is not None
    with second:
        assert await listens(first.port)


def test_a_port_on_which_somebody_listens_is_not_reserved_again(taken):
    assert reserve_again(taken) is None


def test_a_remembered_port_is_kept_and_one_that_was_taken_meanwhile_is_chosen_again(tmp_path):
    kept = KeptPorts(tmp_path / "ports.json")
    port = kept.choose("https", 0)
    kept.release()
    again = KeptPorts(tmp_path / "ports.json")
    assert again.choose("https", 0) == port
    again.release()
    with socket.create_server((HOST, port)):
        moved = KeptPorts(tmp_path / "ports.json")
        other = moved.choose("https", 0)
        moved.release()
    assert other != port
    last = KeptPorts(tmp_path / "ports.json")
    assert last.choose("https", 0) == other
    last.release()


@pytest.mark.parametrize("name", ["https", "serviceBus", "imds"])
async def test_a_start_with_a_configured_port_that_is_taken_fails_and_closes_all_that_it_had_opened(
    tmp_path, taken, name
):
    config = LocalConfig.model_validate({"timing": FAST, "ports": {name: taken}})
    before = open_sockets()
    with pytest.raises(OSError, match=str(taken)):
        async with LocalAzure(tmp_path / "azure", config):
            pass
    assert open_sockets() == before


async def test_storage_of_which_one_service_cannot_listen_leaves_nothing_of_the_other_open(taken):
    trust = ssl.create_default_context()
    before = open_sockets()
    with reserve() as free:
        chaos = Chaos(LocalConfig(), lambda: "https://127.0.0.1:1")
        for service, port in (("queue", free.port), ("blob", taken)):
            chaos.add_storage(service, "http://127.0.0.1:1/{account}", port, server_tls=trust, client_tls=trust)
        with pytest.raises(OSError, match=str(taken)):
            async with chaos:
                pass
    assert open_sockets() == before
