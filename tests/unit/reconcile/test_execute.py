"""Actions are carried out once, in the safe order, and a failure stays where it is."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import structlog.testing

from jobq.control import OnDeadline, Operation, Order
from workforce_operator.api.spec import Control, DrainMode, RegionControl
from workforce_operator.api.status import DrainState
from workforce_operator.domain.actions import Cancel, CancelPending, Hire, Note, Resume, SendOrder, SendToAny
from workforce_operator.domain.announcement import Announcement
from workforce_operator.domain.errors import Denied, Fenced, SpecError, Throttled, Unavailable
from workforce_operator.domain.ledger import Wave
from workforce_operator.ports.azure import JobBody
from workforce_operator.reconcile.accepted import Accepted
from workforce_operator.reconcile.execute import (
    HIRES_AT_ONCE,
    LAY_OFFS_AT_ONCE,
    TIME_USED_UP,
    OncePerRegion,
    Work,
    retry_after,
    surely_unsent,
)
from workforce_operator.reconcile.results import notes_of
from workforce_operator.reconcile.telemetry import ActionResult

BODY = JobBody(properties={}, template_hash="v1:0")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def execute(world, bus):
    await world.control.ensure(bus, frozenset({"t"}), "k3v9x2ab")
    world.control.faults.reset()

    async def body(place):
        return BODY

    async def run(*actions, control=bus, body=body, outdated=lambda: False):
        places = {name: world.place(name) for name in ("uksouth", "westeurope")}
        return await world.executor.execute(Work(actions, "k3v9x2ab", places, control, body, outdated))

    return run


def name_of(world, sequence, region="uksouth"):
    return f"{world.place(region).prefix}-{sequence}"


def hire(world, sequence, region="uksouth"):
    return Hire(region, name_of(world, sequence, region), sequence)


def order(world, sequence, number=0, operation=Operation.GRACEFUL_DOWNSCALE):
    state = DrainState.RECALLED if operation is Operation.ACCEPT_NEW_TASKS else DrainState.SENT
    wave = Wave("w1", DrainMode.FINISH, state, 7, frozenset({sequence}), NOW, NOW, "ScaleDown")
    announced = Announcement(wave, "h", number, "owner", OnDeadline.WAIT)
    return SendOrder("uksouth", name_of(world, sequence), sequence, announced)


def results(done):
    return [each.result.value for each in done]


async def run_job(world, sequence, state):
    await world.jobs.hire(world.place(), name_of(world, sequence), sequence, BODY)
    world.jobs.set_state(name_of(world, sequence), state)


async def test_each_hire_is_one_call_under_its_reserved_name(world, execute):
    done = await execute(*(hire(world, number) for number in range(10)))
    assert results(done) == ["done"] * 10
    assert sorted(job.sequence for job in world.jobs.live()) == list(range(10))
    assert world.telemetry.actions["hire", "done"] == 10


async def test_the_first_hire_of_a_region_is_alone_and_nothing_follows_its_failure(world, execute):
    world.jobs.faults.next_error("hire", Unavailable("no quota"))
    done = await execute(*(hire(world, number) for number in range(100)))
    assert results(done) == ["failed"] + ["put_off"] * 99
    assert len(world.jobs.faults.made("hire")) == 1


async def hires_under_way(world, execute, *actions, **options):
    """How many hires are sent before any is answered."""
    hire, answer, sent = world.jobs.hire, asyncio.Event(), []

    async def slow(place, name, *rest):
        sent.append(name)
        await answer.wait()
        return await hire(place, name, *rest)

    world.jobs.hire = slow
    executing = asyncio.ensure_future(execute(*actions, **options))
    for _ in range(20):
        await asyncio.sleep(0)
    number = len(sent)
    answer.set()
    await executing
    world.jobs.hire = hire
    return number


def some_hires(world, first, region="uksouth"):
    return [hire(world, number, region) for number in range(first, first + 10)]


async def test_where_a_hire_with_the_template_was_accepted_lately_all_go_at_once(world, execute):
    async def other_body(place):
        return replace(BODY, template_hash="v1:1")

    assert await hires_under_way(world, execute, *some_hires(world, 0)) == 1
    assert await hires_under_way(world, execute, *some_hires(world, 10)) == 10
    assert await hires_under_way(world, execute, *some_hires(world, 20), body=other_body) == 1
    assert await hires_under_way(world, execute, *some_hires(world, 0, "westeurope")) == 1


async def test_after_a_failure_and_after_a_while_one_hire_goes_alone_again(world, execute, monkeypatch):
    await execute(hire(world, 0))
    world.jobs.faults.next_error("hire", Unavailable("no quota"))
    await execute(hire(world, 1))
    assert await hires_under_way(world, execute, *some_hires(world, 10)) == 1
    monkeypatch.setattr("workforce_operator.reconcile.accepted.ACCEPTED_SECONDS", 0)
    assert await hires_under_way(world, execute, *some_hires(world, 20)) == 1


async def test_what_was_accepted_is_remembered_of_so_many_templates_only(world, monkeypatch):
    monkeypatch.setattr("workforce_operator.reconcile.accepted.REMEMBERED", 2)
    accepted, where = Accepted(), world.place().coordinates
    for template in ("one", "two", "one", "three"):
        accepted.note(where, template)
    assert [accepted.lately(where, template) for template in ("one", "two", "three")] == [True, False, True]


@pytest.mark.looptime
async def test_a_short_pause_that_the_service_asks_for_is_no_failure_of_the_region(world, execute):
    for sequence in (0, 5):
        pause = Throttled("a moment", retry_after=2)
        world.jobs.faults.next_error("hire", pause, matches=lambda args, own=sequence: args[2] == own)
    assert results(await execute(*some_hires(world, 0))) == ["done"] * 10
    assert asyncio.get_running_loop().time() == 4, "each pause is waited out"
    assert len(world.jobs.faults.made("hire")) == 12


@pytest.mark.looptime
async def test_a_pause_that_is_asked_for_again_is_a_failure(world, execute):
    for _ in range(2):
        world.jobs.faults.next_error("hire", Throttled("a moment", retry_after=2))
    assert results(await execute(*some_hires(world, 0))) == ["failed"] + ["put_off"] * 9


@pytest.mark.looptime
async def test_who_has_waited_out_a_pause_does_not_hire_for_what_has_changed_meanwhile(world, execute):
    world.jobs.faults.next_error("hire", Throttled("a moment", retry_after=2))
    changed = lambda: asyncio.get_running_loop().time() > 1  # noqa: E731
    assert results(await execute(*some_hires(world, 0), outdated=changed)) == ["failed"] + ["put_off"] * 9
    assert len(world.jobs.faults.made("hire")) == 1


async def test_hires_under_way_end_and_no_other_one_begins_after_a_failure(world, execute):
    world.jobs.faults.next_error("hire", Unavailable("no quota"), matches=lambda args: args[2] == 1)
    done = await execute(*(hire(world, number) for number in range(HIRES_AT_ONCE + 100)))
    assert Counter(results(done))["failed"] == 1
    assert len(world.jobs.faults.made("hire")) <= 1 + HIRES_AT_ONCE
    assert Counter(results(done))["put_off"] >= 99


async def test_no_hire_begins_once_the_workforce_has_changed(world, execute):
    changed = []

    def outdated():
        changed.append(len(world.jobs.faults.made("hire")))
        return changed[-1] >= 3

    done = await execute(*(hire(world, number) for number in range(HIRES_AT_ONCE + 100)), outdated=outdated)
    begun = len(world.jobs.faults.made("hire"))
    assert 3 <= begun <= HIRES_AT_ONCE
    assert Counter(results(done)) == {"done": begun, "put_off": len(done) - begun}
    assert len({each.action.sequence for each in done}) == len(done) == HIRES_AT_ONCE + 100


async def test_a_failing_region_does_not_hold_up_another(world, execute):
    world.jobs.faults.next_error("hire", Unavailable("out"), matches=lambda args: args[0].region == "uksouth")
    actions = [hire(world, number, region) for region in ("uksouth", "westeurope") for number in range(5)]
    done = await execute(*actions)
    assert results(done) == ["failed"] + ["put_off"] * 4 + ["done"] * 5


async def test_hires_that_were_not_begun_are_known_to_be_absent(world, execute):
    world.jobs.faults.next_error("hire", Unavailable("no answer"))
    await execute(*(hire(world, number) for number in range(3)))
    assert world.absences.recent(world.place().prefix, frozenset(range(3))) == {1, 2}


async def test_a_hire_without_an_answer_may_still_arrive_and_a_refused_one_will_not(world, execute):
    for sequence, error in enumerate((Unavailable("no answer"), Denied("no role", scope="jobs"))):
        world.jobs.faults.next_error("hire", error)
        await execute(hire(world, sequence))
    assert world.absences.late(world.place().prefix, frozenset({0, 1, 2})) == {0}


async def test_nothing_is_begun_when_the_time_is_up(world, execute):
    world.restart(begin_seconds=-1)
    done = await execute(hire(world, 0), order(world, 1), CancelPending("uksouth", name_of(world, 2), None, "shrink"))
    assert sorted(results(done)) == ["put_off"] * 3
    assert world.jobs.faults.calls == []
    assert world.control.faults.calls == []


async def test_the_body_of_a_region_is_resolved_once(world, execute):
    asked = []

    async def resolve(place):
        asked.append(place.region)
        await asyncio.sleep(0)
        return BODY

    await execute(*(hire(world, number) for number in range(20)), body=OncePerRegion(resolve))
    assert asked == ["uksouth"]


async def test_a_template_that_is_refused_hires_nobody(world, execute):
    async def resolve(place):
        raise SpecError("image: not found", reason="InvalidTemplate")

    done = await execute(hire(world, 0), hire(world, 1), body=OncePerRegion(resolve))
    assert results(done) == ["failed", "put_off"]
    assert done[0].error.reason == "InvalidTemplate"
    assert world.jobs.live() == []


async def test_one_process_sends_a_message_id_once(world, execute):
    assert results(await execute(order(world, 1))) == ["done"]
    assert results(await execute(order(world, 1))) == ["not_needed"]
    assert results(await execute(order(world, 1, number=1))) == ["done"]
    assert len(world.control.faults.made("send")) == 2


async def test_an_order_that_failed_is_sent_again(world, execute):
    world.control.faults.next_error("send", Unavailable("link lost"))
    (done,) = await execute(order(world, 1))
    assert (done.result, done.of_control) == (ActionResult.FAILED, True)
    assert results(await execute(order(world, 1))) == ["done"]


async def test_memory_of_sent_messages_is_bounded(world, execute, monkeypatch):
    monkeypatch.setattr("workforce_operator.reconcile.execute.REMEMBERED_MESSAGES", 2)
    for number in range(3):
        await execute(order(world, 1, number=number))
    assert results(await execute(order(world, 1, number=2))) == ["not_needed"]
    assert results(await execute(order(world, 1, number=0))) == ["done"]


@pytest.mark.parametrize("state", ["Queued", "Paused"])
async def test_a_waiting_job_gets_its_order_before_it_is_cancelled(world, execute, state):
    await run_job(world, 1, state)
    world.jobs.faults.reset()
    calls = []
    send, cancel, get = world.control.send, world.jobs.cancel, world.jobs.get

    async def noted(name, call, *args):
        calls.append(name)
        return await call(*args)

    world.control.send = lambda *args: noted("send", send, *args)
    world.jobs.get = lambda *args: noted("get", get, *args)
    world.jobs.cancel = lambda *args: noted("cancel", cancel, *args)
    done = await execute(CancelPending("uksouth", name_of(world, 1), order(world, 1), "shrink"))
    assert results(done) == ["done"]
    assert calls == ["send", "get", "cancel"]


@pytest.mark.parametrize("state", ["Running", "Completed", "CancelRequested"])
async def test_a_job_that_does_not_wait_any_more_is_not_cancelled(world, execute, state):
    await run_job(world, 1, state)
    done = await execute(CancelPending("uksouth", name_of(world, 1), order(world, 1), "shrink"))
    assert results(done) == ["not_needed"]
    assert world.jobs.faults.made("cancel") == []
    assert len(world.control.orders) == 1


async def test_a_waiting_job_is_not_cancelled_if_its_order_could_not_be_sent(world, execute):
    await run_job(world, 1, "Queued")
    world.control.faults.next_error("send", Unavailable("link lost"))
    (done,) = await execute(CancelPending("uksouth", name_of(world, 1), order(world, 1), "shrink"))
    assert (done.result, done.of_control) == (ActionResult.FAILED, True)
    assert world.jobs.faults.made("cancel") == []


async def test_without_a_control_channel_a_waiting_job_is_read_and_cancelled(world, execute):
    await run_job(world, 1, "Queued")
    action = CancelPending("uksouth", name_of(world, 1), None, "shrink")
    assert results(await execute(action, control=None)) == ["done"]
    assert world.control.orders == []


async def test_an_unread_job_is_not_cancelled(world, execute):
    await run_job(world, 1, "Queued")
    world.jobs.faults.next_error("get", Unavailable("no answer"))
    (done,) = await execute(CancelPending("uksouth", name_of(world, 1), order(world, 1), "shrink"))
    assert (done.result, done.of_control) == (ActionResult.FAILED, False)
    assert world.jobs.faults.made("cancel") == []


async def test_a_cancel_cancels_whatever_the_job_does(world, execute):
    await run_job(world, 1, "Running")
    assert results(await execute(Cancel("uksouth", name_of(world, 1), "deadline"))) == ["done"]
    assert world.jobs.live()[0].state == "CancelRequested"


async def test_lay_offs_come_before_hires(world, execute):
    await run_job(world, 1, "Running")
    world.jobs.faults.reset()
    await execute(hire(world, 2), Cancel("uksouth", name_of(world, 1), "deadline"))
    assert [call.method for call in world.jobs.faults.calls] == ["cancel", "hire"]


async def test_a_failed_lay_off_keeps_no_other_from_being_carried_out(world, execute):
    for number in (1, 2):
        await run_job(world, number, "Running")
    world.jobs.faults.next_error("cancel", Unavailable("no answer"))
    done = await execute(*(Cancel("uksouth", name_of(world, number), "deadline") for number in (1, 2)))
    assert sorted(results(done)) == ["done", "failed"]


async def test_a_process_that_lost_the_lease_stops_at_once(world, execute):
    world.guard.held = False
    with pytest.raises(Fenced):
        await execute(hire(world, 0), hire(world, 1))
    assert world.jobs.jobs == {}


async def test_a_recall_is_counted_as_one(world, execute):
    await execute(order(world, 1, operation=Operation.ACCEPT_NEW_TASKS))
    assert world.telemetry.actions["recall", "done"] == 1


async def test_the_longest_pause_that_was_asked_for_is_told(world, execute):
    world.jobs.faults.next_error("hire", Throttled("later", retry_after=17))
    assert retry_after(await execute(hire(world, 0))) == 17


async def test_paused_jobs_are_resumed_before_anybody_is_hired(world, execute):
    for number in (0, 1):
        await run_job(world, number, "Paused")
    world.jobs.faults.reset()
    actions = (hire(world, 2), *(Resume("uksouth", name_of(world, number)) for number in (0, 1)))
    assert results(await execute(*actions)) == ["done"] * 3
    assert [call.method for call in world.jobs.faults.calls] == ["resume", "resume", "hire"]
    assert sorted(job.state for job in world.jobs.live()) == ["Queued", "Queued", "Starting"]


async def test_a_job_that_has_used_up_its_execution_time_is_cancelled_instead(world, execute):
    await run_job(world, 0, "Paused")
    world.jobs.used_up.add(name_of(world, 0))
    (done,) = await execute(Resume("uksouth", name_of(world, 0)))
    assert done.action == CancelPending("uksouth", name_of(world, 0), order=None, reason=TIME_USED_UP)
    assert done.result is ActionResult.DONE
    assert [job.state for job in world.jobs.live()] == ["CancelRequested"]
    assert notes_of([done]) == (Note(TIME_USED_UP, "uksouth: cancelling 1 paused job: no execution time is left"),)


async def test_a_job_that_was_cancelled_as_planned_is_not_told_once_more(world, execute):
    await run_job(world, 0, "Paused")
    done = await execute(CancelPending("uksouth", name_of(world, 0), None, "ScaleDown"))
    assert results(done) == ["done"]
    assert notes_of(done) == ()


async def test_a_resume_that_was_taken_is_not_asked_for_again_at_once(world, execute):
    await run_job(world, 0, "Paused")
    resume = Resume("uksouth", name_of(world, 0))
    assert results(await execute(resume)) == ["done"]
    world.jobs.set_state(name_of(world, 0), "Paused")
    assert results(await execute(resume)) == ["not_needed"]
    assert len(world.jobs.faults.made("resume")) == 1


async def test_resumes_of_a_region_stop_at_the_first_batch_with_a_failure(world, execute):
    for number in range(5):
        await run_job(world, number, "Paused")
    world.jobs.faults.next_error("resume", Unavailable("no answer"))
    done = await execute(*(Resume("uksouth", name_of(world, number)) for number in range(5)))
    assert results(done) == ["failed"] + ["put_off"] * 4


def to_any(number, wave="w1"):
    return SendToAny("uksouth", wave, Order(operation=Operation.DO_NOT_ACCEPT_NEW_TASKS), f"{wave}-{number}")


async def test_messages_for_whoever_takes_them_go_to_the_regions_topic(world, execute, bus):
    topic = world.place().coordinates.topic
    await world.control.ensure(bus, frozenset({topic}), "k3v9x2ab")
    done = await execute(to_any(0), to_any(1))
    assert [each.result for each in done] == [ActionResult.DONE] * 2
    assert [(sent[0], sent[2]) for sent in world.control.announced] == [(topic, "w1-0"), (topic, "w1-1")]


async def test_only_messages_that_were_surely_not_sent_count_as_unsent(world, execute, bus):
    await world.control.ensure(bus, frozenset({world.place().coordinates.topic}), "k3v9x2ab")
    errors = (Denied("no role", scope="bus"), Throttled("busy", retry_after=1), Unavailable("the answer was lost"))
    for error in errors:
        world.control.faults.next_error("send_to_any", error)
    done = await execute(*(to_any(number) for number in range(5)))
    assert surely_unsent(done) == {("uksouth", "w1"): 2}


@pytest.fixture
async def two_buses(world, bus):
    """The places of two regions, the second of which listens in a namespace of its own; both are made."""
    own = RegionControl(service_bus=bus.service_bus.model_copy(update={"namespace": "other"}))
    there = world.place("westeurope")
    places = {
        "uksouth": world.place(),
        "westeurope": replace(there, coordinates=there.coordinates.model_copy(update={"control": own})),
    }
    for control, place in ((bus, places["uksouth"]), (Control(service_bus=own.service_bus), places["westeurope"])):
        await world.control.ensure(control, frozenset({place.coordinates.topic}), "k3v9x2ab")
    return places


async def no_body(place):
    raise AssertionError("nobody is hired here")


async def test_orders_go_to_the_namespace_that_the_regions_workers_listen_in(world, bus, two_buses):
    here = order(world, 0)
    elsewhere = here._replace(region="westeurope", job=name_of(world, 0, "westeurope"))
    anybody = SendToAny("westeurope", "w1", Order(operation=Operation.GRACEFUL_DOWNSCALE, id="w1-9"), "w1-9")
    done = await world.executor.execute(Work((here, elsewhere, anybody), "k3v9x2ab", two_buses, bus, no_body))
    assert [each.result for each in done] == [ActionResult.DONE] * 3
    assert {(sent.job, sent.namespace) for sent in world.control.orders} == {
        (here.job, "bus"),
        (elsewhere.job, "other"),
    }
    assert [sent[0] for sent in world.control.announced] == [two_buses["westeurope"].coordinates.topic]


async def test_a_namespace_that_says_nothing_delays_no_order_in_another(world, bus, two_buses, monkeypatch):
    """More orders than are sent at a time wait for it, and they come first."""
    send, answer = world.control.send, asyncio.Event()

    async def slow(control, *rest):
        if control.service_bus.namespace == "other":
            await answer.wait()
        await send(control, *rest)

    monkeypatch.setattr(world.control, "send", slow)
    stuck = [
        order(world, number)._replace(region="westeurope", job=name_of(world, number, "westeurope"))
        for number in range(2 * LAY_OFFS_AT_ONCE)
    ]
    work = Work((*stuck, order(world, 0)), "k3v9x2ab", two_buses, bus, no_body)
    executing = asyncio.ensure_future(world.executor.execute(work))
    for _ in range(100):
        await asyncio.sleep(0)
    assert [sent.namespace for sent in world.control.orders] == ["bus"]
    answer.set()
    assert Counter(each.result for each in await executing) == {ActionResult.DONE: len(stuck) + 1}


async def test_an_action_that_failed_is_logged_with_the_service_s_own_id_of_the_request(world, execute):
    refused = Denied("no role", scope="/s")
    refused.request_id = "4f1d-77"
    world.jobs.faults.next_error("hire", refused)
    with structlog.testing.capture_logs() as logs:
        await execute(hire(world, 0))
    assert [entry["request_id"] for entry in logs if entry["event"] == "an action failed"] == ["4f1d-77"]
