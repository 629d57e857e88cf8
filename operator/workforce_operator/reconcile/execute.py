"""Carries out a plan's actions: lay-offs, then resumes, then hires; each action once, each failure kept to itself.

It decides nothing. The first resume or hire of a region goes out alone, then many at a time, and none after a failure:
a region without quota is asked once, not a thousand times. Only where a hire like it was accepted lately, all go at
once. A service that asks for a short pause has not failed. Whatever is not begun when the time is up is left to the
next pass, which sees the world anew.

Invariants: an order is confirmed before its job is cancelled, and the job is read in between and cancelled only if it
still waits; one process never sends the same message id twice; nothing here sleeps to see its own writes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from jobq.control import Operation
from workforce_operator.api.spec import Control
from workforce_operator.domain.actions import Action, Cancel, CancelPending, Hire, Resume, SendOrder, SendToAny
from workforce_operator.domain.desired import control_of
from workforce_operator.domain.errors import Denied, Fenced, Missing, OperatorError, Throttled, Unavailable, request_of
from workforce_operator.domain.observed import Phase
from workforce_operator.ports.azure import ControlChannel, JobBody, WorkerJobs, Workplace
from workforce_operator.reconcile.accepted import Accepted
from workforce_operator.reconcile.observe import Absences
from workforce_operator.reconcile.telemetry import ActionKind, ActionResult, Telemetry
from workforce_operator.reconcile.together import together

log = structlog.stdlib.get_logger(__name__)

LAY_OFFS_AT_ONCE = 16
HIRES_AT_ONCE = 200
"""Hires of one region under way after the first: ARM's whole burst, so that a PUT's 2-4 s are hidden."""

SHORT_PAUSE_SECONDS = 5.0
"""A pause that the service asks for is waited out up to this long, once for each resume or hire."""

BEGIN_SECONDS = 30.0
"""Nothing is begun later than this into the execution, so that an edit is never far from being seen."""

REMEMBERED_MESSAGES = 50_000
"""Message ids kept in memory. A forgotten one is sent again, which the receiver's duplicate detection swallows."""

TIME_USED_UP = "TimeUsedUp"
"""Why a paused job is cancelled that a virtual cluster grants no more time."""

RESUMED_SECONDS = 60.0
"""A resume that the service has taken is not asked for again so soon: lists may go on showing the job as paused."""

_LayOff = SendOrder | SendToAny | CancelPending | Cancel

_WAITING = frozenset({Phase.PENDING, Phase.PAUSED})


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done for one Workforce.

    Attributes:
        installation_id: Whose queues the orders go to.
        places: By region name.
        control: The control channel of ``spec.control``, or None; regions may have another.
        body: Gives the job of a region, resolved at the first hire there.
        outdated: Whether the Workforce has changed since: then no further hire is begun.
    """

    actions: Sequence[Action]
    installation_id: str
    places: Mapping[str, Workplace]
    control: Control | None
    body: Callable[[Workplace], Awaitable[JobBody]]
    outdated: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Done:
    """What came of one action.

    Attributes:
        action: What was done. It is another one than was asked for where a job could not be resumed any more: that
            one is cancelled.
        error: Set exactly if the result is FAILED.
        of_control: The order could not be sent; otherwise it was the region that failed.
    """

    action: Action
    result: ActionResult
    error: OperatorError | None = None
    of_control: bool = False


class Executor:
    """Executes plans; one for all Workforces, because it remembers what this process has sent."""

    def __init__(
        self,
        *,
        jobs: WorkerJobs,
        control: ControlChannel,
        telemetry: Telemetry,
        absences: Absences,
        begin_seconds: float = BEGIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._control, self._telemetry, self._absences = jobs, control, telemetry, absences
        self._seconds, self._clock = begin_seconds, clock
        self._accepted = Accepted(clock)
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._resumed: OrderedDict[str, float] = OrderedDict()

    async def execute(self, work: Work) -> list[Done]:
        """Execute all actions. Raises only `Fenced`: every other failure is in what is returned."""
        deadline = self._clock() + self._seconds
        done = await self._lay_off(work, deadline)
        for kind in (Resume, Hire):
            done += await self._at_once(work, kind, deadline)
        for each in done:
            self._telemetry.acted(kind_of(each.action), each.result)
        return done

    async def _lay_off(self, work: Work, deadline: float) -> list[Done]:
        # Several actions on one job keep their order; different jobs wait for nobody, and those of one control channel
        # not for another one, which may say nothing at all.
        by_channel: dict[Control | None, dict[tuple[str, str], list[_LayOff]]] = {}
        for action in work.actions:
            if not isinstance(action, Hire | Resume):
                control = control_of(work.control, work.places[action.region].coordinates)
                by_job = by_channel.setdefault(control, {})
                by_job.setdefault((action.region, action.job), []).append(action)

        async def one_job(actions: list[_LayOff]) -> list[Done]:
            if self._clock() > deadline:
                return [Done(action, ActionResult.PUT_OFF) for action in actions]
            return [await self._attempt(work, action) for action in actions]

        channels = await together(
            together((one_job(actions) for actions in by_job.values()), at_once=LAY_OFFS_AT_ONCE)
            for by_job in by_channel.values()
        )
        return [each for groups in channels for group in groups for each in group]

    async def _at_once(self, work: Work, kind: type[Hire | Resume], deadline: float) -> list[Done]:
        by_region: dict[str, list[Hire | Resume]] = {}
        for action in work.actions:
            if isinstance(action, kind):
                by_region.setdefault(action.region, []).append(action)
        regions = await together(self._in_region(work, actions, deadline) for actions in by_region.values())
        return [each for region in regions for each in region]

    async def _in_region(self, work: Work, actions: list[Hire | Resume], deadline: float) -> list[Done]:
        """Resume or hire in one region: one, and if that worked the others at the same time, until one fails."""
        waiting, done, failed = deque(actions), list[Done](), False

        def over() -> bool:
            return failed or work.outdated() or self._clock() > deadline

        async def lane(most: int) -> None:
            nonlocal failed
            for _ in range(most):
                if not waiting or over():
                    return
                action = waiting.popleft()
                one = await self._attempt(work, action)
                if isinstance(one.error, Throttled) and one.error.retry_after <= SHORT_PAUSE_SECONDS:
                    await asyncio.sleep(one.error.retry_after)
                    one = one if over() else await self._attempt(work, action)
                done.append(one)
                if one.result is ActionResult.FAILED:
                    failed = True

        if not await self._accepts(work, actions[0]):
            await lane(1)
        await together(lane(len(actions)) for _ in range(min(HIRES_AT_ONCE, len(waiting))))
        for action in waiting:
            if isinstance(action, Hire):
                # Its name is reserved and nothing was sent under it: the next pass need not ask whether it exists.
                self._absences.note(work.places[action.region].prefix, action.sequence)
        return done + [Done(action, ActionResult.PUT_OFF) for action in waiting]

    async def _accepts(self, work: Work, action: Hire | Resume) -> bool:
        """Whether the region has lately taken a hire like this one."""
        if isinstance(action, Resume):
            return False
        place = work.places[action.region]
        try:
            body = await work.body(place)
        except Fenced:
            raise
        except OperatorError:
            return False  # The attempt will tell.
        return self._accepted.lately(place.coordinates, body.template_hash)

    async def _attempt(self, work: Work, action: Action) -> Done:
        ordering = True
        with structlog.contextvars.bound_contextvars(region=action.region, job=action.job):
            try:
                done = Done(action, await self._order(work, action))
                ordering = False
                if not isinstance(action, SendOrder | SendToAny):
                    done = await self._act(work, action)
            except Fenced:
                raise
            except OperatorError as error:
                log.warning("an action failed", action=kind_of(action).value, reason=str(error), **request_of(error))
                return Done(action, ActionResult.FAILED, error, of_control=ordering)
            if done.result is ActionResult.DONE:
                log.info(_TOLD[kind_of(done.action)], **_details(done.action))
            return done

    async def _order(self, work: Work, action: Action) -> ActionResult:
        """Send the order that the action is, or that comes before it."""
        if isinstance(action, SendToAny):
            topic = work.places[action.region].coordinates.topic
            await self._control.send_to_any(_channel(work, action.region), topic, action.order, action.message_id)
            return ActionResult.DONE
        order = action if isinstance(action, SendOrder) else action.order if isinstance(action, CancelPending) else None
        return ActionResult.NOT_NEEDED if order is None else await self._send(work, order)

    async def _act(self, work: Work, action: Hire | CancelPending | Cancel | Resume) -> Done:
        place = work.places[action.region]
        match action:
            case Hire():
                return Done(action, await self._hire_one(work, place, action))
            case CancelPending():
                return Done(action, await self._cancel_if_waiting(place, action.job))
            case Cancel():
                await self._jobs.cancel(place, action.job)
                return Done(action, ActionResult.DONE)
            case Resume():
                return await self._resume(place, action)

    async def _resume(self, place: Workplace, action: Resume) -> Done:
        if self._resumed.get(action.job, -RESUMED_SECONDS) > self._clock() - RESUMED_SECONDS:
            return Done(action, ActionResult.NOT_NEEDED)
        if not await self._jobs.resume(place, action.job):
            await self._jobs.cancel(place, action.job)
            return Done(CancelPending(action.region, action.job, order=None, reason=TIME_USED_UP), ActionResult.DONE)
        self._resumed[action.job] = self._clock()
        while len(self._resumed) > REMEMBERED_MESSAGES:
            self._resumed.popitem(last=False)
        return Done(action, ActionResult.DONE)

    async def _hire_one(self, work: Work, place: Workplace, action: Hire) -> ActionResult:
        body = await work.body(place)
        self._absences.sending(place.prefix, action.sequence)
        try:
            await self._jobs.hire(place, action.job, action.sequence, body)
        except OperatorError as error:
            self._accepted.forget(place.coordinates, body.template_hash)
            if not isinstance(error, Unavailable):
                self._absences.answered(place.prefix, action.sequence)
            raise
        self._absences.answered(place.prefix, action.sequence)
        self._accepted.note(place.coordinates, body.template_hash)
        return ActionResult.DONE

    async def _send(self, work: Work, action: SendOrder) -> ActionResult:
        control = _channel(work, action.region)
        key = (control.service_bus.namespace, action.message_id)
        if key in self._sent:
            return ActionResult.NOT_NEEDED
        await self._control.send(control, work.installation_id, action.job, action.order, action.message_id)
        self._sent[key] = None
        while len(self._sent) > REMEMBERED_MESSAGES:
            self._sent.popitem(last=False)
        return ActionResult.DONE

    async def _cancel_if_waiting(self, place: Workplace, name: str) -> ActionResult:
        job = await self._jobs.get(place, name)
        if job is None or job.phase not in _WAITING:
            # It has started: the order reaches it before its first task. Or it has ended.
            return ActionResult.NOT_NEEDED
        await self._jobs.cancel(place, name)
        return ActionResult.DONE


def _channel(work: Work, region: str) -> Control:
    control = control_of(work.control, work.places[region].coordinates)
    if control is None:
        raise Unavailable("there is no control channel to send the order to")
    return control


class OncePerRegion:
    """Gives each region's body, resolved once however many hires ask at the same time; a failure is told to all."""

    def __init__(self, resolve: Callable[[Workplace], Awaitable[JobBody]]) -> None:
        self._resolve = resolve
        self._locks: dict[str, asyncio.Lock] = {}
        self._bodies: dict[str, JobBody | OperatorError] = {}

    async def __call__(self, place: Workplace) -> JobBody:
        """The region's body. Raises what resolving raised."""
        async with self._locks.setdefault(place.region, asyncio.Lock()):
            if place.region not in self._bodies:
                try:
                    self._bodies[place.region] = await self._resolve(place)
                except OperatorError as error:
                    self._bodies[place.region] = error
        body = self._bodies[place.region]
        if isinstance(body, OperatorError):
            raise body
        return body


def kind_of(action: Action) -> ActionKind:
    """What an action is counted as."""
    match action:
        case Hire():
            return ActionKind.HIRE
        case SendOrder():
            taken_back = action.said.operation is Operation.ACCEPT_NEW_TASKS
            return ActionKind.RECALL if taken_back else ActionKind.ORDER
        case SendToAny():
            return ActionKind.ORDER
        case CancelPending():
            return ActionKind.CANCEL_PENDING
        case Cancel():
            return ActionKind.CANCEL
        case Resume():
            return ActionKind.RESUME


def surely_unsent(done: Sequence[Done]) -> dict[tuple[str, str], int]:
    """Messages for whichever worker takes them that were not sent, beyond doubt: how many by region and wave."""
    unsent: dict[tuple[str, str], int] = {}
    for each in done:
        certain = each.result is ActionResult.PUT_OFF or isinstance(each.error, Denied | Missing | Throttled)
        if isinstance(each.action, SendToAny) and certain:
            key = (each.action.region, each.action.wave)
            unsent[key] = unsent.get(key, 0) + 1
    return unsent


def retry_after(done: Sequence[Done]) -> float:
    """The longest pause that a service asked for, in seconds."""
    return max((each.error.retry_after for each in done if isinstance(each.error, Throttled)), default=0.0)


_TOLD = {
    ActionKind.HIRE: "hired",
    ActionKind.ORDER: "told to leave",
    ActionKind.RECALL: "told to stay",
    ActionKind.CANCEL_PENDING: "cancelled while it waited",
    ActionKind.CANCEL: "cancelled",
    ActionKind.RESUME: "resumed",
}


def _details(action: Action) -> dict[str, object]:
    match action:
        case SendOrder():
            return {"order": action.message_id, "revision": action.said.revision}
        case SendToAny():
            return {"order": action.message_id}
        case CancelPending() | Cancel():
            return {"reason": action.reason}
        case Hire() | Resume():
            return {}
