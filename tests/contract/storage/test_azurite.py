"""Azurite as the local cloud runs it."""

import shutil
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
import trustme
from azure.core.credentials import AccessToken

from jobq.cloud import PUBLIC_CLOUDS
from jobq.queue import JobQ
from tests.support.storage import ACCOUNT
from workforce_local.storage import Azurite, StorageError, TlsFiles, install


class FixedToken:
    """A credential with one token, as the local identity service issues them."""

    def __init__(self, audience):
        claims = {"aud": audience, "iss": "https://sts.windows.net/local/", "iat": 1, "nbf": 1, "exp": 9999999999}
        self.token = jwt.encode(claims, "secret-of-the-local-identity-service", algorithm="HS256")

    async def get_token(self, *scopes, **options):
        return AccessToken(self.token, 9999999999)

    async def close(self):
        """Nothing to close."""


@pytest.fixture
def folder():
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


async def test_messages_survive_a_restart(folder):
    server = Azurite(folder, [ACCOUNT])
    await server.start()
    try:
        async with JobQ.from_connection_string("q-one", connection_string=server.connection_string(ACCOUNT)) as queue:
            await queue.push("echo")
            await server.restart()
            assert (await queue.size()).total == 1
    finally:
        await server.stop()
    assert server.pid is None


async def test_a_bearer_token_opens_a_queue_over_https(folder):
    authority = trustme.CA()
    ca, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(ca)
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    server = Azurite(folder / "state", [ACCOUNT], tls=TlsFiles(certificate, key))
    await server.start()
    try:
        cloud = replace(
            PUBLIC_CLOUDS["AzureCloud"],
            name="Local",
            storage_queue=server.queue_url("{account}"),
            storage_queue_suffix=None,
            ca_bundle=ca,
        )
        credential = FixedToken(cloud.audiences.storage)
        async with JobQ.from_storage_queue(
            "q-one", storage_account=ACCOUNT, credential=credential, cloud=cloud
        ) as queue:
            await queue.push("echo")
            assert queue.full_name == f"{ACCOUNT}/q-one"
            assert (await queue.size()).total == 1
    finally:
        await server.stop()


async def test_a_second_installation_is_a_look_at_the_disk():
    assert install() == install()


def test_missing_node_is_one_line_that_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StorageError, match=r"node is not on PATH: install Node\.js 20 or newer"):
        install(tmp_path / "cache")


async def test_a_port_in_use_is_said(folder, azurite):
    server = Azurite(folder, [ACCOUNT], blob_port=azurite.blob_port, queue_port=azurite.queue_port)
    with pytest.raises(StorageError, match="did not start"):
        await server.start()
    assert server.pid is None


def test_a_failed_installation_leaves_nothing_that_looks_complete(monkeypatch, tmp_path):
    manifest = tmp_path / "manifest"
    manifest.mkdir()
    for name in ("package.json", "package-lock.json", ".npmrc"):
        (manifest / name).write_text("not json")
    if shutil.which("npm") is None:
        pytest.skip("npm is needed")
    with pytest.raises(StorageError, match="npm ci of Azurite failed"):
        install(tmp_path / "cache", manifest)
    assert not list((tmp_path / "cache").glob("*/node_modules"))
