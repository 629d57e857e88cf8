"""Answers in each service's words, lists that are not what they should be, and which service a request is for."""

import json

import pytest

from tests.support.tables import table
from workforce_local.chaos.answers import CHAOS_HEADER, answer
from workforce_local.chaos.classify import Classifier
from workforce_local.chaos.lists import Snapshots, truncated
from workforce_local.chaos.scenario import read
from workforce_local.config import LocalConfig

WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/ws-westeurope"
BUS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/wf-bus/topics/t"


def made(service, **fault):
    return answer(read(fault).faults[0], service, "https://here")


def test_the_resource_manager_throttles_with_429_and_retry_after():
    """ARM throttling: over the limit is 429 with Retry-After in seconds."""
    found = made("arm", kind="throttle", retryAfterSeconds=7, name="storm")
    assert (found.status, found.headers["Retry-After"], found.headers[CHAOS_HEADER]) == (429, "7", "storm")
    assert json.loads(found.body)["error"]["code"] == "TooManyRequests"


def test_a_throttle_may_come_without_its_header():
    """azure-core's retries: a PUT that gets 429 without the header is retried at once."""
    assert "Retry-After" not in made("arm", kind="throttle", retryAfterSeconds=None).headers


def test_storage_that_is_too_busy_says_503():
    """Storage has no 429: its throttling is 503 ServerBusy, in XML and in a header."""
    found = made("queue", kind="throttle")
    assert (found.status, found.headers["x-ms-error-code"], found.content_type) == (
        503,
        "ServerBusy",
        "application/xml",
    )


def test_a_gateway_answers_with_a_page_of_html():
    """As ai4s-jobq met it: the services answer raw nginx 503 pages under load."""
    for found in (made("arm", kind="error", html=True), made("arm", kind="outage")):
        assert (found.status, found.content_type) == (503, "text/html")
        assert b"nginx" in found.body


@table(
    ("service", "status", "word"),
    [
        ("arm", 401, "InvalidAuthenticationToken"),
        ("identity", 401, "AADSTS7000222"),
        ("imds", 400, "Identity not found"),
        ("blob", 403, "AuthorizationFailure"),
        ("serviceBusManagement", 401, "<Code>401</Code>"),
    ],
)
def test_each_service_refuses_revoked_credentials_in_its_own_words(service, status, word):
    found = made(service, kind="revoked")
    assert found.status == status
    assert word in found.body.decode()


@table("service", ["arm", "index", "identity", "imds"])
def test_errors_are_json_where_the_service_speaks_json(service):
    assert "error" in json.loads(made(service, kind="error", status=500).body)


@pytest.mark.parametrize(("kind", "status"), [("throttle", 429), ("error", 503)])
def test_the_endpoint_that_counts_messages_speaks_xml(kind, status):
    found = made("serviceBusManagement", kind=kind)
    assert (found.status, found.content_type) == (status, "application/xml")
    assert f"<Code>{status}</Code>" in found.body.decode()


def test_a_list_that_is_cut_short_does_not_say_so():
    document = {"value": [1, 2, 3, 4, 5], "nextLink": "x", "continuationToken": "y"}
    assert truncated(document, 0.5) == {"value": [1, 2], "continuationToken": None}


def test_a_snapshot_is_given_again_until_it_is_too_old():
    now = [0.0]
    snapshots = Snapshots(lambda: now[0])
    snapshots.keep("a", b"1")
    now[0] = 4.0
    assert snapshots.find("a", 5) == b"1"
    assert snapshots.find("a", 4) is None
    assert snapshots.find("b", 5) is None


@table(
    ("path", "service", "region"),
    [
        (f"{WORKSPACE}/jobs/a-1", "arm", "westeurope"),
        (BUS, "arm", "uksouth"),
        ("/subscriptions/s/providers/Microsoft.MachineLearningServices/locations/uksouth/usages", "arm", "uksouth"),
        (f"/index/v1.0{WORKSPACE}/entities", "index", "westeurope"),
        (f"/api/uksouth/index/v1.0{WORKSPACE}/entities", "index", "uksouth"),
        ("/servicebus-management/WF-bus/queue", "serviceBusManagement", "uksouth"),
        ("/servicebus-management/elsewhere/queue", "serviceBusManagement", None),
        ("/adfs/oauth2/token", "identity", None),
        ("/some-tenant/oauth2/v2.0/token", "identity", None),
    ],
)
def test_a_request_belongs_to_a_service_and_a_region(path, service, region):
    found = Classifier(LocalConfig()).https("GET", path)
    assert found is not None
    assert (found.service, found.region) == (service, region)


@table("path", ["/_local/chaos", "/metadata/endpoints", "/discovery"])
def test_the_clouds_own_interface_is_never_struck(path):
    assert Classifier(LocalConfig()).https("GET", path) is None
