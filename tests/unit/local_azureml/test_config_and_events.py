"""Configuration files, and the document of Scheduled Events of Azure's metadata service."""

import json
from datetime import UTC, datetime

import pytest

from workforce_local.config import ConfigError, LocalConfig
from workforce_local.imds import ScheduledEvent, ScheduledEvents


def test_the_default_has_two_regions_of_four_nodes():
    config = LocalConfig()
    assert [workspace.location for workspace in config.workspaces] == ["uksouth", "westeurope"]
    assert [compute.max_nodes for workspace in config.workspaces for compute in workspace.computes] == [4, 4]
    assert (len(config.service_bus), config.storage_accounts) == (1, ("wfdemo",))
    assert (config.timing.cancel_grace_seconds, config.arm.replay) == (5.0, "replay200")


def test_a_file_is_read_in_camel_case(tmp_path):
    file = tmp_path / "c.json"
    workspace = {"name": "w", "location": "eastus", "computes": [{"name": "c", "maxNodes": 9, "lockedNodes": 2}]}
    file.write_text(json.dumps({"workspaces": [workspace], "timing": {"cancelGraceSeconds": 1}}))
    config = LocalConfig.load(file)
    assert config.workspaces[0].computes[0].max_nodes == 9
    assert config.timing.cancel_grace_seconds == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ('{"workspace": []}', "workspace"),
        ('{"arm": {"replay": "maybe"}}', "arm.replay"),
        ('{"workspaces": [{"name": "w", "location": "x", "resourceGroup": "other"}]}', "resourceGroups"),
        ('{"workspaces": [{"name": "w", "location": "x", "computes": [{"name": "c", "minNodes": 9}]}]}', "minNodes"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field(tmp_path, text, words):
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        LocalConfig.load(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json"):
        LocalConfig.load(tmp_path / "none.json")


def test_the_incarnation_grows_with_every_change_and_nothing_else():
    events = ScheduledEvents()
    assert events.document() == {"DocumentIncarnation": 1, "Events": []}
    event_id = events.schedule(ScheduledEvent("Preempt", ("node-1",), datetime(2016, 9, 19, 18, 29, 47, tzinfo=UTC)))
    assert events.document()["DocumentIncarnation"] == 2
    assert events.document()["DocumentIncarnation"] == 2
    events.withdraw(event_id)
    events.withdraw(event_id)
    assert events.document() == {"DocumentIncarnation": 3, "Events": []}


def test_an_event_is_written_as_imds_writes_it():
    event = ScheduledEvent("Preempt", ("node-1",), datetime(2016, 9, 19, 18, 29, 47, tzinfo=UTC), event_id="E")
    assert event.document() == {
        "EventId": "E",
        "EventStatus": "Scheduled",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": ["node-1"],
        "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT",
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
    }


def test_a_started_event_has_no_time_any_more():
    event = ScheduledEvent("Freeze", (), datetime(2026, 1, 1, tzinfo=UTC), status="Started")
    assert event.document()["NotBefore"] == ""


def test_only_a_known_event_can_be_approved():
    events = ScheduledEvents()
    event_id = events.schedule(ScheduledEvent("Reboot", ("n",)))
    assert events.approve(event_id)
    assert not events.approve("other")
    assert events.approved == [event_id]
