"""Regions with a Service Bus namespace of their own: each channel is judged, and used, by itself."""

from __future__ import annotations

from dataclasses import replace

from jobq.cloud import PUBLIC_CLOUDS
from tests.support.planning import (
    MINUTE,
    NOW,
    coordinates,
    desired,
    entry,
    hires,
    job,
    jobs,
    ledger,
    name_of,
    observed,
    orders,
    running,
    wave,
)
from tests.support.tables import table
from tests.support.workforces import CONTROL, REGION, region
from workforce_operator.api.spec import RegionControl
from workforce_operator.api.status import DrainState, WorkforceStatus
from workforce_operator.domain.decision import record
from workforce_operator.domain.desired import control_of, moved_regions, region_places
from workforce_operator.domain.job_environment import job_environment
from workforce_operator.domain.ledger import read_ledger
from workforce_operator.domain.observed import Known, Unknown
from workforce_operator.domain.outcomes import Failure, Outcomes
from workforce_operator.domain.plan import plan
from workforce_operator.domain.status import build_status

OWN = {"serviceBus": {"subscriptionId": REGION["subscriptionId"], "resourceGroup": "rg", "namespace": "own"}}
OWN_CONTROL = RegionControl.model_validate(OWN)
NO_ROLE = Unknown("AccessDenied", "no role")
BOTH = [region("one"), region("two", control=OWN)]


def known(**fields):
    """Three workers here and three there."""
    there = coordinates("two", control=OWN_CONTROL)
    return ledger(one=entry(3, filled=3, share=3), two=entry(3, "two", filled=3, share=3, coordinates=there, **fields))


def workers(number, name):
    return jobs(*(job(sequence, region=name, started=50) for sequence in range(number)))


def world(*, own=True, control=True, one=None, two=None):
    """A reading with the channel of region ``two``; None is unknown."""
    seen = observed(
        control=control, one=workers(3, "one") if one is None else one, two=workers(3, "two") if two is None else two
    )
    return replace(seen, own_control={"two": NO_ROLE if own is None else Known(own, NOW)})


def condition(wanted, seen, intended, outcomes=None, kind="ControlChannelReady"):
    status = build_status(wanted, seen, plan(wanted, seen, intended), outcomes or Outcomes(), WorkforceStatus())
    (found,) = (each for each in status.conditions if each.type == kind)
    return found.status, found.reason, found.message


def test_a_region_has_the_dialect_of_all_and_a_namespace_of_its_own():
    wanted = desired(regions=BOTH, control=CONTROL | {"dialect": "JobQ"})
    places = region_places(wanted, ledger())
    assert control_of(wanted.spec.control, places["one"]) == wanted.spec.control
    other = control_of(wanted.spec.control, places["two"])
    assert (other.service_bus, other.dialect) == (OWN_CONTROL.service_bus, "JobQ")
    assert control_of(None, places["two"]) is None


def test_workers_listen_in_their_own_regions_namespace():
    wanted = desired(regions=BOTH)
    heard = {
        name: job_environment(wanted, wanted.spec.template, place, cloud=PUBLIC_CLOUDS["AzureCloud"], secrets={})
        for name, place in region_places(wanted, ledger()).items()
    }
    namespaces = {name: each["WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE"] for name, each in heard.items()}
    assert namespaces == {"one": "bus.servicebus.windows.net", "two": "own.servicebus.windows.net"}
    assert {each["WORKFORCE_NODE_QUEUE_NAME"] for each in heard.values()} == {"workforce-inst1234-nodes"}


@table(("own", "control", "held"), [(None, True, "two"), (True, None, "one"), (True, True, None)])
def test_a_namespace_that_cannot_be_reached_holds_the_drains_of_its_regions_only(own, control, held):
    decided = plan(desired(replicas=0, regions=BOTH), world(own=own, control=control), known())
    told = {name for name in ("one", "two") if decided.ledger.regions[name].waves}
    assert told == {"one", "two"} - {held}
    assert set(orders(decided)) == {name_of(number, name) for name in told for number in range(3)}
    if held is not None:
        waiting = decided.regions[held].waiting
        assert waiting == "3 workers cannot be told to leave: the control channel is not ready"


def test_nobody_is_the_first_in_a_region_whose_namespace_was_never_ready_and_the_others_are_hired():
    wanted = desired(replicas=6, regions=BOTH)
    empty = world(own=None, one=jobs(), two=jobs())
    there = entry(0, "two", coordinates=coordinates("two", control=OWN_CONTROL))
    decided = plan(wanted, empty, ledger(one=entry(0), two=there))
    assert decided.channels_awaited == {"two"}
    assert len(hires(decided)) == decided.regions["one"].desired == 3
    assert decided.regions["two"].waiting == "nobody is hired before ControlChannelReady is True"
    assert decided.ledger.regions["two"].reserved == 0
    told = condition(wanted, empty, ledger(one=entry(0), two=there), kind="Ready")
    assert told[:2] == ("False", "Degraded")
    assert told[2].startswith("two: nobody is hired before ControlChannelReady is True: own (two): no role")
    assert condition(wanted, empty, ledger(one=entry(0), two=there), kind="Progressing")[:2] == ("True", "Hiring")


def test_workers_elsewhere_do_not_show_that_a_regions_namespace_was_ever_ready():
    wanted = desired(replicas=6, regions=BOTH)
    seen = world(own=None, two=jobs())
    there = entry(0, "two", coordinates=coordinates("two", control=OWN_CONTROL))
    assert plan(wanted, seen, ledger(one=entry(3, filled=3), two=there)).channels_awaited == {"two"}
    assert plan(wanted, world(own=None), known()).channels_awaited == frozenset()


def test_drains_are_taken_back_where_their_namespace_can_be_reached():
    waves = (wave(0, 1, 2),)
    for own, back in ((True, 3), (None, 0)):
        decided = plan(desired(replicas=6, regions=BOTH), world(own=own), known(waves=waves))
        recalled = [each for each in decided.ledger.regions["two"].waves if each.state is DrainState.RECALLED]
        assert sum(len(each.jobs) for each in recalled) == back


def test_the_condition_names_the_namespace_that_fails_and_who_listens_there():
    wanted = desired(replicas=6, regions=BOTH)
    assert condition(wanted, world(), known()) == ("True", "Ready", "topics and queues stand")
    assert condition(wanted, world(own=None), known()) == ("False", "AccessDenied", "own (two): no role")
    both = condition(wanted, world(own=None, control=None), known())
    assert both == ("False", "AccessDenied", "bus (one): no role; own (two): no role")
    unsent = Outcomes(control={"two": Failure("Unavailable", "no link")})
    assert condition(wanted, world(), known(), unsent) == ("False", "Unavailable", "own (two): no link")


def test_the_condition_names_a_few_of_many_regions():
    many = [region(name, control=OWN) for name in "abcdef"]
    wanted = desired(replicas=0, regions=many)
    there = {each["name"]: entry(0, coordinates=coordinates(each["name"], control=OWN_CONTROL)) for each in many}
    seen = replace(observed(**{name: jobs() for name in there}), own_control=dict.fromkeys(there, NO_ROLE))
    assert condition(wanted, seen, ledger(**there))[2] == "own (a, b, c, d and 2 more): no role"


def test_the_record_of_a_pass_says_of_each_namespace_what_it_is_like():
    wanted, seen = desired(replicas=6, regions=BOTH), world(own=None)
    facts = {
        fact.about: (fact.text, fact.known) for fact in record(wanted, seen, plan(wanted, seen, known()), ()).facts
    }
    assert facts["control bus"] == ("ready", True)
    assert facts["control own"] == ("no role", False)
    alone = plan(desired(), observed(one=jobs(*running(2))), ledger(one=entry(2, filled=2)))
    facts = record(desired(), observed(one=jobs(*running(2))), alone, ()).facts
    assert ("control", "ready") in [(fact.about, fact.text) for fact in facts]


def test_a_region_taken_out_of_the_spec_is_emptied_over_its_own_namespace():
    wanted = desired(replicas=3, regions=[region("one")])
    decided = plan(wanted, world(), known())
    assert set(orders(decided)) == {name_of(number, "two") for number in range(3)}
    status = build_status(wanted, world(), decided, Outcomes(), WorkforceStatus())
    stored = WorkforceStatus.model_validate(status.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert region_places(wanted, read_ledger(stored))["two"].control == OWN_CONTROL


def test_a_region_added_again_with_another_namespace_waits_until_it_is_empty_where_it_was():
    again = desired(replicas=6, regions=[region("one"), region("two")])
    assert moved_regions(again, known()) == ("two",)
    decided = plan(again, world(), known())
    assert set(orders(decided)) == {name_of(number, "two") for number in range(3)}
    assert decided.regions["two"].desired == 0
    emptied = plan(
        again,
        world(two=jobs(*(job(number, "Completed", region="two", ended=1) for number in range(3)))),
        decided.ledger,
    )
    assert "two" not in emptied.ledger.regions


def test_a_deleted_workforce_drains_over_each_namespace_and_ends_at_its_deadline_without_one():
    """Rule 10: only what cannot be told is left, and it is named."""
    going = desired(regions=BOTH, deletion_time=NOW, deletionDeadlineSeconds=60)
    decided = plan(going, world(own=None), known())
    assert set(orders(decided)) == {name_of(number) for number in range(3)}
    assert not decided.finished
    late = desired(regions=BOTH, deletion_time=NOW - 2 * MINUTE, deletionDeadlineSeconds=60)
    ended = world(own=None, one=jobs(*(job(number, "Completed", ended=0.1, started=50) for number in range(3))))
    over = plan(late, ended, decided.ledger)
    assert over.finished
    assert over.left_behind == tuple(name_of(number, "two") for number in range(3))
