"""The ring of decision records: bounded, and without repetitions."""

from datetime import UTC, datetime, timedelta

from workforce_operator.domain.decision import Record, Step
from workforce_operator.edge.decisions import DecisionRing
from workforce_operator.ports.kubernetes import Key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("ns", "wf")


def made(number: int) -> Record:
    return Record(generation=1, desired=number)


def big(number: int) -> Record:
    return Record(generation=1, desired=number, steps=(Step(about="workforce", text="x" * 1000),))


def desired_of(documents) -> list[int]:
    return [document["decision"]["desired"] for document in documents]


def test_equal_records_of_successive_passes_are_one_entry():
    ring = DecisionRing()
    for minute in range(5):
        ring.decided(KEY, made(1), NOW + timedelta(minutes=minute))
    (document,) = ring.documents(KEY)
    assert document["passes"] == 5
    assert document["firstTime"] == NOW.isoformat()
    assert document["lastTime"] == (NOW + timedelta(minutes=4)).isoformat()


def test_the_newest_come_first_and_the_oldest_go():
    ring = DecisionRing(max_entries=3)
    for number in range(5):
        ring.decided(KEY, made(number), NOW)
    assert desired_of(ring.documents(KEY)) == [4, 3, 2]
    assert desired_of(ring.documents(KEY, 1)) == [4]


def test_all_records_together_are_bounded_and_the_newest_of_each_workforce_stays():
    ring = DecisionRing(max_bytes=20_000)
    keys = [Key("ns", f"wf-{number}") for number in range(10)]
    for number in range(20):
        for key in keys:
            ring.decided(key, big(number), NOW)
    assert ring.bytes <= 20_000
    assert all(desired_of(ring.documents(key, 1)) == [19] for key in keys)


def test_a_forgotten_workforce_leaves_nothing():
    ring = DecisionRing()
    ring.decided(KEY, made(1), NOW)
    ring.forget(KEY)
    ring.forget(KEY)
    assert (ring.bytes, ring.keys(), ring.documents(KEY), ring.workers(KEY)) == (0, [], None, None)
