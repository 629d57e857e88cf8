"""Logs of the agent, on standard error: lines for people on a terminal, JSON elsewhere.

Every line carries the worker and, where there is one, the task. Environments, arguments and connection strings are
never logged.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


def configure(*, verbose: int = 0, json: bool | None = None, stream: TextIO | None = None) -> None:
    """Set up logging for this process.

    Args:
        verbose: Above 0 shows debug messages, below 0 hides information.
        json: One JSON object per line; by default where the stream is no terminal.
        stream: Where to, standard error by default.
    """
    target = stream or sys.stderr
    as_json = not target.isatty() if json is None else json
    level = logging.DEBUG if verbose > 0 else logging.WARNING if verbose < 0 else logging.INFO
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    # The SDKs log each retry and each closed link; what matters to people is in our own events.
    logging.basicConfig(level=logging.ERROR, stream=target, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("azure", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL if verbose <= 0 else logging.WARNING)
