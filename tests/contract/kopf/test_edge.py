"""What we register with the real kopf: a watch that wakes a key when something that people wrote changed, and never at
our own status writes, and nothing that writes."""

import kopf
import pytest

from workforce_operator.api.base import FINALIZER
from workforce_operator.edge import kopf_edge
from workforce_operator.ports.kubernetes import Key


@pytest.fixture
def woken():
    return []


@pytest.fixture
def see(woken):
    (handler,) = kopf_edge.build_registry(lambda key, new: woken.append((key, new)))._watching.get_all_handlers()
    memo = kopf.Memo()

    async def event(kind, **meta):
        body = kopf.Body({"metadata": {"namespace": "chem", "name": "md", "uid": "u", "resourceVersion": "1", **meta}})
        seen = {"event": {"type": kind, "object": {}}, "body": body, "meta": body.meta, "memo": memo}
        if handler.when(**seen):
            await handler.fn(**seen)

    return event


async def test_an_object_wakes_its_key_at_first_sight(see, woken):
    await see(None, generation=1)
    assert [key for key, _ in woken] == [Key("chem", "md")]


async def test_an_object_is_shown_as_long_as_the_finalizer_is_to_be_written(see, woken):
    await see("ADDED", generation=1)
    await see("MODIFIED", generation=2, finalizers=["somebody/else"])
    await see("MODIFIED", generation=3, finalizers=["somebody/else", FINALIZER])
    await see("MODIFIED", generation=4, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["somebody/else"])
    await see("DELETED", generation=4)
    assert [new and new.generation for _, new in woken] == [1, 2, None, None, None]


async def test_a_status_write_wakes_nobody(see, woken):
    await see("ADDED", generation=1)
    await see("MODIFIED", generation=1)
    await see("MODIFIED", generation=1)
    assert len(woken) == 1


async def test_an_edited_spec_wakes_the_key(see, woken):
    await see("ADDED", generation=1)
    await see("MODIFIED", generation=2)
    assert len(woken) == 2


async def test_a_deletion_wakes_the_key_when_asked_for_and_when_done(see, woken):
    await see("ADDED", generation=1)
    await see("MODIFIED", generation=1, deletionTimestamp="2026-01-01T00:00:00Z")
    await see("DELETED", generation=1, deletionTimestamp="2026-01-01T00:00:00Z")
    assert len(woken) == 3


def test_the_service_account_is_used_at_the_address_in_the_environment(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setattr(kopf_edge, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.9")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    connection = kopf_edge.service_account()
    assert (connection.server, connection.token) == ("https://127.0.0.9:6443", "secret")


def test_without_a_token_there_is_no_service_account(monkeypatch, tmp_path):
    monkeypatch.setattr(kopf_edge, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.9")
    assert kopf_edge.service_account() is None


async def test_a_wish_to_drain_a_worker_wakes_the_key(see, woken):
    await see("ADDED", generation=1)
    await see("MODIFIED", generation=1, annotations={"workforce.dev/drain": "md-0"})
    await see("MODIFIED", generation=1, annotations={"workforce.dev/drain": "md-0", "other": "x"})
    assert len(woken) == 2


def test_kopf_is_told_to_write_nothing():
    settings = kopf_edge.build_settings()
    assert settings.posting.enabled is False
    assert settings.peering.standalone is True
    assert settings.scanning.disabled is True
    assert settings.persistence.finalizer != "workforce.dev/workers"
    assert settings.process.ultimate_exiting_timeout is None
    registry = kopf_edge.build_registry(lambda *_: None)
    assert registry._changing.get_all_handlers() == []
    assert registry._spawning.get_all_handlers() == []
    assert len(registry._watching.get_all_handlers()) == 1
    assert len(registry._activities.get_all_handlers()) == 1
