"""What a hired job finds in its environment, and the hash of its template."""

from __future__ import annotations

from jobq.address import QueueAddress
from jobq.cloud import PUBLIC_CLOUDS
from tests.support.planning import coordinates, desired
from tests.support.tables import table
from tests.support.workforces import CONTROL, IDENTITY, template
from workforce_operator.api.spec import Queue
from workforce_operator.api.template import Template
from workforce_operator.domain.job_environment import job_environment, secret_refs, time_limit_seconds
from workforce_operator.domain.template_hash import template_hash

WHOLE = {
    "command": "run ${{inputs.a}}",
    "code": "azureml:agent:7",
    "inputs": {"a": {"type": "literal", "value": "3"}, "b": {"type": "uri_file", "path": "azureml:set:1"}},
    "outputs": {"blobs": {"path": "wasbs://a@x.blob.core.windows.net", "mode": "rw_mount"}},
    "resources": {"instanceType": "Singularity.ND40", "properties": {"AISuperComputer": {"slaTier": "Basic"}}},
    "queueSettings": {"jobTier": "Spot", "priority": "High"},
}
"""What a template may also have."""

CLOUD = PUBLIC_CLOUDS["AzureCloud"]


def variables_of(wanted, *, setting="AzureCloud", secrets=None, insights=None):
    return job_environment(
        wanted,
        wanted.spec.template,
        coordinates(),
        cloud=CLOUD,
        cloud_setting=setting,
        insights=insights,
        secrets=secrets or {},
    )


def test_a_job_finds_its_queue_its_slots_and_its_control_channel():
    assert variables_of(desired(template=template(slots=4))) == {
        "JOBQ_STORAGE": "account",
        "JOBQ_QUEUE": "tasks",
        "JOBQ_NUM_WORKERS": "4",
        "JOBQ_TIME_LIMIT": "1208400s",
        "WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE": "bus.servicebus.windows.net",
        "WORKFORCE_CONTROL_TOPIC_NAME": "ns-wf-one",
        "WORKFORCE_NODE_QUEUE_NAME": "workforce-inst1234-nodes",
        "WORKFORCE_REPORTS_QUEUE_NAME": "workforce-inst1234-reports",
    }


def test_a_job_finds_its_service_bus_queue():
    queue = {"type": "ServiceBus", "serviceBus": {"namespace": "my-bus", "name": "team/tasks"}}
    found = variables_of(desired(queue=queue))
    assert (found["JOBQ_STORAGE"], found["JOBQ_QUEUE"]) == ("sb://my-bus", "team/tasks")
    assert QueueAddress.resolve(None, found) == QueueAddress("my-bus", "team/tasks", service_bus=True)


def test_the_ancestors_workers_are_told_of_the_topic_only():
    control = {"serviceBus": CONTROL["serviceBus"], "dialect": "JobQ"}
    assert {name for name in variables_of(desired(control=control)) if name.startswith("WORKFORCE_")} == {
        "WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE",
        "WORKFORCE_CONTROL_TOPIC_NAME",
    }


def test_without_control_a_job_is_told_of_none():
    assert not [name for name in variables_of(desired(control=None)) if name.startswith("WORKFORCE_")]


def test_another_cloud_is_passed_on():
    assert variables_of(desired(), setting="/etc/cloud.json")["WORKFORCE_CLOUD"] == "/etc/cloud.json"


def test_workers_tell_the_operator_s_application_insights_unless_the_template_names_another():
    name = "APPLICATIONINSIGHTS_CONNECTION_STRING"
    assert variables_of(desired(), insights="theirs")[name] == "theirs"
    own = desired(template=template(environmentVariables=[{"name": name, "value": "own"}]))
    assert variables_of(own, insights="theirs")[name] == "own"
    assert name not in variables_of(desired())


def test_an_identity_is_told_by_its_client_id():
    wanted = desired(template=template(identity={"type": "Managed", "clientId": "abc"}))
    assert variables_of(wanted)["AZURE_CLIENT_ID"] == "abc"
    system = desired(template=template(identity={"type": "Managed"}))
    assert "AZURE_CLIENT_ID" not in variables_of(system)


def test_own_variables_and_secrets_are_passed_on():
    own = [
        {"name": "A", "value": ""},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    wanted = desired(template=template(environmentVariables=own))
    assert [(ref.name, ref.key) for ref in secret_refs(wanted.spec.template)] == [("s", "k")]
    found = variables_of(wanted, secrets={("s", "k"): "hush"})
    assert (found["A"], found["B"]) == ("", "hush")


@table(
    ("timeout", "kill", "seconds"),
    [(1800, None, 600), (7200, "20m", 5400), (7200, "soon", 6000), (1800, "1h", 60)],
)
def test_a_worker_stops_pulling_early_enough_to_leave_by_itself(timeout, kill, seconds):
    own = [] if kill is None else [{"name": "JOBQ_KILL_TIMEOUT", "value": kill}]
    body = Template.model_validate(template(timeoutSeconds=timeout, environmentVariables=own))
    assert time_limit_seconds(body) == seconds


def digest(queue="tasks", **changes):
    storage = {"type": "Storage", "storage": {"account": "account", "name": queue}}
    return template_hash(Template.model_validate(template(**changes)), Queue.model_validate(storage))


def test_the_hash_is_the_same_in_every_version_of_the_operator():
    assert digest() == "v1:dc189d44db11e42e"
    full = {
        "slots": 4,
        "identity": {
            "type": "Managed",
            "resourceId": IDENTITY,
            "clientId": "c",
        },
        "environmentVariables": [
            {"name": "A", "value": "x"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
        "shmSize": "256Mi",
        "timeoutSeconds": 7200,
    }
    assert digest(**full) == "v1:c4f433eacb40cb1b"


def test_the_hash_of_a_whole_template_is_the_same_in_every_version_of_the_operator():
    assert digest(**WHOLE) == "v1:238999b229bbc46b"


def test_the_order_of_variables_does_not_change_the_hash():
    first, second = {"name": "A", "value": "x"}, {"name": "B", "value": "y"}
    there, back = ({"environmentVariables": list(order)} for order in ((first, second), (second, first)))
    assert digest(**there) == digest(**back)


def test_defaults_and_tags_do_not_change_the_hash():
    assert digest(slots=1, command="workforce-agent run", tags={"a": "b"}) == digest()


@table(
    "changes",
    [
        {"slots": 2},
        {"command": "other"},
        {"queue": "others"},
        {"environment": {"type": "Image", "image": "worker:2"}},
        {"environmentVariables": [{"name": "A", "value": "x"}]},
        {"shmSize": "1Gi"},
        {"timeoutSeconds": 7200},
        {"identity": {"type": "Managed"}},
        {"code": "azureml:agent:7"},
        {"inputs": WHOLE["inputs"]},
        {"outputs": WHOLE["outputs"]},
        {"resources": {"properties": {"a": 1}}},
        {"queueSettings": {"jobTier": "Spot"}},
    ],
)
def test_everything_else_changes_the_hash(changes):
    assert digest(**changes) != digest()
