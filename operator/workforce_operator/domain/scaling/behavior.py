"""How fast the number of replicas may change: the HorizontalPodAutoscaler's rules, from a history that is given.

The history is what this process has seen. What came before is not known, and the careful side of not knowing is taken:
as long as a window or a period reaches back before the history, the number does not fall for its sake.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from workforce_operator.api.autoscaling import Autoscaling, Policy, ScalingPolicy, ScalingRules, SelectPolicy
from workforce_operator.domain.observed import Reading, ScalingHistory

UP, DOWN = "autoscaling.behavior.scaleUp", "autoscaling.behavior.scaleDown"
WINDOW, POLICIES = "stabilizationWindowSeconds", "policies"

_DEFAULT_WINDOWS = {UP: 0, DOWN: 300}
_DEFAULT_UP = (
    ScalingPolicy(type="Percent", value=100, period_seconds=15),
    ScalingPolicy(type="Replicas", value=4, period_seconds=15),
)
_DEFAULT_DOWN = (ScalingPolicy(type="Percent", value=100, period_seconds=15),)
_NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction's rules, defaults filled in. No policies = no limit."""

    window: timedelta
    select: SelectPolicy
    policies: tuple[ScalingPolicy, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """The rules of both directions."""

    up: Rules
    down: Rules

    @property
    def seconds(self) -> int:
        """How much history the rules need."""
        periods = (policy.period_seconds for each in (self.up, self.down) for policy in each.policies)
        return max(int(self.up.window.total_seconds()), int(self.down.window.total_seconds()), *periods, 0)


@dataclass(frozen=True, slots=True)
class Paced:
    """A number, and the field that held it if one did."""

    number: int
    held_by: str = ""


def pace(autoscaling: Autoscaling) -> Pace:
    """The rules for more and for fewer replicas."""
    up = () if autoscaling.policy is Policy.JOBQ else _DEFAULT_UP
    behavior = autoscaling.behavior
    return Pace(_filled(behavior.scale_up, UP, up), _filled(behavior.scale_down, DOWN, _DEFAULT_DOWN))


def begin(history: ScalingHistory | None, current: int, now: datetime) -> ScalingHistory:
    """The history to decide with: a new one, in which the current number was asked for, after a restart.

    A clock that was set back makes it unknown too.
    """
    if history is None or now < max(time for time, _ in history.proposals):
        return ScalingHistory(now, ((now, current),))
    return history


def stabilized(proposal: int, current: int, history: ScalingHistory, pace: Pace, now: datetime) -> Paced:
    """The proposal, held by the least (for more) and the greatest (for fewer) of what was proposed in the windows."""
    least = min((proposal, *_within(history.proposals, now - pace.up.window)))
    greatest = max((proposal, *_within(history.proposals, now - pace.down.window)))
    number = min(max(current, least), greatest)
    if number == proposal:
        return Paced(number)
    return Paced(number, f"{UP if proposal > number else DOWN}.{WINDOW}")


def limited(wanted: int, current: int, history: ScalingHistory, pace: Pace, now: datetime) -> Paced:
    """The number, held by the policies of its direction."""
    if wanted > current:
        allowed = max(current, _highest(pace.up, current, history, now))
        return Paced(wanted) if wanted <= allowed else Paced(allowed, f"{UP}.{_named(pace.up)}")
    if wanted < current:
        allowed = min(current, _lowest(pace.down, current, history, now))
        return Paced(wanted) if wanted >= allowed else Paced(allowed, f"{DOWN}.{_named(pace.down)}")
    return Paced(wanted)


def remembered(
    history: ScalingHistory, asked: int, *, changed: int, reading: Reading | None, now: datetime, seconds: int
) -> ScalingHistory:
    """The history with this pass in it, less what no window or period of so many seconds reaches any more."""
    proposals = history.proposals
    if proposals[-1][1] == asked:
        proposals = proposals[:-1]
    changes = (*history.changes, (now, changed)) if changed else history.changes
    oldest = now - timedelta(seconds=seconds)
    return replace(
        history,
        proposals=(*((time, number) for time, number in proposals if time > oldest), (now, asked)),
        changes=tuple((time, number) for time, number in changes if time > oldest),
        reading=reading or history.reading,
    )


def _filled(given: ScalingRules, direction: str, default: tuple[ScalingPolicy, ...]) -> Rules:
    window = given.stabilization_window_seconds
    return Rules(
        timedelta(seconds=_DEFAULT_WINDOWS[direction] if window is None else window),
        given.select_policy,
        tuple(given.policies) or default,
    )


def _named(given: Rules) -> str:
    return "selectPolicy" if given.select is SelectPolicy.DISABLED else POLICIES


def _highest(given: Rules, current: int, history: ScalingHistory, now: datetime) -> int:
    if given.select is SelectPolicy.DISABLED:
        return current
    numbers = [_after(policy, _at_start(policy, current, history, now), 1) for policy in given.policies]
    if not numbers:
        return _NO_LIMIT
    return min(numbers) if given.select is SelectPolicy.MIN else max(numbers)


def _lowest(given: Rules, current: int, history: ScalingHistory, now: datetime) -> int:
    if given.select is SelectPolicy.DISABLED:
        return current
    numbers = [
        current
        if now - timedelta(seconds=policy.period_seconds) < history.since
        else _after(policy, _at_start(policy, current, history, now), -1)
        for policy in given.policies
    ]
    return max(numbers) if given.select is SelectPolicy.MIN else min(numbers)


def _at_start(policy: ScalingPolicy, current: int, history: ScalingHistory, now: datetime) -> int:
    """The number at the beginning of the policy's period."""
    return current - sum(_within(history.changes, now - timedelta(seconds=policy.period_seconds)))


def _after(policy: ScalingPolicy, start: int, sign: int) -> int:
    """Where a policy ends that starts there: rounded to the larger number up, to the smaller down."""
    if policy.type == "Replicas":
        return start + sign * policy.value
    base = max(1, start)
    hundredths = base * (100 + sign * policy.value)
    return -(-hundredths // 100) if sign > 0 else max(0, hundredths // 100)


def _within(history: Iterable[tuple[datetime, int]], cutoff: datetime) -> list[int]:
    return [number for time, number in history if time > cutoff]
