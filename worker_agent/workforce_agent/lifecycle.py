"""What a worker is up to, and what each trigger makes of it: the table "Signals to a worker process" as a function.

Pure: no clock, no signals, no processes. The supervisor turns what happens into triggers, asks `step`, and does what
the answer says. Whether new tasks are accepted is kept apart from the mode, because both change independently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Mode(StrEnum):
    """What the worker is up to."""

    WORKING = "working"
    """Pulls tasks and runs them."""
    FINISHING = "finishing"
    """Pulls nothing more, completes what it runs, then exits."""
    RETURNING = "returning"
    """Running tasks were told to checkpoint; what did not complete goes back; then it exits."""
    EVICTED = "evicted"
    """As returning, but it stays until the platform kills it, or resumes if the platform does not."""
    PREEMPTED = "preempted"
    """As evicted, because Azure has announced that it takes the machine; it resumes if Azure withdraws that."""
    INTERRUPTED = "interrupted"
    """A person pressed Ctrl-C: tasks go back, then it exits."""


class Trigger(StrEnum):
    """What can happen to a worker."""

    DRAIN_FINISH = "drain-finish"
    DRAIN_CHECKPOINT = "drain-checkpoint"
    DO_NOT_ACCEPT = "do-not-accept-new-tasks"
    ACCEPT = "accept-new-tasks"
    DRAIN_DEADLINE = "drain-deadline"
    SIGTERM = "sigterm"
    SIGINT = "sigint"
    SIGUSR1 = "sigusr1"
    SIGUSR2 = "sigusr2"
    TIME_LIMIT = "time-limit"
    EVICTION_TIMEOUT = "eviction-timeout"
    PREEMPTION = "preemption"
    PREEMPTION_WITHDRAWN = "preemption-withdrawn"
    TOO_MANY_FAILURES = "too-many-failures"
    QUEUE_EMPTY = "queue-empty"
    IDLE_TIMEOUT = "idle-timeout"


class Stop(StrEnum):
    """What to do to running tasks now."""

    NOTHING = "nothing"
    TERMINATE = "terminate"
    """SIGTERM, then SIGKILL after the kill timeout."""
    HURRY = "hurry"
    """SIGTERM again, and SIGKILL after a short grace."""
    KILL = "kill"
    """SIGKILL now."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a worker is.

    Attributes:
        mode: What it is up to.
        accepting: False after `do-not-accept-new-tasks`; kept while the mode changes.
        why: The trigger that brought it here, None at the start.
        exit_code: What the process will end with.
    """

    mode: Mode = Mode.WORKING
    accepting: bool = True
    why: Trigger | None = None
    exit_code: int = 0

    @property
    def pulls(self) -> bool:
        """Whether new tasks are taken."""
        return self.mode is Mode.WORKING and self.accepting

    @property
    def leaves_when_idle(self) -> bool:
        """Whether the process ends once no task is left."""
        return self.mode in _LEAVING

    @property
    def is_braced(self) -> bool:
        """Whether the process stays for the platform to kill it."""
        return self.mode in _BRACED


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to a trigger: the next state, and what to do to running tasks."""

    state: State
    stop: Stop = Stop.NOTHING


_LEAVING = frozenset({Mode.FINISHING, Mode.RETURNING, Mode.INTERRUPTED})
_BRACED = frozenset({Mode.EVICTED, Mode.PREEMPTED})
"""Modes in which tasks were told to checkpoint, and the process stays for what will happen to it."""

_FINISH = frozenset({Trigger.DRAIN_FINISH, Trigger.SIGUSR1, Trigger.QUEUE_EMPTY, Trigger.IDLE_TIMEOUT})
_CHECKPOINT = frozenset(
    {
        Trigger.DRAIN_CHECKPOINT,
        Trigger.SIGUSR2,
        Trigger.TIME_LIMIT,
        Trigger.DRAIN_DEADLINE,
        Trigger.TOO_MANY_FAILURES,
    }
)
_AGAIN = frozenset({Trigger.SIGUSR2, Trigger.DRAIN_CHECKPOINT})
"""Triggers that mean "faster" when they come a second time; the others happen once or repeat themselves."""


_OVER = {Trigger.EVICTION_TIMEOUT: Mode.EVICTED, Trigger.PREEMPTION_WITHDRAWN: Mode.PREEMPTED}
"""What did not happen after all, and the mode that ends with it."""


def step(state: State, trigger: Trigger) -> Step:
    """The next state, and what to do to running tasks."""
    if trigger is Trigger.DO_NOT_ACCEPT:
        return Step(replace(state, accepting=False))
    if trigger is Trigger.ACCEPT:
        return _accept(state)
    if trigger in _OVER:
        return Step(replace(state, mode=Mode.WORKING, why=trigger) if state.mode is _OVER[trigger] else state)
    if trigger is Trigger.PREEMPTION:
        return _preempt(state)
    if trigger is Trigger.SIGINT:
        return _interrupt(state)
    if trigger is Trigger.SIGTERM:
        return _evict(state)
    if trigger in _FINISH:
        return _finish(state, trigger)
    assert trigger in _CHECKPOINT  # every trigger is in one of the groups; a test goes through all cells
    return _checkpoint(state, trigger)


def _accept(state: State) -> Step:
    taken_back = state.mode is Mode.FINISHING
    mode = Mode.WORKING if taken_back else state.mode
    return Step(replace(state, mode=mode, accepting=True, why=Trigger.ACCEPT if taken_back else state.why))


def _finish(state: State, trigger: Trigger) -> Step:
    if state.mode is Mode.WORKING:
        return Step(replace(state, mode=Mode.FINISHING, why=trigger))
    if state.mode in _BRACED:
        # Its tasks are on their way back already: with nothing left to finish, it leaves.
        return Step(replace(state, mode=Mode.RETURNING, why=trigger))
    return Step(state)


def _checkpoint(state: State, trigger: Trigger) -> Step:
    exit_code = 1 if trigger is Trigger.TOO_MANY_FAILURES else state.exit_code
    if state.mode is Mode.INTERRUPTED:
        return Step(replace(state, exit_code=exit_code))
    if state.mode is Mode.RETURNING and trigger in _AGAIN and state.why is trigger:
        return Step(state, Stop.HURRY)
    if state.mode is Mode.RETURNING:
        return Step(replace(state, exit_code=exit_code))
    stop = Stop.NOTHING if state.mode in _BRACED else Stop.TERMINATE
    return Step(replace(state, mode=Mode.RETURNING, why=trigger, exit_code=exit_code), stop)


def _evict(state: State) -> Step:
    if state.mode is Mode.WORKING:
        return Step(replace(state, mode=Mode.EVICTED, why=Trigger.SIGTERM), Stop.TERMINATE)
    if state.mode is Mode.FINISHING:
        return Step(replace(state, mode=Mode.RETURNING, why=Trigger.SIGTERM), Stop.TERMINATE)
    if state.mode is Mode.PREEMPTED:
        # The notice comes true: from now on only the platform's silence ends this.
        return Step(replace(state, mode=Mode.EVICTED, why=Trigger.SIGTERM), Stop.HURRY)
    return Step(state, Stop.HURRY)


def _preempt(state: State) -> Step:
    if state.mode is Mode.WORKING:
        return Step(replace(state, mode=Mode.PREEMPTED, why=Trigger.PREEMPTION), Stop.TERMINATE)
    if state.mode is Mode.FINISHING:
        return Step(replace(state, mode=Mode.RETURNING, why=Trigger.PREEMPTION), Stop.TERMINATE)
    if state.mode is Mode.EVICTED:
        # Now there is something to wait for that says when it is over.
        return Step(replace(state, mode=Mode.PREEMPTED, why=Trigger.PREEMPTION))
    return Step(state)


def _interrupt(state: State) -> Step:
    if state.mode is Mode.INTERRUPTED:
        return Step(state, Stop.KILL)
    return Step(replace(state, mode=Mode.INTERRUPTED, why=Trigger.SIGINT), Stop.TERMINATE)
