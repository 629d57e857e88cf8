"""How a worker is seen from outside: log, progress on a terminal, Prometheus, Application Insights.

All of them live on the events of the log and on samples of the worker, so that task work knows none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from jobq.cloud import Cloud
from workforce_agent import logs
from workforce_agent.sample import Sample
from workforce_agent.telemetry import open_telemetry

if TYPE_CHECKING:
    from workforce_agent.display import Display


class OutsideError(Exception):
    """Something that was asked for cannot be shown. The text says what to change."""


class Outside:
    """What is shown of one worker.

    Attributes:
        read: Says what the worker is doing, once there is one.
        display: The terminal, if there is one.
    """

    def __init__(self) -> None:
        self.read: Callable[[], Sample] | None = None
        self.display: Display | None = None

    def sample(self) -> Sample | None:
        """What the worker is doing; None while there is none."""
        return self.read() if self.read is not None else None

    @property
    def output(self) -> Callable[[bytes], None] | None:
        """Where the output of tasks goes, if not simply to standard output."""
        return self.display.output if self.display is not None and sys.stdout.isatty() else None


@contextmanager
def open_outside(cloud: Cloud, *, verbose: int, metrics_port: int | None) -> Iterator[Outside]:
    """Set up everything that shows the worker.

    Args:
        cloud: Whom to trust.
        verbose: Above 0 shows more, below 0 less and no progress.
        metrics_port: Where to serve metrics.

    Raises:
        OutsideError: The port cannot be used.
    """
    outside = Outside()
    sinks: list[logs.Sink] = []
    with ExitStack() as stack:
        if metrics_port is not None:
            # Imported here, like the others below: nearly no worker needs it.
            from workforce_agent.prometheus import PrometheusMetrics  # noqa: PLC0415 - see above

            metrics = PrometheusMetrics(outside.sample)
            try:
                metrics.serve(metrics_port)
            except OSError as error:
                raise OutsideError(f"metrics cannot be served on port {metrics_port}: {error.strerror}") from error
            stack.callback(metrics.close)
            sinks.append(metrics)
        if (telemetry := open_telemetry(os.environ, cloud, outside.sample)) is not None:
            stack.callback(telemetry.close)
            sinks.append(telemetry)
        if sys.stderr.isatty() and verbose >= 0 and os.environ.get("TERM") != "dumb":
            from workforce_agent.display import Display  # noqa: PLC0415 - see above

            outside.display = Display(outside.sample, sys.stderr)
            outside.display.start()
            stack.callback(outside.display.close)
        logs.configure(verbose=verbose, stream=outside.display, sinks=sinks)
        yield outside
