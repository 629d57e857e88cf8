"""What the containers of a Pod are given: volumes, tokens, environment, command line.

It reads the API server for one Pod and writes that Pod's folder; it starts nothing and writes no status.

Invariant: a container is given what the API server says now, or nothing: what is missing is a ConfigurationError.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workforce_local.cluster.kube_client import TRANSIENT, ApiError, Json, KubeClient
from workforce_local.cluster.pods.container import Isolation, Launch
from workforce_local.cluster.pods.environment import (
    ConfigurationError,
    Objects,
    PodFacts,
    command_line,
    expand,
    references,
    relocate,
    variables,
)
from workforce_local.cluster.pods.volumes import (
    Mount,
    Sources,
    TokenRequest,
    contents,
    host_folder,
    mounts,
    token_requests,
    write_files,
)
from workforce_local.processes import STATE_VARIABLE

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "TZ", "USER")
_HEADROOM = 0.2
"""A token is renewed when less than this part of its life is left."""


@dataclass(frozen=True)
class _Token:
    text: str
    renew_at: float


@dataclass
class Provisions:
    """What one Pod's containers are given."""

    pod: Json
    facts: PodFacts
    client: KubeClient
    isolation: Isolation
    folder: Path
    tag: str
    _tokens: dict[TokenRequest, _Token] = field(default_factory=dict)
    _objects: Objects = field(default_factory=Objects)
    _folders: dict[str, Path] = field(default_factory=dict)

    @property
    def filled(self) -> bool:
        """Whether the volumes were filled once."""
        return bool(self._folders)

    async def launch(self, container: Json) -> Launch:
        """All that a run of the container needs, fetched now.

        Raises:
            ConfigurationError: something is missing.
        """
        await self.fetch()
        base = self._base_environment()
        known = variables(container, self.pod, self.facts, self._objects, base)
        wanted = mounts(container, self._folders, lambda text: expand(text, known))
        command = command_line(container, known)
        scratch = self.folder / "containers" / container["name"] / "work"
        scratch.mkdir(parents=True, exist_ok=True)
        folder = container.get("workingDir") or str(scratch)
        if self.isolation is Isolation.NONE:
            places = {mount.target: str(mount.source) for mount in wanted}
            if TOKEN_FOLDER in places:
                known.setdefault("KUBECONFIG", str(self._kubeconfig(Path(places[TOKEN_FOLDER]))))
            command = [relocate(part, places) for part in command]
            known = {name: relocate(value, places) for name, value in known.items()}
            return Launch(command, known, Path(relocate(folder, places)), (), places)
        return Launch(command, known, Path(folder), [*wanted, Mount(self._hosts_file(), "/etc/hosts", read_only=False)])

    def _base_environment(self) -> dict[str, str]:
        server = self.client.access.server
        host, _, port = server.partition("://")[2].rpartition(":")
        # Programs that are installed beside the runner's interpreter are found as in an image made for them.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            "PATH": path,
            "HOSTNAME": self.pod["spec"].get("hostname") or self.pod["metadata"]["name"],
            "KUBERNETES_SERVICE_HOST": host.strip("[]"),
            "KUBERNETES_SERVICE_PORT": port,
            "KUBERNETES_SERVICE_PORT_HTTPS": port,
            STATE_VARIABLE: self.tag,
        }

    async def fetch(self) -> None:
        """Read what the Pod refers to, and bring its volumes up to date."""
        try:
            self._objects = await self._read_objects()
            tokens = {request: await self._token(request) for request in token_requests(self.pod)}
        except ApiError as error:
            raise ConfigurationError(f"the API server refused: {error}") from error
        except TRANSIENT as error:
            raise ConfigurationError(f"the API server cannot be reached: {error}") from error
        sources = Sources(self.pod, self.facts, self._objects, tokens)
        for volume in self.pod["spec"].get("volumes") or []:
            self._folders[volume["name"]] = self._fill(volume, sources)

    def _fill(self, volume: Json, sources: Sources) -> Path:
        if "hostPath" in volume:
            return host_folder(volume)
        folder = self.folder / "volumes" / str(volume["name"])
        files = contents(volume, sources)
        if files is None:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
        else:
            write_files(folder, files)
        return folder

    async def _read_objects(self) -> Objects:
        namespace = self.pod["metadata"]["namespace"]
        found: dict[str, dict[str, Json | None]] = {"configmap": {}, "secret": {}}
        for kind, name in set(references(self.pod)):
            try:
                found[kind][name] = await self.client.get(f"/api/v1/namespaces/{namespace}/{kind}s/{name}")
            except ApiError as error:
                if error.status != 404:
                    raise
                found[kind][name] = None
        return Objects(found["configmap"], found["secret"])

    async def _token(self, request: TokenRequest) -> str:
        """A token of the Pod's ServiceAccount that is good for a while."""
        held = self._tokens.get(request)
        if held and held.renew_at > time.monotonic():
            return held.text
        metadata = self.pod["metadata"]
        account = self.pod["spec"].get("serviceAccountName") or "default"
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"expirationSeconds": request.seconds, "boundObjectRef": bound}
        if request.audience:
            spec["audiences"] = [request.audience]
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        asked = time.monotonic()
        answer = await self.client.create(
            path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        )
        text = str(answer["status"]["token"])
        self._tokens[request] = _Token(text, asked + (1 - _HEADROOM) * request.seconds)
        return text

    def _kubeconfig(self, token_folder: Path) -> Path:
        """For containers that cannot see their token where clients look for it."""
        path = self.folder / "kubeconfig"
        cluster = {"server": self.client.access.server, "certificate-authority": str(token_folder / "ca.crt")}
        context = {"cluster": "local", "user": "pod", "namespace": self.pod["metadata"]["namespace"]}
        content: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "pod", "user": {"tokenFile": str(token_folder / "token")}}],
            "contexts": [{"name": "pod", "context": context}],
            "current-context": "pod",
        }
        path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        return path

    def _hosts_file(self) -> Path:
        """The machine's own, and the Pod's name."""
        path = self.folder / "hosts"
        own = Path("/etc/hosts").read_text(encoding="utf-8") if Path("/etc/hosts").is_file() else ""
        aliases = [f"{a['ip']}\t{' '.join(a['hostnames'])}" for a in self.pod["spec"].get("hostAliases") or []]
        lines = "\n".join([own.rstrip(), *aliases, f"{self.facts.address}\t{self.pod['metadata']['name']}"])
        path.write_text(f"{lines}\n", encoding="utf-8")
        return path
