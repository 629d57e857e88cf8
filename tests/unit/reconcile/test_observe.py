"""Every reading is known or unknown with its reason; lists that lag are completed by reading names."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import structlog.testing

from jobq.control import DrainFinished, Exit, State
from workforce_operator.api.spec import RegionControl
from workforce_operator.domain.errors import Denied, Fenced, Throttled, Unavailable
from workforce_operator.domain.ledger import SURVEY_AGAIN, RegionLedger
from workforce_operator.domain.observed import Known, Unknown
from workforce_operator.ports.azure import LATE_SECONDS, JobBody
from workforce_operator.reconcile.observe import MAX_READS, Absences, Observer, Subject

BODY = JobBody(properties={}, template_hash="v1:0")


@pytest.fixture
def subject(world, bus, queue):
    world.depth.set("acct", "tasks", 3)
    world.control.namespaces = {"bus"}
    return Subject(
        installation_id="k3v9x2ab",
        places={"uksouth": world.place()},
        ledger={"uksouth": ledger(world, next_sequence=3)},
        queue=queue,
        control=bus,
    )


def ledger(world, next_sequence, cohorts=(0,)):
    return RegionLedger(world.coordinates(), next_sequence=next_sequence, open_cohorts=frozenset(cohorts))


async def hire(world, *sequences, region="uksouth"):
    place = world.place(region)
    for sequence in sequences:
        await world.jobs.hire(place, f"{place.prefix}-{sequence}", sequence, BODY)


async def region(world, subject, name="uksouth"):
    reading = (await world.observer.observe(subject)).regions[name]
    assert isinstance(reading, Known)
    return reading.value


def sequences(jobs):
    return sorted(job.sequence for job in jobs)


async def test_listed_jobs_are_seen_and_reserved_names_that_do_not_exist_are_absent(world, subject):
    await hire(world, 0, 2)
    seen = await region(world, subject)
    assert sequences(seen.jobs) == [0, 2]
    assert (seen.absent, seen.unread) == ({1}, frozenset())


async def test_a_job_that_the_list_does_not_show_yet_is_read_by_its_name(world, subject):
    await hire(world, 0)
    world.jobs.freeze_lists()
    await hire(world, 1)
    seen = await region(world, subject)
    assert sequences(seen.jobs) == [0, 1]
    assert seen.absent == {2}


async def test_only_so_many_names_are_read_in_one_pass_and_the_rest_is_unread(world, subject):
    subject = replace(subject, ledger={"uksouth": ledger(world, next_sequence=MAX_READS + 7)})
    seen = await region(world, subject)
    assert len(seen.absent) == MAX_READS
    assert seen.unread == frozenset(range(MAX_READS, MAX_READS + 7))


async def test_later_passes_read_the_names_that_were_left(world, subject):
    subject = replace(subject, ledger={"uksouth": ledger(world, next_sequence=MAX_READS + 7)})
    await region(world, subject)
    seen = await region(world, subject)
    assert (len(seen.absent), seen.unread) == (MAX_READS + 7, frozenset())
    assert len(world.jobs.faults.made("get")) == MAX_READS + 7


async def test_an_absence_is_not_believed_for_ever():
    now = [0.0]
    absences = Absences(clock=lambda: now[0], seconds=60)
    absences.note("p", 1)
    assert absences.recent("p", frozenset({1, 2})) == {1}
    now[0] = 61.0
    assert absences.recent("p", frozenset({1, 2})) == frozenset()


async def test_a_name_under_which_something_was_sent_is_asked_for_again(world, subject):
    await region(world, subject)
    world.absences.sending(world.place().prefix, 1)
    world.jobs.faults.reset()
    await region(world, subject)
    assert [call.arguments[1] for call in world.jobs.faults.made("get")] == [f"{world.place().prefix}-1"]


async def test_a_hire_without_an_answer_is_awaited_for_a_while():
    now = [0.0]
    absences = Absences(clock=lambda: now[0])
    absences.sending("p", 1)
    absences.sending("p", 2)
    absences.answered("p", 2)
    assert absences.late("p", frozenset({1, 2, 3})) == {1}
    now[0] = LATE_SECONDS
    assert absences.late("p", frozenset({1, 2, 3})) == frozenset()


def test_nothing_is_settled_while_a_hire_of_this_process_or_a_former_one_may_be_on_its_way():
    now, former = [0.0], [True]
    absences = Absences(clock=lambda: now[0], settled=lambda: former[0])
    assert absences.are_settled()
    absences.sending("a", 1)
    assert not absences.are_settled()
    absences.answered("a", 1)
    assert absences.are_settled()
    absences.sending("a", 2)
    now[0] = LATE_SECONDS
    assert absences.are_settled()
    former[0] = False
    assert not absences.are_settled()


async def test_a_hire_of_whose_job_a_list_has_told_is_not_awaited_any_more():
    absences = Absences()
    absences.sending("p", 1)
    assert absences.late("p", frozenset()) == frozenset()
    assert absences.late("p", frozenset({1})) == frozenset()


async def test_a_hire_without_an_answer_is_awaited_also_after_its_name_could_not_be_read(world, subject):
    world.absences.sending(world.place().prefix, 0)
    world.jobs.faults.next_error("get", Throttled("slow down", retry_after=5))
    assert (await region(world, subject)).late == frozenset()
    assert (await region(world, subject)).late == {0}


async def test_a_former_leader_s_hires_may_be_on_their_way_to_every_name_without_a_job(world, subject):
    await hire(world, 0)
    assert (await region(world, subject)).late == frozenset()
    world.guard.former_writes = True
    assert (await region(world, subject)).late == {1, 2}


async def test_a_name_that_cannot_be_read_is_unread_and_the_region_stays_known(world, subject):
    world.jobs.faults.next_error("get", Throttled("slow down", retry_after=5))
    seen = await region(world, subject)
    assert len(seen.unread) == 1
    assert len(seen.absent) == 2


async def test_a_name_that_is_somebody_elses_job_is_burnt(world, subject):
    world.jobs.add_foreign(world.coordinates(), f"{world.place().prefix}-1")
    seen = await region(world, subject)
    (job,) = seen.jobs
    assert (job.sequence, job.outcome.value) == (1, "Canceled")
    assert "not ours" in job.error


@pytest.mark.parametrize("known", [None, "lost"])
async def test_without_a_next_sequence_everything_that_is_ours_is_listed(world, subject, known):
    await hire(world, 0, 300)
    entry = {} if known is None else {"uksouth": RegionLedger(world.coordinates())}
    seen = await region(world, replace(subject, ledger=entry))
    assert sequences(seen.jobs) == [0, 300]
    assert world.jobs.faults.made("list_owned")
    assert not world.jobs.faults.made("get")


async def test_what_was_listed_when_its_names_were_not_known_is_listed_once_more_but_not_under_hold(world, subject):
    known = replace(ledger(world, next_sequence=1), surveyed=world.clock.now())
    await hire(world, 0, 300)
    subject = replace(subject, ledger={"uksouth": known})
    assert sequences((await region(world, subject)).jobs) == [0]
    world.clock.advance(SURVEY_AGAIN.total_seconds())
    assert sequences((await region(world, replace(subject, hold=True))).jobs) == [0]
    seen = await region(world, subject)
    assert (sequences(seen.jobs), seen.complete) == ([0, 300], True)


async def test_only_open_cohorts_are_listed_and_read(world, subject):
    subject = replace(subject, ledger={"uksouth": ledger(world, next_sequence=513, cohorts=(2,))})
    await hire(world, 0, 512)
    seen = await region(world, subject)
    assert sequences(seen.jobs) == [512]
    assert not world.jobs.faults.made("get")


async def test_nothing_is_asked_when_no_cohort_is_open(world, subject):
    subject = replace(subject, ledger={"uksouth": ledger(world, next_sequence=512, cohorts=())})
    assert (await region(world, subject)).jobs == ()
    assert world.jobs.faults.calls == []


@pytest.mark.parametrize(
    "error", [Unavailable("no answer"), Denied("refused", scope="ws"), Throttled("later", retry_after=9)]
)
async def test_a_region_that_cannot_be_listed_is_unknown_and_the_others_are_known(world, subject, error):
    world.jobs.faults.next_error("list_cohorts", error, matches=lambda args: args[0].region == "uksouth")
    subject = replace(
        subject,
        places=subject.places | {"westeurope": world.place("westeurope")},
        ledger=subject.ledger | {"westeurope": ledger(world, next_sequence=1)},
    )
    seen = await world.observer.observe(subject)
    assert seen.regions["uksouth"].message == str(error)
    assert isinstance(seen.regions["westeurope"], Known)
    assert world.telemetry.unread["region"] == 1


async def test_a_workspace_that_is_gone_is_unknown_and_never_empty(world, subject):
    world.jobs.missing.add("ws-uksouth")
    reading = (await world.observer.observe(subject)).regions["uksouth"]
    assert isinstance(reading, Unknown)
    assert "does not exist" in reading.message


async def test_a_job_that_ran_before_is_known_to_wait_since_it_was_first_seen_to_and_anew_after_it_ran_in_between(
    world, subject
):
    async def waits():
        seen = (await world.observer.observe(subject)).waits
        world.clock.advance(60)
        return {name.rpartition("-")[2]: since for name, since in seen.items()}

    await hire(world, 0, 1)
    name = f"{world.place().prefix}-0"
    world.jobs.set_state(name, "Running")
    assert await waits() == {}
    world.jobs.set_state(name, "Queued")
    first = world.clock.now()
    assert await waits() == {"0": first}
    world.jobs.faults.next_error("list_cohorts", Unavailable("no answer"))
    assert await waits() == {"0": first}
    world.jobs.set_state(name, "Running")
    assert await waits() == {}
    world.jobs.set_state(name, "Queued")
    again = world.clock.now()
    assert await waits() == {"0": again}
    assert await waits() == {"0": again}


class NeverAnswers:
    async def read(self, queue):
        await asyncio.Event().wait()


@pytest.mark.looptime
async def test_a_source_that_does_not_answer_in_time_is_unknown(world, subject, looptime):
    observer = Observer(
        jobs=world.jobs,
        depth=NeverAnswers(),
        control=world.control,
        capacity=world.capacity,
        clock=world.clock,
        telemetry=world.telemetry,
        absences=world.absences,
        source_seconds=60,
    )
    seen = await observer.observe(subject)
    assert seen.queue == Unknown("Timeout", "no answer within 60 s")
    assert looptime == 60


async def test_the_queue_is_read(world, subject):
    seen = await world.observer.observe(subject)
    assert (seen.queue.value.length, seen.queue.value.has_visible) == (3, True)


async def test_a_missing_queue_is_unknown_and_never_empty(world, subject, queue):
    moved = queue.model_copy(update={"storage": queue.storage.model_copy(update={"name": "other"})})
    assert isinstance((await world.observer.observe(replace(subject, queue=moved))).queue, Unknown)


async def test_topics_of_all_regions_and_the_queues_of_the_installation_are_made(world, subject):
    seen = await world.observer.observe(subject)
    assert seen.control.value is True
    assert world.control.entities["bus"] == {
        "chem-md-uksouth",
        "workforce-k3v9x2ab-nodes",
        "workforce-k3v9x2ab-reports",
    }


async def test_without_a_control_channel_nothing_is_made(world, subject):
    seen = await world.observer.observe(replace(subject, control=None))
    assert seen.control.value is False
    assert world.control.faults.calls == []


async def test_a_workforce_on_hold_makes_no_topics(world, subject):
    seen = await world.observer.observe(replace(subject, hold=True))
    assert isinstance(seen.control, Unknown)
    assert world.control.faults.made("ensure") == []


async def test_a_control_channel_without_rights_is_unknown(world, subject):
    world.control.faults.next_error("ensure", Denied("no rights on bus", scope="bus"))
    assert (await world.observer.observe(subject)).control == Unknown("AccessDenied", "no rights on bus")


async def test_a_process_that_does_not_lead_makes_nothing_and_says_so(world, subject):
    world.guard.held = False
    with pytest.raises(Fenced):
        await world.observer.observe(subject)


async def test_the_same_failure_reads_the_same_each_time(world, subject):
    """Libraries put memory addresses into their messages; a condition must not change at every pass for that."""
    readings = []
    for address in ("0x7f7850e9db50", "0x7f7850e9da30"):
        text = f"no token:\n\tssl:<ssl.SSLContext object at {address}> [refused]"
        world.depth.faults.next_error("read", Unavailable(text))
        readings.append((await world.observer.observe(subject)).queue)
    assert readings[0] == readings[1]
    assert "\n" not in readings[0].message


def with_own_namespace(world, subject, *, alone=False):
    """The subject with a second region, which listens in ``other``; or with that one only."""
    own = RegionControl(service_bus=subject.control.service_bus.model_copy(update={"namespace": "other"}))
    place = world.place("westeurope")
    elsewhere = {"westeurope": replace(place, coordinates=place.coordinates.model_copy(update={"control": own}))}
    return replace(subject, places=elsewhere if alone else subject.places | elsewhere)


async def test_each_namespace_gets_the_topics_of_the_regions_that_listen_there(world, subject):
    world.control.namespaces = {"bus", "other"}
    seen = await world.observer.observe(with_own_namespace(world, subject))
    queues = {"workforce-k3v9x2ab-nodes", "workforce-k3v9x2ab-reports"}
    assert world.control.entities == {"bus": {"chem-md-uksouth"} | queues, "other": {"chem-md-westeurope"} | queues}
    assert seen.can_order("uksouth")
    assert seen.can_order("westeurope")


async def test_a_namespace_that_fails_says_nothing_about_the_others(world, subject):
    seen = await world.observer.observe(with_own_namespace(world, subject))
    assert seen.can_order("uksouth")
    assert seen.channel("westeurope") == Unknown("NotFound", "Service Bus namespace other does not exist")


async def test_a_namespace_that_no_region_listens_in_is_left_alone(world, subject):
    world.control.namespaces = {"other"}
    seen = await world.observer.observe(with_own_namespace(world, subject, alone=True))
    assert seen.can_order("westeurope")
    assert "bus" not in world.control.entities


async def test_reports_come_from_all_namespaces_and_only_those_of_jobs_that_were_seen(world, subject):
    world.control.namespaces = {"bus", "other"}
    time = datetime(2026, 1, 1, tzinfo=UTC)
    names = {}
    for namespace, place in (("bus", world.place()), ("other", world.place("westeurope"))):
        await hire(world, 0, 1, region=place.region)
        names[namespace] = (f"{place.prefix}-0", f"{place.prefix}-1")
        for job in (names[namespace][0], f"of-another-workforce-{namespace}"):
            living = State(job=job, time=time, busy_slots=1, completed=0, failed=0, accepting=True)
            world.control.report(namespace, living)
        world.control.report(namespace, Exit(job=names[namespace][1], time=time, why="done", exit_code=0))
        world.control.report(namespace, DrainFinished(job=f"left-{namespace}", time=time, drain_id="w1"))
    seen = await world.observer.observe(with_own_namespace(world, subject))
    assert set(seen.reports) == {names["bus"][0], names["other"][0]}
    assert set(seen.last_words) == {names["bus"][1], names["other"][1]}
    assert {each.job for each in seen.finished} == {"left-bus", "left-other"}


async def test_a_reading_that_failed_is_logged_with_the_service_s_own_id_of_the_request(world, subject):
    away = Unavailable("no answer")
    away.request_id = "4f1d-77"
    world.jobs.faults.next_error("list_cohorts", away)
    with structlog.testing.capture_logs() as logs:
        seen = await world.observer.observe(subject)
    assert seen.regions["uksouth"] == Unknown("Unavailable", "no answer")
    assert [entry["request_id"] for entry in logs if entry["event"] == "cannot be read"] == ["4f1d-77"]
