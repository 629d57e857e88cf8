"""The option by which verbs of ``workforce local`` find the running local Azure that they ask."""

from __future__ import annotations

from pathlib import Path

import click

from workforce_local.admin import AdminClient, AdminError
from workforce_local.state import HOME_VARIABLE, StateFolder, default_folder


def _client(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> AdminClient:
    try:
        return AdminClient.of(StateFolder.at(value or default_folder()).root / "azure")
    except AdminError as error:
        raise click.ClickException(str(error)) from error


client_option = click.option(
    "--state-dir",
    "client",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_client,
    help=f"State folder; by default ${HOME_VARIABLE}, else .workforce in the current folder.",
)
