"""`workforce workers NAME`: the living worker jobs, a line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from workforce_operator.cli.options import about_one_workforce
from workforce_operator.cli.reach import Target, ask, run
from workforce_operator.domain.explain import age
from workforce_operator.domain.recovery import FRESH
from workforce_operator.domain.workers import Worker, Workers

HEADER = ("NAME", "REGION", "STATE", "AGE", "BUSY", "DRAIN")


@click.command()
@about_one_workforce
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json"]),
    default="text",
    show_default=True,
    help="Format; wide has the links to the studio.",
)
def workers(target: Target, output: str) -> None:
    """List the living worker jobs of the Workforce NAME, as the operator's last pass read them."""
    answer = run(ask(target, f"/debug/workers/{target.namespace}/{target.name}"))
    if output == "json":
        click.echo(json.dumps(answer, indent=2))
        return
    listed = Workers.model_validate(answer)
    rows = [_row(worker, datetime.now(UTC), wide=output == "wide") for worker in listed.workers]
    header = (*HEADER, "STUDIO") if output == "wide" else HEADER
    click.echo("\n".join(table([header, *rows]) if rows else ["no worker jobs"]))
    if listed.unreadable:
        click.echo(f"could not be read, so their jobs are missing here: {', '.join(listed.unreadable)}", err=True)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns as kubectl prints them, but closer: a drain, too, is to fit into 80."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(worker: Worker, now: datetime, *, wide: bool) -> tuple[str, ...]:
    cells = (
        worker.name,
        worker.region,
        worker.state,
        age((now - worker.created_time).total_seconds()) if worker.created_time else "?",
        _busy(worker, now),
        f"{worker.drain.reason} {age((now - worker.drain.sent_time).total_seconds())}" if worker.drain else "",
    )
    return (*cells, worker.studio) if wide else cells


def _busy(worker: Worker, now: datetime) -> str:
    """Busy slots of all, and how old the report is if a worker that reports would have sent another one since."""
    slots = "/".join("?" if number is None else str(number) for number in (worker.busy_slots, worker.slots))
    told = worker.reported_time
    return f"{slots} {age((now - told).total_seconds())}" if told is not None and now - told > FRESH else slots
