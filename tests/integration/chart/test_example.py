"""The example is right for the local cloud as it comes, and the API server accepts it."""

import pytest
import yaml

from tests.support.operator import ROOT
from workforce_local.config import LocalConfig
from workforce_operator.domain.validate import read_spec

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
WORKFORCES = [path for path in EXAMPLES if "kind: Workforce\n" in path.read_text()]
EXAMPLE = ROOT / "examples" / "workforce.yaml"


@pytest.fixture
def example():
    return yaml.safe_load(EXAMPLE.read_text())


def test_the_example_is_a_valid_workforce(example):
    spec = read_spec("default", example["metadata"]["name"], example["spec"])
    assert [region.name for region in spec.regions] == ["uksouth", "westeurope"]


def test_the_example_names_what_the_local_cloud_has(example):
    config = LocalConfig()
    workspaces = {workspace.name: workspace for workspace in config.workspaces}
    for region in example["spec"]["regions"]:
        assert region["subscriptionId"] == config.subscription_id
        workspace = workspaces[region["workspace"]]
        assert region["resourceGroup"] == workspace.resource_group
        (compute,) = [each for each in workspace.computes if each.name == region["compute"]]
        assert region["maxReplicas"] <= compute.max_nodes
    assert example["spec"]["queue"]["storage"]["account"] in config.storage_accounts
    bus = example["spec"]["control"]["serviceBus"]
    assert bus["namespace"] in {each.name for each in config.service_bus}


def test_every_example_is_a_valid_workforce():
    assert len(WORKFORCES) >= 8
    for path in WORKFORCES:
        manifest = yaml.safe_load(path.read_text())
        assert read_spec("default", manifest["metadata"]["name"], manifest["spec"]).template, path


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_api_server_accepts_every_example(kubernetes_cluster, kubernetes_namespace, definition, path):
    kubernetes_cluster.kubectl("apply", "--dry-run=server", "-n", kubernetes_namespace, "-f", str(path))
