"""A Workforce's life against a real API server and the local Azure: apply, Ready, scale, suspend, delete."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_workforce_is_hired_scaled_and_deleted(bench):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=3, deletionPolicy="Cancel"))
    bench.wait_ready()
    assert len(bench.live()) == 3
    status = bench.status()
    assert (status["desiredReplicas"], status["replicas"]) == (3, 3)

    bench.kubectl("scale", "wf/md", "--replicas=6")
    bench.until(lambda: len(bench.live()) == 6, "six jobs")
    bench.wait_ready()

    bench.kubectl("delete", "wf/md", "--timeout=90s")
    bench.until(lambda: not bench.live(), "the end of all jobs")
    assert len(bench.jobs()) == 6

    told = bench.operator.said("hired")
    assert len(told) == 6
    assert all(line["workforce"] == f"{bench.namespace}/md" for line in told)
    assert {line["region"] for line in told} == {"uksouth", "westeurope"}
    assert {line["job"] for line in told} == {job["name"] for job in bench.jobs()}
    metrics = {f.name: f for f in text_string_to_metric_families(bench.operator.fetch("/metrics"))}
    hired = [s.value for s in metrics["workforce_actions"].samples if s.labels == {"kind": "hire", "result": "done"}]
    assert hired[0] == 6
    assert bench.operator.fetch("/livez").startswith("leading")
    assert bench.operator.fetch("/readyz") == "leading\n"
    assert bench.operator.stop() == 0


def test_people_see_what_is_going_on(bench):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
    bench.wait_ready()
    kinds = {each["type"] for each in bench.status()["conditions"]}
    assert kinds == {
        "Ready",
        "Progressing",
        "SpecAccepted",
        "QueueReachable",
        "RegionsHealthy",
        "CapacityAvailable",
        "ControlChannelReady",
        "Draining",
    }
    assert bench.condition("Ready") == ("True", "AsDesired")
    assert bench.condition("ControlChannelReady")[1] == "NotConfigured"
    # The queue does not exist, and that is not taken for an empty one.
    assert bench.condition("QueueReachable")[0] == "False"
    bench.until(lambda: bench.status().get("runningReplicas") == 2, "the numbers of the running jobs")
    header, row = bench.kubectl("get", "wf").splitlines()
    assert header.split() == ["NAME", "DESIRED", "RUNNING", "PENDING", "DRAINING", "QUEUE", "READY", "AGE"]
    assert row.split()[:4] == ["md", "2", "2", "0"]

    # Nothing changes, so nothing is written: neither status nor jobs.
    version = bench.get()["metadata"]["resourceVersion"]
    before = len(bench.operator.said("hired"))
    passes = passes_of(bench)
    bench.until(lambda: passes_of(bench) >= passes + 3, "three more passes")
    assert bench.get()["metadata"]["resourceVersion"] == version
    assert len(bench.operator.said("hired")) == before

    bench.kubectl("patch", "wf/md", "--type=merge", "-p", '{"spec":{"template":{"environment":{"image":"no such"}}}}')
    bench.kubectl("scale", "wf/md", "--replicas=3")
    bench.until(bench.events, "an Event")


def passes_of(bench):
    metrics = {f.name: f for f in text_string_to_metric_families(bench.operator.fetch("/metrics"))}
    samples = metrics["workforce_reconcile_duration_seconds"].samples
    return sum(s.value for s in samples if s.name.endswith("_count") and s.labels["result"] == "ok")


def test_a_suspended_workforce_keeps_its_jobs_and_hires_nobody(bench):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, deletionPolicy="Cancel"))
    bench.wait_ready()
    for suspend in ("ScaleUpOnly", "Hold"):
        bench.apply(bench.workforce(replicas=5, suspend=suspend, deletionPolicy="Cancel"))
        bench.until(
            lambda: bench.status()["observedGeneration"] == bench.get()["metadata"]["generation"], f"{suspend} is seen"
        )
        passes = passes_of(bench)
        bench.until(lambda passes=passes: passes_of(bench) >= passes + 2, "two more passes")
        assert len(bench.jobs()) == 2
    bench.apply(bench.workforce(replicas=5, deletionPolicy="Cancel"))
    bench.until(lambda: len(bench.live()) == 5, "five jobs")


def test_a_removed_region_keeps_what_runs_there_without_a_control_channel(bench):
    """Nobody can be told to leave; the region that is left makes up for it, and the status knows both."""
    both = [bench.region("uksouth"), bench.region("westeurope", compute="small")]
    bench.operator.start()
    bench.apply(bench.workforce(replicas=6, regions=both, deletionPolicy="Cancel"))
    bench.until(lambda: len(bench.running()) == 6, "six running jobs, one on the only node of the small cluster")
    bench.apply(bench.workforce(replicas=6, regions=both[:1], deletionPolicy="Cancel"))

    def in_region(name):
        return [job for job in bench.live() if job["workspace"] == f"ws-{name}"]

    bench.until(lambda: len(in_region("uksouth")) == 6, "six jobs in the region that is left")
    assert len(in_region("westeurope")) == 1
    names = [region["name"] for region in bench.status()["regions"]]
    assert set(names) == {"uksouth", "westeurope"}
    assert [job for job in bench.jobs() if job["status"] == "Canceled"] == []


def test_deletion_does_with_running_jobs_what_the_policy_says(bench):
    left = {"Orphan": 2, "Cancel": 0, None: 2}
    bench.operator.start()
    for policy in left:
        name = f"policy-{policy}".lower()
        bench.apply(bench.workforce(name, replicas=2, **({"deletionPolicy": policy} if policy else {})))
    for policy in left:
        name = f"policy-{policy}".lower()
        bench.until(lambda name=name: len(bench.running(name)) == 2, f"two running jobs of {name}")
    bench.kubectl("delete", "wf", "--all", "--timeout=90s")
    for policy, number in left.items():
        name = f"policy-{policy}".lower()
        bench.until(lambda name=name, number=number: len(bench.live(name)) == number, f"{number} jobs of {name}")
    assert "JobsLeftBehind" in bench.events()


def test_a_typo_in_the_control_channel_hires_nobody_and_is_corrected_by_an_edit(bench):
    """Once a worker lived, the API server would refuse the correction: workers listen where they were told to."""
    wrong = {"serviceBus": bench.control()["serviceBus"] | {"namespace": "wf-buss"}}
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, control=wrong, deletionPolicy="Cancel"))
    bench.until(
        lambda: bench.condition("ControlChannelReady") == ("False", "NotFound"), "the missing namespace is told"
    )
    bench.until(lambda: bench.condition("Ready") == ("False", "Degraded"), "nobody is hired")
    assert bench.jobs() == []
    bench.apply(bench.workforce(replicas=2, control=bench.control(), deletionPolicy="Cancel"))
    bench.wait_ready()
    assert len(bench.live()) == 2
    bench.kubectl("delete", "wf/md", "--timeout=90s")


def test_a_workforce_with_a_mistyped_workspace_is_deleted_at_once(bench):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, regions=[bench.region("uksouth", workspace="ws-uksuoth")]))
    bench.until(lambda: bench.condition("RegionsHealthy") == ("False", "RegionUnreadable"), "the mistake is told")
    bench.kubectl("delete", "wf/md", "--timeout=90s")
    assert "RegionNotFound" in bench.events()


def test_a_wrong_compute_is_told_of_its_region(bench):
    bench.operator.start()
    bench.apply(bench.workforce(replicas=2, regions=[bench.region("uksouth", compute="clustre")]))
    bench.until(lambda: bench.condition("RegionsHealthy") == ("False", "CircuitOpen"), "the mistake is told")
    assert bench.condition("SpecAccepted") == ("True", "Valid")
    bench.kubectl("delete", "wf/md", "--timeout=90s")


def test_a_wrong_template_hires_nobody_and_is_told(bench):
    bench.operator.start()
    template = {"command": "sleep 1", "environment": {"type": "Registered", "name": "nothing", "version": "7"}}
    bench.apply(bench.workforce(replicas=2, template=template))
    bench.until(lambda: bench.condition("SpecAccepted")[0] == "False", "the refusal", patience=60)
    assert bench.jobs() == []
    bench.kubectl("delete", "wf/md", "--timeout=90s")
