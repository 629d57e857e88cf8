"""What the API server could not refuse."""

from __future__ import annotations

import pytest

from tests.support.tables import table
from tests.support.workforces import CONTROL, region, spec, template
from workforce_operator.api.spec import DeletionPolicy, Suspend
from workforce_operator.api.template import RESERVED_VARIABLES
from workforce_operator.domain.errors import SpecError
from workforce_operator.domain.validate import read_spec, spec_for_deletion


def refusal(raw, *, name="wf"):
    with pytest.raises(SpecError) as caught:
        read_spec("ns", name, raw)
    return caught.value.reason, str(caught.value)


def variable(**fields):
    return spec(template=template(environmentVariables=[fields]))


def test_a_valid_spec_is_read():
    assert read_spec("ns", "wf", spec()).replicas == 2


BUS = {"namespace": "my-bus", "name": "tasks"}
SCHEDULE = {"name": "office", "schedule": "0 8 * * 1-5", "durationSeconds": 3600, "minReplicas": 2}


def autoscaled(**fields):
    return spec(replicas=None, autoscaling={"policy": "JobQ", "maxReplicas": 9} | fields)


def test_a_valid_autoscaled_spec_is_read():
    read = read_spec(
        "ns", "wf", autoscaled(schedules=[SCHEDULE]) | {"queue": {"type": "ServiceBus", "serviceBus": BUS}}
    )
    assert read.autoscaling is not None
    assert read.queue.service_bus is not None


CASES = [
    (spec(replicas="many"), "Invalid", "spec.replicas"),
    (spec(queue={"type": "Kafka"}), "Invalid", "spec.queue.type"),
    (spec(regions=[region("one", maxReplicas=None)]), "Invalid", "spec.regions.0.maxReplicas"),
    (spec(queue={"type": "Storage"}), "Invalid", "spec.queue must have exactly storage for type Storage"),
    (spec(queue={"type": "ServiceBus"}), "Invalid", "spec.queue must have exactly serviceBus for type ServiceBus"),
    (
        spec(queue={"type": "ServiceBus", "serviceBus": BUS, "storage": {"account": "account", "name": "tasks"}}),
        "Invalid",
        "exactly serviceBus",
    ),
    (spec(replicas=None), "Invalid", "replicas or autoscaling must be set"),
    (autoscaled(minReplicas=3, maxReplicas=2), "Invalid", "autoscaling: minReplicas must not be greater"),
    (autoscaled(maxReplicas=1, schedules=[SCHEDULE]), "Invalid", "office: minReplicas must not be greater"),
    (autoscaled(schedules=[SCHEDULE, SCHEDULE]), "Invalid", "name office must be unique"),
    (
        autoscaled(schedules=[SCHEDULE | {"timeZone": "Europe/Londn"}]),
        "InvalidSchedule",
        "spec.autoscaling.schedules: office: timeZone: there is no time zone Europe/Londn",
    ),
    (
        autoscaled(schedules=[SCHEDULE | {"schedule": "0 24 * * *"}]),
        "InvalidSchedule",
        "office: schedule: '0 24 * * *'",
    ),
    (spec(template=template(environment={"type": "Image"})), "Invalid", "exactly image for type Image"),
    (
        spec(template=template(environment={"type": "Image", "image": "i", "name": "n"})),
        "Invalid",
        "exactly image for type Image",
    ),
    (
        spec(template=template(environment={"type": "Registered", "name": "n"})),
        "Invalid",
        "exactly name and either version or label for type Registered",
    ),
    (
        spec(template=template(environment={"type": "Registered", "name": "n", "version": "1", "image": "i"})),
        "Invalid",
        "exactly name and either version or label",
    ),
    (
        spec(template=template(environment={"type": "Registered", "name": "n", "version": "1", "label": "latest"})),
        "Invalid",
        "exactly name and either version or label",
    ),
    (variable(name="A"), "Invalid", "A must have exactly one of value and valueFrom"),
    (
        variable(name="A", value="1", valueFrom={"secretKeyRef": {"name": "s", "key": "k"}}),
        "Invalid",
        "A must have exactly one",
    ),
    (spec(control=None, deletionPolicy="Drain"), "Invalid", "spec.deletionPolicy Drain needs spec.control"),
    (spec(regions=[region("one", minReplicas=11)]), "Invalid", "one: minReplicas must not be greater"),
    (spec(regions=[region("a", experiment="e"), region("b", experiment="e")]), "DuplicateExperiment", "experiment e"),
    (spec(regions=[region("a", topic="t"), region("b", topic="t")]), "DuplicateTopic", "topic t"),
    (spec(regions=[region("a"), region("b", topic="ns-wf-a")]), "DuplicateTopic", "topic ns-wf-a"),
    (
        spec(regions=[region("a", topic="t", control=CONTROL), region("b", topic="t", control=CONTROL)]),
        "DuplicateTopic",
        "one Service Bus namespace",
    ),
    (spec(regions=[region("a", control=CONTROL)], control=None), "Invalid", "spec.control"),
    (
        spec(regions=[region("a", experiment="x", topic="x"), region("a", experiment="y", topic="y")]),
        "Invalid",
        "name a must be unique",
    ),
    (
        spec(template=template(inputs={"a": {"type": "literal", "path": "azureml:set:1"}})),
        "Invalid",
        "inputs.a must have exactly value for type literal",
    ),
    (spec(template=template(inputs={"a": {"type": "uri_file"}})), "Invalid", "inputs.a must have exactly path"),
    (
        spec(template=template(inputs={"a": {"type": "literal", "value": "1", "mode": "direct"}})),
        "Invalid",
        "inputs.a: mode must not be set",
    ),
    (spec(template=template(outputs={"a": {"path": "/etc"}})), "Invalid", "outputs.a.path"),
    (spec(template=template(code="./src")), "Invalid", "spec.template.code"),
    (
        spec(template=template(identity={"type": "User", "clientId": "c"})),
        "Invalid",
        "spec.template.identity: resourceId and clientId must be set for type Managed only",
    ),
    (
        spec(regions=[region("one", overrides={"environment": {"type": "Image"}})]),
        "Invalid",
        "spec.regions: one: overrides.environment must have exactly image",
    ),
    (
        spec(regions=[region("one", overrides={"environmentVariables": [{"name": "JOBQ_QUEUE", "value": "q"}]})]),
        "ReservedVariable",
        "spec.regions: one: overrides.environmentVariables must not set JOBQ_QUEUE",
    ),
    (
        spec(
            template=template(environmentVariables=[{"name": "AZURE_CLIENT_ID", "value": "a"}]),
            regions=[region("one", overrides={"identity": {"type": "Managed", "clientId": "b"}})],
        ),
        "ReservedVariable",
        "spec.regions: one: overrides.environmentVariables must not set AZURE_CLIENT_ID",
    ),
]


@table(("raw", "reason", "message"), CASES)
def test_a_spec_that_cannot_be_worked_with_is_refused_by_its_field(raw, reason, message):
    said = refusal(raw)
    assert said[0] == reason
    assert message in said[1]


@table("name", RESERVED_VARIABLES)
def test_variables_that_the_operator_sets_are_refused(name):
    reason, message = refusal(variable(name=name, value="mine"))
    assert reason == "ReservedVariable"
    assert name in message


def test_the_client_id_may_be_set_in_one_place_only():
    body = template(environmentVariables=[{"name": "AZURE_CLIENT_ID", "value": "a"}])
    assert read_spec("ns", "wf", spec(template=body))
    both = body | {"identity": {"type": "Managed", "clientId": "b"}}
    assert refusal(spec(template=both))[0] == "ReservedVariable"


def test_a_variable_given_twice_is_refused():
    twice = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    assert "names A twice" in refusal(spec(template=template(environmentVariables=twice)))[1]


@pytest.mark.parametrize("name", ["a" * 51, "a.b"])
def test_a_name_that_jobs_cannot_carry_is_refused(name):
    assert refusal(spec(), name=name)[0] == "InvalidName"


def test_a_spec_can_be_deleted_whatever_it_says():
    nonsense = {"replicas": "x", "queue": 3, "regions": None, "control": {"bus": 1}, "suspend": "?", "weird": {}}
    read = spec_for_deletion(nonsense)
    assert read.control is None
    assert read.suspend is Suspend.NONE
    assert read.regions == []
    assert spec_for_deletion({}).deletion_deadline_seconds == 86_400


def test_what_matters_for_deletion_is_read_as_far_as_it_can_be():
    raw = spec(deletionPolicy="Cancel", deletionDeadlineSeconds=60, drain={"onDeadline": "Cancel"}, replicas=-1)
    read = spec_for_deletion(raw)
    assert read.deletion_policy is DeletionPolicy.CANCEL
    assert read.deletion_deadline_seconds == 60
    assert read.drain.on_deadline == "Cancel"
    assert read.control is not None
    assert read.replicas == 0
