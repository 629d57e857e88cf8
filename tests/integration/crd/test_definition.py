"""The generated definition does on a real API server what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.crd.conftest import Workforces
from tests.support.kubernetes import Cluster, wait_until
from tests.support.workforces import CONTROL, region, spec, template, workforce
from workforce_operator.api.crd import COLUMNS

pytestmark = pytest.mark.cluster


def _without(body: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != key}


def _with_spec(body: dict[str, Any]) -> dict[str, Any]:
    return workforce() | {"spec": body}


def _storage(**changes: Any) -> dict[str, Any]:
    return {"type": "Storage", "storage": {"account": "account", "name": "tasks"} | changes}


def _variables(*variables: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return workforce(template=template(environmentVariables=list(variables), **changes))


def _input(**fields: Any) -> dict[str, Any]:
    return workforce(template=template(inputs={"a": fields}))


SCHEDULE = {"name": "office", "schedule": "0 8 * * 1-5", "durationSeconds": 36_000, "minReplicas": 2}


def _autoscaled(**changes: Any) -> dict[str, Any]:
    fields = {"policy": "JobQ", "maxReplicas": 9} | changes
    scaling = {key: value for key, value in fields.items() if value is not None}
    return workforce(replicas=None, autoscaling=scaling)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no spec": (_without(workforce(), "spec"), "spec: Required value"),
    "no replicas": (workforce(replicas=None), "`replicas` or `autoscaling` must be set"),
    "negative replicas": (workforce(replicas=-1), "spec.replicas"),
    "too many replicas": (workforce(replicas=1_000_001), "spec.replicas"),
    "replicas as text": (workforce(replicas="two"), "spec.replicas"),
    "no queue": (workforce(queue=None), "spec.queue: Required value"),
    "queue of another type": (workforce(queue={"type": "Kafka"}), "spec.queue.type"),
    "queue without its storage": (workforce(queue={"type": "Storage"}), "`storage` must be set"),
    "queue without its namespace": (workforce(queue={"type": "ServiceBus"}), "`serviceBus` must be set"),
    "queue with both": (
        workforce(queue={**_storage(), "type": "ServiceBus", "serviceBus": {"namespace": "my-bus", "name": "t"}}),
        "`storage` must be set for type Storage, and only for it",
    ),
    "namespace that is a host": (
        workforce(queue={"type": "ServiceBus", "serviceBus": {"namespace": "my-bus.example.com", "name": "t"}}),
        "spec.queue.serviceBus.namespace",
    ),
    "autoscaling without a limit": (_autoscaled(maxReplicas=None), "spec.autoscaling.maxReplicas: Required value"),
    "autoscaling by another policy": (_autoscaled(policy="Magic"), "spec.autoscaling.policy"),
    "minimum above the limit": (_autoscaled(minReplicas=10), "spec.autoscaling.minReplicas"),
    "schedule above the limit": (_autoscaled(schedules=[SCHEDULE | {"minReplicas": 10}]), "spec.autoscaling.schedules"),
    "schedule twice": (_autoscaled(schedules=[SCHEDULE, SCHEDULE]), "spec.autoscaling.schedules[1]"),
    "schedule of four fields": (
        _autoscaled(schedules=[SCHEDULE | {"schedule": "0 8 * *"}]),
        "spec.autoscaling.schedules[0].schedule",
    ),
    "percentage of nothing": (
        _autoscaled(behavior={"scaleUp": {"policies": [{"type": "Percent", "value": 0, "periodSeconds": 60}]}}),
        "spec.autoscaling.behavior.scaleUp.policies[0].value",
    ),
    "window of two hours": (
        _autoscaled(behavior={"scaleDown": {"stabilizationWindowSeconds": 7200}}),
        "spec.autoscaling.behavior.scaleDown.stabilizationWindowSeconds",
    ),
    "storage account with a dash": (workforce(queue=_storage(account="my-account")), "spec.queue.storage.account"),
    "queue name in capitals": (workforce(queue=_storage(name="Tasks")), "spec.queue.storage.name"),
    "queue name with two dashes": (workforce(queue=_storage(name="a--b")), "spec.queue.storage.name"),
    "no region": (workforce(regions=[]), "spec.regions"),
    "region twice": (workforce(regions=[region("one"), region("one")]), "spec.regions[1]"),
    "region name in capitals": (workforce(regions=[region("UK")]), "spec.regions[0].name"),
    "region name too long": (workforce(regions=[region("r" * 41)]), "spec.regions[0].name"),
    "region without workspace": (workforce(regions=[region("r", workspace=None)]), "spec.regions[0].workspace"),
    "region without compute": (workforce(regions=[region("r", compute="")]), "spec.regions[0].compute"),
    "region without maxReplicas": (workforce(regions=[region("r", maxReplicas=None)]), "spec.regions[0].maxReplicas"),
    "min above max": (workforce(regions=[region("r", minReplicas=11)]), "spec.regions[0].minReplicas"),
    "experiment with a slash": (workforce(regions=[region("r", experiment="a/b")]), "spec.regions[0].experiment"),
    "no template": (workforce(template=None), "spec.template: Required value"),
    "no environment": (workforce(template={}), "spec.template.environment: Required value"),
    "image missing": (workforce(template=template(environment={"type": "Image"})), "`image` must be set"),
    "image and name": (
        workforce(template=template(environment={"type": "Image", "image": "i", "name": "n", "version": "1"})),
        "`name` and either `version` or `label` must be set for type Registered, and only for it",
    ),
    "registered without version": (
        workforce(template=template(environment={"type": "Registered", "name": "n"})),
        "`name` and either `version` or `label` must be set",
    ),
    "version and label": (
        workforce(
            template=template(environment={"type": "Registered", "name": "n", "version": "1", "label": "latest"})
        ),
        "`name` and either `version` or `label` must be set",
    ),
    "other label": (
        workforce(template=template(environment={"type": "Registered", "name": "n", "label": "stable"})),
        "spec.template.environment.label",
    ),
    "no slots": (workforce(template=template(slots=0)), "spec.template.slots"),
    "empty command": (workforce(template=template(command="")), "spec.template.command"),
    "shmSize with a fraction": (workforce(template=template(shmSize="1.5Gi")), "spec.template.shmSize"),
    "time limit too short": (workforce(template=template(timeoutSeconds=60)), "spec.template.timeoutSeconds"),
    "tag that is no text": (workforce(template=template(tags={"a": 1})), "spec.template.tags.a"),
    "too many tags": (
        workforce(template=template(tags={f"t{number}": "x" for number in range(31)})),
        "spec.template.tags",
    ),
    "identity of another type": (
        workforce(template=template(identity={"type": "Own"})),
        "spec.template.identity.type",
    ),
    "variable without value": (_variables({"name": "A"}), "exactly one of `value` and `valueFrom`"),
    "variable with two values": (
        _variables({"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
        "exactly one of `value` and `valueFrom`",
    ),
    "secret without key": (
        _variables({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}),
        "valueFrom.secretKeyRef.key",
    ),
    "variable name with a dash": (_variables({"name": "A-B", "value": "1"}), "environmentVariables[0].name"),
    "variable twice": (
        _variables({"name": "A", "value": "1"}, {"name": "A", "value": "2"}),
        "spec.template.environmentVariables[1]",
    ),
    "variable of the operator": (
        _variables({"name": "JOBQ_QUEUE", "value": "mine"}),
        "spec.template.environmentVariables",
    ),
    "client id twice": (
        _variables({"name": "AZURE_CLIENT_ID", "value": "a"}, identity={"type": "Managed", "clientId": "b"}),
        "spec.template.environmentVariables",
    ),
    "identity of the submitter with a client id": (
        workforce(template=template(identity={"type": "User", "clientId": "c"})),
        "`resourceId` and `clientId` must be set for type Managed only",
    ),
    "environment name with a label": (
        workforce(template=template(environment={"type": "Registered", "name": "e@latest", "version": "1"})),
        "spec.template.environment.name",
    ),
    "code as a folder": (workforce(template=template(code="./src")), "spec.template.code"),
    "code from git": (workforce(template=template(code="git+https://github.com/a/b")), "spec.template.code"),
    "code without version": (workforce(template=template(code="azureml:agent")), "spec.template.code"),
    "input from the operator's own files": (_input(type="uri_folder", path="/etc"), "spec.template.inputs.a.path"),
    "input by file address": (_input(type="uri_folder", path="file:///etc"), "spec.template.inputs.a.path"),
    "input of the latest version": (
        _input(type="uri_folder", path="azureml:set@latest"),
        "spec.template.inputs.a.path",
    ),
    "input of another type": (_input(type="folder", path="azureml:set:1"), "spec.template.inputs.a.type"),
    "input without path": (_input(type="uri_folder"), "`path` must be set for every type but literal"),
    "literal without value": (_input(type="literal"), "`value` must be set for type literal"),
    "literal with a path": (_input(type="literal", value="1", path="azureml:set:1"), "`path` must be set for every"),
    "literal with a mode": (_input(type="literal", value="1", mode="direct"), "`mode` must not be set"),
    "input by a bad name": (
        workforce(template=template(inputs={"a-b": {"type": "literal", "value": "1"}})),
        "names must be letters, digits and underscores",
    ),
    "output by a bad name": (
        workforce(template=template(outputs={"1a": {}})),
        "names must be letters, digits and underscores",
    ),
    "output to the operator's own files": (
        workforce(template=template(outputs={"a": {"path": "/tmp"}})),
        "spec.template.outputs.a.path",
    ),
    "output of another mode": (
        workforce(template=template(outputs={"a": {"mode": "ro_mount"}})),
        "spec.template.outputs.a.mode",
    ),
    "two nodes for one replica": (
        workforce(template=template(resources={"instanceCount": 2})),
        "spec.template.resources.instanceCount",
    ),
    "other job tier": (workforce(template=template(queueSettings={"jobTier": "Gold"})), "queueSettings.jobTier"),
    "other priority": (workforce(template=template(queueSettings={"priority": "medium"})), "queueSettings.priority"),
    "compute as another ARM id": (
        workforce(regions=[region("one", compute="/subscriptions/s/resourceGroups/g/providers/A/b/c")]),
        "spec.regions[0].compute",
    ),
    "override of a variable of the operator": (
        workforce(regions=[region("one", overrides={"environmentVariables": [{"name": "JOBQ_QUEUE", "value": "q"}]})]),
        "spec.regions[0].overrides.environmentVariables",
    ),
    "override of what cannot be overridden": (
        workforce(regions=[region("one", overrides={"command": "other"})]),
        'unknown field "spec.regions[0].overrides.command"',
    ),
    "topic with a space": (workforce(regions=[region("one", topic="my topic")]), "spec.regions[0].topic"),
    "workspace as a path": (workforce(regions=[region("one", workspace="rg/ws")]), "spec.regions[0].workspace"),
    "subscription by name": (
        workforce(regions=[region("one", subscriptionId="Production")]),
        "spec.regions[0].subscriptionId",
    ),
    "identity by name": (
        workforce(template=template(identity={"type": "Managed", "resourceId": "my-identity"})),
        "spec.template.identity.resourceId",
    ),
    "control without namespace": (
        workforce(control={"serviceBus": _without(CONTROL["serviceBus"], "namespace")}),
        "spec.control.serviceBus.namespace",
    ),
    "control without service bus": (workforce(control={}), "spec.control.serviceBus"),
    "control of a region alone": (
        workforce(control=None, regions=[region("one", control=CONTROL)]),
        "`regions[].control` needs `control`",
    ),
    "control of a region without namespace": (
        workforce(regions=[region("one", control={"serviceBus": _without(CONTROL["serviceBus"], "namespace")})]),
        "spec.regions[0].control.serviceBus.namespace",
    ),
    "drain of another mode": (workforce(drain={"mode": "Kill"}), "spec.drain.mode"),
    "drain deadline too short": (workforce(drain={"deadlineSeconds": 59}), "spec.drain.deadlineSeconds"),
    "other act on deadline": (workforce(drain={"onDeadline": "Explode"}), "spec.drain.onDeadline"),
    "suspend as truth value": (workforce(suspend=True), "spec.suspend"),
    "other deletion policy": (workforce(deletionPolicy="Delete"), "spec.deletionPolicy"),
    "a back-off that begins above its end": (
        workforce(failurePolicy={"backoffBaseSeconds": 700}),
        "spec.failurePolicy.backoffBaseSeconds",
    ),
    "a deadline that ends somebody whom nobody knows": (
        workforce(control=CONTROL | {"dialect": "JobQ"}, drain={"onDeadline": "Checkpoint"}),
        "spec.drain.onDeadline",
    ),
    "drain policy without control": (workforce(deletionPolicy="Drain", control=None), "spec.deletionPolicy"),
    "an installation id that cannot be one": (workforce(adoptFrom="K3V9X2AB"), "spec.adoptFrom"),
    "negative deletion deadline": (workforce(deletionDeadlineSeconds=-1), "spec.deletionDeadlineSeconds"),
    "unknown field": (workforce(relicas=3), 'unknown field "spec.relicas"'),
    "unknown nested field": (workforce(drain={"modus": "Finish"}), 'unknown field "spec.drain.modus"'),
    "name with a dot": (workforce("a.b"), "`metadata.name` must be a DNS label"),
    "name too long": (workforce("a" * 51), "`metadata.name` must be a DNS label"),
}


def test_bad_objects_are_refused_with_a_message_that_names_the_field(workforces: Workforces):
    answers = {case: (workforces.refusal(body), expected) for case, (body, expected) in REFUSED.items()}
    wrong = {case: said for case, (said, expected) in answers.items() if expected not in said}
    assert not wrong
    assert len(REFUSED) >= 25


def test_a_good_object_is_taken_and_its_defaults_are_recorded(workforces: Workforces):
    stored = workforces.create(workforce(), dry_run=True)["spec"]
    assert stored["drain"] == {"mode": "Finish", "deadlineSeconds": 86_400, "onDeadline": "Wait"}
    assert stored["suspend"] == "None"
    assert stored["deletionDeadlineSeconds"] == 86_400
    assert stored["template"]["command"] == "workforce-agent run"
    assert stored["template"]["slots"] == 1
    assert stored["template"]["timeoutSeconds"] == 1_209_600
    assert stored["regions"][0]["minReplicas"] == 0
    assert "deletionPolicy" not in stored


def test_a_whole_template_with_overrides_is_taken_as_it_is(workforces: Workforces):
    virtual = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/virtualClusters/vc"
    blob = {"type": "uri_folder", "path": "wasbs://c@a.blob.core.windows.net", "mode": "rw_mount"}
    resources = {
        "instanceCount": 1,
        "instanceType": "Singularity.ND40",
        "properties": {"AISuperComputer": {"scalePolicy": {"autoScaleIntervalInSec": 180}, "interactive": False}},
    }
    body = template(
        command="run ${{inputs.a}}",
        code="azureml:agent:7",
        inputs={
            "a": {"type": "literal", "value": "3"},
            "b": {"type": "uri_file", "path": "azureml://datastores/d/paths/x", "mode": "download"},
            "c": {"type": "mltable", "path": "azureml:set:3"},
            "d": {"type": "uri_folder", "path": "https://a.blob.core.windows.net/c/d"},
        },
        outputs={"blobstor": blob},
        identity={"type": "User"},
        resources=resources,
        queueSettings={"jobTier": "Spot", "priority": "Medium"},
    )
    overrides = {
        "environment": {"type": "Registered", "name": "worker", "version": "3"},
        "identity": {"type": "Managed", "clientId": "c"},
        "environmentVariables": [{"name": "A", "value": "1"}],
        "outputs": {"blobstor": blob},
        "resources": resources,
    }
    sent = workforce(template=body, regions=[region("one", compute=virtual, overrides=overrides)])
    stored = workforces.create(sent, dry_run=True)["spec"]
    assert {name: stored["template"][name] for name in body} == body
    assert stored["regions"][0]["overrides"] == overrides


@pytest.mark.parametrize("field", ["subscriptionId", "resourceGroup", "workspace", "compute", "experiment", "topic"])
def test_a_regions_coordinate_does_not_change(workforces: Workforces, field: str):
    coordinates = region("one", experiment="e", topic="t")
    other = {field: "00000000-0000-0000-0000-000000000002" if field == "subscriptionId" else "other"}
    workforces.create(workforce(regions=[coordinates]))
    said = workforces.patch("wf", {"spec": {"regions": [coordinates | other]}})
    assert "must not change for a region: use a new region name" in said
    assert field in said
    assert workforces.patch("wf", {"spec": {"regions": [coordinates | {"maxReplicas": 3}]}}) == ""
    assert workforces.patch("wf", {"spec": {"regions": [region("new", **other)]}}) == ""


def test_a_default_coordinate_does_not_become_another(workforces: Workforces):
    workforces.create(workforce(regions=[region("one")]))
    said = workforces.patch("wf", {"spec": {"regions": [region("one", topic="mine")]}})
    assert "`topic` must not change" in said


def test_control_does_not_change_while_jobs_live(workforces: Workforces):
    workforces.create(workforce())
    other = {"control": CONTROL | {"serviceBus": CONTROL["serviceBus"] | {"namespace": "other"}}}
    assert workforces.patch("wf", {"spec": other}) == ""
    for live in ({"replicas": 1, "drainingReplicas": 0}, {"replicas": 0, "drainingReplicas": 1}):
        assert workforces.patch_status("wf", live) == ""
        assert "`spec.control` must not change" in workforces.patch("wf", {"spec": {"control": CONTROL}})
        assert "`spec.control` must not change" in workforces.patch("wf", {"spec": {"control": None}})
        assert workforces.patch("wf", {"spec": {"replicas": 5}}) == ""
    assert workforces.patch_status("wf", {"replicas": 0, "drainingReplicas": 0}) == ""
    assert workforces.patch("wf", {"spec": {"control": None}}) == ""


@pytest.mark.parametrize(
    "numbers", [{"hiring": [{"first": 0, "last": 1}]}, {"hiring": [], "reserved": 2, "desired": 2}], ids=str
)
def test_control_does_not_change_while_jobs_are_being_hired(workforces: Workforces, numbers: dict[str, Any]):
    """Numbers of live jobs are written at most every 30 s: an edit in between left workers on a channel of the past."""
    workforces.create(workforce())
    coordinates = dict.fromkeys(("subscriptionId", "resourceGroup", "workspace", "compute", "experiment", "topic"), "x")
    entry = {"name": "one", "coordinates": coordinates}
    assert workforces.patch_status("wf", {"replicas": 0, "regions": [entry | numbers]}) == ""
    assert "`spec.control` must not change" in workforces.patch("wf", {"spec": {"control": None}})
    nothing = {"hiring": [], "reserved": 2, "desired": 0}
    assert workforces.patch_status("wf", {"regions": [entry | nothing]}) == ""
    assert workforces.patch("wf", {"spec": {"control": None}}) == ""


@pytest.mark.parametrize(
    "numbers",
    [{"pending": 1}, {"running": 1}, {"paused": 1}, {"draining": 1}, {"hiring": [{"first": 0, "last": 0}]},
     {"reserved": 2, "desired": 2}],
    ids=str,
)  # fmt: skip
def test_a_regions_control_does_not_change_while_its_own_jobs_live_or_are_being_hired(
    workforces: Workforces, numbers: dict[str, Any]
):
    """Jobs of other regions listen elsewhere: they are no reason."""
    other = {"serviceBus": CONTROL["serviceBus"] | {"namespace": "other"}}
    workforces.create(workforce())
    coordinates = dict.fromkeys(("subscriptionId", "resourceGroup", "workspace", "compute", "experiment", "topic"), "x")
    live = {"name": "one", "coordinates": coordinates} | numbers
    assert workforces.patch_status("wf", {"replicas": 1, "regions": [live]}) == ""
    said = workforces.patch("wf", {"spec": {"regions": [region("one", control=other), region("two")]}})
    assert "`spec.regions[].control` must not change" in said
    assert workforces.patch("wf", {"spec": {"regions": [region("one"), region("two", control=other)]}}) == ""
    new = [region("one"), region("two", control=other), region("three", control=other)]
    assert workforces.patch("wf", {"spec": {"regions": new}}) == ""
    ended = {"pending": 0, "running": 0, "paused": 0, "draining": 0, "hiring": [], "reserved": 2, "desired": 0}
    assert workforces.patch_status("wf", {"replicas": 0, "regions": [live | ended]}) == ""
    assert workforces.patch("wf", {"spec": {"regions": [region("one", control=other)]}}) == ""


def test_an_object_can_be_deleted_whatever_its_status_says(workforces: Workforces):
    workforces.create(workforce())
    assert workforces.patch("wf", {"metadata": {"finalizers": ["workforce.dev/workers"]}}) == ""
    assert workforces.patch_status("wf", {"replicas": 3}) == ""
    workforces.delete("wf")
    assert workforces.exists("wf")
    assert workforces.patch("wf", {"metadata": {"finalizers": None}}) == ""
    assert not workforces.exists("wf")


def test_an_object_stored_under_older_rules_can_be_deleted(
    workforces: Workforces, kubernetes_cluster: Cluster, workforce_definition: dict[str, Any]
):
    older = json.loads(json.dumps(workforce_definition))
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    del schema["x-kubernetes-validations"]
    del older["spec"]["versions"][0]["additionalPrinterColumns"]
    body = workforce("old") | {"spec": spec(replicas=2_000_000, queue={"type": "Kafka"}, regions=[], weird="yes")}
    try:
        kubernetes_cluster.apply(older)
        wait_until(lambda: workforces.refusal(body) == "", "the older definition being served")
        workforces.create(body)
        assert workforces.patch("old", {"metadata": {"finalizers": ["workforce.dev/workers"]}}) == ""
    finally:
        kubernetes_cluster.apply(workforce_definition)
    refused = workforce("probe", replicas=2_000_000)
    wait_until(lambda: workforces.refusal(refused) != "", "the present definition being served")
    workforces.delete("old")
    assert workforces.patch("old", {"metadata": {"finalizers": None}}) == ""
    assert not workforces.exists("old")


def test_kubectl_scale_changes_replicas(workforces: Workforces, kubernetes_cluster: Cluster):
    workforces.create(workforce())
    kubernetes_cluster.kubectl("-n", workforces.namespace, "scale", "wf/wf", "--replicas=7")
    assert workforces.get("wf")["spec"]["replicas"] == 7
    assert workforces.patch_status("wf", {"replicas": 4, "selector": "workforce.dev/name=wf"}) == ""
    raw = kubernetes_cluster.kubectl(
        "get", "--raw", f"/apis/workforce.dev/v1alpha1/namespaces/{workforces.namespace}/workforces/wf/scale"
    )
    scale = json.loads(raw)
    assert scale["spec"]["replicas"] == 7
    assert scale["status"] == {"replicas": 4, "selector": "workforce.dev/name=wf"}


def test_kubectl_scale_is_refused_under_autoscaling(workforces: Workforces, kubernetes_cluster: Cluster):
    workforces.create(_autoscaled())
    for _ in range(2):
        said = kubernetes_cluster.kubectl("-n", workforces.namespace, "scale", "wf/wf", "--replicas=7", check=False)
        assert "`replicas` must not be changed, only removed, while `autoscaling` is set" in said
    # The same beside a number that was there before autoscaling.
    assert workforces.patch("wf", {"spec": {"autoscaling": None, "replicas": 3}}) == ""
    assert workforces.patch("wf", {"spec": _autoscaled()["spec"]}) == ""
    assert workforces.get("wf")["spec"]["replicas"] == 3
    assert "only removed" in workforces.patch("wf", {"spec": {"replicas": 4}})
    assert workforces.patch("wf", {"spec": {"replicas": None}}) == ""
    assert "only removed" in workforces.patch("wf", {"spec": {"replicas": 3}})


def test_a_good_autoscaled_object_is_taken_and_its_defaults_are_recorded(workforces: Workforces):
    stored = workforces.create(_autoscaled(schedules=[SCHEDULE]), dry_run=True)["spec"]["autoscaling"]
    assert stored["pollIntervalSeconds"] == 30
    assert stored["behavior"] == {"scaleUp": {"selectPolicy": "Max"}, "scaleDown": {"selectPolicy": "Max"}}
    assert stored["schedules"][0]["timeZone"] == "Etc/UTC"


STATUS = {
    "desiredReplicas": 6,
    "replicas": 5,
    "runningReplicas": 3,
    "pendingReplicas": 2,
    "drainingReplicas": 1,
    "queueLength": 1600,
    "regionsSummary": "one=3/3,two=2/3",
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Scaling",
            "message": "3 of 6 run",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def test_every_printer_column_shows_something(workforces: Workforces, kubernetes_cluster: Cluster):
    workforces.create(_autoscaled())
    assert workforces.patch_status("wf", STATUS) == ""
    table = kubernetes_cluster.kubectl("-n", workforces.namespace, "get", "workforce", "wf", "-o", "wide")
    heads, cells = (line.split() for line in table.splitlines())
    shown = dict(zip(heads, cells, strict=True))
    age = shown.pop("AGE")
    assert age
    assert shown == {
        "NAME": "wf",
        "DESIRED": "6",
        "RUNNING": "3",
        "PENDING": "2",
        "DRAINING": "1",
        "QUEUE": "1600",
        "READY": "False",
        "REGIONS": "one=3/3,two=2/3",
        "REASON": "Scaling",
        "POLICY": "JobQ",
    }
    narrow = kubernetes_cluster.kubectl("-n", workforces.namespace, "get", "workforce")
    assert narrow.splitlines()[0].split() == ["NAME", *(c["name"].upper() for c in COLUMNS if "priority" not in c)]


def test_kubectl_explains_every_field(workforces: Workforces, kubernetes_cluster: Cluster):
    said = kubernetes_cluster.kubectl("explain", "workforce.spec.drain")
    assert "deadlineSeconds" in said
    assert "Time that a worker has from the order to leave." in said
    everything = kubernetes_cluster.kubectl("explain", "workforce", "--recursive")
    assert "secretKeyRef" in everything


def test_the_status_is_not_written_with_the_spec(workforces: Workforces):
    workforces.create(workforce() | {"status": {"replicas": 99}})
    assert "replicas" not in workforces.get("wf").get("status", {})
    generation = workforces.get("wf")["metadata"]["generation"]
    assert workforces.patch_status("wf", {"replicas": 4}) == ""
    assert workforces.get("wf")["metadata"]["generation"] == generation


def test_who_wrote_the_status_is_remembered_of_the_whole_and_not_field_by_field(workforces: Workforces):
    workforces.create(workforce())
    condition = {"type": "Ready", "status": "True", "observedGeneration": 1, "reason": "AsDesired", "message": ""}
    status = {"replicas": 4, "conditions": [condition | {"lastTransitionTime": "2026-01-02T03:04:05Z"}]}
    assert workforces.patch_status("wf", status) == ""
    owners = workforces.get("wf")["metadata"]["managedFields"]
    assert [each["fieldsV1"] for each in owners if each.get("subresource") == "status"] == [{"f:status": {}}]


def test_the_largest_spec_is_within_the_cost_of_the_rules(workforces: Workforces):
    variables = [{"name": f"A{number}", "value": "x"} for number in range(100)]
    outputs = {f"o{number}": {"mode": "rw_mount"} for number in range(10)}
    overrides = {"environmentVariables": variables[:20], "outputs": outputs}
    regions = [
        region(f"r{number}", experiment="e" * 200, topic="t" * 200, overrides=overrides) for number in range(200)
    ]
    body = workforce(regions=regions, template=template(environmentVariables=variables))
    assert workforces.refusal(body) == ""


def test_categories_and_short_name_are_served(workforces: Workforces, kubernetes_cluster: Cluster):
    workforces.create(workforce())
    for kind in ("wf", "workforces", "workforce"):
        assert "wf" in kubernetes_cluster.kubectl("-n", workforces.namespace, "get", kind, "-o", "name")
