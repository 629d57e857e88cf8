"""Decides which faults strike, and remembers which did. No input or output, no task; the clock is passed in.

Each fault has a random stream of its own, made of the scenario's seed and the fault's name, and draws from it only for
requests that it might strike. So the n-th such request meets the same fate in every run, whatever else goes on.

Invariant: everything that strikes is in the record, in the order in which it did.
"""

from __future__ import annotations

import fnmatch
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from workforce_local.chaos import faults
from workforce_local.chaos.faults import Fault, RequestFault
from workforce_local.chaos.scenario import Scenario

_KEPT = 20_000


@dataclass(frozen=True)
class Request:
    """What a fault is compared with: one HTTP request; on Service Bus one chunk of bytes, one send, or one token."""

    service: str
    method: str
    path: str
    region: str | None = None


@dataclass(frozen=True)
class Injected:
    """One stroke of one fault."""

    number: int
    at: str
    fault: str
    kind: str
    service: str
    what: str
    detail: str = ""


@dataclass(frozen=True)
class Stroke:
    """A fault that strikes a request, and the latency that was drawn for it."""

    fault: RequestFault
    seconds: float = 0.0


@dataclass
class Rule:
    """A fault that was set: since when, how often it struck, and its randomness."""

    fault: Fault
    seed: int
    since: float
    hits: int = 0
    dice: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"{self.seed}/{self.fault.name}")  # noqa: S311  (chance, not secrets)

    def open(self, now: float) -> bool:
        """Whether it may strike at this time."""
        age = now - self.since - self.fault.after_seconds
        lasting = self.fault.lasting_seconds
        spent = self.fault.times is not None and self.hits >= self.fault.times
        return age >= 0 and (lasting is None or age < lasting) and not spent

    def draw(self, request: Request, now: float) -> Stroke | None:
        """Whether it would strike this request. Draws from its stream only if it might."""
        fault = self.fault
        if not isinstance(fault, RequestFault) or not self.open(now) or not matches(fault, request):
            return None
        if fault.share < 1 and self.dice.random() >= fault.share:
            return None
        return Stroke(fault, latency(fault, self.dice) if isinstance(fault, faults.Latency) else 0.0)


def matches(fault: RequestFault, request: Request) -> bool:
    """Whether a fault is meant for a request."""
    where = fault.where
    return (
        request.service in fault.services
        and (request.service != "serviceBus" or request.method in fault.bus_methods)
        and (where.region is None or where.region.lower() == (request.region or "").lower())
        and (where.method is None or where.method.upper() == request.method.upper())
        and (where.path is None or fnmatch.fnmatchcase(request.path.lower(), where.path.lower()))
        and (not isinstance(fault, faults.StaleList | faults.TruncatedList) or _reads_list(request))
    )


def _reads_list(request: Request) -> bool:
    """Lists are read with GET; the studio's index is asked with POST."""
    return request.method == ("POST" if request.service == "index" else "GET")


def latency(fault: faults.Latency, dice: random.Random) -> float:
    """Draw a latency."""
    mean, spread = fault.seconds, fault.spread
    drawn = mean
    match fault.distribution:
        case "fixed":
            pass
        case "uniform":
            drawn = dice.uniform(mean - spread, mean + spread)
        case "exponential":
            drawn = dice.expovariate(1 / mean) if mean else 0.0
        case "normal":
            drawn = dice.gauss(mean, spread)
        case "lognormal":
            drawn = mean * math.exp(dice.gauss(0, spread))
    return min(max(drawn, 0.0), fault.most_seconds)


class Engine:
    """The faults that are set, and the record of what they did.

    Args:
        clock: Seconds that only grow.
        now: Time of day, for the record.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._clock = clock
        self._now = now
        self._rules: dict[str, Rule] = {}
        self._injected: deque[Injected] = deque(maxlen=_KEPT)
        self._number = 0

    def afflicts(self, service: str) -> bool:
        """Whether a request fault is set that may strike a service, now or later."""
        return any(
            isinstance(rule.fault, RequestFault) and service in rule.fault.services for rule in self._rules.values()
        )

    @property
    def rules(self) -> list[Rule]:
        """The faults that are set, in the order in which they were."""
        return list(self._rules.values())

    def set(self, scenario: Scenario) -> list[Rule]:
        """Add a scenario's faults. One with the name of an earlier one replaces it, and starts anew."""
        added = []
        for fault in scenario.named(set(self._rules)).faults:
            assert fault.name is not None
            self._rules.pop(fault.name, None)
            rule = self._rules[fault.name] = Rule(fault, scenario.seed, self._clock())
            added.append(rule)
        return added

    def remove(self, name: str) -> bool:
        """Take one fault away; False if there is none of that name."""
        return self._rules.pop(name, None) is not None

    def clear(self) -> int:
        """Take all faults away; the record stays. Returns how many there were."""
        number = len(self._rules)
        self._rules.clear()
        return number

    def strike(self, request: Request) -> list[Stroke]:
        """What happens to a request, in the order in which the faults were set; it is recorded."""
        if not self._rules:
            return []
        now = self._clock()
        # Each draws, whatever the others did: its fate depends on the requests alone.
        drawn = [stroke for rule in self._rules.values() if (stroke := rule.draw(request, now)) is not None]
        strokes = together(drawn)
        for stroke in strokes:
            detail = f"{stroke.seconds:.3f} s" if isinstance(stroke.fault, faults.Latency) else ""
            self.record(stroke.fault, request.service, f"{request.method} {request.path}", detail)
        return strokes

    def record(self, fault: Fault, service: str, what: str, detail: str = "") -> None:
        """Note that a fault struck."""
        self._number += 1
        if (rule := self._rules.get(fault.name or "")) is not None and rule.fault is fault:
            rule.hits += 1
        self._injected.append(
            Injected(self._number, self._now().isoformat(), fault.name or "", fault.kind, service, what, detail)
        )

    def injected(self, *, fault: str | None = None, service: str | None = None, after: int = 0) -> list[Injected]:
        """What happened, the oldest first.

        Args:
            fault: Only what the fault of this name or kind did.
            service: Only what happened to this service.
            after: Only what came after the stroke of this number.
        """
        return [
            each
            for each in self._injected
            if each.number > after
            and (fault is None or fault in (each.fault, each.kind))
            and (service is None or service == each.service)
        ]

    def document(self) -> dict[str, Any]:
        """The faults as JSON."""
        now = self._clock()
        return {"faults": [_rule_document(rule, now) for rule in self._rules.values()], "injected": self._number}


def together(drawn: Sequence[Stroke]) -> list[Stroke]:
    """Which of the strokes on one request can happen together: latencies, and one that ends it or those that do not."""
    late = [stroke for stroke in drawn if isinstance(stroke.fault, faults.Latency)]
    ends = [stroke for stroke in drawn if is_final(stroke.fault)]
    others = [stroke for stroke in drawn if stroke not in late and stroke not in ends]
    return [*late, *(ends[:1] or others)]


def is_final(fault: RequestFault) -> bool:
    """Whether the service does not hear of a request that this strikes, so that nothing more can happen to it."""
    return isinstance(
        fault, faults.Throttle | faults.Error | faults.Drop | faults.Silence | faults.Outage | faults.Revoked
    )


def documents(injected: Iterable[Injected]) -> list[dict[str, Any]]:
    """A record as JSON."""
    return [asdict(each) for each in injected]


def _rule_document(rule: Rule, now: float) -> dict[str, Any]:
    fault = rule.fault.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**fault, "seed": rule.seed, "hits": rule.hits, "open": rule.open(now), "age": round(now - rule.since, 3)}
