"""``workforce local insights``: prints telemetry that arrived at the local Application Insights."""

from __future__ import annotations

import json

import click

from workforce_local.admin import AdminClient, AdminError
from workforce_local.admin_option import client_option
from workforce_local.insights.envelopes import TABLES


@click.command()
@client_option
@click.option(
    "--type", type=click.Choice([*TABLES.values()]), metavar="TABLE", help=f"One of {', '.join(TABLES.values())}."
)
@click.option("--name", help="Name, or a part of it.")
@click.option("--role", help="Role name of the sender.")
@click.option("--since", help="Time such as 2026-01-31T12:00:00Z.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def insights(client: AdminClient, *, as_json: bool, limit: int, **chosen: str | None) -> None:
    """Print telemetry that arrived, the oldest first."""
    try:
        answer = client.get("insights", limit=limit, **chosen)
    except AdminError as error:
        raise click.ClickException(str(error)) from error
    for item in answer["items"]:
        click.echo(json.dumps(item) if as_json else f"{item['at']} {item['type']} {item['role'] or '-'} {item['name']}")
    if not answer["items"]:
        click.echo("nothing like that arrived yet" if any(chosen.values()) else "nothing arrived yet", err=True)
