"""Fetches the official builds of the Kubernetes programs, and trusts none whose checksum differs.

It decides neither what is needed nor where it is kept. A machine without a network is normal: `Unreachable` comes
within seconds and says so.

Invariant: nothing appears at the destination before its SHA-256 was compared with the published one.
"""

from __future__ import annotations

import hashlib
import http.client
import platform
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workforce_local.cluster.versions import Tool

KUBERNETES_SITE = "https://dl.k8s.io"
ETCD_SITE = "https://github.com/etcd-io/etcd/releases/download"
HELM_SITE = "https://get.helm.sh"

_CONNECT_TIMEOUT = 5.0
_CHUNK = 1 << 20
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class DownloadError(RuntimeError):
    """A program could not be downloaded. The message says why."""


class UnreachableError(DownloadError):
    """The site does not answer: there is no point in asking it for the other programs."""


class ChecksumError(DownloadError):
    """What was downloaded is not what was published."""


@dataclass(frozen=True)
class Release:
    """Where one program is published."""

    address: str
    checksum_address: str
    member: str | None = None
    """The program's path in the archive; None if it is no archive."""

    @property
    def file_name(self) -> str:
        """The last part of the address, by which checksum lists name the file."""
        return self.address.rpartition("/")[2]


def architecture(machine: str | None = None) -> str:
    """This machine's architecture as release names spell it.

    Raises:
        DownloadError: there are no official builds for it.
    """
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise DownloadError(f"there is no official build for {machine}")
    return _ARCHITECTURES[machine]


def release_of(tool: Tool, *, base_url: str | None = None, arch: str | None = None) -> Release:
    """Where the pinned version of the program is, officially or on a mirror with the same paths."""
    arch = arch or architecture()
    match tool.module:
        case "etcd":
            folder = f"{base_url or ETCD_SITE}/v{tool.version}"
            archive = f"etcd-v{tool.version}-linux-{arch}"
            return Release(f"{folder}/{archive}.tar.gz", f"{folder}/SHA256SUMS", f"{archive}/etcd")
        case "helm":
            address = f"{base_url or HELM_SITE}/helm-v{tool.version}-linux-{arch}.tar.gz"
            return Release(address, f"{address}.sha256sum", f"linux-{arch}/helm")
        case _:
            address = f"{base_url or KUBERNETES_SITE}/release/v{tool.version}/bin/linux/{arch}/{tool.name}"
            return Release(address, f"{address}.sha256")


def published_checksum(text: str, file_name: str) -> str | None:
    """The checksum of a file in a checksum file, which holds one bare checksum or a list with names."""
    lines = [line for line in text.splitlines() if _SHA256.search(line)]
    named = [line for line in lines if line.split()[-1].lstrip("*") == file_name]
    bare = [line for line in lines if len(line.split()) == 1]
    found = named or (bare if len(lines) == 1 else [])
    match = _SHA256.search(found[0]) if found else None
    return match.group() if match else None


def download(tool: Tool, destination: Path, *, base_url: str | None, report: Callable[[str], None]) -> None:
    """Fetch the program to this path, verified.

    Raises:
        UnreachableError: no network, or none to that site.
        ChecksumError: the file is not the published one.
        DownloadError: anything else.
    """
    release = release_of(tool, base_url=base_url)
    scratch = destination.with_name(f".{destination.name}.download")
    try:
        expected = published_checksum(_fetch_text(release.checksum_address), release.file_name)
        if expected is None:
            raise ChecksumError(f"{release.checksum_address}: no SHA-256 of {release.file_name} in it")
        actual = _fetch_file(release.address, scratch, report=report)
        if actual != expected:
            raise ChecksumError(f"{release.address}: SHA-256 is {actual}, published is {expected}")
        if release.member:
            _extract(scratch, release.member)
        scratch.chmod(0o755)
        scratch.replace(destination)
    finally:
        scratch.unlink(missing_ok=True)


def _open(address: str) -> http.client.HTTPResponse:
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(address, timeout=_CONNECT_TIMEOUT)  # noqa: S310 - the address is ours
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{address}: HTTP {error.code}") from error
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException, OSError) as error:
        raise UnreachableError(f"{address}: {getattr(error, 'reason', error)}") from error
    return answer


def _fetch_text(address: str) -> str:
    with _open(address) as answer:
        return answer.read(1 << 16).decode("utf-8", errors="replace")


def _fetch_file(address: str, path: Path, *, report: Callable[[str], None]) -> str:
    """Store the file and return its SHA-256."""
    with _open(address) as answer, path.open("wb") as file:
        try:
            return _copy(answer, file, total=int(answer.headers.get("Content-Length") or 0), report=report)
        except (TimeoutError, http.client.HTTPException, OSError) as error:
            raise DownloadError(f"{address}: broke off: {error}") from error


def _copy(source: IO[bytes], target: IO[bytes], *, total: int, report: Callable[[str], None]) -> str:
    digest = hashlib.sha256()
    done = shown = 0
    while chunk := source.read(_CHUNK):
        target.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        percent = 100 * done // total if total else 0
        if percent >= shown + 25:
            shown = percent
            report(f"  {done >> 20} of {total >> 20} MB")
    return digest.hexdigest()


def _extract(archive: Path, member: str) -> None:
    """Replace the archive by one file out of it."""
    inner = archive.with_name(f"{archive.name}.member")
    try:
        with tarfile.open(archive) as tar:
            source = tar.extractfile(member)
            if source is None:
                raise DownloadError(f"{archive.name}: {member} is not a file")
            with source, inner.open("wb") as target:
                _copy(source, target, total=0, report=lambda _: None)
    except (tarfile.TarError, KeyError, EOFError) as error:
        inner.unlink(missing_ok=True)
        raise DownloadError(f"{archive.name}: cannot take {member} out of it: {error}") from error
    inner.replace(archive)
