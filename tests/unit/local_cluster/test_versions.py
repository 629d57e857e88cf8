from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.tables import table
from workforce_local.cluster.build import MODULES
from workforce_local.cluster.versions import ALL, ETCD_VERSION, HELM_VERSION, KUBERNETES_VERSION, TOOLS, Version


@table(
    ("text", "expected"),
    [
        ("Kubernetes v1.36.3", (1, 36, 3)),
        ("etcd Version: 3.6.16\nGit SHA: Not provided\nGo Version: go1.26.8", (3, 6, 16)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("v3.22.0+gabcdef0", (3, 22, 0)),
        ("v0.0.0-master+$Format", (0, 0, 0)),
        ("no version here", None),
        ("", None),
    ],
)
def test_the_first_version_in_a_programs_output_is_its_version(text, expected):
    assert Version.parse(text) == expected


@pytest.mark.parametrize("name", ["kube-apiserver", "kube-controller-manager"])
@pytest.mark.parametrize(("version", "accepted"), [("1.36.0", True), ("1.35.9", False), ("1.37.1", False)])
def test_the_control_plane_must_have_the_same_minor_version(name, version, accepted):
    assert TOOLS[name].accepts(Version.parse(version)) is accepted


@table(
    ("version", "accepted"),
    [("1.35.0", True), ("1.36.9", True), ("1.37.2", True), ("1.34.4", False), ("1.32.4", False)],
)
def test_kubectl_may_be_one_minor_version_away(version, accepted):
    assert TOOLS["kubectl"].accepts(Version.parse(version)) is accepted


@table(("version", "accepted"), [("3.12.0", True), ("3.22.0", True), ("2.17.0", False), ("4.0.0", False)])
def test_any_helm_3_will_do(version, accepted):
    assert TOOLS["helm"].accepts(Version.parse(version)) is accepted


@table(("version", "accepted"), [("3.5.21", True), ("3.6.16", True), ("3.4.30", False), ("3.7.0", False)])
def test_etcd_must_be_3_5_or_3_6(version, accepted):
    assert TOOLS["etcd"].accepts(Version.parse(version)) is accepted


def test_an_unknown_version_is_never_accepted():
    assert not any(TOOLS[name].accepts(None) for name in ALL)


@table(
    ("module", "requirement", "version"),
    [
        ("kubernetes", "k8s.io/kubernetes", KUBERNETES_VERSION),
        ("etcd", "go.etcd.io/etcd/server/v3", ETCD_VERSION),
        ("helm", "helm.sh/helm/v3", HELM_VERSION),
    ],
)
def test_the_pinned_versions_are_those_of_the_go_modules(module, requirement, version):
    text = (MODULES / module / "go.mod").read_text()
    assert re.search(rf"{re.escape(requirement)} v{re.escape(version)}\b", text)


def test_every_program_is_a_tool_of_its_go_module():
    for name in ALL:
        text = (MODULES / TOOLS[name].module / "go.mod").read_text()
        assert TOOLS[name].package in text


def test_what_helm_assumes_of_a_cluster_is_the_version_of_its_client_library():
    text = (MODULES / "helm" / "go.mod").read_text()
    minor = re.search(r"k8s\.io/client-go v0\.(\d+)\.", text)
    assert minor
    assert f"pkg/chartutil.k8sVersionMinor={minor.group(1)}" in TOOLS["helm"].link_flags


def test_the_go_modules_have_locked_sums_and_no_address():
    for folder in sorted(Path(MODULES).iterdir()):
        assert (folder / "go.sum").stat().st_size > 0
        assert "://" not in (folder / "go.mod").read_text()
