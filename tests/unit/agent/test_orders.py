"""What orders mean on a node."""

import json
from datetime import timedelta

import pytest

from tests.support.tables import table
from workforce_agent.orders import Act, holds_receiver, judge_targeted, judge_untargeted

DRAIN = b'{"operation": "graceful-downscale"}'


def order(**fields):
    return json.dumps({"operation": "graceful-downscale", **fields}).encode()


def targeted(body, known=0):
    return judge_targeted(body, job="j1", known_revision=known)


def untargeted(body, *, accepting=True):
    return judge_untargeted(body, job="j1", accepting=accepting)


def test_the_bare_order_of_the_users_documents_is_followed():
    assert untargeted(DRAIN).act is Act.APPLY
    assert untargeted(b'{"operation": "do-not-accept-new-tasks"}').act is Act.APPLY


def test_accepting_again_must_be_targeted():
    body = b'{"operation": "accept-new-tasks"}'
    assert untargeted(body).act is Act.REFUSE
    assert targeted(body).act is Act.APPLY


@pytest.mark.parametrize("judge", [targeted, untargeted])
def test_an_order_for_another_node_is_refused(judge):
    assert judge(order(node="j2")).act is Act.REFUSE
    assert judge(order(node="j1")).act is Act.APPLY


def test_a_late_order_is_dropped_and_a_repeated_one_is_followed():
    assert targeted(order(revision=4), known=5).act is Act.DROP
    assert targeted(order(revision=5), known=5).act is Act.APPLY


def test_a_node_that_accepts_nothing_leaves_that_order_to_another():
    body = b'{"operation": "do-not-accept-new-tasks"}'
    assert untargeted(body, accepting=False).act is Act.LEAVE
    assert untargeted(DRAIN, accepting=False).act is Act.APPLY


@table(
    ("body", "reason"),
    [
        (b"drain!", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "operation"),
        (b'{"operation": "explode"}', "operation"),
        (b'{"operation": "graceful-downscale", "revision": "high"}', "revision"),
        (b'{"operation": "graceful-downscale", "deadline": "soon"}', "deadline"),
        (b"\xff\xfe", ""),
    ],
)
def test_nonsense_is_refused_with_a_reason(body, reason):
    for answer in (targeted(body), untargeted(body)):
        assert answer.act is Act.REFUSE
        assert reason in answer.reason


def test_a_node_listens_while_slots_come_free():
    assert holds_receiver(pulling=True, since_free=timedelta(seconds=59))
    assert not holds_receiver(pulling=True, since_free=timedelta(seconds=61))
    assert not holds_receiver(pulling=False, since_free=timedelta(0))
