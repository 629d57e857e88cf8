"""`workforce explain NAME`: the operator's last decision in plain words."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from datetime import UTC, datetime

import click

from workforce_operator.cli.options import about_one_workforce
from workforce_operator.cli.reach import Target, ask, run
from workforce_operator.domain.explain import Entry, in_words

_UNBROKEN = "[rule\N{NO-BREAK SPACE}"


@click.command()
@about_one_workforce
@click.option("--last", default=1, show_default=True, type=click.IntRange(1, 32), help="So many different decisions.")
@click.option("--all", "everything", is_flag=True, help="Also regions where nothing is to be done.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Format.")
def explain(target: Target, last: int, everything: bool, output: str) -> None:  # noqa: FBT001 - a flag of click
    """Say why the Workforce NAME has the workers that it has: what was known, decided and done."""
    answer = run(ask(target, f"/debug/decisions/{target.namespace}/{target.name}?last={last}"))
    if output == "json":
        click.echo(json.dumps(answer["decisions"], indent=2))
        return
    now, width = datetime.now(UTC), shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for number, document in enumerate(answer["decisions"]):
        if number:
            click.echo()
        first, *lines = in_words(Entry.model_validate(document), now, everything=everything)
        for line in (f"{target.namespace}/{target.name}: {first}", *lines):
            click.echo(line if width is None else wrapped(line, width))


def wrapped(line: str, width: int) -> str:
    """The line in as many as it takes in a terminal; all but the first stand further in. Names are never broken."""
    if len(line) <= width:
        return line
    text = line.lstrip().replace("[rule ", _UNBROKEN)
    indent = " " * (len(line) - len(text))
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_UNBROKEN, "[rule ")
