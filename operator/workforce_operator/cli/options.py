"""Options that all verbs about one Workforce share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from workforce_operator.cli.reach import Target, default_namespace


def about_one_workforce(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the argument NAME and the options that say where; it is called with ``target``."""

    @click.argument("name")
    @click.option("-n", "--namespace", help="Namespace of the Workforce; default: that of the kubeconfig's context.")
    @click.option("--operator-namespace", help="Namespace of the operator's Pods; default: looked for in all.")
    @click.option("--url", help="Ask the operator at this address (http://HOST:PORT) instead of through Kubernetes.")
    @wraps(verb)
    def called(
        name: str, namespace: str | None, operator_namespace: str | None, url: str | None, **arguments: Any
    ) -> None:
        verb(target=Target(namespace or default_namespace(), name, operator_namespace, url), **arguments)

    return called
