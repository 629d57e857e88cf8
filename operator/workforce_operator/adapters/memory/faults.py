"""What all fakes share: a log of calls, and errors that are raised on demand."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from workforce_operator.domain.errors import OperatorError


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a port's method."""

    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fault:
    error: OperatorError
    after: bool
    matches: Callable[[tuple[Any, ...]], bool]


class Faults:
    """Call log and error injection of one fake."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._next: defaultdict[str, deque[_Fault]] = defaultdict(deque)
        self._always: dict[str, _Fault] = {}

    def next_error(
        self,
        method: str,
        error: OperatorError,
        *,
        after: bool = False,
        matches: Callable[[tuple[Any, ...]], bool] = lambda _: True,
    ) -> None:
        """Let the next matching call of a method fail once; queued errors are raised in order.

        Args:
            method: Name of the port's method.
            error: What it raises.
            after: The call takes effect first, and only its answer is lost.
            matches: Picks the call by its positional arguments as they stand in the log.
        """
        self._next[method].append(_Fault(error, after, matches))

    def always_error(self, method: str, error: OperatorError | None) -> None:
        """Let every call of a method fail until this is called with None."""
        if error is None:
            self._always.pop(method, None)
        else:
            self._always[method] = _Fault(error, after=False, matches=lambda _: True)

    def made(self, method: str) -> list[Call]:
        """The calls of one method, in order."""
        return [call for call in self.calls if call.method == method]

    def reset(self) -> None:
        """Forget the log and all errors that were not raised yet; the state of the world stays."""
        self.calls.clear()
        self._next.clear()
        self._always.clear()

    @contextmanager
    def call(self, method: str, *arguments: Any) -> Iterator[None]:
        """Record a call around its effect, raising what was ordered before or after it."""
        self.calls.append(Call(method, arguments))
        fault = self._always.get(method) or self._take(method, arguments)
        if fault is not None and not fault.after:
            raise fault.error
        yield
        if fault is not None:
            raise fault.error

    def _take(self, method: str, arguments: tuple[Any, ...]) -> _Fault | None:
        queue = self._next[method]
        for fault in queue:
            if fault.matches(arguments):
                queue.remove(fault)
                return fault
        return None
