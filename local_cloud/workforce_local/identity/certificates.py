"""The local certificate authority: made once per state folder, issues what the local servers present.

It is for this machine only and for nobody's trust store; programs are told of it by `caBundle`. Invariant: the
authority of a state folder never changes, so that a restart does not invalidate what clients were told to trust.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import trustme

HOSTS = ("127.0.0.1", "localhost", "::1")
"""What every server certificate is valid for."""


class CertificateAuthority:
    """The authority of one state folder."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "ca.pem"
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            self._authority = self._kept(folder / "ca-key.pem")

    def _kept(self, key_file: Path) -> trustme.CA:
        if self.ca_file.exists() and key_file.exists():
            return trustme.CA.from_pem(self.ca_file.read_bytes(), key_file.read_bytes())
        made = trustme.CA(organization_name="workforce local")
        # The certificate comes last: a crash in between makes a new pair, not half of one.
        write_private(key_file, made.private_key_pem.bytes())
        self.ca_file.write_bytes(made.cert_pem.bytes())
        return made

    def server_context(self, *hosts: str) -> ssl.SSLContext:
        """A TLS context of a server on this machine that may also be called by the given host names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*HOSTS, *hosts).configure_cert(context)
        return context

    def write_server_files(self, certificate: Path, key: Path) -> None:
        """Write a certificate's chain and its key, for servers that are other programs."""
        leaf = self._authority.issue_cert(*HOSTS)
        certificate.parent.mkdir(parents=True, exist_ok=True)
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        write_private(key, leaf.private_key_pem.bytes())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: storage's supervisor and Azure start side by side, and one of them makes the authority."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on; replaces the old one at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
