"""What is in the volumes of a Pod, and how it is written to disk.

`contents` decides (pure but for the tokens it is given); `write_files` writes as kubelets do, so that programs that
watch a mounted ConfigMap see all keys change at once. Where the folders appear in a container is not decided here.

Invariant: a reader of a projected folder sees one version of all its files, never a mixture.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workforce_local.cluster.kube_client import Json
from workforce_local.cluster.pods.environment import ConfigurationError, Objects, PodFacts, field_value

DEFAULT_TOKEN_SECONDS = 3600
_DEFAULT_MODE = 0o644
_TOKEN_MODE = 0o600
_CURRENT = "..data"
_FOLDER_KINDS = ("emptyDir", "hostPath")
_FILE_KINDS = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True)
class File:
    """One file in a volume."""

    content: bytes
    mode: int = _DEFAULT_MODE


@dataclass(frozen=True)
class TokenRequest:
    """A token of the Pod's ServiceAccount that a volume shows."""

    audience: str
    seconds: int


Files = dict[str, File]
Tokens = Mapping[TokenRequest, str]


@dataclass(frozen=True)
class Sources:
    """What volumes are filled from."""

    pod: Json
    facts: PodFacts
    objects: Objects
    tokens: Tokens


def token_requests(pod: Json) -> set[TokenRequest]:
    """All tokens that the Pod's volumes need."""
    return {
        _token_request(source["serviceAccountToken"])
        for volume in pod["spec"].get("volumes") or []
        for source in (volume.get("projected") or {}).get("sources") or []
        if "serviceAccountToken" in source
    }


def _token_request(source: Json) -> TokenRequest:
    return TokenRequest(source.get("audience") or "", int(source.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS))


def changes(pod: Json) -> bool:
    """Whether any volume shows something that may change while the Pod runs."""
    return any(kind in volume for volume in pod["spec"].get("volumes") or [] for kind in _FILE_KINDS)


def contents(volume: Json, sources: Sources) -> Files | None:
    """The files of a volume, or None if it is a folder for the container to fill.

    Raises:
        ConfigurationError: what it shows does not exist, or this kind of volume is not supported.
    """
    if any(kind in volume for kind in _FOLDER_KINDS):
        return None
    kind = next((kind for kind in _FILE_KINDS if kind in volume), None)
    if kind is None:
        kinds = ", ".join(sorted(set(volume) - {"name"}))
        raise ConfigurationError(f"volume {volume['name']}: {kinds} is not supported")
    source = volume[kind]
    mode = source.get("defaultMode", _DEFAULT_MODE)
    files: Files = {}
    for entry in source.get("sources") or [] if kind == "projected" else [{kind: source}]:
        files.update(_projection(entry, mode, sources))
    for path in files:
        if path.startswith("/") or ".." in path.split("/"):
            raise ConfigurationError(f"volume {volume['name']}: path {path!r} leaves the volume")
    return files


def _projection(source: Json, mode: int, sources: Sources) -> Files:
    if "configMap" in source:
        return _selected(source["configMap"], "configmap", mode, sources.objects)
    if "secret" in source:
        return _selected(source["secret"], "secret", mode, sources.objects)
    if "downwardAPI" in source:
        return dict(_downward(source["downwardAPI"], mode, sources))
    if "serviceAccountToken" in source:
        token = source["serviceAccountToken"]
        return {token["path"]: File(sources.tokens[_token_request(token)].encode(), _TOKEN_MODE)}
    raise ConfigurationError(f"projected volume: {', '.join(source)} is not supported")


def _selected(source: Json, kind: str, mode: int, objects: Objects) -> Files:
    name = source.get("name") or source.get("secretName") or ""
    optional = bool(source.get("optional"))
    content = objects.content(kind, name, optional=optional)
    if not source.get("items"):
        return {key: File(value, mode) for key, value in content.items()}
    files: Files = {}
    for item in source["items"]:
        if item["key"] in content:
            files[item["path"]] = File(content[item["key"]], item.get("mode", mode))
        elif not optional:
            raise ConfigurationError(f'key "{item["key"]}" not found in {kind} "{name}"')
    return files


def _downward(source: Json, mode: int, sources: Sources) -> Iterator[tuple[str, File]]:
    for item in source.get("items") or []:
        if "fieldRef" not in item:
            raise ConfigurationError(f"downwardAPI {item.get('path')}: only fieldRef is supported")
        value = field_value(item["fieldRef"]["fieldPath"], sources.pod, sources.facts)
        yield item["path"], File(value.encode(), item.get("mode", mode))


def write_files(folder: Path, files: Files) -> None:
    """Make the folder show exactly these files, in one step; nothing happens if it does already.

    The files are in a hidden folder, `..data` is a link to it, and every name a link through `..data`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / _CURRENT
    if current.exists() and _read(current.resolve()) == files:
        return
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            output.write(file.content)
        target.chmod(file.mode)
    _point(current, fresh.name)
    _link_names(folder, {path.split("/")[0] for path in files})
    for entry in folder.iterdir():
        if entry.name.startswith("..") and entry.name not in {_CURRENT, fresh.name}:
            shutil.rmtree(entry, ignore_errors=True)


def _point(link: Path, target: str) -> None:
    scratch = link.with_name(f"{link.name}_new")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    scratch.replace(link)


def _link_names(folder: Path, names: set[str]) -> None:
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_CURRENT}/{name}")
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name != _CURRENT and entry.name not in names:
            entry.unlink()


def _read(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): File(path.read_bytes(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def host_folder(volume: Json) -> Path:
    """The folder or file of a `hostPath` volume, made if its type says so.

    Raises:
        ConfigurationError: it does not exist.
    """
    source = volume["hostPath"]
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    checks: dict[str, Callable[[Path], bool]] = {"Directory": Path.is_dir, "File": Path.is_file}
    if not checks.get(kind, Path.exists)(path):
        raise ConfigurationError(f"volume {volume['name']}: hostPath {path} is not there or not a {kind or 'path'}")
    return path


@dataclass(frozen=True)
class Mount:
    """One volume mount of a container: what is shown where."""

    source: Path
    target: str
    read_only: bool

    def as_json(self) -> dict[str, Any]:
        """For the container's guard."""
        return {"source": str(self.source), "target": self.target, "readOnly": self.read_only}


def mounts(container: Json, folders: Mapping[str, Path], expand: Callable[[str], str]) -> list[Mount]:
    """The volume mounts of a container; a missing subPath of a folder is made.

    Raises:
        ConfigurationError: a mount names a volume that does not exist, or leaves it.
    """
    found = []
    for mount in container.get("volumeMounts") or []:
        if mount["name"] not in folders:
            raise ConfigurationError(f"container {container['name']}: there is no volume {mount['name']}")
        part = expand(mount.get("subPathExpr") or "") or mount.get("subPath") or ""
        if part.startswith("/") or ".." in part.split("/"):
            raise ConfigurationError(f"container {container['name']}: subPath {part!r} leaves the volume")
        source = folders[mount["name"]] / part
        if not source.exists():
            source.mkdir(parents=True)
        found.append(Mount(source, mount["mountPath"].rstrip("/") or "/", bool(mount.get("readOnly"))))
    return found
