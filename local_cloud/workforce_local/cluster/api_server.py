"""A Kubernetes control plane on loopback: etcd, kube-apiserver and kube-controller-manager as child processes.

There is no kubelet in it and no network between Pods: `pod_runner` runs the Pods. Data, keys and logs are in one
folder; a second start with the same folder finds everything that was in the cluster.

Invariants: nothing listens but the API server, on 127.0.0.1 (etcd has a socket in the folder); children do not
outlive this process, however it ends; `stop` leaves none behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from workforce_local.cluster.binaries import Binaries
from workforce_local.cluster.credentials import (
    SERVICE_CIDR,
    Credentials,
    kubeconfig,
    prepare,
    write_private,
)
from workforce_local.ports import HOST, reserve
from workforce_local.processes import STATE_VARIABLE, guarded
from workforce_local.processes import Identity as ProcessIdentity
from workforce_local.state import Process

BINARIES: Sequence[str] = ("etcd", "kube-apiserver", "kube-controller-manager")
"""What `LocalKubernetes` needs of `binaries.resolve`."""

_SOCKET = "unix://etcd.sock:0"  # relative to the working folder: the kernel bounds a socket's path to 107 bytes
_PEER_SOCKET = "unix://peer.sock:0"
_POLL = 0.05
_GRACE = 10.0
_LOG_TAIL = 2000
# Without Pods' addresses being reachable there are no endpoints; without a cloud there is nothing for the others.
_SWITCHED_OFF = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "node-ipam-controller",
    "node-route-controller",
    "cloud-node-lifecycle-controller",
    "service-lb-controller",
    "persistentvolume-attach-detach-controller",
    "horizontal-pod-autoscaler-controller",
)


class ClusterError(RuntimeError):
    """The control plane did not come up or fell down. The message names the process and its log."""


class _Child:
    """One running program of the control plane."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path, address: str) -> None:
        identity = ProcessIdentity.of(process.pid)
        if identity is None:
            raise ClusterError(f"{name} ended at once: see {log}")
        self.process = process
        self.record = Process(name=name, identity=identity, log=log, address=address)

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    def failure(self) -> ClusterError:
        """What to say about its end."""
        return ClusterError(
            f"{self.record.name} ended with exit code {self.process.returncode}: see {self.record.log}\n{self.tail()}"
        )

    def tail(self) -> str:
        with contextlib.suppress(OSError):
            return self.record.log.read_bytes()[-_LOG_TAIL:].decode("utf-8", errors="replace")
        return ""

    async def stop(self, *, grace: float) -> None:
        """SIGTERM, then SIGKILL after the grace; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), grace)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class LocalKubernetes:
    """A control plane; use it as an async context manager or call `start` and `stop`.

    Call `start` from the main thread: the kernel ends the children when the thread that started them ends.

    Args:
        binaries: at least `BINARIES`.
        state_dir: where data, keys and logs are kept; made if missing.
        report: gets lines for people.
        tag: value of the state variable in the children's environment, by default the state folder's path.
        timeout: seconds until a start that has not finished is given up; a loaded machine is slow.
    """

    def __init__(
        self,
        *,
        binaries: Binaries,
        state_dir: Path,
        report: Callable[[str], None] = lambda _: None,
        tag: str | None = None,
        timeout: float = 120.0,
    ) -> None:
        self._binaries = binaries
        self._folder = state_dir.absolute().resolve()
        self._report = report
        self._tag = tag or str(self._folder)
        self._timeout = timeout
        self._children: list[_Child] = []
        self._server = ""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig file; it is there once `start` has returned."""
        return self._folder / "kubeconfig"

    @property
    def server(self) -> str:
        """The API server's address."""
        return self._server

    @property
    def processes(self) -> tuple[Process, ...]:
        """The running children."""
        return tuple(child.record for child in self._children if not child.ended)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; returns when the cluster accepts objects and its controllers work.

        Raises:
            ClusterError: a program ended, or it took too long. Call `stop` then.
        """
        started = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / "logs").mkdir(exist_ok=True)
        credentials = prepare(self._folder / "pki")
        try:
            async with asyncio.timeout(self._timeout):
                await self._start_etcd()
                async with _session(credentials) as session:
                    await self._start_api_server(credentials, session)
                    await self._start_controller_manager(credentials, session)
        except TimeoutError as error:
            raise ClusterError(
                f"Kubernetes was not ready after {self._timeout:.0f} s: see {self._folder / 'logs'}"
            ) from error
        self._report(f"Kubernetes is ready at {self._server} after {time.monotonic() - started:.1f} s")

    async def stop(self) -> None:
        """End the children, the last started first; without any it does nothing."""
        while self._children:
            await self._children[-1].stop(grace=_GRACE)
            self._children.pop()

    async def wait(self) -> ClusterError:
        """Return when one of the children has ended unasked, with what to say about it."""
        waits = {asyncio.create_task(child.process.wait(), name=child.record.name): child for child in self._children}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[next(iter(done))].failure()
        finally:
            for task in waits:
                task.cancel()

    async def _start_etcd(self) -> None:
        # A socket file of a killed predecessor would be "in use".
        for name in ("etcd.sock:0", "peer.sock:0"):
            (self._folder / name).unlink(missing_ok=True)
        await self._spawn(
            "etcd",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={_SOCKET}",
            f"--advertise-client-urls={_SOCKET}",
            f"--listen-peer-urls={_PEER_SOCKET}",
            f"--initial-advertise-peer-urls={_PEER_SOCKET}",
            f"--initial-cluster=default={_PEER_SOCKET}",
            # The data lives as long as a demo or a test: speed is worth more than surviving a power cut.
            "--unsafe-no-fsync",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=30m",
            "--log-level=warn",
        )

    async def _start_api_server(self, credentials: Credentials, session: aiohttp.ClientSession) -> None:
        with reserve() as reserved:
            self._server = f"https://{HOST}:{reserved.port}"
            flags = _api_server_flags(credentials, reserved.port)
            await self._spawn("kube-apiserver", *flags, address=self._server)
            await self._until(session, "/readyz")
        write_private(self.kubeconfig, kubeconfig(self._server, credentials.authority, credentials.admin))

    async def _start_controller_manager(self, credentials: Credentials, session: aiohttp.ClientSession) -> None:
        own = self._folder / "pki" / "controller-manager.kubeconfig"
        write_private(own, kubeconfig(self._server, credentials.authority, credentials.controller_manager))
        await self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={own}",
            f"--service-account-private-key-file={credentials.service_account_key}",
            f"--root-ca-file={credentials.authority}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",
            # A laptop that wakes up must not evict its Pods before the runner had time to say that it lives.
            "--node-monitor-grace-period=2m",
            f"--controllers=*,{','.join(f'-{name}' for name in _SWITCHED_OFF)}",
        )
        # Both are written by controllers, and no Pod can be made without them.
        await self._until(session, "/api/v1/namespaces/default/serviceaccounts/default")
        await self._until(session, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")

    async def _spawn(self, name: str, *arguments: str, address: str = "") -> _Child:
        log = self._folder / "logs" / f"{name}.log"
        command = guarded([str(self._binaries.path(name)), *arguments], number=signal.SIGKILL)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self._folder,
                env={**os.environ, STATE_VARIABLE: self._tag},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal reaches the supervisor only, which ends us in order.
                start_new_session=True,
            )
        child = _Child(name, process, log, address)
        self._children.append(child)
        return child

    async def _until(self, session: aiohttp.ClientSession, path: str) -> None:
        """Wait until the API server answers 200 here, as long as all children live."""
        while True:
            for child in self._children:
                if child.ended:
                    raise child.failure()
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(f"{self._server}{path}") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(_POLL)


def _api_server_flags(credentials: Credentials, port: int) -> list[str]:
    return [
        f"--etcd-servers={_SOCKET}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={port}",
        f"--tls-cert-file={credentials.server_certificate}",
        f"--tls-private-key-file={credentials.server_key}",
        # Shown to the node's log endpoint, which trusts the same authority.
        f"--kubelet-client-certificate={credentials.server_certificate}",
        f"--kubelet-client-key={credentials.server_key}",
        f"--token-auth-file={credentials.tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={credentials.service_account_key}",
        f"--service-account-signing-key-file={credentials.service_account_key}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        # The endpoint of the Service `kubernetes` may not be a loopback address, and nobody needs it.
        "--endpoint-reconciler-type=none",
        "--allow-privileged=true",
        "--profiling=false",
    ]


def _session(credentials: Credentials) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=str(credentials.authority))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        headers={"Authorization": f"Bearer {credentials.admin.token}"},
        timeout=aiohttp.ClientTimeout(total=10),
    )
