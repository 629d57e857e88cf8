"""Making the control channel's entities over ARM: nothing that exists is touched, nothing is made twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from jobq.connect import open_transport
from tests.contract.operator_ports.bus import INSTALLATION, NODES, REPORTS, Management, control
from tests.contract.operator_ports.scripted_arm import ScriptedArm, StaticCredential, answer, scripted_arm
from workforce_operator.adapters.arm.client import ArmClient
from workforce_operator.adapters.arm.governor import Governor
from workforce_operator.adapters.memory import MemoryGuard
from workforce_operator.adapters.servicebus import entities as module
from workforce_operator.adapters.servicebus.entities import Entities
from workforce_operator.domain.errors import Denied, SpecError

TOPICS = frozenset({"chem-md-uksouth", "chem-md-west"})


@dataclass
class Ground:
    """Entities over a service that remembers them."""

    arm: ScriptedArm
    entities: Entities
    documents: dict[str, dict[str, Any]]
    time: list[float]


@pytest_asyncio.fixture
async def ground(tmp_path) -> AsyncIterator[Ground]:
    time = [0.0]
    async with scripted_arm(tmp_path) as arm, open_transport(arm.cloud()) as transport:
        client = ArmClient(arm.cloud(), StaticCredential(), transport, Governor(), MemoryGuard())
        entities = Entities(client, clock=lambda: time[0])
        yield Ground(arm, entities, Management(arm, None).documents, time)


async def test_what_was_seen_costs_no_further_call(ground: Ground):
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    made = len(ground.arm.seen)
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    assert len(ground.arm.seen) == made
    assert len(ground.arm.calls("PUT")) == 6


async def test_what_people_made_is_left_as_it_is(ground: Ground):
    ground.documents["topics/chem-md-uksouth"] = {"name": "chem-md-uksouth", "properties": {"sizeInBytes": 1}}
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    put = {seen.path.rsplit("/", 1)[1] for seen in ground.arm.calls("PUT")}
    assert "chem-md-uksouth" not in put
    assert "chem-md-west" in put


async def test_entities_are_made_with_the_settings_of_the_protocol(ground: Ground):
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    made = {name: document["properties"] for name, document in ground.documents.items()}
    subscription = made["topics/chem-md-uksouth/subscriptions/shutdown"]
    nodes = made[f"queues/{NODES}"]
    assert (subscription["lockDuration"], subscription["maxDeliveryCount"]) == ("PT30S", 100)
    assert nodes["requiresSession"] is nodes["requiresDuplicateDetection"] is True
    assert (nodes["lockDuration"], nodes["duplicateDetectionHistoryTimeWindow"]) == ("PT5M", "PT5M")
    for properties in (subscription, nodes, made[f"queues/{REPORTS}"]):
        assert properties["defaultMessageTimeToLive"] == "PT15M"
        assert properties["deadLetteringOnMessageExpiration"] is False


async def test_a_node_queue_without_sessions_is_refused_with_what_to_do(ground: Ground):
    ground.documents[f"queues/{NODES}"] = {"name": NODES, "properties": {"requiresSession": False}}
    with pytest.raises(SpecError, match="delete it"):
        await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)


async def test_a_missing_role_is_denied_for_its_scope(ground: Ground):
    ground.arm.script.append(answer(403, {"error": {"code": "AuthorizationFailed", "message": "no"}}))
    with pytest.raises(Denied) as caught:
        await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    assert caught.value.scope.endswith("/namespaces/wf-bus")


async def test_what_was_deleted_since_is_noticed_after_a_while(ground: Ground):
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    ground.documents.clear()
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    assert ground.documents == {}
    ground.time[0] += module.BELIEVED_SECONDS + 1
    await ground.entities.ensure(control().service_bus, TOPICS, INSTALLATION)
    assert f"queues/{NODES}" in ground.documents


async def test_the_host_name_is_the_one_that_the_namespace_tells(ground: Ground):
    assert await ground.entities.host(control().service_bus, turn="x") == "wf-bus.servicebus.local.test"
