"""How a cloud is reached."""

import ssl
from dataclasses import replace

import pytest
import trustme

from jobq.cloud import PUBLIC_CLOUDS
from jobq.connect import open_credential, open_transport, proxied, queue_service_client, service_bus_client

PUBLIC = PUBLIC_CLOUDS["AzureCloud"]


class NoToken:
    """A credential that is never asked."""

    async def get_token(self, *scopes, **options):
        raise AssertionError

    async def close(self):
        """Nothing to close."""


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    bundle = tmp_path_factory.mktemp("private") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    return replace(
        PUBLIC,
        name="Local",
        authority="https://localhost:8802",
        storage_queue="https://127.0.0.1:1/{account}",
        storage_queue_suffix=None,
        service_bus="127.0.0.1:15671",
        ca_bundle=bundle,
    )


async def test_no_tool_of_a_developer_but_az_is_asked_for_a_token(private):
    async with open_credential(private, environ={"AZURE_CLIENT_ID": "c"}) as credential:
        kinds = [type(one).__name__ for one in credential.credentials]
    assert "ManagedIdentityCredential" in kinds
    assert "AzureCliCredential" in kinds
    assert not {"SharedTokenCacheCredential", "VisualStudioCodeCredential", "AzurePowerShellCredential"} & set(kinds)


async def test_closing_a_client_leaves_the_shared_transport_open(private):
    async with open_transport(private) as transport:
        for _ in range(2):
            async with queue_service_client(private, "acct", NoToken(), transport) as client:
                assert client.url == "https://127.0.0.1:1/acct/"
        assert not transport.session.closed
    assert transport.session.closed


async def test_all_requests_share_one_tls_context_that_trusts_the_clouds_authority(private):
    async with open_transport(private) as transport:
        context = transport.session.connector._ssl
    assert isinstance(context, ssl.SSLContext)
    assert [one["subject"] for one in context.get_ca_certs()]


async def test_a_custom_service_bus_endpoint_keeps_its_port_and_its_trust(private):
    async with service_bus_client(private, "ns.servicebus.windows.net", NoToken(), try_timeout=5) as client:
        assert client.fully_qualified_namespace == "ns.servicebus.windows.net"
        config = client._config
        assert config.custom_endpoint_address.startswith("sb://127.0.0.1:15671")
        assert (config.connection_verify, config.try_timeout) == (str(private.ca_bundle), 5)


async def test_a_public_cloud_needs_no_file(tmp_path):
    async with (
        open_transport(PUBLIC) as transport,
        queue_service_client(PUBLIC, "acct", NoToken(), transport) as client,
    ):
        assert client.url == "https://acct.queue.core.windows.net/"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HTTPS_PROXY", "http://proxy:3128", True),
        ("http_proxy", "http://proxy:3128", True),
        ("NO_PROXY", "here", False),
    ],
)
async def test_sessions_look_for_a_proxy_only_where_the_environment_names_one(
    monkeypatch, private, name, value, expected
):
    for known in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(known, raising=False)
        monkeypatch.delenv(known.lower(), raising=False)
    monkeypatch.setenv(name, value)
    assert proxied() is expected
    async with open_transport(private) as transport:
        assert transport.session.trust_env is expected
