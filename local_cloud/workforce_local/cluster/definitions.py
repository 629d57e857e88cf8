"""Whether the API server serves a custom resource yet."""

from __future__ import annotations

from collections.abc import Callable

_ESTABLISHED = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'


def is_established(kubectl: Callable[..., str], name: str) -> bool:
    """Whether a CustomResourceDefinition is served.

    `kubectl wait --for=condition=Established` fails as long as a definition has no conditions at all.

    Args:
        kubectl: Runs kubectl with these arguments and returns what it prints; with `check=False` a failure is no error.
        name: The definition's, `<plural>.<group>`.
    """
    return kubectl("get", "crd", name, "-o", _ESTABLISHED, check=False) == "True"
