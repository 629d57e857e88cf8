"""Scheduled events: what an answer says, what follows from it, and a watcher with a metadata service made up here."""

import json

from tests.support.tables import table
from workforce_agent.lifecycle import Trigger
from workforce_agent.preemption import (
    EVENTS_PATH,
    INSTANCE_PATH,
    MetadataUnavailable,
    Notices,
    Watched,
    Watcher,
    enabled,
    observe,
    read_machine,
    read_notices,
)

NOTICE, OVER = Trigger.PREEMPTION, Trigger.PREEMPTION_WITHDRAWN


def event(event_id="e1", kind="Preempt", resources=("vm_0",), **more):
    return {"EventId": event_id, "EventType": kind, "Resources": list(resources), "EventStatus": "Scheduled", **more}


def document(*events, **more):
    return json.dumps({"DocumentIncarnation": 1, "Events": list(events), **more}).encode()


def ids(*names):
    return Notices(frozenset(names))


@table(
    ("body", "found"),
    [
        (document(), ids()),
        (document(event()), ids("e1")),
        (document(event(resources=["other", "VM_0"])), ids("e1")),
        (document(event(resources=["other"])), ids()),
        (document(event(), event("e2")), ids("e1", "e2")),
        (document(*(event(kind, kind) for kind in ("Freeze", "Reboot", "Redeploy", "Terminate"))), ids()),
        (document(event(EventStatus="Started", NotBefore="", New={"field": 1}), other=1), ids("e1")),
        (document(event(), {"EventType": "Preempt"}), Notices(frozenset({"e1"}), complete=False)),
        (document("nonsense"), Notices(frozenset(), complete=False)),
        (document(event(event_id=7)), Notices(frozenset(), complete=False)),
        (document({**event(), "Resources": "vm_0"}), Notices(frozenset(), complete=False)),
        (b'{"error": "Too many requests"}', None),
        (b'{"Events": null}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (b"\xff", None),
    ],
)
def test_what_an_answer_says(body, found):
    assert read_notices(body, "vm_0") == found


@table(
    ("watched", "notices", "after", "trigger"),
    [
        (Watched(), ids(), Watched(), None),
        (Watched(), ids("a"), Watched({"a"}, {"a"}), NOTICE),
        (Watched({"a"}, {"a"}), ids("a"), Watched({"a"}, {"a"}), None),
        (Watched({"a"}, {"a"}), ids("a", "b"), Watched({"a", "b"}, {"a", "b"}), NOTICE),
        (Watched({"a", "b"}, {"a", "b"}), ids("b"), Watched({"b"}, {"a", "b"}), None),
        (Watched({"a"}, {"a"}), ids(), Watched(frozenset(), {"a"}), OVER),
        (Watched(frozenset(), {"a"}), ids(), Watched(frozenset(), {"a"}), None),
        (Watched(frozenset(), {"a"}), ids("a"), Watched({"a"}, {"a"}), None),
        (Watched({"a"}, {"a"}), None, Watched({"a"}, {"a"}), None),
        (Watched(), None, Watched(), None),
        (Watched({"a"}, {"a"}), Notices(frozenset(), complete=False), Watched({"a"}, {"a"}), None),
        (Watched(), Notices(frozenset({"a"}), complete=False), Watched({"a"}, {"a"}), NOTICE),
    ],
)
def test_what_follows_from_an_answer(watched, notices, after, trigger):
    assert observe(watched, notices) == (after, trigger)


@table(
    ("environ", "on"),
    [
        ({}, False),
        ({"AZ_BATCH_TASK_ID": "t"}, True),
        ({"AZ_BATCHAI_CLUSTER_NAME": "c"}, True),
        ({"AZ_BATCH_TASK_ID": "t", "JOBQ_DISABLE_SCHEDULED_EVENTS": "1"}, False),
        ({"AZ_BATCH_TASK_ID": "t", "JOBQ_DISABLE_SCHEDULED_EVENTS": "True"}, False),
        ({"AZ_BATCH_TASK_ID": "t", "JOBQ_DISABLE_SCHEDULED_EVENTS": "0"}, True),
    ],
)
def test_events_are_watched_on_nodes_of_azureml_unless_switched_off(environ, on):
    assert enabled(environ) is on


@table("body", [b"", b"[]", b'{"compute": 1}', b'{"compute": {"name": ""}}', b'{"compute": {}}'])
def test_a_machine_without_a_name_is_unknown(body):
    assert read_machine(body) is None


class Service:
    """A metadata service that answers what a test has laid out."""

    def __init__(self):
        self.answers = {INSTANCE_PATH: b'{"compute": {"name": "vm_0"}}', EVENTS_PATH: document()}
        self.triggers = []

    async def fetch(self, path, seconds):
        del seconds
        if self.answers[path] is None:
            raise MetadataUnavailable("unreachable")
        return self.answers[path]

    def trigger(self, trigger):
        self.triggers.append(trigger)


async def test_a_preemption_is_told_once_and_its_withdrawal_too_and_no_fault_between_them_matters():
    service = Service()
    watcher = Watcher(service.fetch, service)
    for answer in (document(), document(event()), document(event()), None, b"{}", document(event()), document()):
        service.answers[EVENTS_PATH] = answer
        await watcher.poll()
    assert service.triggers == [NOTICE, OVER]


async def test_without_the_machines_name_no_event_is_taken_for_its_own():
    service = Service()
    service.answers = {INSTANCE_PATH: None, EVENTS_PATH: document(event())}
    watcher = Watcher(service.fetch, service)
    await watcher.poll()
    assert service.triggers == []
    service.answers[INSTANCE_PATH] = b'{"compute": {"name": "vm_0"}}'
    await watcher.poll()
    assert service.triggers == [NOTICE]
