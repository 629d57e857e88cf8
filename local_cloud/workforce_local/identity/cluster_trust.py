"""Makes a local Azure trust the ServiceAccount tokens of the local Kubernetes.

Asks the API server for its issuer and its public keys, as Entra ID asks an issuer's discovery document, and writes them
where the configuration points. Invariant: what the user configured is left alone.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp

from workforce_local.cluster.kube_client import Access
from workforce_local.config import FederationConfig, LocalConfig

_DISCOVERY = "/.well-known/openid-configuration"
_KEYS = "/openid/v1/jwks"


async def trust_cluster(given: LocalConfig | None, kubeconfig: Path, folder: Path) -> LocalConfig:
    """The configuration with a federated credential of the operator's application for every ServiceAccount.

    Args:
        given: By the user, if any; with federation in it, it is returned as it is.
        kubeconfig: Of the cluster that runs.
        folder: Where the keys are written.
    """
    config = given or LocalConfig()
    if config.identity.federation:
        return config
    access = Access.from_file(kubeconfig)
    issuer = (await _get(access, _DISCOVERY))["issuer"]
    keys = await _get(access, _KEYS)
    file = folder / "cluster-keys.json"
    file.write_text(json.dumps(keys), encoding="utf-8")
    federation = (FederationConfig(issuer=issuer, keys=file),)
    return config.model_copy(update={"identity": config.identity.model_copy(update={"federation": federation})})


async def _get(access: Access, path: str) -> dict[str, Any]:
    """Read one of the two documents; the keys have a media type of their own, which `KubeClient` does not ask for."""
    context = ssl.create_default_context(cadata=access.authority)
    headers = {"Authorization": f"Bearer {access.token}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers, raise_for_status=True) as session,
        session.get(access.server + path) as answer,
    ):
        document: dict[str, Any] = json.loads(await answer.read())
        return document
