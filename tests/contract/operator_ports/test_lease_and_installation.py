"""Election, installation id and Events against a real API server."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.contract.operator_ports.cluster import SPEC, install_definition, open_api, real_store
from workforce_operator.adapters.kubernetes import installation as installation_module
from workforce_operator.adapters.kubernetes.election import SETTLED_AFTER
from workforce_operator.adapters.kubernetes.events import KubernetesEventSink
from workforce_operator.adapters.kubernetes.installation import installation_id
from workforce_operator.adapters.kubernetes.lease import Lease
from workforce_operator.adapters.memory import ManualClock
from workforce_operator.domain.actions import Note
from workforce_operator.domain.errors import Fenced, SpecError, Unavailable

pytestmark = pytest.mark.cluster
SECONDS = 60


class Seconds:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def api(kubernetes_cluster):
    async with open_api(kubernetes_cluster.kubeconfig) as it:
        yield it


@pytest.fixture
def lease(api, kubernetes_namespace):
    def make(identity: str, clock: Seconds | None = None) -> Lease:
        return Lease(api, namespace=kubernetes_namespace, name="op", identity=identity, clock=clock or Seconds())

    return make


async def test_the_first_leads_and_the_second_stands_by(lease):
    first, second, told = lease("a"), lease("b"), asyncio.Event()
    await asyncio.wait_for(first.acquire(), SECONDS)
    first.check()
    waiting = asyncio.create_task(second.acquire(told.set))
    await asyncio.wait_for(told.wait(), SECONDS)
    with pytest.raises(Fenced):
        second.check()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_lease_that_is_given_back_is_taken_at_once(lease):
    first, second = lease("a"), lease("b")
    await asyncio.wait_for(first.acquire(), SECONDS)
    await first.release()
    with pytest.raises(Fenced):
        first.check()
    await asyncio.wait_for(second.acquire(), SECONDS)
    second.check()


async def test_a_lease_that_is_not_renewed_is_taken_when_it_has_run_out_and_not_before(lease):
    clock = Seconds()
    await asyncio.wait_for(lease("a").acquire(), SECONDS)
    second = lease("b", clock)
    assert await second._attempt() is False
    clock.now += 14
    assert await second._attempt() is False
    clock.now += 2
    assert await second._attempt() is True
    second.check()


async def test_what_a_leader_sent_that_has_not_given_its_lease_back_is_awaited(lease):
    clock = Seconds()
    first, second = lease("a"), lease("b", clock)
    await asyncio.wait_for(first.acquire(), SECONDS)
    assert first.settled()
    assert await second._attempt() is False
    clock.now += 16
    assert await second._attempt() is True
    assert not second.settled()
    clock.now += 2
    assert await second._attempt() is True
    assert not second.settled(), "a renewal changes nothing"
    clock.now += SETTLED_AFTER
    assert second.settled()
    assert await second._attempt() is True
    await second.release()
    third = lease("c")
    await asyncio.wait_for(third.acquire(), SECONDS)
    assert third.settled(), "the second has given it back"


async def test_who_slept_too_long_may_not_write_and_finds_the_lease_lost(lease):
    clock = Seconds()
    first, second = lease("a", clock), lease("b")
    await asyncio.wait_for(first.acquire(), SECONDS)
    clock.now += 11
    with pytest.raises(Fenced):
        first.check()
    await asyncio.wait_for(first.hold(), SECONDS)
    assert await second._attempt() is False


async def test_a_leader_whose_lease_was_taken_finds_out_at_the_next_renewal(lease, api, kubernetes_namespace):
    first = lease("a")
    await asyncio.wait_for(first.acquire(), SECONDS)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{kubernetes_namespace}/leases/op"
    await api.patch(path, {"spec": {"holderIdentity": "thief"}})
    await asyncio.wait_for(first.hold(), SECONDS)
    with pytest.raises(Fenced):
        first.check()


async def test_a_renewal_whose_answer_was_lost_loses_no_lease(lease, api, kubernetes_namespace):
    clock = Seconds()
    first = lease("a", clock)
    await asyncio.wait_for(first.acquire(), SECONDS)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{kubernetes_namespace}/leases/op"
    await api.patch(path, {"metadata": {"annotations": {"changed": "by our own lost write"}}})
    assert await first._attempt() is False
    first.check()
    clock.now += 3
    assert await first._attempt() is True
    clock.now += 9
    first.check()


async def test_the_lease_counts_its_changes_of_hands(lease, api, kubernetes_namespace):
    first, second = lease("a"), lease("b")
    await asyncio.wait_for(first.acquire(), SECONDS)
    await first.release()
    await asyncio.wait_for(second.acquire(), SECONDS)
    spec = (await api.get(f"/apis/coordination.k8s.io/v1/namespaces/{kubernetes_namespace}/leases/op"))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("b", 1, 15)


async def test_a_process_of_the_same_name_goes_on_with_its_predecessor_s_lease_at_once(lease):
    await asyncio.wait_for(lease("a").acquire(), SECONDS)
    successor = lease("a")
    assert await successor._attempt() is True


async def test_the_installation_id_is_made_once_and_kept(api, kubernetes_namespace):
    first = await installation_id(api, kubernetes_namespace)
    assert await installation_id(api, kubernetes_namespace) == first
    assert await installation_id(api, kubernetes_namespace, override="override1") == "override1"
    assert await installation_id(api, kubernetes_namespace) == first


async def test_two_processes_that_start_at_once_agree_on_the_installation_id(api, kubernetes_namespace):
    ids = await asyncio.gather(*(installation_id(api, kubernetes_namespace) for _ in range(8)))
    assert len(set(ids)) == 1


async def test_an_installation_id_that_somebody_broke_is_not_replaced(api, kubernetes_namespace):
    await installation_id(api, kubernetes_namespace)
    path = f"/api/v1/namespaces/{kubernetes_namespace}/configmaps/{installation_module.CONFIG_MAP}"
    await api.patch(path, {"data": {"id": "Bad Id"}})
    with pytest.raises(SpecError, match="workforce-installation"):
        await installation_id(api, kubernetes_namespace)
    with pytest.raises(SpecError):
        await installation_id(api, kubernetes_namespace, override="x")


async def test_events_are_aggregated_by_what_they_say(api, kubernetes_namespace):
    await install_definition(api)
    bench, clock = real_store(api, kubernetes_namespace), ManualClock()
    await bench.apply(bench.key(), SPEC)
    stored = await bench.store.get(bench.key())
    sink = KubernetesEventSink(api, clock, instance="pod-1")
    same, other = Note("Hiring", "hires 3 in uksouth"), Note("Hiring", "hires 4 in uksouth", warning=True)
    for _ in range(3):
        await sink.emit(stored, same)
        clock.advance(60)
    await sink.emit(stored, other)
    clock.advance(601)
    await sink.emit(stored, same)
    events = (await api.get(f"/api/v1/namespaces/{kubernetes_namespace}/events"))["items"]
    ours = sorted((event["message"], event["count"], event["type"]) for event in events if event["reason"] == "Hiring")
    assert ours == [
        ("hires 3 in uksouth", 1, "Normal"),
        ("hires 3 in uksouth", 3, "Normal"),
        ("hires 4 in uksouth", 1, "Warning"),
    ]
    await bench.delete(bench.key())


async def test_an_event_that_is_gone_is_made_anew_and_a_failure_is_swallowed(api, kubernetes_namespace, monkeypatch):
    await install_definition(api)
    bench = real_store(api, kubernetes_namespace)
    await bench.apply(bench.key(), SPEC)
    stored = await bench.store.get(bench.key())
    sink, note = KubernetesEventSink(api, ManualClock(), instance="pod-1"), Note("Hired", "x" * 5000)
    await sink.emit(stored, note)
    path = f"/api/v1/namespaces/{kubernetes_namespace}/events"
    (event,) = [event for event in (await api.get(path))["items"] if event["reason"] == "Hired"]
    await api._send("DELETE", f"{path}/{event['metadata']['name']}")
    sink._clock.advance(1)
    await sink.emit(stored, note)
    assert len([event for event in (await api.get(path))["items"] if event["reason"] == "Hired"]) == 1

    async def fail(*_):
        raise Unavailable("no")

    monkeypatch.setattr(api, "patch", fail)
    monkeypatch.setattr(api, "create", fail)
    await sink.emit(stored, note)
    await bench.delete(bench.key())
