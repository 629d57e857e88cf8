from __future__ import annotations

from datetime import UTC, datetime

from tests.support.tables import table
from tests.unit.local_cluster.test_environment import FACTS
from workforce_local.cluster.pods.status import (
    ContainerState,
    Running,
    Terminated,
    Waiting,
    build_status,
    phase,
    timestamp,
)

T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def running(name="c", *, ready=True):
    return ContainerState(name, "image", Running(T0), started=True, ready=ready)


def ended(code, name="c"):
    return ContainerState(name, "image", Terminated(code, "Completed", T0, T1), over=True)


def status(*containers, init=(), initialized=True, old=None, gates=(), now=T1):
    pod = {"metadata": {"generation": 4}, "spec": {"readinessGates": [{"conditionType": gate} for gate in gates]}}
    return build_status(
        pod,
        facts=FACTS,
        containers=containers,
        init_containers=list(init),
        initialized=initialized,
        old=old or {},
        start_time=T0,
        now=now,
    )


def condition(content, kind):
    return next(c for c in content["conditions"] if c["type"] == kind)


@table(
    ("containers", "expected"),
    [
        ([ContainerState("a")], "Pending"),
        ([running(), ContainerState("b")], "Running"),
        ([ContainerState("a", state=Waiting("CrashLoopBackOff"), restarts=2)], "Running"),
        ([ended(0), running("b")], "Running"),
        ([ended(0), ended(0, "b")], "Succeeded"),
        ([ended(0), ended(3, "b")], "Failed"),
    ],
)
def test_the_phase_follows_the_containers(containers, expected):
    assert phase(containers, []) == expected


def test_a_pod_whose_init_container_failed_for_good_has_failed():
    assert phase([ContainerState("a")], [ended(1)]) == "Failed"


def test_how_a_side_car_was_ended_does_not_make_a_finished_pod_fail():
    assert phase([ended(0)], [ended(143, "side")]) == "Succeeded"


def test_a_pod_is_ready_when_all_containers_are():
    assert condition(status(running(), running("b")), "Ready")["status"] == "True"
    unready = condition(status(running(), running("b", ready=False)), "Ready")
    assert (unready["status"], unready["reason"]) == ("False", "ContainersNotReady")
    assert "['b']" in unready["message"]


def test_a_pod_that_is_over_is_not_ready_and_says_that_it_completed():
    ready = condition(status(ended(0)), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")


def test_readiness_gates_of_others_count_and_their_conditions_are_kept():
    gate = {"type": "example.com/gate", "status": "False"}
    closed = status(running(), gates=["example.com/gate"], old={"example.com/gate": gate})
    assert condition(closed, "Ready")["reason"] == "ReadinessGatesNotReady"
    assert condition(closed, "ContainersReady")["status"] == "True"
    assert gate in closed["conditions"]
    opened = status(running(), gates=["example.com/gate"], old={"example.com/gate": {**gate, "status": "True"}})
    assert condition(opened, "Ready")["status"] == "True"


def test_the_transition_time_changes_only_with_the_status():
    old = {"Ready": {"type": "Ready", "status": "True", "lastTransitionTime": T0}}
    assert condition(status(running(), old=old), "Ready")["lastTransitionTime"] == T0
    assert condition(status(running(ready=False), old=old), "Ready")["lastTransitionTime"] == T1


def test_the_address_is_in_all_four_places():
    content = status(running())
    assert (content["podIP"], content["podIPs"]) == (FACTS.address, [{"ip": FACTS.address}])
    assert (content["hostIP"], content["hostIPs"]) == (FACTS.node_address, [{"ip": FACTS.node_address}])


def test_a_container_that_was_restarted_shows_how_it_ended_before():
    state = ContainerState("c", "i", Running(T1), last=Terminated(137, "Error", T0, T1, "killed"), restarts=1)
    content = state.as_json()
    assert content["lastState"]["terminated"] == {
        "exitCode": 137,
        "reason": "Error",
        "startedAt": T0,
        "finishedAt": T1,
        "message": "killed",
    }
    assert (content["restartCount"], content["state"]) == (1, {"running": {"startedAt": T1}})


def test_a_waiting_container_says_why():
    content = ContainerState("c", state=Waiting("CreateContainerConfigError", 'secret "x" not found')).as_json()
    assert content["state"]["waiting"] == {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}


def test_an_init_container_that_succeeded_counts_as_ready():
    content = status(running(), init=[ended(0, "i"), ended(2, "j")])
    assert [c["ready"] for c in content["initContainerStatuses"]] == [True, False]


def test_a_pod_whose_init_containers_run_is_not_initialized():
    assert condition(status(ContainerState("c"), initialized=False), "Initialized")["status"] == "False"


def test_moments_are_written_as_the_api_does():
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02T03:04:05Z"
