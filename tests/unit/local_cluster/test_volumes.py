from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.unit.local_cluster.test_environment import FACTS, OBJECTS, POD
from workforce_local.cluster.pods.environment import ConfigurationError
from workforce_local.cluster.pods.volumes import (
    File,
    Mount,
    Sources,
    TokenRequest,
    changes,
    contents,
    host_folder,
    mounts,
    token_requests,
    write_files,
)

TOKEN = TokenRequest("", 3607)
SOURCES = Sources(POD, FACTS, OBJECTS, {TOKEN: "tok", TokenRequest("vault", 600): "vault-tok"})


def test_a_config_map_volume_has_one_file_per_key():
    files = contents({"name": "v", "configMap": {"name": "settings", "defaultMode": 0o600}}, SOURCES)
    assert files == {
        "mode": File(b"fast", 0o600),
        "size": File(b"3", 0o600),
        "blob": File(b"\0\1", 0o600),
    }


def test_items_choose_keys_paths_and_modes():
    source = {"secretName": "login", "items": [{"key": "password", "path": "deep/pw", "mode": 0o400}]}
    assert contents({"name": "v", "secret": source}, SOURCES) == {"deep/pw": File(b"s3cret", 0o400)}


def test_a_missing_key_is_named_unless_the_source_is_optional():
    source = {"name": "settings", "items": [{"key": "no", "path": "x"}]}
    with pytest.raises(ConfigurationError, match='key "no" not found in configmap "settings"'):
        contents({"name": "v", "configMap": source}, SOURCES)
    assert contents({"name": "v", "configMap": {**source, "optional": True}}, SOURCES) == {}


def test_a_projected_volume_joins_token_config_map_secret_and_fields():
    volume = {
        "name": "v",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"serviceAccountToken": {"path": "vault", "expirationSeconds": 600, "audience": "vault"}},
                {"configMap": {"name": "settings", "items": [{"key": "mode", "path": "mode"}]}},
                {"secret": {"name": "login"}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
        },
    }
    files = contents(volume, SOURCES)
    assert files is not None
    assert {path: file.content for path, file in files.items()} == {
        "token": b"tok",
        "vault": b"vault-tok",
        "mode": b"fast",
        "password": b"s3cret",
        "namespace": b"shop",
    }
    assert files["token"].mode == 0o600
    assert token_requests({"spec": {"volumes": [volume]}}) == {TOKEN, TokenRequest("vault", 600)}


@pytest.mark.parametrize("kind", ["emptyDir", "hostPath"])
def test_folders_have_no_content_of_ours(kind):
    assert contents({"name": "v", kind: {}}, SOURCES) is None


def test_an_unsupported_kind_of_volume_is_named():
    with pytest.raises(ConfigurationError, match="volume v: persistentVolumeClaim is not supported"):
        contents({"name": "v", "persistentVolumeClaim": {"claimName": "x"}}, SOURCES)


def test_a_path_that_leaves_the_volume_is_refused():
    source = {"name": "settings", "items": [{"key": "mode", "path": "../../x"}]}
    with pytest.raises(ConfigurationError, match="leaves the volume"):
        contents({"name": "v", "configMap": source}, SOURCES)


def test_only_pods_with_projections_need_to_be_refreshed():
    assert changes({"spec": {"volumes": [{"name": "v", "configMap": {}}]}})
    assert not changes({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}})
    assert not changes({"spec": {}})


def test_written_files_have_their_content_and_mode(tmp_path: Path):
    write_files(tmp_path / "v", {"a": File(b"1", 0o640), "deep/b": File(b"2")})
    assert (tmp_path / "v/a").read_bytes() == b"1"
    assert (tmp_path / "v/a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "v/deep/b").read_bytes() == b"2"


def test_an_update_replaces_all_files_and_leaves_no_old_version(tmp_path: Path):
    folder = tmp_path / "v"
    write_files(folder, {"a": File(b"1"), "gone": File(b"x")})
    write_files(folder, {"a": File(b"2"), "new": File(b"3")})
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == {"a": b"2", "new": b"3"}
    assert not (folder / "gone").is_symlink()
    assert len([path for path in folder.iterdir() if path.name.startswith("..") and not path.is_symlink()]) == 1


def test_an_update_without_a_change_touches_nothing(tmp_path: Path):
    folder = tmp_path / "v"
    files = {"a": File(b"1"), "deep/b": File(b"2", 0o600)}
    write_files(folder, files)
    before = (folder / "..data").readlink()
    write_files(folder, files)
    assert (folder / "..data").readlink() == before


def test_an_update_after_a_crash_between_two_steps_completes(tmp_path: Path):
    folder = tmp_path / "v"
    write_files(folder, {"a": File(b"1")})
    (folder / "..abandoned").mkdir()
    (folder / "..data_new").symlink_to("..abandoned")
    write_files(folder, {"a": File(b"2")})
    assert (folder / "a").read_bytes() == b"2"


def test_host_paths_are_made_or_checked_by_their_type(tmp_path: Path):
    made = tmp_path / "made"
    assert host_folder({"name": "v", "hostPath": {"path": str(made), "type": "DirectoryOrCreate"}}) == made
    assert made.is_dir()
    for path, kind in ((tmp_path / "no", ""), (made, "File")):
        with pytest.raises(ConfigurationError, match="hostPath"):
            host_folder({"name": "v", "hostPath": {"path": str(path), "type": kind}})


def test_mounts_join_volume_sub_path_and_read_only(tmp_path: Path):
    container = {
        "name": "c",
        "volumeMounts": [
            {"name": "v", "mountPath": "/data/", "readOnly": True},
            {"name": "v", "mountPath": "/one", "subPath": "part"},
            {"name": "v", "mountPath": "/two", "subPathExpr": "$(POD)"},
        ],
    }
    found = mounts(container, {"v": tmp_path}, lambda text: text.replace("$(POD)", "web-1"))
    assert found == [
        Mount(tmp_path, "/data", read_only=True),
        Mount(tmp_path / "part", "/one", read_only=False),
        Mount(tmp_path / "web-1", "/two", read_only=False),
    ]
    assert (tmp_path / "part").is_dir()


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"name": "no", "mountPath": "/x"}, "there is no volume no"),
        ({"name": "v", "mountPath": "/x", "subPath": "../up"}, "leaves the volume"),
    ],
)
def test_a_wrong_mount_is_refused(tmp_path: Path, mount, message):
    with pytest.raises(ConfigurationError, match=message):
        mounts({"name": "c", "volumeMounts": [mount]}, {"v": tmp_path}, str)


def test_binary_secrets_arrive_unchanged():
    content = bytes(range(256))
    objects = type(OBJECTS)(secrets={"b": {"data": {"k": base64.b64encode(content).decode()}}})
    files = contents({"name": "v", "secret": {"secretName": "b"}}, Sources(POD, FACTS, objects, {}))
    assert files == {"k": File(content)}
