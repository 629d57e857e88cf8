"""`workforce explain NAME`: the operator's last decision in plain words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from workforce_operator.cli.options import about_one_workforce
from workforce_operator.cli.reach import Target, ask, run
from workforce_operator.domain.explain import Entry, in_words


@click.command()
@about_one_workforce
@click.option("--last", default=1, show_default=True, type=click.IntRange(1, 32), help="So many different decisions.")
@click.option("--all", "everything", is_flag=True, help="Also regions that are as they should be.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format.")
def explain(target: Target, last: int, everything: bool, output: str) -> None:  # noqa: FBT001 - a flag of click
    """Say why the Workforce NAME has the workers that it has: what was known, decided and done."""
    answer = run(ask(target, f"/debug/decisions/{target.namespace}/{target.name}?last={last}"))
    if output == "json":
        click.echo(json.dumps(answer["decisions"], indent=2))
        return
    now = datetime.now(UTC)
    for number, document in enumerate(answer["decisions"]):
        if number:
            click.echo()
        click.echo(f"{target.namespace}/{target.name}: ", nl=False)
        click.echo("\n".join(in_words(Entry.model_validate(document), now, everything=everything)))
