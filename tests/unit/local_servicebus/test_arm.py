"""The resource type Microsoft.ServiceBus without HTTP: what requests change, and how they are refused."""

from __future__ import annotations

import pytest

from tests.support.tables import table
from workforce_local.azureml.errors import ArmError
from workforce_local.servicebus import durations
from workforce_local.servicebus.arm import ServiceBusResources
from workforce_local.servicebus.namespaces import Namespaces

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
NAMESPACE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/workforce/providers/Microsoft.ServiceBus/namespaces/wf-bus"
VERSION = {"api-version": "2024-01-01"}


class Arm:
    def __init__(self) -> None:
        self.namespaces = Namespaces()
        self.broker = self.namespaces.declare(
            "wf-bus", subscription_id=SUBSCRIPTION, resource_group="workforce", location="uksouth"
        ).broker
        self.resources = ServiceBusResources(self.namespaces)

    def call(self, method: str, path: str, properties: dict | None = None, **query: str):
        body = {} if properties is None else {"properties": properties}
        return self.resources.answer(method, path, VERSION | query, body)

    def put(self, path: str, **properties):
        reply = self.call("PUT", NAMESPACE + path, properties)
        assert reply.status == 200
        return reply.body["properties"]

    def refused(self, method: str, path: str, properties: dict | None = None) -> ArmError:
        with pytest.raises(ArmError) as refused:
            self.call(method, path, properties)
        return refused.value


@pytest.fixture
def arm() -> Arm:
    return Arm()


def test_a_namespace_tells_its_endpoint(arm: Arm):
    body = arm.call("GET", NAMESPACE).body
    assert (body["name"], body["location"]) == ("wf-bus", "uksouth")
    assert body["properties"]["serviceBusEndpoint"] == "https://wf-bus.servicebus.windows.net:443/"
    for parent in (f"/subscriptions/{SUBSCRIPTION}", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Workforce"):
        listed = arm.call("GET", f"{parent}/providers/Microsoft.ServiceBus/namespaces").body
        assert [one["name"] for one in listed["value"]] == ["wf-bus"]


@pytest.mark.parametrize(
    "path",
    [
        NAMESPACE.replace("wf-bus", "other"),
        NAMESPACE.replace("workforce", "elsewhere"),
        NAMESPACE.replace(SUBSCRIPTION, "another"),
    ],
)
def test_what_is_under_an_undeclared_namespace_has_no_parent(arm: Arm, path: str):
    error = arm.refused("PUT", f"{path}/topics/t", {})
    assert (error.status, error.code) == (404, "ParentResourceNotFound")
    assert "namespaces/topics" in str(error)
    error = arm.refused("GET", path)
    assert (error.status, error.code) == (404, "ResourceNotFound")


def test_a_put_makes_a_queue_and_a_second_one_changes_nothing(arm: Arm):
    wanted = {
        "lockDuration": "PT5M",
        "requiresSession": True,
        "requiresDuplicateDetection": True,
        "duplicateDetectionHistoryTimeWindow": "PT300S",
        "defaultMessageTimeToLive": "PT15M",
        "maxDeliveryCount": 100,
    }
    first = arm.put("/queues/nodes", **wanted)
    assert first["lockDuration"] == first["duplicateDetectionHistoryTimeWindow"] == "PT5M"
    queue = arm.broker.queue("nodes")
    assert (queue.settings.requires_session, queue.settings.duplicate_window, queue.settings.lock_duration) == (
        True,
        300.0,
        300.0,
    )
    assert arm.put("/queues/NODES", **wanted) == first
    assert arm.broker.queue("nodes") is queue


def test_what_is_left_out_has_the_service_s_defaults(arm: Arm):
    properties = arm.put("/queues/q")
    expected = {
        "lockDuration": "PT1M",
        "maxDeliveryCount": 10,
        "defaultMessageTimeToLive": durations.FOREVER,
        "autoDeleteOnIdle": durations.FOREVER,
        "requiresSession": False,
        "requiresDuplicateDetection": False,
        "deadLetteringOnMessageExpiration": False,
        "duplicateDetectionHistoryTimeWindow": "PT10M",
        "status": "Active",
        "messageCount": 0,
    }
    assert {name: properties[name] for name in expected} == expected
    assert set(properties["countDetails"].values()) == {0}


def test_an_update_changes_what_can_change_and_refuses_what_cannot(arm: Arm):
    arm.put("/queues/q", requiresSession=True, lockDuration="PT30S")
    assert arm.put("/queues/q", lockDuration="PT1M30S")["lockDuration"] == "PT1M30S"
    assert arm.broker.queue("q").settings.requires_session
    error = arm.refused("PUT", f"{NAMESPACE}/queues/q", {"requiresSession": False})
    assert (error.status, error.code) == (400, "MessagingGatewayBadRequest")
    assert "RequiresSession property of an existing Queue cannot be changed" in str(error)
    arm.put("/topics/t")
    error = arm.refused("PUT", f"{NAMESPACE}/topics/t", {"requiresDuplicateDetection": True})
    assert "RequiresDuplicateDetection property of an existing Topic" in str(error)


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"lockDuration": "PT6M"}, "lockDuration"),
        ({"lockDuration": "PT1S"}, "lockDuration"),
        ({"lockDuration": "half an hour"}, "lockDuration"),
        ({"lockDuration": 30}, "lockDuration"),
        ({"maxDeliveryCount": 0}, "maxDeliveryCount"),
        ({"maxDeliveryCount": "many"}, "maxDeliveryCount"),
        ({"requiresSession": "yes"}, "requiresSession"),
        ({"autoDeleteOnIdle": "PT1M"}, "autoDeleteOnIdle"),
        ({"duplicateDetectionHistoryTimeWindow": "P8D"}, "duplicateDetectionHistoryTimeWindow"),
        ({"forwardTo": "elsewhere"}, "forwardTo"),
    ],
)
def test_a_wrong_property_is_refused_by_name_and_nothing_is_made(arm: Arm, properties: dict, name: str):
    error = arm.refused("PUT", f"{NAMESPACE}/queues/q", properties)
    assert error.status == 400
    assert name in str(error)
    assert arm.broker.queue("q") is None


def test_topics_have_subscriptions_and_these_have_rules(arm: Arm):
    arm.put("/topics/t", defaultMessageTimeToLive="PT15M")
    assert arm.put("/topics/t/subscriptions/shutdown", lockDuration="PT30S")["lockDuration"] == "PT30S"
    assert arm.call("GET", f"{NAMESPACE}/topics/t").body["properties"]["subscriptionCount"] == 1
    rules = f"{NAMESPACE}/topics/t/subscriptions/shutdown/rules"
    (default,) = arm.call("GET", rules).body["value"]
    assert (default["name"], default["properties"]["sqlFilter"]["sqlExpression"]) == ("$Default", "1=1")
    correlation = {"label": "drain", "properties": {"job": "j1"}}
    made = arm.call("PUT", f"{rules}/r1", {"filterType": "CorrelationFilter", "correlationFilter": correlation})
    assert made.body["properties"]["correlationFilter"] == correlation
    arm.call("PUT", f"{rules}/r2", {"filterType": "SqlFilter", "sqlFilter": {"sqlExpression": "size > 1"}})
    assert arm.call("DELETE", f"{rules}/%24Default").status == 200
    assert arm.call("DELETE", f"{rules}/%24Default").status == 204
    assert set(arm.broker.subscription("t", "shutdown").rules) == {"r1", "r2"}


@pytest.mark.parametrize(
    "properties",
    [
        {"filterType": "SqlFilter", "sqlFilter": {"sqlExpression": "size >"}},
        {"filterType": "SqlFilter"},
        {"filterType": "CorrelationFilter", "correlationFilter": {"unknown": "x"}},
        {"filterType": "CorrelationFilter", "correlationFilter": {}},
        {"filterType": "OddFilter"},
        {"sqlFilter": {"sqlExpression": "1=1"}, "action": {"sqlExpression": "SET sys.Label = 'x'"}},
    ],
)
def test_a_rule_that_is_not_valid_is_refused(arm: Arm, properties: dict):
    arm.put("/topics/t")
    arm.put("/topics/t/subscriptions/s")
    error = arm.refused("PUT", f"{NAMESPACE}/topics/t/subscriptions/s/rules/r", properties)
    assert error.code == "MessagingGatewayBadRequest"


def test_deleting_says_whether_there_was_something(arm: Arm):
    arm.put("/topics/t")
    arm.put("/topics/t/subscriptions/s")
    for path in ("/topics/t/subscriptions/s", "/topics/t"):
        assert [arm.call("DELETE", NAMESPACE + path).status for _ in range(2)] == [200, 204] or path.count("/") > 2
    error = arm.refused("GET", f"{NAMESPACE}/topics/t")
    assert (error.status, error.code) == (404, "NotFound")
    error = arm.refused("PUT", f"{NAMESPACE}/topics/t/subscriptions/s", {})
    assert error.status == 404


def test_ids_are_read_without_regard_to_case_and_names_may_be_quoted(arm: Arm):
    arm.put("/queues/a%2Fb")
    assert arm.broker.queue("a/b") is not None
    assert arm.call("GET", NAMESPACE.upper().replace("WF-BUS", "Wf-Bus") + "/QUEUES/A%2FB").body["name"] == "a/b"


def test_lists_come_in_pages(arm: Arm):
    for number in range(5):
        arm.put(f"/queues/q{number}")
    page = arm.call("GET", f"{NAMESPACE}/queues", **{"$top": "2", "$skip": "2"}).body
    assert [one["name"] for one in page["value"]] == ["q2", "q3"]
    assert "%24skip=4" in page["nextLink"]
    assert "nextLink" not in arm.call("GET", f"{NAMESPACE}/queues").body


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{NAMESPACE}/relays/r", 404, "InvalidResourceType"),
        ("PATCH", f"{NAMESPACE}/queues/q", 405, "MethodNotAllowed"),
        ("PUT", NAMESPACE, 405, "MethodNotAllowed"),
        ("PUT", f"{NAMESPACE}/queues", 405, "MethodNotAllowed"),
        ("PUT", f"{NAMESPACE}/queues/{'x' * 261}", 400, "MessagingGatewayBadRequest"),
    ],
)
def test_what_there_is_not_is_said_so(arm: Arm, method: str, path: str, status: int, code: str):
    error = arm.refused(method, path, {})
    assert (error.status, error.code) == (status, code)


def test_an_api_version_is_required(arm: Arm):
    with pytest.raises(ArmError) as refused:
        arm.resources.answer("GET", NAMESPACE, {}, {})
    assert refused.value.code == "MissingApiVersionParameter"


@table(
    ("text", "seconds", "written"),
    [
        ("PT30S", 30.0, "PT30S"),
        ("PT90S", 90.0, "PT1M30S"),
        ("P1D", 86400.0, "P1D"),
        ("P1DT1H", 90000.0, "P1DT1H"),
        ("PT0.5S", 0.5, "PT0.5S"),
        ("PT0S", 0.0, "PT0S"),
        (durations.FOREVER, None, durations.FOREVER),
    ],
)
def test_durations_are_read_and_written_in_their_shortest_form(text: str, seconds: float | None, written: str):
    assert durations.parse(text) == seconds
    assert durations.write(seconds) == written


@table("text", ["", "P", "PT", "30", "PT-5S", "P1Y"])
def test_other_texts_are_no_durations(text: str):
    with pytest.raises(ValueError, match="ISO 8601"):
        durations.parse(text)
