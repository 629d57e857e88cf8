"""The program `workforce`, installed as `kubectl-workforce` too: finds a verb and hands over to it.

It knows the verbs' names and help texts only. A verb's module is imported when the verb is used, so that one command
does not pay for the packages of another, and the base install can list what it lacks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click
from typing_extensions import override

from jobq.version import __version__
from workforce_operator import extras


@dataclass(frozen=True)
class Verb:
    """Where a verb lives and what it needs."""

    target: str
    """``module:attribute`` of a click command."""
    help: str
    extra: str | None = None
    """The extra of the distribution that it needs, if the base install is not enough."""

    @property
    def available(self) -> bool:
        """Whether what it needs is installed."""
        return self.extra is None or extras.installed(self.extra)

    def load(self) -> click.Command:
        """Import the verb."""
        module, _, attribute = self.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


VERBS: Mapping[str, Verb] = {
    "explain": Verb(
        "workforce_operator.cli.explain:explain", "Why a Workforce has the workers that it has.", "operator"
    ),
    "drain": Verb(
        "workforce_operator.cli.drain:drain", "Have one worker finish its tasks and be replaced.", "operator"
    ),
    "workers": Verb("workforce_operator.cli.workers:workers", "The worker jobs of a Workforce.", "operator"),
    "local": Verb(
        "workforce_local.cli:local", "Kubernetes and Azure on this machine: up, run, chaos, demo, down, …", "local"
    ),
    "version": Verb("workforce_operator.cli.main:version", "Print the version."),
}
"""All verbs of the program."""


class Verbs(click.Group):
    """A group whose commands are the verbs of the table above."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs, also of those that lack an extra: the help says what to install."""
        return list(VERBS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb, or end with the line that says which extra it lacks."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        if verb.extra is not None:
            extras.require(verb.extra, f"{ctx.info_name} {cmd_name}")
        return verb.load()

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._help(verb)) for name, verb in VERBS.items()])

    @staticmethod
    def _help(verb: Verb) -> str:
        if verb.available or verb.extra is None:
            return verb.help
        return f"{verb.help} Not installed; run: {extras.remedy(verb.extra)}"


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="workforce")
def workforce() -> None:
    """Run fleets of AzureML worker jobs from Kubernetes."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def main() -> None:
    """Entry point of both console scripts; the help shows the name it was called by."""
    called = Path(sys.argv[0]).name
    workforce(prog_name="kubectl workforce" if called == "kubectl-workforce" else "workforce")
