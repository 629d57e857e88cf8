"""Finds the programs of the local Kubernetes, and gets what is missing into a cache folder of the user.

The order for each program: the folder named by `KUBEBUILDER_ASSETS`, `PATH`, the cache folder, the official download,
a build with Go. `python -m workforce_local.cluster.binaries` does it for all and prints which was taken.

Invariant: a program that somebody else installed is used only if its version was read and will do; a program in the
cache folder got there complete, in one step, under its version.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import click

from workforce_local.cluster.build import MODULES, BuildError, build
from workforce_local.cluster.download import DownloadError, UnreachableError, download
from workforce_local.cluster.versions import ALL, KUBERNETES_VERSION, TOOLS, Tool, Version

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
"""Names a folder with programs, as the Kubernetes test tools use it."""
_VERSION_TIMEOUT = 20.0


class BinariesError(RuntimeError):
    """A program could not be found, downloaded or built. The message has one line for each way that failed."""


class Source(StrEnum):
    """Where a program was taken from."""

    ASSETS = ASSETS_VARIABLE
    PATH = "PATH"
    CACHE = "cache"
    DOWNLOAD = "download"
    BUILD = "go build"


@dataclass(frozen=True)
class Binary:
    """One program that will do."""

    name: str
    path: Path
    version: str
    source: Source


@dataclass(frozen=True)
class Binaries:
    """Programs by name."""

    found: Mapping[str, Binary]

    def __getitem__(self, name: str) -> Binary:
        return self.found[name]

    def __iter__(self) -> Iterator[Binary]:
        return iter(self.found.values())

    def path(self, name: str) -> Path:
        """Where the program is."""
        return self.found[name].path

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of all programs, each once: put before PATH, they make these programs the ones that are run."""
        return tuple(dict.fromkeys(binary.path.parent for binary in self))


def default_cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache folder of the pinned version."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "workforce" / "kubernetes" / KUBERNETES_VERSION


def resolve(
    names: Sequence[str] = ALL,
    *,
    environ: Mapping[str, str] = os.environ,
    cache_dir: Path | None = None,
    download_base_url: str | None = None,
    report: Callable[[str], None] = lambda _: None,
    modules: Path = MODULES,
) -> Binaries:
    """Find these programs, getting into the cache folder what is missing. May take minutes; safe to call at once.

    Args:
        names: which programs.
        environ: where `KUBEBUILDER_ASSETS`, `PATH`, `XDG_CACHE_HOME` and Go's settings are read.
        cache_dir: instead of the default cache folder.
        download_base_url: a mirror that has all official files under their official paths.
        report: gets lines for people: what was refused and why, and what takes long.
        modules: the folder of the Go tool modules.

    Raises:
        BinariesError: a program is to be had in no way.
    """
    resolver = _Resolver(
        environ=environ,
        cache_dir=cache_dir or default_cache_dir(environ),
        base_url=download_base_url.rstrip("/") if download_base_url else None,
        report=report,
        modules=modules,
    )
    return Binaries({name: resolver.resolve(TOOLS[name]) for name in names})


@dataclass
class _Resolver:
    environ: Mapping[str, str]
    cache_dir: Path
    base_url: str | None
    report: Callable[[str], None]
    modules: Path
    unreachable: set[str] = field(default_factory=set)
    """Sites that did not answer, by the tool module they serve: asked once, not once for each program."""

    def resolve(self, tool: Tool) -> Binary:
        return self._installed(tool) or self._cached(tool) or self._obtained(tool)

    def _installed(self, tool: Tool) -> Binary | None:
        """One that somebody else put on this machine."""
        places = ((Source.ASSETS, self.environ.get(ASSETS_VARIABLE)), (Source.PATH, self.environ.get("PATH")))
        for source, folders in places:
            candidate = shutil.which(tool.name, path=folders) if folders else None
            if candidate is None:
                continue
            version = read_version(tool, Path(candidate), self.environ)
            if tool.accepts(version):
                return Binary(tool.name, Path(candidate), str(version), source)
            self.report(f"{candidate} is not used: it is {version or 'of unknown version'}, wanted is {tool.wanted}")
        return None

    def _cached(self, tool: Tool) -> Binary | None:
        path = self.cache_dir / tool.name
        return Binary(tool.name, path, tool.version, Source.CACHE) if os.access(path, os.X_OK) else None

    def _obtained(self, tool: Tool) -> Binary:
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BinariesError(f"{self.cache_dir}: cannot be made: {error.strerror}; set XDG_CACHE_HOME") from error
        with _locked(self.cache_dir / ".lock", self.report):
            # Whoever had the lock before may have got this very program.
            return self._cached(tool) or self._downloaded(tool) or self._built(tool)

    def _downloaded(self, tool: Tool) -> Binary | None:
        if tool.module in self.unreachable:
            return None
        path = self.cache_dir / tool.name
        try:
            self.report(f"downloading {tool.name} {tool.version}")
            download(tool, path, base_url=self.base_url, report=self.report)
        except UnreachableError as error:
            self.unreachable.update(
                {tool.module} if self.base_url is None else {other.module for other in TOOLS.values()}
            )
            self.report(f"no download: {error}")
            return None
        except DownloadError as error:
            self.report(f"no download: {error}")
            return None
        return Binary(tool.name, path, tool.version, Source.DOWNLOAD)

    def _built(self, tool: Tool) -> Binary:
        path = self.cache_dir / tool.name
        try:
            build(tool, path, environ=self.environ, report=self.report, modules=self.modules)
        except BuildError as error:
            raise BinariesError(
                f"{tool.name} {tool.version} is not on this machine and cannot be downloaded, and {error}"
            ) from error
        return Binary(tool.name, path, tool.version, Source.BUILD)


def read_version(tool: Tool, path: Path, environ: Mapping[str, str]) -> Version | None:
    """What the program says of itself, or None if it says nothing that is a version."""
    try:
        done = subprocess.run(
            [path, *tool.version_arguments],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Version.parse(done.stdout) if done.returncode == 0 else None


@contextlib.contextmanager
def _locked(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file; the kernel releases it if we are killed."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that is filling {path.parent}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def table(binaries: Binaries) -> str:
    """The programs, their versions and sources, for people."""
    rows = [(binary.name, binary.version, binary.source.value, str(binary.path)) for binary in binaries]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def main() -> None:
    """Find all programs and print which were taken; exit 1 with the reason if one is missing."""
    try:
        binaries = resolve(report=lambda line: click.echo(line, err=True))
    except BinariesError as error:
        click.echo(f"kubernetes: {error}", err=True)
        sys.exit(1)
    click.echo(table(binaries))


if __name__ == "__main__":
    main()
