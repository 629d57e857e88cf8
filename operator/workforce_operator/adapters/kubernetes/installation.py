"""The installation id: who owns the jobs. Made once, kept in a ConfigMap, never changed by the operator.

The ConfigMap is only ever created: two replicas that start at once agree on whichever came first.
"""

from __future__ import annotations

import re
import secrets
import string

from workforce_operator.adapters.kubernetes.api import KubernetesApi
from workforce_operator.api.spec import INSTALLATION_ID
from workforce_operator.domain.errors import Conflict, Missing, SpecError

CONFIG_MAP = "workforce-installation"
KEY = "id"
_VALID = re.compile(INSTALLATION_ID)
_LENGTH = 10
_ALPHABET = string.ascii_lowercase + string.digits


async def installation_id(api: KubernetesApi, namespace: str, *, override: str | None = None) -> str:
    """Read the id, making it at the first start.

    Args:
        api: Kubernetes.
        namespace: Of the operator itself.
        override: A fixed id from the settings: nothing is read or made then.

    Raises:
        SpecError: The override or the ConfigMap holds no valid id.
    """
    if override is not None:
        return _checked(override, "the setting for the installation id")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    try:
        found = await api.get(f"{path}/{CONFIG_MAP}")
    except Missing:
        try:
            found = await api.create(path, _config_map(namespace))
        except Conflict:
            found = await api.get(f"{path}/{CONFIG_MAP}")
    return _checked((found.get("data") or {}).get(KEY), f"ConfigMap {namespace}/{CONFIG_MAP}, key {KEY},")


def _config_map(namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": namespace,
            "annotations": {"workforce.dev/keep": "worker jobs carry this id: without it they belong to nobody"},
        },
        "data": {KEY: "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))},
    }


def _checked(value: object, where: str) -> str:
    if not isinstance(value, str) or not _VALID.match(value):
        raise SpecError(f"{where} must be 8 to 16 lower-case letters and digits, not {value!r}", reason="InvalidId")
    return value
