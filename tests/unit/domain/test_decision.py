"""Decision records: what a pass saw, decided and did, and the plain words that are made of it."""

from dataclasses import replace
from datetime import timedelta

from tests.support.planning import (
    NOW,
    desired,
    entry,
    job,
    jobs,
    ledger,
    observed,
    regions,
    report,
    running,
    wave,
    with_tasks,
)
from tests.support.tables import table
from tests.support.workforces import CONTROL
from workforce_operator.domain.capacity import ClusterCapacity
from workforce_operator.domain.circuit import Circuit
from workforce_operator.domain.decision import MOST_JOBS, Deed, grouped, record, refusal
from workforce_operator.domain.explain import Entry, age, in_words
from workforce_operator.domain.observed import Known
from workforce_operator.domain.outcomes import Failure
from workforce_operator.domain.plan import plan
from workforce_operator.domain.workers import workers


def of(want, world, before, deeds=()):
    return record(want, world, plan(want, world, before), deeds)


def words(made, *, passes=1, everything=False):
    kept = Entry(first_time=NOW - timedelta(minutes=5), last_time=NOW, passes=passes, decision=made)
    return in_words(kept, NOW + timedelta(seconds=12), everything=everything)


def about(made, name):
    return [step.text for step in made.steps if step.about == name and not step.text.startswith("share ")]


def shifted(made):
    return [(step.about, step.text, step.rule) for step in made.steps if step.text.startswith("share ")]


def test_a_hire_is_told_with_the_numbers_that_called_for_it():
    made = of(desired(replicas=3), observed(one=jobs(*running(1))), ledger(one=entry(1, filled=1)))
    assert about(made, "one") == ["3 wanted, 1 there: hire 2"]
    assert [fact.text for fact in made.facts if fact.about == "one"] == ["1 running"]


def test_a_lay_off_names_its_rule():
    made = of(desired(replicas=1), observed(one=jobs(*running(3))), ledger(one=entry(3, filled=3)))
    assert [step.rule for step in made.steps if step.about == "one"][-1] == 3
    assert about(made, "one") == ["1 wanted, 3 there: lay off 2"]


@table("spec", [{"control": None}, {"control": {**CONTROL, "dialect": "JobQ"}}], ids=["without control", "JobQ"])
def test_who_is_cancelled_without_an_order_is_there_once_only(spec):
    pending = [job(number, "Queued") for number in (0, 1, 2)]
    made = of(desired(replicas=1, **spec), observed(one=jobs(*pending)), ledger(one=entry(3, filled=3)))
    assert about(made, "one") == ["1 wanted, 3 there: lay off 2"]


def test_it_is_said_which_region_s_share_changed_and_why():
    want = desired(replicas=3, regions=regions(one=9, two=9))
    world = observed(one=jobs(*running(1)), two=jobs())
    made = of(want, world, ledger(one=entry(1, filled=1, share=1), two=entry(0, "two", share=0)))
    assert ("two", "share +1: more replicas are wanted", None) in shifted(made)


def test_an_unreadable_region_is_left_as_it_is_and_says_why():
    made = of(desired(replicas=1), observed(one=None), ledger(one=entry(1, filled=1)))
    (step,) = [step for step in made.steps if step.about == "one"]
    (fact,) = [fact for fact in made.facts if fact.about == "one"]
    assert (step.rule, fact.known, fact.text) == (1, False, "no answer")


def test_an_unreadable_queue_is_no_empty_one():
    made = of(desired(replicas=0), observed(visible=None, one=jobs()), ledger(one=entry(0)))
    (fact,) = [fact for fact in made.facts if fact.about == "queue"]
    assert (fact.known, fact.text) == (False, "no answer")


def test_workers_that_completed_wait_for_work_by_rule_11():
    ended = job(0, "Completed", started=50, ended=1)
    made = of(desired(replicas=1), observed(visible=False, one=jobs(ended)), ledger(one=entry(1, filled=1)))
    step = [step for step in made.steps if step.about == "one"][-1]
    assert step.rule == 11
    assert "no task waits" in step.text


def test_what_the_regions_do_not_allow_is_said():
    want = desired(replicas=9, regions=regions(one=2))
    made = of(want, observed(one=jobs()), ledger(one=entry(0)))
    assert "2 wanted: 9 asked for, and the regions' maxReplicas allow no more" in about(made, "workforce")


def test_autoscaling_tells_its_arithmetic_and_every_clamp():
    wanted = desired(autoscaling={"policy": "JobQ", "maxReplicas": 5, "tasksPerReplica": 4}, replicas=None)
    made = of(wanted, with_tasks(observed(one=jobs()), 1600), ledger(one=entry(0)))
    assert about(made, "workforce")[0] == (
        "5 wanted: 1600 tasks / 4 per replica = 400: step 50 of the table, ramp 10 × (1 + 0 running) = 10, "
        "autoscaling.maxReplicas: 10 → 5"
    )


def test_a_held_workforce_says_so_and_what_it_leaves_as_it_is():
    made = of(desired(replicas=5, suspend="Hold"), observed(one=jobs(*running(1))), ledger(one=entry(1, filled=1)))
    assert "suspend is Hold: nothing is touched" in about(made, "workforce")
    assert about(made, "one") == ["5 wanted, 1 there: nothing is touched"]
    assert "  one: 5 wanted, 1 there: nothing is touched" in words(made)


def test_a_deletion_says_its_policy():
    want = desired(deletion_time=NOW, deletionPolicy="Cancel")
    made = of(want, observed(one=jobs(*running(1))), ledger(one=entry(1, filled=1)))
    (step,) = [step for step in made.steps if step.rule == 10]
    assert step.text == "being deleted (Cancel): nobody is wanted"


def test_a_deletion_wants_nobody_in_a_region_that_cannot_be_read_either():
    made = of(desired(deletion_time=NOW), observed(one=None), ledger(one=entry(1, filled=1)))
    assert about(made, "one") == ["nobody wanted here; it could not be read, so it is left as it is"]


def test_equal_passes_have_equal_records():
    want, before = desired(replicas=1), ledger(one=entry(1, filled=1))
    first = of(want, observed(one=jobs(*running(1))), before)
    later = of(want, observed(now=NOW + timedelta(hours=1), one=jobs(*running(1))), before)
    assert first == later


def test_equal_acts_are_one_line_that_names_the_first_jobs():
    deeds = [Deed("hire", "one", f"wf-{number}", "done") for number in range(30)]
    deeds += [Deed("hire", "one", "wf-30", "failed", error="no quota")]
    first, second = grouped(deeds)
    assert (first.count, len(first.jobs), first.result) == (30, MOST_JOBS, "done")
    assert (second.count, second.error) == (1, "no quota")


def test_failures_that_differ_only_in_the_name_of_the_job_are_one_line():
    """Else a control channel that is away made records as long as the fleet is large."""
    deeds = [
        Deed("order", "one", f"wf-{number}", "failed", error=f"send to wf-{number}: away") for number in range(900)
    ]
    (only,) = grouped(deeds)
    assert (only.count, only.error, len(only.jobs)) == (900, "send to wf-0: away", MOST_JOBS)


def test_a_refused_spec_has_a_record_too():
    made = refusal(4, Failure("InvalidTemplate", "spec.template.command: is empty"))
    assert "spec.template.command: is empty" in "\n".join(words(made))


def test_the_words_are_what_a_person_would_say():
    want = desired(replicas=2, regions=regions(one=5, two=5))
    before = ledger(one=entry(1, filled=1, share=1), two=entry(1, "two", filled=1, share=1))
    world = observed(one=jobs(*running(1)), two=jobs(job(0, region="two", started=50)))
    quiet = of(want, world, before)
    assert words(quiet, passes=14) == [
        "generation 1, decided 12s ago; the same in 14 passes, for 5m",
        "",
        "What was known",
        "  queue    1 task, it waits",
        "  control  ready",
        "  regions where nothing is to be done: 2",
        "",
        "What was decided: 2 wanted",
        "  2 wanted  [rule 8]",
        "",
        "What was done",
        "  nothing: none was needed",
    ]
    assert "  one      1 running" in words(quiet, everything=True)
    deeds = [Deed("hire", "two", f"wf-two-{number}", "done") for number in range(4)]
    busy = of(want, world, before, deeds)
    assert words(busy)[-1] == "  two: 4 hired: wf-two-0, wf-two-1, wf-two-2, …"


@table(
    ("deed", "line"),
    [
        (Deed("hire", "one", "wf-0", "failed", error="no role"), "one: 1 not hired: wf-0 – failed: no role"),
        (Deed("hire", "one", "wf-0", "put_off"), "one: 1 not hired: wf-0 – left for the next pass"),
    ],
)
def test_what_was_not_done_is_not_said_to_be_done(deed, line):
    made = of(desired(replicas=0), observed(one=jobs()), ledger(one=entry(0)), [deed])
    assert words(made)[-1] == f"  {line}"


def test_a_quota_that_gives_a_region_no_nodes_is_told_with_its_numbers():
    world = observed(one=jobs(*running(1), job(1, "Queued")))
    world = replace(world, capacity={"one": Known(ClusterCapacity(9, 2, 1, 0, quota=True), NOW)})
    made = of(desired(replicas=2), world, ledger(one=entry(2, filled=2)))
    assert [fact.text for fact in made.facts if fact.about == "one"] == ["1 running, 1 pending; the quota is used up"]


def test_no_line_of_a_usual_record_is_wider_than_a_terminal():
    before = ledger(one=entry(2, filled=2))
    made = of(desired(replicas=1), observed(one=jobs(*running(2))), before)
    assert max(map(len, words(made, everything=True))) <= 80


def test_ages_are_written_as_kubectl_writes_them():
    assert [age(seconds) for seconds in (-1, 0, 59, 119, 120, 7199, 7200, 90_000, 259_200)] == [
        "0s",
        "0s",
        "59s",
        "119s",
        "2m",
        "119m",
        "2h",
        "1d",
        "3d",
    ]


def test_living_jobs_are_listed_with_what_their_workers_said():
    before = ledger(one=entry(3, filled=3, waves=(wave(1),)))
    world = observed(
        one=jobs(*running(2), job(2, "Completed", started=9, ended=1)), reports={report(0).job: report(0, busy=2)}
    )
    listed = workers(desired(replicas=2), world, before, studio="https://studio")
    first, second = listed.workers
    assert (first.busy_slots, first.drain, second.busy_slots) == (2, None, None)
    assert second.drain is not None
    assert (second.drain.reason, second.drain.id) == ("ScaleDown", "w100")
    assert first.studio.startswith(f"https://studio/runs/{first.name}?wsid=/subscriptions/")
    assert listed.unreadable == ()


def test_jobs_of_a_region_that_cannot_be_read_are_missing_and_it_is_named():
    listed = workers(desired(), observed(one=None), ledger(one=entry(1)), studio="https://studio")
    assert (listed.workers, listed.unreadable) == ((), ("one",))


def test_paused_ones_that_are_resumed_are_told():
    here = jobs(job(0, "Paused"), *running(1, first=1), job(2, "Paused"))
    made = of(desired(replicas=3), observed(one=here), ledger(one=entry(3, filled=3)))
    assert about(made, "one") == ["3 wanted, 3 there: resume 2 of 2 paused ones"]
    assert [fact.text for fact in made.facts if fact.about == "one"] == ["1 running, 2 paused"]


@table(
    ("here", "visible", "spec", "rule"),
    [
        (jobs(job(0, "Completed", started=50, ended=1)), False, {}, 11),
        (jobs(job(0, "Completed", started=50, ended=1)), None, {}, 11),
        (jobs(job(0, "Failed", started=1, ended=0)), True, {}, 6),
        (jobs(), True, {"suspend": "ScaleUpOnly"}, None),
    ],
    ids=["no work is visible", "the queue cannot be read", "jobs fail fast", "hiring is suspended"],
)
def test_who_waits_is_told_with_the_rule_that_makes_it_wait(here, visible, spec, rule):
    known = entry(1 if here.jobs else 0, filled=1 if here.jobs else 0)
    made = of(desired(replicas=1, **spec), observed(visible=visible, one=here), ledger(one=known))
    (step,) = [each for each in made.steps if each.about == "one" and each.text.startswith("1 wanted, 0 there: ")]
    assert step.rule == rule


def test_a_template_in_back_off_is_told_with_its_last_error_and_the_next_trial_wherever_hires_wait_for_it():
    want = desired(replicas=4, regions=regions(one=9, two=9), failurePolicy={"maxConsecutiveFailures": 2})
    failures = [job(number, "Failed", started=2, ended=0, codes=("UserError",)) for number in (0, 1)]
    made = of(want, observed(one=jobs(*failures), two=jobs()), ledger(one=entry(2, filled=2), two=entry(0, "two")))
    (told,) = [step for step in made.steps if step.rule == 6 and step.about == "workforce"]
    assert told.text.startswith(
        "the template: 2 workers in a row failed soon after their start; the next one is tried at "
    )
    assert told.text.endswith("(last error: user error)")
    held = {step.about: step.rule for step in made.steps if step.text.endswith(": the template is in back-off")}
    assert held == {"one": 6, "two": 6}


def test_a_channel_that_is_awaited_and_one_that_is_not_configured_are_told():
    awaited = of(desired(replicas=1), observed(control=None, one=jobs()), ledger(one=entry(0)))
    assert "one: nobody is hired before the control channel is ready once" in about(awaited, "workforce")
    without = of(desired(replicas=1, control=None), observed(one=jobs()), ledger(one=entry(0)))
    assert [fact.text for fact in without.facts if fact.about == "control"] == ["not configured"]


def test_what_has_no_place_is_told_with_the_clusters_that_are_full():
    want = desired(replicas=5, regions=regions(one=9))
    full = {"one": Known(ClusterCapacity(most=2, target=2, running=2, idle=0), NOW)}
    world = replace(observed(one=jobs(*running(2))), capacity=full)
    made = of(want, world, ledger(one=entry(2, filled=2, share=2)))
    assert "3 of them have no place yet: no node is free in one" in about(made, "workforce")


def test_jobs_that_wait_for_a_node_or_are_still_leaving_are_not_as_they_should_be():
    before = ledger(one=entry(3, filled=2, waves=(wave(2),)))
    made = of(desired(replicas=2), observed(one=jobs(job(0, "Queued"), *running(2, first=1))), before)
    assert about(made, "one") == ["2 wanted, 2 there: 1 pending, 1 leaving"]
    assert "  one      1 running, 1 pending, 1 leaving" in words(made)


def test_a_region_where_hiring_has_stopped_says_why_also_if_nobody_is_missing_there():
    stopped = Circuit(5, NOW, NOW + timedelta(seconds=30), "Unavailable", "no answer")
    before = ledger(one=entry(1, filled=1, share=1, circuit=stopped))
    made = of(desired(replicas=1), observed(one=jobs(*running(1))), before)
    assert about(made, "one") == ["1 wanted, 1 there: no answer (one hire is tried at 12:00:30Z)"]


def test_an_order_that_was_sent_before_is_not_told_as_one_that_nobody_needs():
    deeds = [
        Deed("order", "one", "wf-1", "not_needed", why="ScaleDown"),
        Deed("cancel_pending", "one", "wf-2", "not_needed"),
    ]
    made = of(desired(replicas=1), observed(one=jobs(*running(1))), ledger(one=entry(1, filled=1)), deeds)
    assert words(made)[-2:] == [
        "  one: 1 told to leave (ScaleDown): wf-1 – told before",
        "  one: 1 not cancelled while waiting: wf-2 – not needed any more",
    ]


def test_how_many_slots_a_worker_of_another_template_has_is_not_known():
    here = jobs(job(0, started=50), job(1, started=50, template="v1:other"))
    listed = workers(desired(), observed(one=here), ledger(one=entry(2)), studio="https://studio")
    assert [each.slots for each in listed.workers] == [desired().spec.template.slots, None]


def test_a_channel_that_orders_could_not_be_sent_on_is_told_as_its_condition_tells_it():
    want, world = desired(replicas=1), observed(one=jobs(*running(2)))
    made = plan(want, world, ledger(one=entry(2, filled=2)))
    unsent = {"one": Failure("Unavailable", "the bus does not answer")}
    facts = record(want, world, made, (), unsent).facts
    assert ("control", "the bus does not answer", False) in [(fact.about, fact.text, fact.known) for fact in facts]
