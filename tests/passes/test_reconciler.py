"""Whole passes over fakes: the safe order, crashes between any two lines, scaling, deletion, and what is told."""

import pytest

from jobq.control import Operation
from workforce_operator.api.base import FINALIZER
from workforce_operator.domain.errors import Conflict, Denied, Fenced, SpecError, Throttled, Unavailable
from workforce_operator.domain.observed import Phase
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.reconciler import Verdict

KEY = Key("chem", "md")


@pytest.fixture
def op(world):
    return Operator(world)


class Operator:
    """Passes over one Workforce, and what is asked of the world in tests."""

    def __init__(self, world):
        self.world = world
        world.depth.set("acct", "tasks", 10)

    def apply(self, **spec):
        self.world.store.apply(KEY, self.world.spec(**spec))

    async def once(self):
        return await self.world.reconciler.reconcile(KEY)

    async def settle(self, passes=8, *, seconds=5):
        """Passes with time and platform moving on in between; a conflict is tried again, as the loop does."""
        verdict = None
        for _ in range(passes):
            verdict = await self.once()
            if verdict.gone:
                return verdict
            self.world.jobs.settle()
            self.world.clock.advance(seconds)
        return verdict

    async def stored(self):
        return await self.world.store.get(KEY)

    async def status(self):
        return (await self.stored()).status

    async def condition(self, kind):
        (found,) = [each for each in (await self.status()).conditions if each.type == kind]
        return found.status, found.reason

    def live(self):
        return [job for job in self.world.jobs.live() if job.phase is not Phase.ENDING]

    def finish_drained(self):
        """Workers that were told to leave, and not told to stay after all, do so."""
        latest = {}
        for sent in self.world.control.orders:
            latest[sent.job] = sent.order.operation
        for job in self.live():
            if job.phase is Phase.RUNNING and latest.get(job.name) is Operation.GRACEFUL_DOWNSCALE:
                self.world.jobs.set_state(job.name, "Completed")


async def test_an_applied_workforce_becomes_ready_with_its_replicas(op):
    op.apply(replicas=5, regions=("uksouth", "westeurope"))
    await op.settle()
    assert len(op.live()) == 5
    status = await op.status()
    assert (status.desired_replicas, status.running_replicas) == (5, 5)
    assert await op.condition("Ready") == ("True", "AsDesired")


async def test_a_typo_in_control_hires_nobody_and_is_corrected_by_an_edit(op):
    op.world.control.namespaces = {"the-right-one"}
    op.apply(replicas=2)
    await op.settle()
    assert op.world.jobs.jobs == {}
    assert await op.condition("ControlChannelReady") == ("False", "NotFound")
    assert await op.condition("Ready") == ("False", "Degraded")
    status = await op.status()
    assert (status.replicas, status.regions[0].hiring, status.regions[0].reserved) == (0, [], 0)
    corrected = op.world.spec(replicas=2)
    corrected["control"]["serviceBus"]["namespace"] = "the-right-one"
    op.world.store.apply(KEY, corrected)
    await op.settle()
    assert len(op.live()) == 2
    assert await op.condition("Ready") == ("True", "AsDesired")


async def test_a_wrong_compute_is_told_of_its_region_and_not_of_the_template(op):
    wrong = SpecError("compute clustre is not in workspace ws-uksouth", reason="ComputeNotFound")
    op.world.jobs.faults.always_error("hire", wrong)
    op.apply(replicas=2)
    await op.settle(3)
    assert await op.condition("SpecAccepted") == ("True", "Valid")
    assert await op.condition("RegionsHealthy") == ("False", "CircuitOpen")
    assert await op.condition("Ready") == ("False", "Degraded")
    assert "clustre" in (await op.status()).regions[0].message


async def test_a_workforce_with_a_mistyped_workspace_is_deleted_at_once(op):
    op.world.jobs.missing = {"ws-uksouth"}
    op.apply(replicas=2)
    await op.settle(3)
    assert await op.condition("RegionsHealthy") == ("False", "RegionUnreadable")
    op.world.store.delete(KEY)
    assert (await op.once()).gone
    assert "RegionNotFound" in op.world.events.reasons()


async def test_the_finalizer_is_there_before_anything_is_made_in_azure(op):
    op.apply()
    op.world.store.faults.next_error("add_finalizer", Unavailable("api server away"))
    with pytest.raises(Unavailable):
        await op.once()
    assert op.world.jobs.faults.calls == []
    assert op.world.control.faults.calls == []
    await op.once()
    assert FINALIZER in (await op.stored()).finalizers


async def test_names_are_in_the_ledger_before_anybody_is_hired_under_them(op):
    op.apply(replicas=3)
    op.world.store.faults.always_error("write_status", Conflict("edited"))
    with pytest.raises(Conflict):
        await op.once()
    assert op.world.jobs.faults.made("hire") == []
    op.world.store.faults.always_error("write_status", None)
    await op.settle()
    assert len(op.live()) == 3


async def test_a_pass_over_a_settled_workforce_writes_nothing(op):
    op.apply(replicas=3)
    await op.settle(12)
    for faults in (op.world.jobs.faults, op.world.store.faults, op.world.control.faults):
        faults.reset()
    verdict = await op.once()
    assert op.world.jobs.faults.made("hire") == []
    assert op.world.store.faults.made("write_status") == []
    assert op.world.control.faults.made("send") == []
    assert verdict == Verdict(delay=30)


async def test_while_jobs_are_on_their_way_the_next_look_is_soon(op):
    op.apply(replicas=3)
    await op.once()
    verdict = await op.once()
    assert not verdict.failed
    assert verdict.delay <= 5


async def test_what_does_not_move_for_long_is_looked_at_less_often(op):
    op.apply(replicas=3)
    for _ in range(3):
        await op.once()
    op.world.clock.advance(600)
    first, second = await op.once(), await op.once()
    assert (first.delay, second.delay) in {(5, 5), (5, 30), (30, 30)}
    op.world.clock.advance(600)
    await op.once()  # All jobs are listed once more, which the status tells.
    op.world.clock.advance(600)
    assert (await op.once()).delay == 30


@pytest.mark.parametrize("lost", range(1, 20))
async def test_a_hire_whose_answer_was_lost_and_a_restart_make_no_second_job(op, lost):
    op.apply(replicas=20)
    await op.once()
    op.world.jobs.faults.next_error("hire", Unavailable("no answer"), after=True, matches=lambda args: args[2] == lost)
    await op.once()
    op.world.restart()
    await op.settle()
    assert len(op.live()) == 20
    assert len(op.world.jobs.jobs) == 20


@pytest.mark.parametrize("method", ["write_status", "hire"])
@pytest.mark.parametrize("number", range(6))
async def test_a_crash_at_any_write_makes_no_second_job(op, method, number):
    """The process is gone right after the write took effect; another one takes over."""
    op.apply(replicas=7, regions=("uksouth", "westeurope"))
    faults = op.world.jobs.faults if method == "hire" else op.world.store.faults
    seen = []

    def nth(arguments):
        seen.append(arguments)
        return len(seen) == number + 1

    # Fenced goes through everything, like the end of the process.
    faults.next_error(method, Fenced("killed here"), after=True, matches=nth)
    for _ in range(8):
        try:
            await op.once()
        except Fenced:
            op.world.restart()
        op.world.jobs.settle()
        op.world.clock.advance(5)
    assert len(op.live()) == 7
    assert len(op.world.jobs.jobs) == 7


async def test_scaling_down_orders_running_workers_to_leave_and_cancels_none(op):
    op.apply(replicas=5)
    await op.settle()
    op.apply(replicas=2)
    await op.settle(2)
    assert len({sent.job for sent in op.world.control.orders}) == 3
    assert op.world.jobs.faults.made("cancel") == []
    op.finish_drained()
    await op.settle()
    assert len(op.live()) == 2
    assert op.world.jobs.faults.made("cancel") == []
    assert (await op.status()).draining_replicas == 0


async def test_a_restart_in_the_middle_of_a_shrink_drains_nobody_else(op):
    op.apply(replicas=6)
    await op.settle()
    op.apply(replicas=3)
    op.world.control.faults.always_error("send", Unavailable("bus away"))
    await op.once()
    op.world.control.faults.always_error("send", None)
    op.world.restart()
    await op.settle(3)
    chosen = {sent.job for sent in op.world.control.orders}
    assert len(chosen) == 3
    op.world.restart()
    await op.settle(3)
    assert {sent.job for sent in op.world.control.orders} == chosen


async def test_orders_are_not_sent_before_the_ledger_holds_them(op):
    op.apply(replicas=4)
    await op.settle()
    op.apply(replicas=1)
    op.world.store.faults.next_error("write_status", Unavailable("api server away"))
    with pytest.raises(Unavailable):
        await op.once()
    assert op.world.control.orders == []


async def test_scaling_up_takes_drains_back_before_it_hires(op):
    op.apply(replicas=4)
    await op.settle()
    op.apply(replicas=1)
    await op.settle(2)
    op.apply(replicas=4)
    op.world.jobs.faults.reset()
    await op.settle(2)
    told_to_stay = {s.job for s in op.world.control.orders if s.order.operation is Operation.ACCEPT_NEW_TASKS}
    assert len(told_to_stay) == 3
    assert op.world.jobs.faults.made("hire") == []


async def test_a_completed_worker_is_replaced_while_there_is_work(op):
    op.apply(replicas=2)
    await op.settle()
    op.world.clock.advance(1200)
    op.world.jobs.set_state(op.live()[0].name, "Completed")
    await op.settle()
    assert len(op.live()) == 2


async def test_a_completed_worker_is_not_replaced_while_the_queue_is_empty(op):
    op.apply(replicas=2)
    await op.settle()
    op.world.clock.advance(1200)
    op.world.jobs.set_state(op.live()[0].name, "Completed")
    op.world.depth.set("acct", "tasks", 0)
    await op.settle()
    assert len(op.live()) == 1
    assert await op.condition("Ready") == ("True", "Idle")


async def test_a_region_that_cannot_be_read_is_not_hired_in_and_is_told(op):
    op.apply(replicas=4, regions=("uksouth", "westeurope"))
    await op.settle()
    for method in ("list_cohorts", "list_owned", "get"):
        op.world.jobs.faults.always_error(method, Unavailable("region away"))
    op.apply(replicas=8, regions=("uksouth", "westeurope"))
    await op.settle(3)
    assert len(op.world.jobs.jobs) == 4
    assert (await op.condition("RegionsHealthy"))[0] == "False"
    for method in ("list_cohorts", "list_owned", "get"):
        op.world.jobs.faults.always_error(method, None)
    await op.settle()
    assert len(op.live()) == 8


async def test_deletion_drains_and_then_lets_the_object_go(op):
    op.apply(replicas=3)
    await op.settle()
    op.world.store.delete(KEY)
    await op.settle(2)
    assert len({sent.job for sent in op.world.control.orders}) == 3
    assert await op.stored() is not None
    op.finish_drained()
    assert (await op.settle()).gone
    assert await op.stored() is None


async def test_deletion_waits_for_what_a_former_leader_may_have_sent_and_says_so(op):
    op.world.jobs.faults.next_error("hire", Denied("no role", scope="jobs"))
    op.apply(replicas=1)
    await op.once()
    op.world.guard.former_writes = True
    op.world.store.delete(KEY)
    assert not (await op.settle()).gone
    (told,) = [each.message for each in (await op.status()).conditions if each.type == "Progressing"]
    assert told.startswith(
        "being deleted; 0 jobs are left "
        "(uksouth: no job is left, and hires under 1 of the names may still be on their way); ends by "
    )
    op.world.guard.former_writes = False
    assert (await op.settle()).gone


async def test_deletion_with_policy_cancel_cancels_everything(op):
    op.apply(replicas=3, deletionPolicy="Cancel")
    await op.settle()
    op.world.store.delete(KEY)
    assert (await op.settle()).gone
    assert op.world.jobs.live() == []


async def test_deletion_with_policy_orphan_touches_nothing(op):
    op.apply(replicas=3, deletionPolicy="Orphan")
    await op.settle()
    op.world.store.delete(KEY)
    assert (await op.once()).gone
    assert len(op.live()) == 3


async def test_deletion_of_the_definition_leaves_the_jobs(op):
    op.apply(replicas=3)
    await op.settle()
    op.world.store.definition_going = True
    op.world.store.delete(KEY)
    assert (await op.settle()).gone
    assert len(op.live()) == 3


async def test_deletion_ends_at_its_deadline_although_azure_cannot_be_read(op):
    op.apply(replicas=3, deletionDeadlineSeconds=60)
    await op.settle()
    for method in ("list_cohorts", "list_owned", "get"):
        op.world.jobs.faults.always_error(method, Denied("credentials revoked", scope="sub"))
    op.world.store.delete(KEY)
    await op.settle(3)
    assert await op.stored() is not None
    op.world.clock.advance(121)
    assert (await op.settle()).gone
    assert any(event.note.warning for event in op.world.events.events)


async def test_an_object_whose_spec_is_not_readable_any_more_can_be_deleted(op):
    op.apply(replicas=2, deletionPolicy="Cancel")
    await op.settle()
    op.world.store.apply(KEY, {"nonsense": True, "deletionPolicy": "Cancel"})
    op.world.store.delete(KEY)
    assert (await op.settle()).gone
    assert op.world.jobs.live() == []


async def test_a_spec_that_cannot_be_worked_with_is_told_and_changes_nothing(op):
    op.world.store.apply(KEY, {"nonsense": True})
    await op.once()
    assert (await op.condition("SpecAccepted"))[0] == "False"
    assert op.world.jobs.faults.calls == []
    assert (await op.stored()).finalizers == ()


async def test_a_workforce_of_another_installation_is_not_touched(op):
    op.apply(replicas=2)
    await op.settle()
    op.world.restart(installation_id="otherone")
    op.world.jobs.faults.reset()
    op.apply(replicas=5)
    await op.settle(3)
    assert op.world.jobs.faults.calls == []
    assert await op.condition("SpecAccepted") == ("False", "OtherInstallation")


async def test_a_deleted_workforce_of_another_installation_goes_at_its_deadline(op):
    op.apply(replicas=2, deletionDeadlineSeconds=60)
    await op.settle()
    op.world.restart(installation_id="otherone")
    op.world.store.delete(KEY)
    await op.settle(3)
    assert await op.stored() is not None
    op.world.clock.advance(61)
    assert (await op.settle()).gone
    assert len(op.live()) == 2


async def test_a_lost_status_hires_nobody_twice(op):
    op.apply(replicas=4)
    await op.settle()
    op.world.store.lose_status(KEY)
    op.world.restart()
    await op.settle()
    assert len(op.world.jobs.jobs) == 4
    assert (await op.status()).running_replicas == 4


async def test_a_removed_region_is_emptied_and_then_leaves_the_status(op):
    op.apply(replicas=4, regions=("uksouth", "westeurope"))
    await op.settle()
    op.apply(replicas=4, regions=("uksouth",))
    await op.settle(3)
    op.finish_drained()
    await op.settle(10)
    assert [region.name for region in (await op.status()).regions] == ["uksouth"]
    assert {job.name.split("-")[1] for job in op.live()} == {"uksouth"}
    assert len(op.live()) == 4


async def test_a_suspended_workforce_on_hold_is_not_touched(op):
    op.apply(replicas=2)
    await op.settle()
    for faults in (op.world.jobs.faults, op.world.control.faults):
        faults.reset()
    op.apply(replicas=6, suspend="Hold")
    await op.settle(3)
    made = {call.method for call in (*op.world.jobs.faults.calls, *op.world.control.faults.calls)}
    assert made <= {"list_cohorts", "get"}


async def test_secrets_reach_the_jobs_and_not_the_status(op):
    op.world.store.secrets["chem", "s"] = {"k": "hidden"}
    template = op.world.spec()["template"] | {
        "environmentVariables": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    }
    op.apply(replicas=1, template=template)
    await op.settle()
    (stored,) = op.world.jobs.jobs.values()
    assert stored.body["environmentVariables"]["TOKEN"] == "hidden"
    assert "hidden" not in (await op.status()).model_dump_json()


async def test_a_missing_secret_hires_nobody_and_is_told(op):
    template = op.world.spec()["template"] | {
        "environmentVariables": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    }
    op.apply(replicas=1, template=template)
    await op.settle(4)
    assert op.live() == []
    assert (await op.condition("SpecAccepted"))[0] == "False"
    assert "SecretNotFound" in op.world.events.reasons()
    (told,) = [each for each in (await op.status()).conditions if each.type == "Progressing"]
    assert (told.status, told.reason) == ("False", "SpecNotAccepted")
    assert "nobody is hired without the Secret s and its key k" in told.message
    op.world.store.secrets["chem", "s"] = {"k": "now"}
    await op.settle(4)
    assert len(op.live()) == 1


async def test_a_region_with_overrides_hires_by_them_and_under_a_hash_of_its_own(op):
    spec = op.world.spec(replicas=2, regions=("uksouth", "westeurope"))
    spec["regions"][1]["overrides"] = {
        "environment": {"type": "Image", "image": "other:1"},
        "environmentVariables": [{"name": "A", "value": "1"}],
    }
    op.world.store.apply(KEY, spec)
    await op.settle()
    bodies = {stored.body["experimentName"]: stored for stored in op.world.jobs.jobs.values()}
    common, own = bodies["chem-md-uksouth"], bodies["chem-md-westeurope"]
    assert (common.body["environmentId"], own.body["environmentId"]) == ("python:3.11", "other:1")
    assert "A" not in common.body["environmentVariables"]
    assert own.body["environmentVariables"]["A"] == "1"
    assert common.job.template_hash == (await op.status()).template_hash != own.job.template_hash


async def test_workers_are_told_where_to_find_queue_and_control_channel(op):
    op.apply(replicas=1)
    await op.settle()
    (stored,) = op.world.jobs.jobs.values()
    variables = stored.body["environmentVariables"]
    assert variables["JOBQ_STORAGE"] == "acct"
    assert variables["WORKFORCE_CONTROL_TOPIC_NAME"] == "chem-md-uksouth"
    assert variables["WORKFORCE_BACK_CHANNEL_FULLY_QUALIFIED_NAMESPACE"] == "bus.servicebus.windows.net"


async def test_a_throttled_hire_makes_the_next_pass_wait(op):
    op.apply(replicas=2)
    op.world.jobs.faults.always_error("hire", Throttled("later", retry_after=33))
    verdict = await op.once()
    assert verdict.failed
    assert verdict.delay == 33


async def test_a_new_workforce_is_hired_for_in_its_first_pass_and_its_status_is_written_once(op):
    op.apply(replicas=2)
    await op.once()
    assert len(op.live()) == 2
    assert len(op.world.store.faults.made("write_status")) == 1
    assert (await op.condition("Ready"))[:2] == ("False", "Scaling")


async def test_a_ledger_that_announces_no_act_is_written_with_the_rest_of_the_status(op):
    op.apply(replicas=2)
    await op.once()
    op.world.jobs.settle()
    op.world.store.faults.reset()
    await op.once()
    (region,) = (await op.status()).regions
    assert region.hiring == []
    assert region.running == 2
    assert len(op.world.store.faults.made("write_status")) == 1


async def test_a_process_that_does_not_lead_reads_nothing(op):
    op.apply()
    op.world.guard.held = False
    with pytest.raises(Fenced):
        await op.once()
    assert op.world.store.faults.calls == []


async def test_an_object_that_is_gone_is_forgotten(op):
    assert await op.once() == Verdict(gone=True)


async def test_an_object_that_others_keep_after_we_have_finished_is_none_of_our_business(op):
    op.apply()
    await op.settle()
    stored = await op.stored()
    op.world.store._objects[KEY] = type(stored)(
        **{field: getattr(stored, field) for field in stored.__slots__}
        | {"finalizers": ("somebody/else",), "deletion_time": op.world.clock.now()}
    )
    op.world.jobs.faults.reset()
    assert (await op.once()).gone
    assert op.world.jobs.faults.calls == []


async def test_many_hires_take_several_passes_and_none_twice(op):
    """A pass that runs out of time leaves the rest to the next one, which need not read those names."""
    op.apply(replicas=90)
    now = iter(range(10_000))
    op.world.executor._clock = lambda: float(next(now))
    op.world.executor._seconds = 3.0
    for _ in range(40):
        await op.once()
    assert len(op.world.jobs.faults.made("hire")) == 90
    assert len(op.live()) == 90


async def test_a_paused_job_runs_again_and_one_that_used_up_its_time_is_replaced(op):
    op.apply(replicas=2)
    await op.settle()
    first, second = sorted(job.name for job in op.live())
    op.world.jobs.set_state(first, "Paused")
    op.world.jobs.set_state(second, "Paused")
    op.world.jobs.used_up.add(second)
    await op.once()
    assert (await op.status()).paused_replicas == 2
    await op.settle()
    live = {job.name: job.state for job in op.live()}
    assert live[first] == "Running"
    assert second not in live
    assert len(live) == 2
    status = await op.status()
    assert (status.paused_replicas, status.running_replicas) == (0, 2)


async def test_workers_of_ai4s_jobq_whom_no_message_has_reached_for_sure_are_told_by_the_next_pass(op):
    jobq = op.world.spec(replicas=4)
    jobq["control"]["dialect"] = "JobQ"
    op.world.store.apply(KEY, jobq)
    await op.settle()
    op.world.store.apply(KEY, jobq | {"replicas": 2})
    op.world.control.faults.next_error("send_to_any", Denied("no right to send", scope="control"))
    await op.once()
    assert [wave.count for wave in (await op.status()).regions[0].drains] == [1]
    await op.settle(2)
    assert sum(wave.count for wave in (await op.status()).regions[0].drains) == 2
    assert (await op.status()).draining_replicas == 2
