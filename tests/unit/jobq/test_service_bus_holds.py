"""Holding messages of Service Bus, in virtual time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobq.backends.service_bus_holds import Holds
from jobq.errors import LockLost, QueueUnavailable

pytestmark = pytest.mark.looptime


class Raw:
    """A message with a lock of some seconds."""

    def __init__(self, lock):
        self.sequence_number = 7
        self.locked_until_utc = datetime.now(UTC) + timedelta(seconds=lock)


class Service:
    """What is asked of the service, and when."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.begun = self.loop.time()
        self.renewed = []
        self.given_back = []
        self.error = None
        self.holds = Holds("ns/q", self.renew, self.give_back, self.loop.time)

    @property
    def now(self):
        return round(self.loop.time() - self.begun)

    async def renew(self, raw):
        if self.error is not None:
            raise self.error
        self.renewed.append(self.now)

    async def give_back(self, raw):
        self.given_back.append(self.now)


async def test_a_lock_is_renewed_every_fifth_of_it_until_its_time_is_over():
    service = Service()
    service.holds.add(Raw(300), 250)
    await asyncio.sleep(400)
    assert service.renewed == [60, 120, 180, 240]
    assert service.given_back == [250]
    await service.holds.close()


async def test_a_short_lock_is_renewed_in_time_all_the_same():
    service = Service()
    service.holds.add(Raw(5), 10)
    await asyncio.sleep(8)
    assert len(service.renewed) >= 3
    await service.holds.close()


async def test_an_outage_is_no_error_while_the_services_lock_lasts():
    service = Service()
    hold = service.holds.add(Raw(300), 60)
    await asyncio.sleep(40)
    service.error = QueueUnavailable("down")
    await service.holds.extend(hold, 60)
    await asyncio.sleep(50)
    await service.holds.extend(hold, 60)
    await asyncio.sleep(55)
    await service.holds.extend(hold, 60)
    await asyncio.sleep(55)
    await service.holds.extend(hold, 60)
    await asyncio.sleep(55)
    with pytest.raises(QueueUnavailable):
        await service.holds.extend(hold, 60)
    await service.holds.close()


async def test_a_lost_lock_ends_the_hold():
    service = Service()
    hold = service.holds.add(Raw(30), 100)
    service.error = LockLost("gone")
    await asyncio.sleep(10)
    with pytest.raises(LockLost):
        service.holds.owned(hold.id, hold.receipt)
    assert service.given_back == []
    await service.holds.close()


async def test_a_settled_message_is_neither_renewed_nor_given_back():
    service = Service()
    hold = service.holds.add(Raw(30), 20)
    service.holds.end(hold, completed=True)
    await asyncio.sleep(60)
    assert (service.renewed, service.given_back) == ([], [])
    with pytest.raises(LockLost) as caught:
        service.holds.owned(hold.id, hold.receipt)
    assert caught.value.gone
    await service.holds.close()
