"""``workforce local chaos``: sets, shows and takes away faults of a local cloud that runs.

Talks to ``/_local/chaos``. Exit codes: 0 done, 1 refused or not running, 2 wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click
import yaml
from typing_extensions import override

from workforce_local.admin import AdminClient, AdminError
from workforce_local.admin_option import client_option
from workforce_local.chaos.faults import Service
from workforce_local.chaos.scenario import ScenarioError, dump, kinds, load, read
from workforce_local.console import table

_STRUCK = (*get_args(Service), "nodes", "clusters")
"""What a record of faults can be about."""


class _Said(click.Group):
    """Turns what the local Azure refuses into messages."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except (AdminError, ScenarioError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Said)
def chaos() -> None:
    """Make services of the local Azure fail, on demand and by a seed."""


@chaos.command()
@client_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", type=int, help="Another seed than the file's.")
def apply(client: AdminClient, file: Path, seed: int | None) -> None:
    """Set the faults of a scenario FILE (YAML or JSON)."""
    document = dump(load(file))
    _set(client, document if seed is None else {**document, "seed": seed})


@chaos.command()
@client_option
@click.argument("kind", type=click.Choice(sorted(kinds())))
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--seed", type=int, default=0)
def add(client: AdminClient, kind: str, fields: Sequence[str], seed: int) -> None:
    """Set one fault; fields of ``where`` need no prefix.

    For example: add throttle service=arm method=PUT share=0.5 retryAfterSeconds=1
    """
    _set(client, {"seed": seed, "faults": [{"kind": kind, **_fields(fields, kind)}]})


def _set(client: AdminClient, document: dict[str, Any]) -> None:
    read(document)  # The mistakes are told before anybody is asked.
    for name in client.post("chaos", document)["set"]:
        click.echo(f"set {name}")


def _fields(given: Sequence[str], kind: str) -> dict[str, Any]:
    """The fields of a fault; those that its model has not itself are of ``where``."""
    model = kinds()[kind]
    own = {field.alias or name for name, field in model.model_fields.items()}
    fields: dict[str, Any] = {}
    for each in given:
        name, separator, text = each.partition("=")
        if not separator:
            raise click.UsageError(f"{each}: give FIELD=VALUE")
        try:
            value = _value(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise click.UsageError(f"{each}: the value begins like YAML's lists and objects, and is none") from error
        if name in own or "where" not in own:
            fields[name] = value
        else:
            fields.setdefault("where", {})[name.removeprefix("where.")] = value
    return fields


def _value(text: str) -> Any:
    """A number, true, false, null, list or object as YAML has them; all else is the text that was typed, also `*`."""
    if text.startswith(("[", "{")):
        return yaml.safe_load(text)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    is_null = text.strip() in {"", "~", "null"}
    return value if is_null or isinstance(value, bool | int | float) else text


@chaos.command("list")
@client_option
def show(client: AdminClient) -> None:
    """Show the faults that are set, and how often each struck."""
    faults = client.get("chaos")["faults"]
    rows = [
        (fault["name"], fault["kind"], str(fault["hits"]), "yes" if fault["open"] else "no", _where(fault))
        for fault in faults
    ]
    click.echo("\n".join(table([("NAME", "KIND", "HITS", "ACTIVE", "WHERE"), *rows])) if rows else "no faults")


def _where(fault: dict[str, Any]) -> str:
    given = {name: value for name, value in fault.get("where", {}).items() if value}
    given |= {name: fault[name] for name in ("region", "namespace", "entity") if fault.get(name)}
    return " ".join(f"{name}={','.join(value) if isinstance(value, list) else value}" for name, value in given.items())


@chaos.command()
@client_option
@click.argument("name", required=False)
def clear(client: AdminClient, name: str | None) -> None:
    """Take the fault NAME away, or all."""
    removed = client.delete(f"chaos?name={name}" if name else "chaos")["removed"]
    click.echo(f"removed {removed}")


@chaos.command()
@client_option
@click.option("--fault", help="Only this name or kind.")
@click.option(
    "--service", type=click.Choice(_STRUCK), metavar="SERVICE", help=f"Only this one of {', '.join(_STRUCK)}."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def log(client: AdminClient, fault: str | None, service: str | None, *, as_json: bool) -> None:
    """Print what was injected, the oldest first."""
    for each in client.get("chaos/injected", fault=fault, service=service)["injected"]:
        words = (each["at"], each["fault"], each["service"], each["what"], each["detail"])
        click.echo(json.dumps(each) if as_json else " ".join(filter(None, words)))


@chaos.command("kinds")
def show_kinds() -> None:
    """List the kinds of faults and their fields."""
    for kind, model in sorted(kinds().items()):
        click.echo(f"{kind}: {model.__doc__}")
        own = [field.alias or name for name, field in model.model_fields.items() if name != "kind"]
        click.echo(f"    {' '.join(own)}")
