"""PID files and intents: no signal ever goes to a process that is not the one that was meant."""

import json
import os
import signal
import subprocess
from dataclasses import asdict, replace

import pytest

from jobq.control import Mode, OnDeadline, Operation
from workforce_agent import pid_file
from workforce_agent.pid_file import PidFile, ProcessId, Worker, pid_folder, pid_root, workers, write_intents


@pytest.fixture
def signals(monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def own(folder, worker="w1", topic="ns/t", job="j1"):
    return PidFile(folder, worker, topic=topic, job=job)


def intend(targets, **fields):
    defaults = {
        "operation": Operation.GRACEFUL_DOWNSCALE, "mode": Mode.FINISH, "id": "o1", "revision": 1,
        "deadline": None, "on_deadline": OnDeadline.WAIT,
    }  # fmt: skip
    return write_intents(targets, **{**defaults, **fields})


def test_the_file_is_where_and_what_the_ancestors_tools_read(tmp_path):
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    folder = pid_folder("account/queue", environ)
    assert folder == tmp_path / "jobq" / "account" / "queue"
    with own(folder):
        assert (folder / "w1.pid").read_text() == str(os.getpid())
    assert list(folder.iterdir()) == []


def test_a_folder_given_by_the_environment_is_used_as_it_is(tmp_path):
    environ = {"JOBQ_PID_DIR": str(tmp_path)}
    assert pid_folder("account/queue", environ) == pid_root(environ) == tmp_path


def test_workers_are_found_by_topic_and_by_job_below_the_root(tmp_path):
    with own(tmp_path / "a" / "q1", "w1"), own(tmp_path / "b" / "q2", "w2", topic="ns/other", job="j2"):
        assert [worker.worker for _, worker in workers(tmp_path)] == ["w1", "w2"]
        assert [worker.worker for _, worker in workers(tmp_path, topic="ns/t")] == ["w1"]
        assert [worker.worker for _, worker in workers(tmp_path, job="j2")] == ["w2"]


def test_a_worker_of_another_node_that_shares_the_folder_is_not_found(tmp_path, monkeypatch):
    with own(tmp_path):
        monkeypatch.setenv("AZ_BATCH_NODE_ID", "another")
        assert workers(tmp_path) == []


def test_an_intent_is_consumed_once(tmp_path, signals):
    with own(tmp_path) as file:
        written = intend(workers(tmp_path), revision=7)
        assert written.pending
        assert written.send() == 1
        assert signals == [(os.getpid(), signal.SIGTERM)]
        assert [intent.revision for intent in file.take_intents()] == [7]
        assert file.take_intents() == []
        assert not written.pending


def test_a_forgotten_intent_means_nothing(tmp_path):
    with own(tmp_path) as file:
        intend(workers(tmp_path)).forget()
        assert file.take_intents() == []


def test_an_old_intent_of_somebody_who_died_means_nothing(tmp_path, monkeypatch):
    with own(tmp_path) as file:
        intend(workers(tmp_path))
        later = pid_file.boot_seconds() + pid_file.FRESH_SECONDS + 1
        monkeypatch.setattr(pid_file, "boot_seconds", lambda: later)
        assert file.take_intents() == []


def test_an_intent_for_an_earlier_process_of_the_same_number_means_nothing(tmp_path):
    with own(tmp_path) as file:
        path, worker = workers(tmp_path)[0]
        earlier = replace(worker.process, start=worker.process.start - 1)
        intend([(path, replace(worker, process=earlier))])
        assert file.take_intents() == []


def test_no_signal_goes_to_a_recycled_process_id(tmp_path, signals):
    with own(tmp_path):
        path, worker = workers(tmp_path)[0]
        recycled = replace(worker.process, start=worker.process.start - 1)
        assert intend([(path, replace(worker, process=recycled))]).send() == 0
    assert signals == []


def test_the_files_of_dead_processes_are_removed(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as dead:
        process = ProcessId.of(dead.pid)
        dead.kill()
    worker = Worker(process=process, worker="old", node=pid_file.node_name(), topic="ns/t")
    (tmp_path / "old.json").write_text(json.dumps(asdict(worker)))
    (tmp_path / "old.pid").write_text(str(process.pid))
    (tmp_path / "foreign.pid").write_text("1")
    assert workers(tmp_path) == []
    with own(tmp_path):
        assert sorted(path.name for path in tmp_path.glob("*.pid")) == ["foreign.pid", "w1.pid"]


@pytest.mark.parametrize("content", ["", "{", '{"process": 3}', "\xff"])
def test_files_that_make_no_sense_are_passed_over(tmp_path, content):
    (tmp_path / "x.pid").write_text("12")
    (tmp_path / "x.json").write_text(content)
    with own(tmp_path) as file:
        (tmp_path / "w1.intent-1").write_text(content)
        assert [worker.worker for _, worker in workers(tmp_path)] == ["w1"]
        assert file.take_intents() == []


def test_a_process_that_is_gone_has_no_identity():
    assert ProcessId.of(2**22 + 1) is None
