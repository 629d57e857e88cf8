"""Which programs make the local Kubernetes, which versions of them will do, and how each is built.

Pure: it reads no file and starts nothing. The pinned versions are those of the Go tool modules in `tools/kubernetes`
(a test compares them).

Invariant: a version that cannot be read is never accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from typing_extensions import override

KUBERNETES_VERSION = "1.36.3"
"""Version of kube-apiserver, kube-controller-manager and kubectl; it names the cache folder too."""
ETCD_VERSION = "3.6.16"
HELM_VERSION = "3.22.0"
_HELM_CLIENT_MINOR = "37"  # of the client library that helm is built with: what `helm template` assumes of a cluster

_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")


class Version(NamedTuple):
    """A version as numbers, which compare as they should."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """The first version in the text, or None."""
        match = _VERSION.search(text)
        return cls(*(int(part) for part in match.groups())) if match else None

    @override
    def __str__(self) -> str:
        return ".".join(str(part) for part in self)


class Match(StrEnum):
    """How close a program's version must be to the pinned one."""

    SAME_MINOR = "the same minor version as {}"
    NEAR_MINOR = "within one minor version of {}"
    SAME_MAJOR = "the same major version as {}"
    ETCD = "3.5 or 3.6"


@dataclass(frozen=True)
class Tool:
    """One program: how to ask its version, what will do, how to build and to download it."""

    name: str
    version: str
    match: Match
    version_arguments: tuple[str, ...]
    module: str
    """Folder below `tools/kubernetes` with the Go module that pins it."""
    package: str
    link_variables: tuple[tuple[str, str], ...] = ()
    """Go variables set by the linker: without them the programs do not know their own version."""

    @property
    def pinned(self) -> Version:
        """The version that we build and download."""
        version = Version.parse(self.version)
        assert version is not None
        return version

    @property
    def link_flags(self) -> str:
        """The argument of `go build -ldflags`: stripped, with its version."""
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.link_variables)])

    @property
    def wanted(self) -> str:
        """What will do, for people."""
        return self.match.value.format(self.version)

    def accepts(self, version: Version | None) -> bool:
        """Whether a program of this version will do."""
        if version is None:
            return False
        pinned = self.pinned
        match self.match:
            case Match.SAME_MINOR:
                return version[:2] == pinned[:2]
            case Match.NEAR_MINOR:
                return version.major == pinned.major and abs(version.minor - pinned.minor) <= 1
            case Match.SAME_MAJOR:
                return version.major == pinned.major
            case Match.ETCD:
                return version[:2] in {(3, 5), (3, 6)}


_KUBERNETES_MAJOR, _KUBERNETES_MINOR, _ = KUBERNETES_VERSION.split(".")
_COMPONENT = "k8s.io/component-base/version"
_KUBERNETES_LINK = (
    (f"{_COMPONENT}.gitVersion", f"v{KUBERNETES_VERSION}"),
    (f"{_COMPONENT}.gitMajor", _KUBERNETES_MAJOR),
    (f"{_COMPONENT}.gitMinor", _KUBERNETES_MINOR),
    (f"{_COMPONENT}.gitTreeState", "clean"),
)
_HELM = "helm.sh/helm/v3"
_HELM_LINK = (
    (f"{_HELM}/internal/version.version", f"v{HELM_VERSION}"),
    (f"{_HELM}/internal/version.metadata", ""),
    (f"{_HELM}/internal/version.gitTreeState", "clean"),
    (f"{_HELM}/pkg/chartutil.k8sVersionMajor", "1"),
    (f"{_HELM}/pkg/chartutil.k8sVersionMinor", _HELM_CLIENT_MINOR),
    (f"{_HELM}/pkg/lint/rules.k8sVersionMajor", "1"),
    (f"{_HELM}/pkg/lint/rules.k8sVersionMinor", _HELM_CLIENT_MINOR),
)


def _kubernetes(name: str, match: Match, *version_arguments: str) -> Tool:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return Tool(name, KUBERNETES_VERSION, match, version_arguments, "kubernetes", package, _KUBERNETES_LINK)


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool("etcd", ETCD_VERSION, Match.ETCD, ("--version",), "etcd", "go.etcd.io/etcd/server/v3"),
        _kubernetes("kube-apiserver", Match.SAME_MINOR, "--version"),
        _kubernetes("kube-controller-manager", Match.SAME_MINOR, "--version"),
        _kubernetes("kubectl", Match.NEAR_MINOR, "version", "--client"),
        Tool("helm", HELM_VERSION, Match.SAME_MAJOR, ("version", "--short"), "helm", f"{_HELM}/cmd/helm", _HELM_LINK),
    )
}
"""All programs by name."""
ALL: Sequence[str] = tuple(TOOLS)
