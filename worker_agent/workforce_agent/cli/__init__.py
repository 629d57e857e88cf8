"""The command `workforce-agent`. Each verb is imported when it is called, so that `--version` costs nothing."""

from workforce_agent.cli.main import main

__all__ = ["main"]
