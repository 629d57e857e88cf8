"""Storage of the local cloud: Azurite, pinned and installed by npm, run as a child process.

One `Azurite` serves the queues and blobs of any number of accounts from one folder. It is a process runner, not an
emulator of our own. It stops Azurite with SIGTERM: Azurite saves its data on that signal, and an acknowledged message
can be lost by a SIGKILL (its database is written only now and then), which therefore is the last resort.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from workforce_local.ports import HOST, reserve
from workforce_local.processes import guarded

__all__ = ["DEFAULT_ACCOUNTS", "Azurite", "StorageError", "TlsFiles", "account_key", "cache_folder", "install"]

DEFAULT_ACCOUNTS = ("wfdemo",)
"""The storage accounts of a local cloud that is not told of others."""
READY_SECONDS = 60.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.02
_SERVICES = 3
_LISTENING = "is successfully listening"
_CHECKOUT = Path(__file__).resolve().parents[2]
_MANIFEST = _CHECKOUT / "tools" / "azurite"
_PRELOAD = _MANIFEST / "only_what_runs.cjs"
_MANIFEST_FILES = ("package.json", "package-lock.json", ".npmrc")


class StorageError(RuntimeError):
    """Azurite cannot be installed or started. The message says what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the server's certificate (with its chain) and private key."""

    certificate: Path
    key: Path


def account_key(account: str) -> str:
    """A storage account's key: made of its name, so that every part of a local cloud agrees on it without a file."""
    return base64.b64encode(hashlib.sha512(f"workforce-local/{account}".encode()).digest()).decode()


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where Azurite is installed: in the checkout, or in the user's cache where there is none."""
    if _MANIFEST.is_dir():
        return _CHECKOUT / ".cache" / "azurite"
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "workforce" / "azurite"


def install(cache: Path | None = None, manifest: Path = _MANIFEST) -> Path:
    """Install the pinned Azurite if it is not there yet, and return its start script.

    The folder's name is the hash of the lock file; it appears in one step when it is complete, so that a killed
    installation is never mistaken for a good one. Several processes may call this at once.

    Raises:
        StorageError: Node.js or npm is missing, or npm failed.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise StorageError(f"{program} is not on PATH: install Node.js 20 or newer with npm, for Azurite")
    if not manifest.is_dir():
        raise StorageError(f"{manifest} is missing: the local cloud's storage is installed from the project's checkout")
    cache = cache or cache_folder()
    digest = hashlib.sha256((manifest / "package-lock.json").read_bytes()).hexdigest()[:12]
    target = cache / digest
    script = target / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if not script.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock"):
            if not script.is_file():
                _install_into(target, manifest)
    return script


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _install_into(target: Path, manifest: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in _MANIFEST_FILES:
        shutil.copy(manifest / name, partial / name)
    command = ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=partial, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StorageError(f"npm ci of Azurite failed in {partial} (exit {done.returncode}): {done.stderr[-2000:]}")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


class Azurite:
    """Azurite as a child process, for queues and blobs, with its data in `state_dir`.

    Args:
        state_dir: Where it keeps data and its log.
        accounts: Names of the storage accounts, or a mapping of names to keys.
        tls: Serve HTTPS with these files, and accept bearer tokens (their signature is not checked); plain otherwise.
        blob_port: 0 takes a free port. Ports stay the same over a restart of the same object.
        queue_port: The same for queues.
        script: Azurite's start script, by default from `install`.
        guard: Let it end, and save, when the thread that calls `start` ends, however that happens; not for a thread
            that lives shorter than Azurite shall.
    """

    def __init__(
        self,
        state_dir: Path,
        accounts: Iterable[str] | Mapping[str, str],
        *,
        tls: TlsFiles | None = None,
        blob_port: int = 0,
        queue_port: int = 0,
        script: Path | None = None,
        guard: bool = False,
    ) -> None:
        self.state_dir = state_dir
        self.accounts = (
            dict(accounts) if isinstance(accounts, Mapping) else {name: account_key(name) for name in accounts}
        )
        self.blob_port = blob_port
        self.queue_port = queue_port
        self._tls = tls
        self._script = script
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None
        self._reserved = contextlib.ExitStack()

    @property
    def pid(self) -> int | None:
        """Process id while it runs, for a supervisor's guard."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_file(self) -> Path:
        """What Azurite printed."""
        return self.state_dir / "azurite.log"

    def queue_url(self, account: str) -> str:
        """URL of an account's queue service; give `{account}` for the template of a cloud file."""
        return f"{self._scheme}://{HOST}:{self.queue_port}/{account}"

    def blob_url(self, account: str) -> str:
        """URL of an account's blob service; give `{account}` for the template of a cloud file."""
        return f"{self._scheme}://{HOST}:{self.blob_port}/{account}"

    def connection_string(self, account: str) -> str:
        """Connection string of an account, with its key."""
        return (
            f"DefaultEndpointsProtocol={self._scheme};AccountName={account};AccountKey={self.accounts[account]};"
            f"BlobEndpoint={self.blob_url(account)};QueueEndpoint={self.queue_url(account)};"
        )

    def place(self) -> None:
        """Choose the ports, and so the addresses, before it listens there."""
        self.blob_port = self.blob_port or self._reserve()
        self.queue_port = self.queue_port or self._reserve()

    async def start(self) -> None:
        """Start and return when it answers.

        Raises:
            StorageError: It does not start; the message holds its last words.
        """
        if self._process is not None:
            raise StorageError("Azurite has been started already")
        script = self._script
        if script is None:
            script = await asyncio.to_thread(install)
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.place()
        try:
            # The table service is started too, because one process with all three costs as much memory as one service.
            with reserve() as table:
                self._spawn(script, table.port)
                ready = await self._is_ready()
        except BaseException:
            await self.stop()
            raise
        if not ready:
            words = self.log_file.read_text(errors="replace")[-1500:]
            await self.stop()
            raise StorageError(f"Azurite did not start, see {self.log_file}: {words}")

    async def stop(self) -> None:
        """Stop with SIGTERM, so that it saves its data; SIGKILL only if it does not end."""
        await self._end()
        self._reserved.close()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def restart(self) -> None:
        """Stop and start again on the same ports with the same data."""
        await self._end()
        await self.start()

    def _reserve(self) -> int:
        return self._reserved.enter_context(reserve()).port

    @property
    def _scheme(self) -> str:
        return "https" if self._tls else "http"

    def _spawn(self, script: Path, table_port: int) -> None:
        # An installation by npm has no links among its modules: to look for some takes a third of the start.
        arguments = ["node", "--preserve-symlinks", "--preserve-symlinks-main", "--require", str(_PRELOAD), str(script)]
        arguments += ["--location", str(self.state_dir / "data"), "--silent"]
        arguments += ["--blobPort", str(self.blob_port), "--queuePort", str(self.queue_port)]
        arguments += ["--tablePort", str(table_port)]
        # SDKs are newer than the emulator, and nothing that we start tells its maker about it.
        arguments += ["--skipApiVersionCheck", "--disableTelemetry"]
        if self._tls:
            arguments += ["--cert", str(self._tls.certificate), "--key", str(self._tls.key), "--oauth", "basic"]
        accounts = ";".join(f"{name}:{key}" for name, key in self.accounts.items())
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(
                guarded(arguments) if self._guard else arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "AZURITE_ACCOUNTS": accounts},
                start_new_session=True,  # a Ctrl-C of the terminal is the supervisor's to handle
            )

    async def _is_ready(self) -> bool:
        """Wait for its own words: a port that answers may be somebody else's."""
        deadline = time.monotonic() + READY_SECONDS
        while self.pid is not None and time.monotonic() < deadline:
            if self.log_file.read_text(errors="replace").count(_LISTENING) == _SERVICES:
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return False
