"""The names of what happens to a worker."""

from tests.support.tables import table
from workforce_agent.events import leaving_event, trace_field, trigger_event
from workforce_agent.lifecycle import Mode, State, Trigger, step

CASES = [
    (Trigger.SIGINT, State(), "hard_shutdown_requested"),
    (Trigger.SIGTERM, State(), "soft_shutdown_requested"),
    (Trigger.SIGTERM, State(mode=Mode.RETURNING), "soft_shutdown_requested"),
    (Trigger.SIGUSR2, State(), "soft_shutdown_requested"),
    (Trigger.TIME_LIMIT, State(), "soft_shutdown_requested"),
    (Trigger.PREEMPTION, State(), "soft_shutdown_requested"),
    (Trigger.DRAIN_CHECKPOINT, State(), "soft_shutdown_requested"),
    (Trigger.DRAIN_DEADLINE, State(mode=Mode.FINISHING), "soft_shutdown_requested"),
    (Trigger.TOO_MANY_FAILURES, State(), "soft_shutdown_requested"),
    (Trigger.SIGUSR1, State(), "soft_shutdown_requested_without_cancelling"),
    (Trigger.DRAIN_FINISH, State(), "soft_shutdown_requested_without_cancelling"),
    (Trigger.DO_NOT_ACCEPT, State(), "soft_shutdown_requested_without_cancelling"),
    (Trigger.EVICTION_TIMEOUT, State(mode=Mode.EVICTED), "processor_timeout"),
    (Trigger.PREEMPTION_WITHDRAWN, State(mode=Mode.PREEMPTED), "processor_resuming_work"),
    (Trigger.ACCEPT, State(accepting=False), "processor_resuming_work"),
    (Trigger.QUEUE_EMPTY, State(), "worker_idle"),
    (Trigger.IDLE_TIMEOUT, State(), "worker_idle"),
    (Trigger.SIGUSR1, State(mode=Mode.FINISHING), "trigger_without_effect"),
    (Trigger.PREEMPTION_WITHDRAWN, State(), "trigger_without_effect"),
]


@table(("trigger", "before", "name"), CASES)
def test_what_happens_has_the_ancestors_name_where_it_has_one(trigger, before, name):
    assert trigger_event(trigger, before, step(before, trigger)) == name


def test_every_trigger_has_a_name():
    assert {trigger for trigger, _, _ in CASES} == set(Trigger)


def test_a_person_who_presses_ctrl_c_stops_it_hard():
    assert leaving_event(State(mode=Mode.INTERRUPTED)) == "processor_hard_stop"
    assert leaving_event(State(mode=Mode.FINISHING)) == "processor_not_accepting_tasks"


@table("carried", [None, 7, "", "x" * 129, {"a": 1}])
def test_what_can_be_no_trace_is_in_no_log_line(carried):
    assert trace_field(carried) == {}


def test_a_trace_is_a_field_of_the_event():
    assert trace_field("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").keys() == {"traceparent"}
