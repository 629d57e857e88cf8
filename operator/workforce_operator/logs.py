"""Structured logs: every line carries what it is about (Workforce, region, job), whoever writes it.

structlog writes our own lines; the standard library's (kopf, Azure SDKs, aiohttp) go through the same renderer. What a
line is about travels in context variables that `about` sets for a block of code and for the tasks started within.

Invariants: no secret is logged (values of settings and bodies are not), and a foreign logger's ``extra`` never gets in
unless it is named here: kopf attaches its whole settings object to every record.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUIET = {
    # One INFO line per watch event and per request, respectively.
    "kopf.objects": logging.WARNING,
    # It says that it leaves signals alone and that it stops: both as we want it. Its end is told by our informer.
    "kopf._core.reactor.running": logging.ERROR,
    "kopf._core.engines.activities": logging.WARNING,
    "kopf.activities": logging.WARNING,
    "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
    # Several lines at each attempt to get a token; the adapters tell it in one.
    "azure.identity": logging.ERROR,
    "azure.servicebus": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "urllib3": logging.WARNING,
    # Talks of connections and links that the adapters report in our words, once per change.
    "azure.servicebus._pyamqp": logging.ERROR,
}
"""Foreign loggers and their least level; a lower level of ours does not make them louder."""


def configure(*, style: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Set up logging for the process. Calling it again replaces the former set-up.

    Args:
        style: ``json`` or ``console``.
        level: Name of the least level written.
        stream: Where to.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=["k8s_ref"])],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(style)],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


@contextmanager
def about(**what: str) -> Iterator[None]:
    """Put these fields on every line logged within the block: ``workforce``, ``region``, ``job``."""
    with structlog.contextvars.bound_contextvars(**what):
        yield


def _renderer(style: str) -> list[Processor]:
    if style == "console":
        return [structlog.dev.ConsoleRenderer(colors=False, event_key="event", timestamp_key="time")]
    return [
        structlog.processors.format_exc_info,
        _flatten_reference,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(default=str),
    ]


def _flatten_reference(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Turn kopf's reference to an object into our one field."""
    reference = event.pop("k8s_ref", None)
    if isinstance(reference, dict) and "workforce" not in event:
        event["workforce"] = f"{reference.get('namespace')}/{reference.get('name')}"
    return event
