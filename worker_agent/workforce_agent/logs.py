"""Logs of the agent, on standard error: lines for people on a terminal, JSON elsewhere.

Every line carries the worker and, where there is one, the task. Environments, arguments and connection strings are
never logged. Whoever else wants the events, whatever the level, is a sink.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog
from structlog.typing import EventDict, Processor

Sink = Callable[[Mapping[str, Any]], None]
"""Takes an event with its fields, and its level under `level`."""


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Write a line, or a part of one."""

    def flush(self) -> None:
        """Have it written."""

    def isatty(self) -> bool:
        """Whether people read it."""


def configure(*, verbose: int = 0, stream: Stream | None = None, sinks: Sequence[Sink] = ()) -> None:
    """Set up logging for this process.

    Args:
        verbose: Above 0 shows debug messages, below 0 hides information.
        stream: Where to, standard error by default; one JSON object per line where it is no terminal.
        sinks: Get every event of level information and above too.
    """
    target = stream or sys.stderr
    level = logging.DEBUG if verbose > 0 else logging.WARNING if verbose < 0 else logging.INFO
    stamp: Processor = structlog.processors.TimeStamper(fmt="iso", utc=True)
    rendered: list[Processor] = [structlog.processors.JSONRenderer()]
    if target.isatty():
        stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        rendered = [_for_people, structlog.dev.ConsoleRenderer(pad_event_to=14)]
    told: list[Processor] = [_tell(sinks), _at_least(level)] if sinks else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            *told,
            *rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(min(level, logging.INFO) if sinks else level),
        logger_factory=structlog.PrintLoggerFactory(_Lossy(target)),  # type: ignore[arg-type] # it writes and flushes only
        cache_logger_on_first_use=False,
    )
    # The SDKs log each retry and each closed link; what matters to people is in our own events.
    logging.basicConfig(level=logging.ERROR, stream=target, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("azure", "asyncio", "opentelemetry"):
        logging.getLogger(name).setLevel(logging.CRITICAL if verbose <= 0 else logging.WARNING)


class _Lossy:
    """A stream whose trouble is its own: a full disk, or a reader that has gone, costs lines of the log and no task."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _tell(sinks: Sequence[Sink]) -> Processor:
    def tell(_: object, __: str, event: EventDict) -> EventDict:
        for sink in sinks:
            with suppress(Exception):  # whatever is wrong with telemetry, work goes on
                sink(event)
        return event

    return tell


def _for_people(_: object, __: str, event: EventDict) -> EventDict:
    """Leave out what is the same in each line, and the output that has just been shown."""
    for field in ("queue", "worker_id", "log"):
        event.pop(field, None)
    return event


def _at_least(level: int) -> Processor:
    levels = logging.getLevelNamesMapping()

    def pass_on(_: object, __: str, event: EventDict) -> EventDict:
        if levels[event["level"].upper()] < level:
            raise structlog.DropEvent
        return event

    return pass_on
