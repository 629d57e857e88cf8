"""`workforce-agent size`, `peek` and `clear`: look at a queue, or empty it."""

from __future__ import annotations

import click

from workforce_agent.cli.common import open_queue, run_async


@click.command()
@click.argument("queue", required=False)
@click.option("--detail", is_flag=True, help="Say visible and in flight apart.")
def size(*, queue: str | None, detail: bool) -> None:
    """Print how many tasks QUEUE (ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE) holds, those that workers have included."""

    async def work() -> int:
        async with open_queue(queue) as jobq:
            found = await jobq.size()
        if not detail:
            click.echo(found.total)
        elif found.visible is None:
            click.echo(f"{found.total} in all; how many of them are visible cannot be told")
        else:
            click.echo(f"{found.total} in all, {found.visible} visible, {found.in_flight} in flight or waiting")
        return 0

    run_async(work)


@click.command()
@click.argument("queue", required=False)
@click.option("-n", "count", type=click.IntRange(1, 32), default=1, show_default=True, help="How many tasks.")
@click.option("--json", "as_json", is_flag=True, help="The messages as they are, one per line.")
def peek(*, queue: str | None, count: int, as_json: bool) -> None:
    """Print the next tasks of QUEUE (ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE) without taking them."""

    async def work() -> int:
        async with open_queue(queue) as jobq:
            for looked in await jobq.peek(count):
                if as_json:
                    click.echo(looked.text)
                elif looked.task is None:
                    click.echo(f"no task: {looked.problem}")
                else:
                    task = looked.task
                    command = task.kwargs.get("cmd", "")
                    click.echo(f"{task.id}  retries {task.num_retries}  attempts {looked.attempts}  {command}")
        return 0

    run_async(work)


@click.command()
@click.argument("queue", required=False)
@click.confirmation_option("--yes", prompt="Remove every task?")
def clear(queue: str | None) -> None:
    """Remove every task of QUEUE (ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE). Dead letters stay."""

    async def work() -> int:
        async with open_queue(queue) as jobq:
            await jobq.clear()
        return 0

    run_async(work)
