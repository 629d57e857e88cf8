"""The contract of ``ports.kubernetes.WorkforceStore``: the fake, and a real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from tests.contract.operator_ports.cluster import (
    SPEC,
    StoreBench,
    install_definition,
    memory_store,
    open_api,
    real_store,
)
from workforce_operator.adapters.kubernetes.store import KubernetesWorkforceStore
from workforce_operator.api.base import FINALIZER
from workforce_operator.api.spec import DrainMode, WorkforceSpec
from workforce_operator.api.status import (
    Condition,
    DrainState,
    DrainWave,
    Range,
    RegionCoordinates,
    RegionStatus,
    WorkforceStatus,
)
from workforce_operator.domain.errors import Conflict, Missing
from workforce_operator.ports.kubernetes import StoredWorkforce

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COORDINATES = RegionCoordinates(
    subscription_id="s", resource_group="g", workspace="w", compute="c", experiment="e", topic="t"
)
FULL = WorkforceStatus(
    observed_generation=1,
    installation_id="inst1234",
    desired_replicas=2,
    replicas=1,
    queue_length=7,
    template_hash="v1:ab",
    selector="workforce.dev/name=md",
    regions=[
        RegionStatus(
            name="uksouth",
            coordinates=COORDINATES,
            desired=2,
            next_sequence=300,
            filled=2,
            open_cohorts=[Range(first=0, last=1)],
            drains=[
                DrainWave(
                    id="w1",
                    mode=DrainMode.FINISH,
                    state=DrainState.SENT,
                    revision=3,
                    jobs=[Range(first=5, last=9)],
                    sent_time=NOW,
                    deadline_time=NOW,
                    reason="ScaleDown",
                )
            ],
        )
    ],
    conditions=[
        Condition(
            type="Ready",
            status="False",
            observed_generation=1,
            last_transition_time=NOW,
            reason="Scaling",
            message="1 of 2",
        )
    ],
)


@pytest.fixture(params=["memory", pytest.param("cluster", marks=pytest.mark.cluster)])
def backend(request):
    """A cluster and a namespace, or None. Not asynchronous: the cluster is started in a loop of its own."""
    if request.param == "memory":
        return None
    return tuple(request.getfixturevalue(name) for name in ("kubernetes_cluster", "kubernetes_namespace"))


@pytest_asyncio.fixture
async def bench(backend) -> AsyncIterator[StoreBench]:
    if backend is None:
        yield memory_store()
        return
    cluster, namespace = backend
    async with open_api(cluster.kubeconfig) as api:
        await install_definition(api)
        it = real_store(api, namespace)
        yield it
        for key in await it.store.list_keys():
            await it.delete(key)
            stored = await it.store.get(key)
            if stored is not None:
                await it.store.remove_finalizer(stored)


async def made(bench: StoreBench) -> StoredWorkforce:
    await bench.apply(bench.key(), SPEC)
    stored = await bench.store.get(bench.key())
    assert stored is not None
    return stored


async def test_an_object_is_read_with_what_identifies_it_and_its_spec(bench: StoreBench):
    stored = await made(bench)
    assert stored.key == bench.key()
    assert stored.uid
    assert (stored.generation, stored.deletion_time, stored.finalizers) == (1, None, ())
    assert stored.creation_time is not None
    assert stored.creation_time.tzinfo is not None
    assert WorkforceSpec.model_validate(stored.spec).replicas == 2
    assert stored.status == WorkforceStatus()


async def test_an_object_that_is_not_there_is_none(bench: StoreBench):
    assert await bench.store.get(bench.key("nobody")) is None


async def test_all_keys_are_listed(bench: StoreBench):
    assert await bench.store.list_keys() == ()
    for name in ("a", "b", "c"):
        await bench.apply(bench.key(name), SPEC)
    assert set(await bench.store.list_keys()) == {bench.key("a"), bench.key("b"), bench.key("c")}


async def test_a_status_comes_back_as_it_was_written_and_changes_no_generation(bench: StoreBench):
    stored = await made(bench)
    written = await bench.store.write_status(stored, FULL)
    read = await bench.store.get(bench.key())
    assert read is not None
    assert read.status == FULL
    assert read == written
    assert read.resource_version != stored.resource_version
    assert read.generation == 1


async def test_a_status_that_was_there_is_replaced_and_not_merged(bench: StoreBench):
    written = await bench.store.write_status(await made(bench), FULL)
    again = await bench.store.write_status(written, WorkforceStatus(desired_replicas=1))
    assert again.status == WorkforceStatus(desired_replicas=1)
    assert await bench.store.get(bench.key()) == again


async def test_writing_the_same_status_again_changes_nothing(bench: StoreBench):
    written = await bench.store.write_status(await made(bench), FULL)
    again = await bench.store.write_status(written, FULL)
    assert again.resource_version == written.resource_version


async def test_a_status_is_not_written_over_a_newer_object(bench: StoreBench):
    old = await made(bench)
    await bench.apply(bench.key(), {**SPEC, "replicas": 3})
    with pytest.raises(Conflict):
        await bench.store.write_status(old, FULL)
    read = await bench.store.get(bench.key())
    assert read is not None
    assert read.status == WorkforceStatus()
    assert (read.generation, read.spec["replicas"]) == (2, 3)


async def test_a_status_is_not_written_to_an_object_that_was_made_anew(bench: StoreBench):
    old = await made(bench)
    await bench.delete(bench.key())
    with pytest.raises(Conflict):
        await bench.store.write_status(old, FULL)
    await made(bench)
    with pytest.raises(Conflict):
        await bench.store.write_status(old, FULL)


async def test_a_finalizer_keeps_a_deleted_object_until_it_is_removed(bench: StoreBench):
    stored = await bench.store.add_finalizer(await made(bench))
    assert stored.finalizers == (FINALIZER,)
    assert await bench.store.get(bench.key()) == stored
    await bench.delete(bench.key())
    deleted = await bench.store.get(bench.key())
    assert deleted is not None
    assert deleted.deletion_time is not None
    await bench.store.remove_finalizer(deleted)
    assert await bench.store.get(bench.key()) is None


async def test_adding_the_finalizer_again_changes_nothing(bench: StoreBench):
    stored = await bench.store.add_finalizer(await made(bench))
    assert (await bench.store.add_finalizer(stored)).resource_version == stored.resource_version


async def test_the_finalizer_is_not_added_to_a_newer_object(bench: StoreBench):
    old = await made(bench)
    await bench.apply(bench.key(), {**SPEC, "replicas": 3})
    with pytest.raises(Conflict):
        await bench.store.add_finalizer(old)


async def test_the_finalizer_is_removed_whatever_else_has_changed(bench: StoreBench):
    stored = await bench.store.add_finalizer(await made(bench))
    await bench.apply(bench.key(), {**SPEC, "replicas": 3})
    await bench.store.remove_finalizer(stored)
    read = await bench.store.get(bench.key())
    assert read is not None
    assert read.finalizers == ()


async def test_removing_a_finalizer_that_is_gone_or_of_an_object_that_is_gone_is_no_error(bench: StoreBench):
    stored = await bench.store.add_finalizer(await made(bench))
    await bench.store.remove_finalizer(stored)
    await bench.store.remove_finalizer(stored)
    await bench.delete(bench.key())
    await bench.store.remove_finalizer(stored)


async def test_the_finalizer_of_a_namesake_made_anew_is_left_alone(bench: StoreBench):
    old = await made(bench)
    await bench.delete(bench.key())
    new = await bench.store.add_finalizer(await made(bench))
    await bench.store.remove_finalizer(old)
    read = await bench.store.get(bench.key())
    assert read is not None
    assert read.finalizers == new.finalizers == (FINALIZER,)


async def test_a_secret_s_key_is_read_decoded(bench: StoreBench):
    await bench.add_secret("token", {"a": b"s3cr\xc3\xa9t"})
    assert await bench.store.secret_value(bench.namespace, "token", "a") == "s3crét"
    with pytest.raises(Missing):
        await bench.store.secret_value(bench.namespace, "token", "b")
    with pytest.raises(Missing):
        await bench.store.secret_value(bench.namespace, "nothing", "a")


async def test_the_definition_is_not_going(bench: StoreBench):
    assert await bench.store.definition_is_going() is False


@pytest.mark.cluster
async def test_finalizers_of_others_stay_and_all_namespaces_are_listed(kubernetes_cluster, kubernetes_namespace):
    async with open_api(kubernetes_cluster.kubeconfig) as api:
        await install_definition(api)
        bench = real_store(api, kubernetes_namespace)
        stored = await made(bench)
        path = f"/apis/workforce.dev/v1alpha1/namespaces/{kubernetes_namespace}/workforces/md"
        await api.patch(path, {"metadata": {"finalizers": ["example.com/one", FINALIZER, "example.com/two"]}})
        await bench.store.remove_finalizer(stored)
        read = await bench.store.get(bench.key())
        assert read is not None
        assert read.finalizers == ("example.com/one", "example.com/two")
        await api.patch(path, {"metadata": {"finalizers": []}})
        everywhere = KubernetesWorkforceStore(api)
        assert bench.key() in await everywhere.list_keys()
