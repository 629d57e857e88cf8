"""`python -m workforce_agent` is the command `workforce-agent`."""

from __future__ import annotations

import sys

from workforce_agent import early_signals


def start() -> None:
    """Be the command."""
    if sys.argv[1:2] == ["run"]:
        early_signals.keep()
    from workforce_agent.cli import main  # noqa: PLC0415 - takes time, in which a signal may come

    main()


if __name__ == "__main__":
    start()
