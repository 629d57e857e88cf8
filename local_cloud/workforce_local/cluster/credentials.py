"""Keys, certificates, tokens and kubeconfig files of the local control plane.

Everything is made once per state folder and kept there, so that a restarted cluster still accepts what it issued
before; the tokens of people and components are random and new at each start.

Invariant: every file with a secret in it is readable by its owner only, from the moment it exists.
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SERVICE_CIDR = "10.0.0.0/24"
"""Addresses of Services; nothing listens on them here, the API server wants them to exist."""
_SERVER_NAMES = (
    "127.0.0.1",
    "10.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class Identity:
    """A user of the cluster that authenticates by a token."""

    name: str
    group: str
    token: str


@dataclass(frozen=True)
class Credentials:
    """Paths of the control plane's secrets and the identities that were just made."""

    authority: Path
    server_certificate: Path
    server_key: Path
    service_account_key: Path
    tokens: Path
    admin: Identity
    controller_manager: Identity


def write_private(path: Path, content: bytes | str) -> None:
    """Write a file that only its owner can read, in one step."""
    scratch = path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    scratch.replace(path)


def prepare(folder: Path) -> Credentials:
    """Make what is missing in this folder, and new tokens."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    credentials = Credentials(
        authority=folder / "ca.crt",
        server_certificate=folder / "server.crt",
        server_key=folder / "server.key",
        service_account_key=folder / "service-account.key",
        tokens=folder / "tokens.csv",
        admin=Identity("local-admin", "system:masters", secrets.token_urlsafe(32)),
        controller_manager=Identity("system:kube-controller-manager", "", secrets.token_urlsafe(32)),
    )
    if not credentials.service_account_key.exists():
        write_private(credentials.service_account_key, _rsa_key())
    # The certificate is written last: where it exists, authority and key exist and belong to it.
    if not credentials.server_certificate.exists():
        _issue(credentials)
    write_private(credentials.tokens, _token_lines(credentials))
    return credentials


def kubeconfig(server: str, authority: Path, identity: Identity) -> str:
    """A kubeconfig file's text for this user. The authority is inside, so that the file can be copied."""
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode("ascii")}
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": identity.name, "user": {"token": identity.token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": identity.name}}],
        "current-context": "local",
    }
    return yaml.safe_dump(content, sort_keys=False)


def _rsa_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _issue(credentials: Credentials) -> None:
    """An authority that signs one certificate and is forgotten; the API server shows it to clients and to kubelets."""
    authority = trustme.CA(organization_name="Local Kubernetes", organization_unit_name="authority")
    leaf = authority.issue_cert(*_SERVER_NAMES, common_name="kube-apiserver")
    write_private(credentials.authority, authority.cert_pem.bytes())
    write_private(credentials.server_key, leaf.private_key_pem.bytes())
    write_private(credentials.server_certificate, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))


def _token_lines(credentials: Credentials) -> str:
    users = (credentials.admin, credentials.controller_manager)
    return "".join(f'{user.token},{user.name},{user.name},"{user.group}"\n' for user in users)
