from __future__ import annotations

import base64

import pytest

from tests.support.tables import table
from workforce_local.cluster.pods.environment import (
    ConfigurationError,
    Objects,
    PodFacts,
    command_line,
    expand,
    field_value,
    references,
    relocate,
    variables,
)

FACTS = PodFacts(address="127.20.0.7", node_name="local", node_address="127.0.0.1")
POD = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"app": "web", "tier": 'fr"ont'},
        "annotations": {"example.com/note": "hi"},
    },
    "spec": {"serviceAccountName": "robot", "containers": []},
}
OBJECTS = Objects(
    config_maps={
        "settings": {"data": {"mode": "fast", "size": "3"}, "binaryData": {"blob": base64.b64encode(b"\0\1").decode()}},
        "absent": None,
    },
    secrets={"login": {"data": {"password": base64.b64encode(b"s3cret").decode()}}, "absent": None},
)


def env_of(*entries, env_from=(), base=None):
    return variables({"env": list(entries), "envFrom": list(env_from)}, POD, FACTS, OBJECTS, base or {})


@table(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("100$", "100$"),
        ("a$$b", "a$b"),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded_as_the_api_documents(text, expected):
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_a_value_may_use_variables_defined_before_it_and_not_those_after():
    env = env_of({"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "c"}, base={"A": "a"})
    assert env["B"] == "a$(C)"


def test_a_variable_overrides_env_from_and_env_from_overrides_the_base():
    env = env_of(
        {"name": "mode", "value": "slow"},
        env_from=[{"configMapRef": {"name": "settings"}}],
        base={"size": "1", "mode": "none"},
    )
    assert (env["mode"], env["size"]) == ("slow", "3")


def test_env_from_puts_its_prefix_before_each_key():
    assert env_of(env_from=[{"secretRef": {"name": "login"}, "prefix": "DB_"}])["DB_password"] == "s3cret"


def test_keys_of_config_maps_and_secrets_become_values():
    env = env_of(
        {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
    )
    assert (env["M"], env["P"]) == ("fast", "s3cret")


@table(
    ("entry", "message"),
    [
        ({"configMapKeyRef": {"name": "absent", "key": "k"}}, 'configmap "absent" not found'),
        ({"secretKeyRef": {"name": "absent", "key": "k"}}, 'secret "absent" not found'),
        ({"secretKeyRef": {"name": "login", "key": "user"}}, 'key "user" not found in secret "login"'),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "resourceFieldRef is not supported"),
        ({"fieldRef": {"fieldPath": "status.qosClass"}}, r"fieldRef status\.qosClass is not supported"),
    ],
)
def test_what_is_missing_or_unsupported_is_named(entry, message):
    with pytest.raises(ConfigurationError, match=message):
        env_of({"name": "X", "valueFrom": entry})


@pytest.mark.parametrize("reference", [{"name": "absent", "key": "k"}, {"name": "settings", "key": "no"}])
def test_an_optional_reference_that_is_missing_leaves_the_variable_unset(reference):
    assert "X" not in env_of({"name": "X", "valueFrom": {"configMapKeyRef": {**reference, "optional": True}}})


def test_an_optional_source_that_is_missing_is_nothing():
    assert env_of(env_from=[{"configMapRef": {"name": "absent", "optional": True}}]) == {}


@table(
    ("path", "expected"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['example.com/note']", "hi"),
        ("metadata.labels", 'app="web"\ntier="fr\\"ont"'),
        ("spec.nodeName", "local"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "127.20.0.7"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_a_pod_can_read_its_own_fields(path, expected):
    assert field_value(path, POD, FACTS) == expected


def test_command_and_arguments_are_expanded():
    container = {"name": "c", "command": ["run", "$(A)"], "args": ["--x=$(A)", "$$(A)"]}
    assert command_line(container, {"A": "1"}) == ["run", "1", "--x=1", "$(A)"]


def test_a_container_without_a_command_says_that_images_are_not_known_here():
    with pytest.raises(ConfigurationError, match=r"container c has no command.*'nginx:1'.*state `command`"):
        command_line({"name": "c", "image": "nginx:1", "args": ["x"]}, {})


@table(
    ("text", "expected"),
    [
        ("/etc/app", "/d/conf"),
        ("--config=/etc/app/a.yaml", "--config=/d/conf/a.yaml"),
        ("/etc/app:/etc/app/sub/x", "/d/conf:/d/sub/x"),
        ("/etc/application", "/etc/application"),
        ("/etc/app.d", "/etc/app.d"),
        ("/other/etc/app", "/other/etc/app"),
        ("cat /etc/app/f; ls /etc/app", "cat /d/conf/f; ls /d/conf"),
    ],
)
def test_mount_paths_are_rewritten_where_there_is_no_mount_namespace(text, expected):
    assert relocate(text, {"/etc/app": "/d/conf", "/etc/app/sub": "/d/sub"}) == expected


def test_nothing_is_rewritten_without_mounts():
    assert relocate("/a/b", {}) == "/a/b"


def test_every_config_map_and_secret_of_a_pod_is_found():
    pod = {
        "spec": {
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "a"}}]}],
            "containers": [
                {"env": [{"name": "x", "valueFrom": {"secretKeyRef": {"name": "b", "key": "k"}}}, {"name": "y"}]}
            ],
            "volumes": [
                {"name": "v", "configMap": {"name": "c"}},
                {"name": "w", "secret": {"secretName": "d"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "e"}}, {"downwardAPI": {}}]}},
                {"name": "q", "emptyDir": {}},
            ],
        }
    }
    assert set(references(pod)) == {
        ("configmap", "a"),
        ("secret", "b"),
        ("configmap", "c"),
        ("secret", "d"),
        ("secret", "e"),
    }
