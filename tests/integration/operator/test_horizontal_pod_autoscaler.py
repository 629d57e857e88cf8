"""The real HorizontalPodAutoscaler on the scale subresource, with an external metric of an aggregated API server."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import threading

import pytest
import trustme
import yaml
from aiohttp import web

from tests.support.operator import ROOT
from workforce_local.processes import guarded

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

GROUP = "/apis/external.metrics.k8s.io/v1beta1"


class ExternalMetrics:
    """A metrics adapter with one metric, in a thread of its own."""

    def __init__(self, folder):
        self.value = 0
        self.port = 0
        authority = trustme.CA()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self._context)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="external-metrics")

    async def _serve(self):
        app = web.Application()
        app.router.add_get(GROUP, self._discover)
        app.router.add_get(f"{GROUP}/namespaces/{{namespace}}/tasks_waiting", self._read)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "localhost", 0, ssl_context=self._context).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self):
        """The API server keeps idle connections open: they end in the loop's next turns."""
        connections = [each.transport for each in self._runner.server.connections]
        await self._runner.cleanup()
        for transport in connections:
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0.1)

    async def _discover(self, _):
        return web.json_response(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": "external.metrics.k8s.io/v1beta1",
                "resources": [],
            }
        )

    async def _read(self, _):
        item = {
            "metricName": "tasks_waiting",
            "metricLabels": {},
            "timestamp": "2026-01-01T00:00:00Z",
            "value": str(self.value),
        }
        kind = {"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1"}
        return web.json_response(kind | {"metadata": {}, "items": [item]})

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(30)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture
def metrics(bench, tmp_path):
    with ExternalMetrics(tmp_path) as server:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "external-metrics", "namespace": bench.namespace},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": server.port}]},
        }
        registration = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"namespace": bench.namespace, "name": "external-metrics", "port": server.port},
            },
        }
        bench.apply({"apiVersion": "v1", "kind": "List", "items": [service, registration]})
        name = "apiservice/v1beta1.external.metrics.k8s.io"
        bench.kubectl("wait", "--for=condition=Available", name, "--timeout=60s")
        yield server
        bench.kubectl("delete", name, "--timeout=30s")


@pytest.fixture
def controller_manager(kubernetes_cluster, tmp_path):
    """The one that the local cluster runs leaves this controller out."""
    (kubeconfig,) = kubernetes_cluster.state_dir.rglob("controller-manager.kubeconfig")
    command = [
        str(kubernetes_cluster.binaries.path("kube-controller-manager")),
        f"--kubeconfig={kubeconfig}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
        "--controllers=horizontal-pod-autoscaler-controller",
        "--horizontal-pod-autoscaler-sync-period=1s",
    ]
    log = tmp_path / "controller-manager.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            guarded(command, number=signal.SIGKILL),
            cwd=tmp_path,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    yield log
    process.terminate()
    process.wait(timeout=30)


def test_a_horizontal_pod_autoscaler_sets_the_replicas_of_a_workforce(bench, metrics, controller_manager):
    bench.operator.start()
    bench.apply(bench.workforce("md-sims", replicas=1, control=bench.control(), deletionPolicy="Cancel"))
    bench.until(lambda: len(bench.running("md-sims")) == 1, "one worker")
    metrics.value = 7
    autoscaler = yaml.safe_load((ROOT / "examples" / "horizontal-pod-autoscaler.yaml").read_text())
    autoscaler["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    bench.apply(autoscaler)

    def replicas():
        return bench.get("md-sims")["spec"]["replicas"]

    bench.until(lambda: replicas() == 4, "replicas for seven tasks, two each")
    bench.until(lambda: len(bench.running("md-sims")) == 4, "four workers")

    def seen():
        return bench.cluster.get("hpa", "md-sims", "-n", bench.namespace)["status"]

    bench.until(lambda: seen().get("currentReplicas") == 4, "that the autoscaler sees four")
    conditions = {each["type"]: each["status"] for each in seen()["conditions"]}
    assert (conditions["AbleToScale"], conditions["ScalingActive"]) == ("True", "True")
    path = f"/apis/workforce.dev/v1alpha1/namespaces/{bench.namespace}/workforces/md-sims/scale"
    scale = json.loads(bench.cluster.kubectl("get", "--raw", path))
    assert scale["status"] == {"replicas": 4, "selector": "workforce.dev/name=md-sims"}

    metrics.value = 2
    bench.until(lambda: replicas() == 1, "one replica for two tasks")
    bench.until(lambda: bench.status("md-sims").get("drainingReplicas") == 3, "three that are told to leave")
    assert len(bench.jobs("md-sims")) == 4
    assert controller_manager.exists()
