"""Where a queue is, as people and environments write it."""

import pytest

from jobq.address import AddressError, QueueAddress
from tests.support.tables import table

STORAGE = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a"
BUS = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k"


@table(
    ("text", "environ", "wanted"),
    [
        ("acct/q", {}, QueueAddress("acct", "q")),
        ("sb://ns/q", {}, QueueAddress("ns", "q", service_bus=True)),
        ("sb://ns.servicebus.windows.net/q", {}, QueueAddress("ns.servicebus.windows.net", "q", service_bus=True)),
        (None, {"JOBQ_STORAGE": "acct", "JOBQ_QUEUE": "q"}, QueueAddress("acct", "q")),
        (None, {"JOBQ_STORAGE": "sb://ns", "JOBQ_QUEUE": "q"}, QueueAddress("ns", "q", service_bus=True)),
        (None, {"JOBQ_STORAGE": "sb://ns/", "JOBQ_QUEUE": "q"}, QueueAddress("ns", "q", service_bus=True)),
        (None, {"JOBQ_QUEUE": "q", "JOBQ_CONNECTION_STRING": STORAGE}, QueueAddress("", "q", STORAGE)),
        (None, {"JOBQ_QUEUE": "q", "JOBQ_CONNECTION_STRING": BUS}, QueueAddress("", "q", BUS, service_bus=True)),
        ("any/q", {"JOBQ_CONNECTION_STRING": STORAGE}, QueueAddress("any", "q", STORAGE)),
    ],
)
def test_a_queue_is_named_by_an_argument_or_by_the_environment(text, environ, wanted):
    assert QueueAddress.resolve(text, environ) == wanted


@table("text", ["q", "/q", "acct/", "a/b/q", "http://acct/q", None])
def test_what_names_no_queue_is_refused_with_how_to_write_one(text):
    with pytest.raises(AddressError, match=r"ACCOUNT/QUEUE|not the name of a storage account"):
        QueueAddress.resolve(text, {})


@table("name", ["ab", "Tasks", "a_b", "a--b", "-ab", "ab-", "a" * 57, "a.b", "a" * 57 + "-failed"])
def test_a_storage_queue_that_cannot_be_is_refused_before_anything_is_sent(name):
    with pytest.raises(AddressError, match="cannot be a storage queue: write 3 to 56 lower-case letters"):
        QueueAddress("acct", name).check()


@table("name", ["abc", "a-b-3", "a" * 56, "a" * 56 + "-failed"])
def test_a_queue_has_room_for_the_name_of_its_dead_letters(name):
    QueueAddress("acct", name).check()
    assert len(name.removesuffix("-failed") + "-failed") <= 63


def test_service_bus_takes_other_names():
    QueueAddress("ns", "Any.Name/of_it", service_bus=True).check()
