"""Which parts the local cloud consists of, where their files are, and in which order they start.

Each class here is thin: it starts somebody else's part and says what it has brought up. What a part is and how it works
is in its own package. Azure waits for storage's addresses, which its description of itself names, not for storage
itself. Most of a start is imports, and Azure has most of them: so Azure starts first, and what is not needed until
then, or for the cluster or a configuration only, is imported where it is needed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workforce_local.processes import Identity
from workforce_local.program import Program
from workforce_local.state import Process, StateFolder
from workforce_local.storage import DEFAULT_ACCOUNTS, Azurite, TlsFiles
from workforce_local.supervisor import Component, PartError, Started

if TYPE_CHECKING:
    from workforce_local.cluster.api_server import LocalKubernetes
    from workforce_local.config import LocalConfig

Report = Callable[[str], None]
"""Gets lines for people; from the main thread only."""

_NODE = "local"
"""Name of the cluster's only node."""


class StoragePart:
    """Azurite over HTTPS, with a certificate of the local authority."""

    name = "storage"

    def __init__(self, folder: Path, authority: Path, config: LocalConfig | None) -> None:
        self._folder = folder
        self._authority = authority
        self._accounts = config.storage_accounts if config else DEFAULT_ACCOUNTS
        self._azurite: Azurite | None = None
        self._placed = asyncio.Event()

    async def placed(self) -> Azurite:
        """The storage, once its addresses are known; it may still be starting."""
        await self._placed.wait()
        assert self._azurite is not None
        return self._azurite

    async def start(self) -> Started:
        """Install it if need be, and start it."""
        tls = TlsFiles(self._folder / "tls" / "cert.pem", self._folder / "tls" / "key.pem")
        self._azurite = Azurite(self._folder, self._accounts, tls=tls, guard=True)
        self._azurite.place()
        self._placed.set()
        await asyncio.to_thread(self._certify, tls)
        await self._azurite.start()
        identity = Identity.of(self._azurite.pid or 0)
        if identity is None:
            raise PartError(f"it ended at once; its log: {self._azurite.log_file}")
        address = self._azurite.queue_url("").rstrip("/")
        return Started((Process(name=self.name, identity=identity, log=self._azurite.log_file, address=address),))

    def _certify(self, tls: TlsFiles) -> None:
        from workforce_local.identity.certificates import CertificateAuthority  # noqa: PLC0415 - see the module

        CertificateAuthority(self._authority).write_server_files(tls.certificate, tls.key)

    async def stop(self) -> None:
        """End it; it saves its data."""
        if self._azurite is not None:
            await self._azurite.stop()


class AzurePart:
    """ARM, AzureML, Service Bus, identity and metadata services: one program."""

    name = "azure"

    def __init__(
        self,
        folder: Path,
        log: Path,
        config: LocalConfig | None,
        storage: StoragePart,
        cluster: KubernetesPart | None = None,
    ) -> None:
        self._folder = folder
        self._config = config
        self._cluster = cluster
        self._storage = storage
        self._ready_file = folder / "ready.json"
        self._log = log
        self._program: Program | None = None

    async def start(self) -> Started:
        """Start it with the addresses of the storage, and trust in the cluster's tokens."""
        storage = await self._storage.placed()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        given = self._config
        if self._cluster is not None:
            from workforce_local.identity.cluster_trust import trust_cluster  # noqa: PLC0415 - see the module

            given = await trust_cluster(given, self._cluster.kubeconfig, self._folder)
        options: dict[str, object] = {
            "--state-dir": self._folder,
            "--storage-queue-url": storage.queue_url("{account}"),
            "--blob-url": storage.blob_url("{account}"),
            "--ready-file": self._ready_file,
        }
        if given is not None:
            options["--config"] = given.write(self._folder)
        command = [sys.executable, "-m", "workforce_local.azure", *_flags(options)]
        # It calls nobody but what is local. The system's authorities, which it would parse while it starts, are many.
        trust = {"SSL_CERT_FILE": str(self._folder / "ca.pem")}
        self._program = Program(
            self.name, command, ready_file=self._ready_file, log=self._log, environment=trust, describe=self._describe
        )
        return await self._program.start()

    async def stop(self) -> None:
        """End it, and its jobs."""
        if self._program is not None:
            await self._program.stop()

    def _describe(self, process: Process) -> Started:
        ready = json.loads(self._ready_file.read_text(encoding="utf-8"))
        cloud = json.loads(Path(ready["cloud"]).read_text(encoding="utf-8"))
        return Started((replace(process, address=cloud["resourceManager"]),), exports=ready["environment"])


class KubernetesPart:
    """The control plane; its programs are found, downloaded or built first, which may take minutes."""

    name = "kubernetes"

    def __init__(self, folder: Path, tag: str, report: Report) -> None:
        self._folder = folder
        self._tag = tag
        self._report = report
        self._cluster: LocalKubernetes | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        assert self._cluster is not None, "start it first"
        return self._cluster.kubeconfig

    async def start(self) -> Started:
        """Find the programs and start the control plane."""
        from workforce_local.cluster.api_server import LocalKubernetes  # noqa: PLC0415 - see the module
        from workforce_local.cluster.binaries import resolve  # noqa: PLC0415 - see the module

        loop = asyncio.get_running_loop()

        def report(line: str) -> None:
            loop.call_soon_threadsafe(self._report, line)

        binaries = await asyncio.to_thread(resolve, report=report)
        self._cluster = LocalKubernetes(binaries=binaries, state_dir=self._folder, tag=self._tag)
        await self._cluster.start()
        return Started(
            tuple(_with_probe(process) for process in self._cluster.processes),
            exports={"KUBECONFIG": str(self.kubeconfig)},
            path_folders=binaries.folders,
        )

    async def stop(self) -> None:
        """End the control plane."""
        if self._cluster is not None:
            await self._cluster.stop()


class PodsPart:
    """The node that runs the cluster's Pods as local processes."""

    name = "pods"

    def __init__(self, folder: Path, log: Path, cluster: KubernetesPart) -> None:
        self._folder = folder
        self._log = log
        self._cluster = cluster
        self._program: Program | None = None

    async def start(self) -> Started:
        """Start it for the cluster that runs."""
        options = {"--kubeconfig": self._cluster.kubeconfig, "--state-dir": self._folder, "--node-name": _NODE}
        command = [sys.executable, "-m", "workforce_local.cluster.pod_runner", *_flags(options)]
        self._program = Program(self.name, command, log=self._log, ready_words=f"node {_NODE} is ready")
        return await self._program.start()

    async def stop(self) -> None:
        """End it, and the Pods' processes."""
        if self._program is not None:
            await self._program.stop()


def _with_probe(process: Process) -> Process:
    """The API server listens long before it serves, and says at this path which it does."""
    return replace(process, probe=f"{process.address}/readyz") if process.address else process


def _flags(options: Mapping[str, object]) -> list[str]:
    return [str(word) for option in options.items() for word in option]


def compose(
    folder: StateFolder, config: LocalConfig | None, *, kubernetes: bool, report: Report
) -> Sequence[Sequence[Component]]:
    """The parts, stage by stage, by default those of the default configuration.

    They stop in the reverse order: Pods and jobs before what they talk to.
    """
    azure = folder.root / "azure"
    storage = StoragePart(folder.root / "storage", azure, config)
    log = folder.logs / "azure.log"
    if not kubernetes:
        return [[storage, AzurePart(azure, log, config, storage)]]
    cluster = KubernetesPart(folder.root / "kubernetes", str(folder.root), report)
    jobs = AzurePart(azure, log, config, storage, cluster)
    pods = PodsPart(folder.root / "kubernetes", folder.logs / "pods.log", cluster)
    return [[cluster, storage], [jobs, pods]]
