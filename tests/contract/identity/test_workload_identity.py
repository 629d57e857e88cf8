"""A Pod's own identity, with nothing pretended: tokens of a real API server, checked against its keys."""

import asyncio
import json
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import WorkloadIdentityCredential

from tests.support.azure import FAST
from workforce_local.azure import LocalAzure
from workforce_local.config import FederationConfig, IdentityConfig, LocalConfig
from workforce_local.identity.cluster_trust import trust_cluster

pytestmark = pytest.mark.cluster

STORAGE = "https://storage.azure.com"
EXCHANGE = "api://AzureADTokenExchange"


def projected(cluster, namespace, audience=EXCHANGE):
    """What the kubelet would project into a Pod: the API server's own token for the ServiceAccount."""
    return cluster.kubectl("create", "token", "default", "-n", namespace, "--audience", audience).strip()


async def exchange(azure, folder: Path, token: str):
    """azure-identity's WorkloadIdentityCredential: an unchanged credential, its token file, and the local authority."""
    (folder / "token").write_text(token)
    credential = WorkloadIdentityCredential(
        tenant_id=azure.config.tenant_id, client_id=azure.config.client_id, token_file_path=str(folder / "token"),
        authority=azure.base_url, disable_instance_discovery=True, connection_verify=str(azure.ca_file),
    )  # fmt: skip
    return await asyncio.to_thread(credential.get_token, f"{STORAGE}/.default")


async def test_a_service_account_s_token_is_exchanged_and_no_other_one(
    kubernetes_cluster, kubernetes_namespace, tmp_path
):
    config = await trust_cluster(LocalConfig(timing=FAST), kubernetes_cluster.kubeconfig, tmp_path)
    async with LocalAzure(tmp_path / "azure", config) as azure:
        good = projected(kubernetes_cluster, kubernetes_namespace)
        token = await exchange(azure, tmp_path, good)
        assert azure.issuer.verify(token.token, STORAGE).client_id == config.client_id

        with pytest.raises(ClientAuthenticationError, match="AADSTS700212"):
            await exchange(azure, tmp_path, projected(kubernetes_cluster, kubernetes_namespace, "https://other"))
        head, body, signature = good.split(".")
        forged = ".".join([head, body, "A" * 8 + signature[8:]])
        with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
            await exchange(azure, tmp_path, forged)


async def test_a_credential_may_be_for_one_service_account_only(kubernetes_cluster, kubernetes_namespace, tmp_path):
    trusted = await trust_cluster(LocalConfig(timing=FAST), kubernetes_cluster.kubeconfig, tmp_path)
    (given,) = trusted.identity.federation
    only = FederationConfig(issuer=given.issuer, keys=given.keys, subject="system:serviceaccount:workforce:operator")
    config = LocalConfig(timing=FAST, identity=IdentityConfig(federation=(only,)))
    async with LocalAzure(tmp_path / "azure", config) as azure:
        with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
            await exchange(azure, tmp_path, projected(kubernetes_cluster, kubernetes_namespace))


async def test_what_the_user_configured_is_left_alone(tmp_path):
    own = FederationConfig(issuer="https://other.test", keys=tmp_path / "keys.json")
    config = LocalConfig(identity=IdentityConfig(federation=(own,)))
    assert await trust_cluster(config, tmp_path / "no-kubeconfig", tmp_path) is config


def test_the_keys_are_written_as_the_api_server_gives_them(kubernetes_cluster, tmp_path):
    asyncio.run(trust_cluster(LocalConfig(), kubernetes_cluster.kubeconfig, tmp_path))
    keys = json.loads((tmp_path / "cluster-keys.json").read_text())["keys"]
    assert {key["kty"] for key in keys} == {"RSA"}
