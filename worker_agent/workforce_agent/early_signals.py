"""Signals that come while a worker is still starting: kept until it can hear them.

It imports for a quarter of a second, and the default of these signals is to end the process: whoever drains a node that
has just started would see a worker that was killed, not one that left.
"""

from __future__ import annotations

import signal

_KEPT = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Not SIGINT: Python raises KeyboardInterrupt for it, so that a start that hangs can be ended."""

_came: list[int] = []


def keep() -> None:
    """Keep the signals that come from now on. What this process starts does not inherit that."""
    for number in _KEPT:
        signal.signal(number, lambda came, _frame: _came.append(came))


def deliver() -> None:
    """Let the handlers that stand by now have what came before them, in its order."""
    came = list(_came)
    _came.clear()
    for number in came:
        signal.raise_signal(number)
