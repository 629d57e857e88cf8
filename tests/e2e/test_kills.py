"""The operator is killed at random moments while it hires and shrinks, and reports of the workers are lost."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from jobq.cloud import load_cloud
from jobq.connect import open_credential, service_bus_client
from tests.e2e.conftest import TERMINAL, Fleet, Witness
from tests.support.kubernetes import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(400)]

SIZES = (3, 8, 2, 6, 1)
KILLS_PER_CHANGE = 2


@contextlib.contextmanager
def reports_are_lost(fleet: Fleet) -> Iterator[None]:
    """A thief takes whatever it can get of the reports before the operator does."""
    stop = threading.Event()

    async def steal() -> None:
        status = fleet.bench.get_json("wf", fleet.name)["status"]
        bus = fleet.manifest["spec"]["control"]["serviceBus"]["namespace"]
        cloud = load_cloud()
        async with open_credential(cloud) as credential:
            client = service_bus_client(cloud, cloud.service_bus_host(bus), credential)
            async with client, client.get_queue_receiver(f"workforce-{status['installationId']}-reports") as receiver:
                while not stop.is_set():
                    for message in await receiver.receive_messages(10, max_wait_time=10):
                        await receiver.complete_message(message)

    thief = threading.Thread(target=lambda: asyncio.run(steal()), name="thief")
    thief.start()
    try:
        yield
    finally:
        stop.set()
        thief.join()


def test_a_killed_operator_hires_nobody_twice_and_drains_nobody_that_was_not_chosen(fleet: Fleet, dice) -> None:
    fleet.apply(replicas=SIZES[0])
    fleet.await_workers(SIZES[0])
    hired, left, size = SIZES[0], 0, SIZES[0]
    with reports_are_lost(fleet), Witness(fleet) as witness:
        for wanted in SIZES[1:]:
            fleet.scale(wanted)
            for _ in range(KILLS_PER_CHANGE):
                time.sleep(dice.uniform(0.1, 2.5))
                fleet.operator.kill()
                fleet.operator.start()
            fleet.await_workers(wanted)
            hired, left, size = hired + max(0, wanted - size), left + max(0, size - wanted), wanted
            jobs = fleet.jobs()
            assert len(jobs) == hired, "every replica was hired once"
            assert sum(1 for job in jobs if job["properties"]["status"] in TERMINAL) == left, "and only those left"
    assert witness.failure is None
    limits = {region["name"]: region["maxReplicas"] for region in fleet.manifest["spec"]["regions"]}
    assert all(most <= limits[region] for region, most in witness.most_live.items()), witness.most_live
    cancelled = [job for job in fleet.jobs() if job["properties"]["status"] == "Canceled"]
    assert not [job["name"] for job in cancelled if job["properties"]["properties"].get("StartTimeUtc")]

    fleet.bench.kubectl("delete", "wf", fleet.name, "--timeout=240s")
    wait_until(lambda: fleet.live() == 0, "the end of the last worker")
