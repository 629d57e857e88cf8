"""Downloads from a local file server that has the official paths."""

from __future__ import annotations

import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace

import pytest

from workforce_local.cluster.binaries import BinariesError, Source, resolve
from workforce_local.cluster.download import architecture, release_of
from workforce_local.cluster.versions import ALL, TOOLS

PROGRAM = b"#!/bin/sh\necho downloaded\n"


class Site(http.server.ThreadingHTTPServer):
    """Serves files from memory and remembers what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    @staticmethod
    def release(name):
        """Addresses without a host: what requests ask for."""
        release = release_of(TOOLS[name], base_url="host")
        return replace(
            release,
            address=release.address.removeprefix("host"),
            checksum_address=release.checksum_address.removeprefix("host"),
        )

    def publish(self, name, *, checksum=None, content=None):
        """Put a program there as its project does: alone, or in an archive with a list of checksums."""
        release = self.release(name)
        if content is None:
            content = archive(release.member) if release.member else PROGRAM
        self.files[release.address] = content
        digest = checksum or hashlib.sha256(content).hexdigest()
        line = f"{digest}  {release.file_name}\n" if release.member else digest
        self.files[release.checksum_address] = (
            f"{'0' * 64}  another-file\n{line}".encode() if name == "etcd" else line.encode()
        )


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_):
        pass


def archive(member):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in (("README", b"read me"), (member, PROGRAM)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def get(site, tmp_path):
    lines: list[str] = []

    def run(*names):
        return resolve(
            names,
            environ={"PATH": str(tmp_path / "empty"), "HOME": str(tmp_path)},
            cache_dir=tmp_path / "cache",
            download_base_url=site.address + "/",
            report=lines.append,
            modules=tmp_path / "no-modules",
        )

    run.lines = lines
    run.cache = tmp_path / "cache"
    return run


def test_all_programs_are_downloaded_verified_and_executable(site, get):
    for name in ALL:
        site.publish(name)
    found = get(*ALL)
    assert {binary.source for binary in found} == {Source.DOWNLOAD}
    for binary in found:
        assert binary.path.read_bytes() == PROGRAM
        assert subprocess.run([binary.path], capture_output=True, check=True).stdout == b"downloaded\n"


def test_the_second_time_nothing_is_asked_for(site, get):
    site.publish("kubectl")
    get("kubectl")
    site.asked.clear()
    assert get("kubectl")["kubectl"].source is Source.CACHE
    assert site.asked == []


@pytest.mark.parametrize("name", ["kubectl", "etcd", "helm"])
def test_a_wrong_checksum_is_refused_and_nothing_is_kept(site, get, name):
    site.publish(name, checksum="f" * 64)
    with pytest.raises(BinariesError):
        get(name)
    assert any("SHA-256 is" in line and "published is ffff" in line for line in get.lines)
    assert [path.name for path in get.cache.iterdir()] == [".lock"]


def test_a_checksum_file_without_the_program_is_refused(site, get):
    site.publish("helm")
    site.files[site.release("helm").checksum_address] = b"<html>moved</html>"
    with pytest.raises(BinariesError):
        get("helm")
    assert any("no SHA-256 of" in line for line in get.lines)


def test_a_broken_archive_is_refused_and_nothing_is_kept(site, get):
    site.publish("helm", content=b"not an archive")
    with pytest.raises(BinariesError):
        get("helm")
    assert any("cannot take" in line for line in get.lines)
    assert [path.name for path in get.cache.iterdir()] == [".lock"]


def test_a_missing_file_does_not_keep_the_others_from_being_downloaded(site, get):
    site.publish("helm")
    with pytest.raises(BinariesError):
        get("kubectl")
    assert any("HTTP 404" in line for line in get.lines)
    assert get("helm")["helm"].source is Source.DOWNLOAD


def test_concurrent_calls_download_once(site, get, tmp_path):
    site.publish("kubectl", content=PROGRAM + b"#" * (4 << 20))
    script = (
        "import sys; from pathlib import Path; from workforce_local.cluster.binaries import resolve; "
        "print(resolve(['kubectl'], environ={'PATH': '/nowhere'}, cache_dir=Path(sys.argv[1]), "
        "download_base_url=sys.argv[2])['kubectl'].source)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cache"), site.address]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = sorted(run.communicate(timeout=60)[0].strip() for run in runs)
    assert answers == ["cache", "cache", "download"]
    assert sum(path.endswith("/kubectl") for path in site.asked) == 1


def test_this_machines_architecture_is_known():
    assert architecture() in {"amd64", "arm64"}
