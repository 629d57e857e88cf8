"""The program `workforce`: verbs are found, loaded when used, and explained when they cannot be."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from jobq.version import __version__
from tests.support.tables import table
from workforce_operator import extras
from workforce_operator.cli.main import VERBS, workforce


def test_the_version_is_printed() -> None:
    shown = CliRunner().invoke(workforce, ["version"])
    assert (shown.exit_code, shown.output) == (0, f"{__version__}\n")
    assert __version__ in CliRunner().invoke(workforce, ["--version"]).output


def test_an_unknown_verb_is_refused() -> None:
    shown = CliRunner().invoke(workforce, ["no-such-verb"])
    assert shown.exit_code == 2
    assert "No such command 'no-such-verb'" in shown.output


@table("verb", list(VERBS))
def test_every_verb_can_be_loaded_and_has_help(verb: str) -> None:
    assert isinstance(VERBS[verb].load(), click.Command)
    assert CliRunner().invoke(workforce, [verb, "--help"]).exit_code == 0


def test_the_local_cloud_has_its_verbs() -> None:
    shown = CliRunner().invoke(workforce, ["local", "--help"]).output
    listed = {line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()}
    assert {"up", "down", "status", "logs", "env", "demo"} <= listed


def test_help_names_the_remedy_of_a_verb_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "MARKERS", {**extras.MARKERS, "local": ("no_such_module",)})
    shown = " ".join(CliRunner().invoke(workforce, ["--help"]).output.split())
    assert "Not installed; run: pip install 'workforce-operator[local]'" in shown
