"""``workforce local demo``: runs the story, prints the verdict, and fails when a promise was broken."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from workforce_local.console import program
from workforce_local.demo.bench import Bench, DemoError
from workforce_local.demo.narrator import Narrator
from workforce_local.demo.story import Script, Story, tell

_CHECKOUT = Path(__file__).resolve().parents[3]


@click.command("demo")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Path(".workforce/demo"),
    show_default=True,
    help="State folder of the demonstration's own local cloud.",
)
@click.option("--tasks", type=click.IntRange(min=20), default=Script().tasks, show_default=True, help="Tasks to run.")
@click.option("--keep", is_flag=True, help="Leave everything running and say what to try next.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the verdict to this file.")
def demo(*, state_dir: Path, tasks: int, keep: bool, json_file: Path | None) -> None:
    """Tell the whole story on this machine: apply, hire, run tasks, shrink by drain, survive a kill, delete."""
    if not (_CHECKOUT / "helm").is_dir():
        raise click.ClickException("the demo needs the chart and the example: run it from a checkout of the repository")
    narrator = Narrator()
    bench = Bench(state_dir.resolve())
    try:
        bench.begin_anew()
    except DemoError as error:
        narrator.say(f"FAILED: {error}", style="bold red")
        raise SystemExit(1) from error
    kept = False
    story = Story(bench, narrator, _CHECKOUT, Script(tasks=tasks))
    try:
        with narrator.progress("starting Kubernetes and Azure on this machine"):
            bench.up()
        narrator.say("Kubernetes, AzureML, Service Bus and Storage run on this machine")
        verdict = story.run()
        good = tell(verdict, narrator)
        if json_file is not None:
            text = json.dumps({"seconds": round(narrator.elapsed, 1), **verdict.as_dict()}, indent=2)
            json_file.write_text(text + "\n", encoding="utf-8")
        kept = keep
    except DemoError as error:
        narrator.say(f"FAILED: {error}", style="bold red")
        kept = keep
        good = False
    finally:
        if not kept:
            bench.down()
    if kept:
        narrator.say("All of it is still running. Try:")
        narrator.show("\n".join(next_commands(bench.state_dir, story.queue)))
    raise SystemExit(0 if good else 1)


def next_commands(state_dir: Path, queue: str) -> list[str]:
    """What to try with a demonstration that was left running: its example again, with tasks of one's own."""
    command, where = program(), f"--state-dir {shlex.quote(str(state_dir))}"
    return [
        f'eval "$({command} local env {where})"',
        "kubectl apply -f examples/workforce.yaml",
        f"workforce-agent push {queue} -c 'echo hello from a task'",
        "kubectl get wf -w",
        "kubectl describe wf",
        f"{command} local logs azure {where}",
        f"{command} local down {where}",
    ]
