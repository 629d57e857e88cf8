from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from workforce_local.cluster.binaries import (
    Binaries,
    BinariesError,
    Binary,
    Source,
    default_cache_dir,
    resolve,
    table,
)
from workforce_local.cluster.versions import KUBERNETES_VERSION

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens, and the kernel says so at once


def make_program(folder: Path, name: str, output: str, exit_code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


def make_go(folder: Path, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go").write_text(f"#!{sys.executable}\nimport os, sys\narguments = sys.argv\n{body}\n")
    (folder / "go").chmod(0o755)


BUILDS = """
output = arguments[arguments.index("-o") + 1]
open(output, "w").write("built from " + os.getcwd() + " with " + arguments[arguments.index("-ldflags") + 1])
os.chmod(output, 0o755)
"""


@pytest.fixture
def place(tmp_path):
    """Folders that are empty, and a resolver that knows no others."""

    class Place:
        assets = tmp_path / "assets"
        path = tmp_path / "path"
        cache = tmp_path / "cache"
        modules = tmp_path / "modules"

        def __init__(self) -> None:
            self.lines: list[str] = []

        def resolve(self, *names: str) -> Binaries:
            return resolve(
                names,
                environ={"PATH": str(self.path), "KUBEBUILDER_ASSETS": str(self.assets), "HOME": str(tmp_path)},
                cache_dir=self.cache,
                download_base_url=NOWHERE,
                report=self.lines.append,
                modules=self.modules,
            )

        @property
        def said(self) -> str:
            return "\n".join(self.lines)

    for module in ("kubernetes", "etcd", "helm"):
        (Place.modules / module).mkdir(parents=True)
        (Place.modules / module / "go.mod").touch()
    return Place()


def test_the_assets_folder_comes_before_path(place):
    wanted = make_program(place.assets, "kubectl", "Client Version: v1.36.1")
    make_program(place.path, "kubectl", "Client Version: v1.36.2")
    found = place.resolve("kubectl")["kubectl"]
    assert (found.path, found.source, found.version) == (wanted, Source.ASSETS, "1.36.1")


def test_path_comes_before_the_cache(place):
    wanted = make_program(place.path, "etcd", "etcd Version: 3.5.9")
    make_program(place.cache, "etcd", "etcd Version: 3.6.16")
    assert place.resolve("etcd")["etcd"] == Binary("etcd", wanted, "3.5.9", Source.PATH)


def test_a_program_on_path_of_a_wrong_version_is_refused_and_named(place):
    make_program(place.path, "kubectl", "Client Version: v1.32.4-dispatcher")
    make_program(place.cache, "kubectl", "")
    assert place.resolve("kubectl")["kubectl"].source is Source.CACHE
    assert "path/kubectl is not used: it is 1.32.4, wanted is within one minor version of 1.36.3" in place.said


@pytest.mark.parametrize(("output", "exit_code"), [("hello", 0), ("v3.22.0", 1)])
def test_a_program_that_does_not_say_its_version_is_refused(place, output, exit_code):
    make_program(place.path, "helm", output, exit_code)
    make_program(place.cache, "helm", "")
    assert place.resolve("helm")["helm"].source is Source.CACHE
    assert "of unknown version" in place.said


def test_programs_may_come_from_different_places(place):
    make_program(place.assets, "etcd", "etcd Version: 3.6.1")
    make_program(place.path, "helm", "v3.17.0")
    make_program(place.cache, "kubectl", "")
    found = place.resolve("etcd", "helm", "kubectl")
    assert [binary.source for binary in found] == [Source.ASSETS, Source.PATH, Source.CACHE]
    assert found.folders == (place.assets, place.path, place.cache)


def test_what_cannot_be_downloaded_is_built_with_its_version_linked_in(place):
    make_go(place.path, BUILDS)
    found = place.resolve("kube-apiserver")["kube-apiserver"]
    assert (found.source, found.version) == (Source.BUILD, KUBERNETES_VERSION)
    text = found.path.read_text()
    assert str(place.modules / "kubernetes") in text
    assert f"gitVersion=v{KUBERNETES_VERSION}" in text
    assert place.resolve("kube-apiserver")["kube-apiserver"].source is Source.CACHE


def test_a_site_that_does_not_answer_is_asked_once_for_all_programs(place):
    make_go(place.path, BUILDS)
    place.resolve("kube-apiserver", "kubectl", "helm")
    assert place.said.count("no download") == 1


def test_a_missing_go_is_one_clear_line(place):
    with pytest.raises(BinariesError, match=r"Go is missing: install Go 1\.26 or newer") as caught:
        place.resolve("kubectl")
    assert "\n" not in str(caught.value)


def test_a_wheel_without_the_go_modules_says_so(place):
    (place.modules / "kubernetes" / "go.mod").unlink()
    with pytest.raises(BinariesError, match="part of the repository, not of the wheel"):
        place.resolve("kubectl")


def test_a_failed_build_leaves_nothing_and_shows_gos_last_words(place):
    make_go(place.path, 'open(arguments[arguments.index("-o") + 1], "w").write("half")\nsys.exit("undefined: x")')
    with pytest.raises(BinariesError, match="undefined: x"):
        place.resolve("kubectl")
    assert [entry.name for entry in place.cache.iterdir()] == [".lock"]


def test_a_cache_folder_that_cannot_be_made_names_the_variable_to_set(place):
    place.cache.write_text("a file is in the way")
    with pytest.raises(BinariesError, match="set XDG_CACHE_HOME"):
        place.resolve("kubectl")


def test_the_cache_folder_is_the_users_and_has_the_version_in_its_name():
    assert default_cache_dir({"HOME": "/home/a"}) == Path(f"/home/a/.cache/workforce/kubernetes/{KUBERNETES_VERSION}")
    assert default_cache_dir({"HOME": "/home/a", "XDG_CACHE_HOME": "/c"}) == Path(
        f"/c/workforce/kubernetes/{KUBERNETES_VERSION}"
    )


def test_the_table_shows_name_version_source_and_path():
    binaries = Binaries({"etcd": Binary("etcd", Path("/b/etcd"), "3.6.16", Source.CACHE)})
    assert table(binaries).split() == ["etcd", "3.6.16", "cache", "/b/etcd"]
    assert os.linesep not in table(binaries)
