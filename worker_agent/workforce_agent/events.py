"""The names of what happens to a worker, in its logs and its telemetry. Pure.

Where the ancestor has a name for it, that name is used, so that queries and dashboards made for its logs go on working.
"""

from __future__ import annotations

from workforce_agent.lifecycle import Mode, State, Step, Trigger

TASK_ENDS = frozenset({"task_success", "task_failure", "task_canceled", "task_lock_lost"})
"""Events that end the run of a task; they carry `task_id` and `duration_s`."""

DRAIN_END = "drain_finished"
"""The event that ends a drain; it carries `order` and `duration_s`."""

TRACE_FIELD = "traceparent"
"""The field of events, orders and task messages that says which trace they belong to, as in W3C Trace Context."""
_TRACE_LIMIT = 128
"""More than twice the length of what there is today; what is longer is no trace, and not for every log line."""

_HARD = frozenset({Trigger.SIGINT})
_FINISH = frozenset({Trigger.DRAIN_FINISH, Trigger.SIGUSR1, Trigger.DO_NOT_ACCEPT})
_STOP = frozenset(
    {
        Trigger.DRAIN_CHECKPOINT,
        Trigger.DRAIN_DEADLINE,
        Trigger.SIGTERM,
        Trigger.SIGUSR2,
        Trigger.TIME_LIMIT,
        Trigger.PREEMPTION,
        Trigger.TOO_MANY_FAILURES,
    }
)


def trace_field(carried: object) -> dict[str, str]:
    """The field of an event, by what its order or task carries; none if that can be no trace."""
    return {TRACE_FIELD: carried} if isinstance(carried, str) and 0 < len(carried) <= _TRACE_LIMIT else {}


def trigger_event(trigger: Trigger, before: State, answer: Step) -> str:
    """The name of a trigger's event, given what it made of the worker."""
    if answer == Step(before):
        return "trigger_without_effect"
    if trigger in _HARD:
        return "hard_shutdown_requested"
    if trigger in _FINISH:
        return "soft_shutdown_requested_without_cancelling"
    if trigger in _STOP:
        return "soft_shutdown_requested"
    if trigger is Trigger.EVICTION_TIMEOUT:
        return "processor_timeout"
    if answer.state.pulls:
        return "processor_resuming_work"
    return "worker_idle"


def leaving_event(state: State) -> str:
    """The name of the moment when a worker that leaves has no task left."""
    return "processor_hard_stop" if state.mode is Mode.INTERRUPTED else "processor_not_accepting_tasks"
