"""Addresses, back-off, scheduling, and the guard's decisions."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.support.tables import table
from workforce_local.cluster.download import DownloadError, architecture, published_checksum, release_of
from workforce_local.cluster.pods import container_guard
from workforce_local.cluster.pods.addresses import AddressPool
from workforce_local.cluster.pods.backoff import FORGIVEN_AFTER, LONGEST, Backoff, restarts
from workforce_local.cluster.pods.scheduling import misfit, wants_node
from workforce_local.cluster.versions import TOOLS


def test_every_pod_has_an_address_of_its_own_in_the_loopback_network():
    pool = AddressPool("a")
    taken = [pool.take(f"pod-{number}") for number in range(600)]
    assert len(set(taken)) == 600
    assert all(IPv4Address(address).is_loopback for address in taken)
    assert not any(address.endswith((".0", ".255")) for address in taken)


def test_a_pod_keeps_its_address():
    pool = AddressPool("a")
    assert pool.take("pod") == pool.take("pod")


def test_a_freed_address_is_not_given_to_the_next_pod():
    pool = AddressPool("a")
    first = pool.take("one")
    pool.give_back("one")
    assert pool.take("two") != first


def test_a_pod_gets_back_the_address_that_it_had_under_an_earlier_runner():
    earlier = AddressPool("a").take("pod")
    pool = AddressPool("a")
    assert pool.take("pod", earlier) == earlier
    assert pool.take("another") != earlier


@table("wanted", ["127.0.0.1", "10.0.0.7", "nonsense", ""])
def test_an_address_that_is_not_ours_is_not_taken(wanted):
    assert AddressPool("a").take("pod", wanted) not in {wanted}


def test_two_runners_usually_use_different_networks():
    assert len({AddressPool(f"runner-{n}").take("pod").split(".")[1] for n in range(20)}) > 10


def test_the_first_restart_is_immediate_and_each_further_one_waits_twice_as_long():
    backoff = Backoff(first=10)
    assert [backoff.after(1.0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, LONGEST, LONGEST]


def test_a_long_run_is_forgiven():
    backoff = Backoff(first=10)
    for _ in range(5):
        backoff.after(1.0)
    assert backoff.after(FORGIVEN_AFTER) == 0
    assert backoff.after(1.0) == 10


@table(
    ("policy", "exit_code", "expected"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy, exit_code, expected):
    assert restarts(policy, exit_code) is expected


def pod(spec=None, **metadata):
    return {"metadata": metadata, "spec": spec or {}}


def test_a_pending_pod_wants_a_node():
    assert wants_node(pod())


@table(
    "other",
    [
        pod({"nodeName": "local"}),
        pod({"schedulingGates": [{"name": "x"}]}),
        pod({"schedulerName": "other"}),
        pod(deletionTimestamp="2026-01-01T00:00:00Z"),
        {**pod(), "status": {"phase": "Failed"}},
    ],
)
def test_a_pod_that_is_not_for_the_default_scheduler_is_left_alone(other):
    assert not wants_node(other)


def test_a_pod_fits_unless_its_node_selector_differs():
    labels = {"kubernetes.io/os": "linux"}
    assert misfit(pod({"nodeSelector": {"kubernetes.io/os": "linux"}}), labels) == ""
    assert "kubernetes.io/os=windows" in misfit(pod({"nodeSelector": {"kubernetes.io/os": "windows"}}), labels)
    assert misfit(pod({"nodeSelector": {"gpu": "yes"}}), labels)


def test_the_guard_opens_only_the_folders_above_missing_mount_points(tmp_path: Path):
    there = tmp_path / "there"
    there.mkdir()
    missing = tmp_path / "a" / "b"
    opened = container_guard.opened_folders([str(there), str(missing)])
    assert opened == set(container_guard.ancestors(str(tmp_path)))
    assert container_guard.opened_folders([str(there)]) == {"/"}


def test_the_guard_follows_links_to_mount_points_but_not_within_another_mount(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    link = str(tmp_path / "link")
    resolved = container_guard.resolve_targets([f"{link}/x/y", f"{link}/x", f"{link}/xyz"])
    real = os.path.realpath(tmp_path / "real")
    assert resolved == {f"{link}/x": f"{real}/x", f"{link}/x/y": f"{real}/x/y", f"{link}/xyz": f"{real}/xyz"}


def test_checksums_are_read_from_bare_files_and_from_lists():
    first, second = "a" * 64, "b" * 64
    assert published_checksum(first + "\n", "kubectl") == first
    assert published_checksum(f"{first}  one.tar.gz\n{second}  two.tar.gz\n", "two.tar.gz") == second
    assert published_checksum(f"{first} *two.tar.gz", "two.tar.gz") == first
    assert published_checksum(f"{first}  one.tar.gz\n", "two.tar.gz") is None
    assert published_checksum("Not Found", "kubectl") is None


def test_the_official_addresses_are_those_of_the_projects():
    addresses = {name: release_of(tool, arch="arm64") for name, tool in TOOLS.items()}
    assert addresses["kubectl"].address == "https://dl.k8s.io/release/v1.36.3/bin/linux/arm64/kubectl"
    assert addresses["kubectl"].checksum_address == f"{addresses['kubectl'].address}.sha256"
    assert addresses["etcd"].member == "etcd-v3.6.16-linux-arm64/etcd"
    assert addresses["helm"].address == "https://get.helm.sh/helm-v3.22.0-linux-arm64.tar.gz"


def test_a_machine_without_official_builds_is_told_so():
    with pytest.raises(DownloadError, match="no official build for riscv64"):
        architecture("riscv64")
