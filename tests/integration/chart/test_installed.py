"""The chart, installed by helm into a real cluster: the operator runs under the chart's own rights."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.operator import ROOT, yaml_documents

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

CHART = ROOT / "helm" / "workforce-operator"


@pytest.fixture
def installed(bench):
    """The operator as a Deployment; the bench's own process is not started."""
    values = {
        "azure.cloud": bench.azure.exports["WORKFORCE_CLOUD"],
        "installationId": "",
        "pollSeconds": "1",
        "resyncSeconds": "3",
        **{f"extraEnv.{name}": value for name, value in bench.azure.exports.items() if name != "WORKFORCE_CLOUD"},
    }
    flags = [flag for name, value in values.items() for flag in ("--set-string", f"{name}={value}")]
    watched = ("--set", f"watchNamespaces={{{bench.namespace}}}")
    bench.cluster.helm(
        "install", "op", str(CHART), "-n", bench.namespace, "--wait", "--timeout", "100s", *watched, *flags
    )
    bench.installation_id = bench.cluster.get("configmap", "workforce-installation", "-n", bench.namespace)["data"][
        "id"
    ]
    yield bench
    bench.kubectl("delete", "wf", "--all", "--timeout=60s", check=False)
    bench.cluster.helm("uninstall", "op", "-n", bench.namespace, "--wait", "--timeout", "60s")


def logs(bench):
    return bench.kubectl("logs", "deployment/op-workforce-operator", "--tail=-1")


def test_the_installed_operator_serves_workforces_with_exactly_its_rights(installed):
    bench = installed
    bench.kubectl("create", "secret", "generic", "s", "--from-literal=k=v")
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    document = bench.workforce(replicas=2, deletionPolicy="Cancel")
    document["spec"]["template"]["environmentVariables"] = [secret]
    bench.apply(document)
    bench.wait_ready()
    assert {job["environment"]["TOKEN"] for job in bench.live()} == {"v"}
    bench.kubectl("scale", "wf/md", "--replicas=3")
    bench.until(lambda: len(bench.live()) == 3, "three jobs")
    bench.kubectl("delete", "wf/md", "--timeout=60s")
    bench.until(lambda: not bench.live(), "the end of all jobs")
    said = logs(bench)
    assert "forbidden" not in said.lower()
    assert all(json.loads(line)["level"] != "error" for line in said.splitlines() if line.startswith("{"))


def test_the_installed_operator_explains_itself_to_whoever_may_read_its_pods(installed):
    bench = installed
    bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
    bench.wait_ready()
    explained = workforce(bench, "explain", "md", "--last", "32", "--all")
    assert explained.startswith(f"{bench.namespace}/md: generation 1, decided ")
    assert " wanted, 0 there: " in explained
    assert " hired: md-uksouth-" in explained
    header, *rows = workforce(bench, "workers", "md").splitlines()
    assert header.split()[:3] == ["NAME", "REGION", "STATE"]
    assert {row.split()[0] for row in rows} == {job["name"] for job in bench.live()}


def workforce(bench, *arguments):
    """Run the command as a person with the cluster's kubeconfig does."""
    environment = {**os.environ, "KUBECONFIG": str(bench.cluster.kubeconfig)}
    command = [sys.executable, "-c", "from workforce_operator.cli.main import main; main()"]
    return subprocess.run(
        [*command, *arguments, "-n", bench.namespace, "--operator-namespace", bench.namespace],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_each_right_is_used_by_the_code(render_rules):
    """Every verb of the templates is one that an adapter or the informer uses, and the other way round."""
    assert render_rules == USED


USED = {
    # kopf: list, watch. The store: get, list; patch for the finalizer, replace for the status.
    "workforces": {"get", "list", "watch", "patch"},
    "workforces/status": {"update"},
    "secrets": {"get"},
    "events": {"create", "patch"},
    "leases": {"get", "create", "update"},
    "configmaps": {"get", "create"},
    "customresourcedefinitions": {"get"},
}
_VERBS = {"get": "get", "create": "create", "replace": "update", "patch": "patch"}


@pytest.fixture
def render_rules(kubernetes_cluster):
    text = kubernetes_cluster.helm("template", "op", str(CHART), "-n", "ops", "--kube-version", "1.36.3")
    rules = defaultdict(set)
    for document in yaml_documents(text):
        for rule in document.get("rules", []):
            for resource in rule["resources"]:
                rules[resource] |= set(rule["verbs"])
    return dict(rules)


def test_the_adapters_use_no_other_requests():
    """What the adapters ask the API for, read from their code: a new request needs a new right."""
    folder = ROOT / "operator" / "workforce_operator" / "adapters" / "kubernetes"
    asked = {
        path.stem: {verb for verb in _VERBS if f"_api.{verb}(" in text or f" api.{verb}(" in text}
        for path in folder.glob("*.py")
        if (text := Path(path).read_text())
    }
    assert {stem: verbs for stem, verbs in asked.items() if verbs} == {
        "store": {"get", "patch", "replace"},
        "events": {"create", "patch"},
        "lease": {"get", "create", "replace"},
        "installation": {"get", "create"},
    }
