"""What the chart renders, value by value, with the real helm; no cluster is needed."""

import json
import subprocess

import pytest

from tests.support.operator import ROOT, yaml_documents
from workforce_operator.settings import Settings

CHART = ROOT / "helm" / "workforce-operator"


@pytest.fixture
def helm(kubernetes_binaries):
    def run(verb, *arguments):
        return subprocess.run(
            [kubernetes_binaries.path("helm"), verb, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def render(helm):
    def run(*arguments):
        done = helm("template", "op", str(CHART), "-n", "ops", "--kube-version", "1.36.3", *arguments)
        assert done.returncode == 0, done.stderr
        return yaml_documents(done.stdout)

    return run


def only(documents, kind):
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pod(documents):
    return only(documents, "Deployment")["spec"]["template"]["spec"]


def container(documents):
    (found,) = pod(documents)["containers"]
    return found


def variables(documents):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(documents)["env"]}


def test_the_chart_passes_lint(helm):
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_charts_definition_is_the_generated_one():
    assert (CHART / "crds" / "workforces.yaml").read_text() == (ROOT / "crds" / "workforces.yaml").read_text()


def test_every_setting_that_the_chart_gives_is_one_that_the_operator_reads(render):
    given = variables(render("--set", "azure.identity.clientId=c,azure.identity.tenantId=t"))
    known = {f"WORKFORCE_{name.upper()}" for name in Settings.model_fields} | {"POD_NAME", "POD_NAMESPACE", "POD_IP"}
    assert {name for name in given if name.startswith(("WORKFORCE_", "POD_"))} <= known


def test_the_pod_tells_the_operator_its_name_namespace_and_address(render):
    given = variables(render())
    assert given["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert given["POD_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert given["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_the_container_is_restricted(render):
    documents = render()
    assert pod(documents)["securityContext"]["runAsNonRoot"] is True
    assert container(documents)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(documents)["resources"]["requests"] == {"cpu": "100m", "memory": "256Mi"}


def test_probes_ask_the_operators_own_endpoints(render):
    found = container(render())
    assert found["command"] == ["workforce-operator"]
    assert found["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_a_new_pod_stands_by_before_the_old_one_goes(render):
    strategy = only(render(), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_the_grace_period_is_longer_than_the_operator_takes_to_end(render):
    assert pod(render())["terminationGracePeriodSeconds"] > Settings().drain_seconds + 15


def test_cloud_installation_and_intervals_reach_the_operator(render):
    given = variables(
        render(
            *("--set-string", "azure.cloud=/etc/cloud.json,installationId=k3v9x2ab,pollSeconds=1"),
            *("--set", "resyncSeconds=7,watchNamespaces={a,b},log.level=debug"),
        )
    )
    assert given["WORKFORCE_CLOUD"] == "/etc/cloud.json"
    assert given["WORKFORCE_INSTALLATION_ID"] == "k3v9x2ab"
    assert (given["WORKFORCE_POLL_SECONDS"], given["WORKFORCE_RESYNC_SECONDS"]) == ("1", "7")
    assert (given["WORKFORCE_NAMESPACES"], given["WORKFORCE_LOG_LEVEL"]) == ("a,b", "debug")


def test_workload_identity_brings_a_token_for_azure(render):
    documents = render("--set", "azure.identity.clientId=c,azure.identity.tenantId=t")
    given = variables(documents)
    assert (given["AZURE_CLIENT_ID"], given["AZURE_TENANT_ID"]) == ("c", "t")
    (volume,) = [each for each in pod(documents)["volumes"] if "projected" in each]
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "api://AzureADTokenExchange"
    (mount,) = [each for each in container(documents)["volumeMounts"] if each["name"] == volume["name"]]
    assert given["AZURE_FEDERATED_TOKEN_FILE"] == f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"


def test_an_identity_without_its_tenant_is_refused(helm):
    done = helm("template", "op", str(CHART), "--kube-version", "1.36.3", "--set", "azure.identity.clientId=c")
    assert done.returncode != 0
    assert "azure.identity.tenantId" in done.stderr


def test_without_an_identity_nothing_of_azure_is_in_the_environment(render):
    documents = render()
    assert not [name for name in variables(documents) if name.startswith("AZURE_")]
    assert [each["name"] for each in pod(documents)["volumes"]] == ["scratch"]


def test_further_variables_are_texts_or_references(render):
    values = ["--set-string", "extraEnv.A=1", "--set", "extraEnv.B.valueFrom.secretKeyRef.name=s"]
    given = variables(render(*values, "--set", "extraEnv.B.valueFrom.secretKeyRef.key=k"))
    assert given["A"] == "1"
    assert given["B"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_the_workers_application_insights_is_a_text_or_a_reference(render):
    value = "workers.applicationInsightsConnectionString"
    name = "APPLICATIONINSIGHTS_CONNECTION_STRING"
    assert name not in variables(render())
    assert variables(render("--set-string", f"{value}=InstrumentationKey=k"))[name] == "InstrumentationKey=k"
    reference = ["--set", f"{value}.valueFrom.secretKeyRef.name=s", "--set", f"{value}.valueFrom.secretKeyRef.key=k"]
    assert variables(render(*reference))[name] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_further_volumes_are_mounted(render):
    volumes = json.dumps([{"name": "cloud", "configMap": {"name": "cloud"}}])
    mounts = json.dumps([{"name": "cloud", "mountPath": "/etc/cloud"}])
    documents = render("--set-json", f"extraVolumes={volumes}", "--set-json", f"extraVolumeMounts={mounts}")
    assert {"name": "cloud", "configMap": {"name": "cloud"}} in pod(documents)["volumes"]
    assert {"name": "cloud", "mountPath": "/etc/cloud"} in container(documents)["volumeMounts"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("installationId=UPPER", "installationId"),
        ("pollSeconds=-1", "pollSeconds"),
        ("log.format=xml", "format"),
        ("replicas=two", "replicas"),
        ("unknown=1", "unknown"),
        ("watchNamespaces={Upper}", "watchNamespaces"),
        ("httpPort=80", "httpPort"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(helm, value, says):
    done = helm("template", "op", str(CHART), "--kube-version", "1.36.3", "--set", value)
    assert done.returncode != 0
    assert says in done.stderr


def test_another_account_can_be_used(render):
    documents = render("--set", "serviceAccount.create=false,serviceAccount.name=theirs")
    assert not [document for document in documents if document["kind"] == "ServiceAccount"]
    assert pod(documents)["serviceAccountName"] == "theirs"
    assert {s["name"] for d in documents if "subjects" in d for s in d["subjects"]} == {"theirs"}


def test_with_watched_namespaces_rights_are_given_in_them_only(render):
    documents = render("--set", "watchNamespaces={a,b}")
    (rule,) = only(documents, "ClusterRole")["rules"]
    assert rule["resources"] == ["customresourcedefinitions"]
    served = [d for d in documents if d["kind"] == "Role" and d["metadata"]["name"].endswith("-served")]
    assert [role["metadata"]["namespace"] for role in served] == ["a", "b"]


def test_nobody_is_given_more_than_names_of_secrets(render):
    for document in render() + render("--set", "watchNamespaces={a}"):
        for rule in document.get("rules", []):
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["get"]
