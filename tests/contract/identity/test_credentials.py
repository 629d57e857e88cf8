"""azure-identity, unchanged, against the local Entra ID."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    ClientSecretCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential

from jobq.cloud import load_cloud
from jobq.connect import open_credential
from workforce_local.azure import LocalAzure

STORAGE = "https://storage.azure.com"
PREFIXES = ("AZURE_", "MSI_", "IDENTITY_", "REQUESTS_", "SSL_", "DEFAULT_IDENTITY")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may be logged in to a real Azure."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)


@pytest.fixture
def by_secret(local_azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> LocalAzure:
    """The environment of a service principal."""
    for name, value in local_azure.environment().items():
        monkeypatch.setenv(name, value)
    return local_azure


@pytest.fixture
def by_machine(local_azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> LocalAzure:
    """The environment of a machine with an identity."""
    for name, value in local_azure.managed_identity_environment().items():
        monkeypatch.setenv(name, value)
    return local_azure


def get(credential, scope=f"{STORAGE}/.default"):
    with credential:
        return credential.get_token(scope)


def secret_options(azure):
    return {"authority": azure.base_url, "disable_instance_discovery": True, "connection_verify": str(azure.ca_file)}


async def test_a_client_secret_gets_a_token_for_its_tenant(local_azure):
    config, secret = local_azure.config, local_azure.environment()["AZURE_CLIENT_SECRET"]
    credential = ClientSecretCredential(config.tenant_id, config.client_id, secret, **secret_options(local_azure))
    token = await asyncio.to_thread(get, credential)
    principal = local_azure.issuer.verify(token.token, STORAGE)
    assert principal.client_id == config.client_id
    assert token.expires_on > time.time() + 3000


async def test_the_same_with_the_asynchronous_credential(local_azure):
    config, secret = local_azure.config, local_azure.environment()["AZURE_CLIENT_SECRET"]
    options = secret_options(local_azure)
    async with AsyncClientSecretCredential(config.tenant_id, config.client_id, secret, **options) as credential:
        token = await credential.get_token(f"{STORAGE}/.default")
    local_azure.issuer.verify(token.token, STORAGE)


async def test_service_bus_s_double_slash_is_understood(by_secret):
    """azure-servicebus 7.15: the scope is https://servicebus.azure.net//.default."""
    token = await asyncio.to_thread(get, EnvironmentCredential(), "https://servicebus.azure.net//.default")
    by_secret.issuer.verify(token.token, "https://servicebus.azure.net")


@pytest.mark.parametrize("kind", [EnvironmentCredential, DefaultAzureCredential])
async def test_an_unchanged_credential_works_by_environment(by_secret, kind):
    token = await asyncio.to_thread(get, kind())
    assert by_secret.issuer.verify(token.token, STORAGE).client_id == by_secret.config.client_id


async def test_the_asynchronous_default_credential_works_by_environment(local_azure):
    """In a process of its own: aiohttp reads SSL_CERT_FILE when it is imported."""
    program = (
        "import asyncio, sys; from azure.identity.aio import DefaultAzureCredential as C\n"
        "async def main():\n"
        "    async with C() as credential: print((await credential.get_token(sys.argv[1])).token)\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, f"{STORAGE}/.default", env=local_azure.environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    token = out.decode().strip()
    assert local_azure.issuer.verify(token, STORAGE).client_id == local_azure.config.client_id


@pytest.mark.parametrize("kind", [ManagedIdentityCredential, DefaultAzureCredential])
async def test_a_machine_s_identity_works_by_environment(by_machine, kind):
    """azure-identity: MSI_ENDPOINT and MSI_SECRET, as on AzureML's nodes."""
    token = await asyncio.to_thread(get, kind())
    by_machine.issuer.verify(token.token, STORAGE)


async def test_a_user_assigned_identity_is_asked_for_by_client_id(by_machine):
    client_id = "aaaaaaaa-0000-0000-0000-000000000001"
    token = await asyncio.to_thread(get, ManagedIdentityCredential(client_id=client_id))
    assert by_machine.issuer.verify(token.token, STORAGE).client_id == client_id


async def test_the_metadata_service_alone_is_enough(local_azure, monkeypatch):
    """azure-identity: AZURE_POD_IDENTITY_AUTHORITY_HOST names another IMDS."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", local_azure.imds.url)
    for credential in (ManagedIdentityCredential(), DefaultAzureCredential()):
        token = await asyncio.to_thread(get, credential)
        local_azure.issuer.verify(token.token, STORAGE)


@pytest.fixture
def service_account(tmp_path: Path) -> Iterator[Path]:
    """A projected service account token, as Kubernetes makes them for Azure's workload identity."""
    claims = {"sub": "system:serviceaccount:a:b", "aud": ["api://AzureADTokenExchange"], "exp": time.time() + 600}
    file = tmp_path / "token"
    file.write_text(jwt.encode(claims, "k" * 32, algorithm="HS256"))
    return file


async def test_a_workload_identity_gets_a_token_for_its_service_account(local_azure, service_account):
    config = local_azure.config
    credential = WorkloadIdentityCredential(
        tenant_id=config.tenant_id, client_id=config.client_id, token_file_path=str(service_account),
        **secret_options(local_azure),
    )  # fmt: skip
    token = await asyncio.to_thread(get, credential)
    assert local_azure.issuer.verify(token.token, STORAGE).client_id == config.client_id


async def test_a_wrong_secret_is_refused_with_entra_s_number(local_azure):
    config = local_azure.config
    credential = ClientSecretCredential(config.tenant_id, config.client_id, "wrong", **secret_options(local_azure))
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        await asyncio.to_thread(get, credential)


async def test_an_unknown_tenant_is_refused(local_azure):
    other = "00000000-0000-4000-8000-00000000beef"
    credential = ClientSecretCredential(other, local_azure.config.client_id, "x", **secret_options(local_azure))
    with pytest.raises(ClientAuthenticationError):
        await asyncio.to_thread(get, credential)


async def test_the_product_s_own_connection_works_with_the_cloud_file(by_secret, monkeypatch):
    """The one cloud setting is all that the product needs beside its credentials, also with the tenant's real id."""
    monkeypatch.setenv("AZURE_TENANT_ID", by_secret.config.tenant_id)
    for name in ("AZURE_AUTHORITY_HOST", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name)
    cloud = load_cloud()
    async with open_credential(cloud) as credential:
        token = await credential.get_token(f"{cloud.audiences.resource_manager}/.default")
    by_secret.issuer.verify(token.token, by_secret.base_url)
