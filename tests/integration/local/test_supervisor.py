"""``workforce local`` with real processes: what it starts, it ends, whatever happens in between."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.local.conftest import PATIENCE, PROGRAM, FakeCloud, wait_until
from workforce_local.processes import STATE_VARIABLE, Identity
from workforce_local.state import HOME_VARIABLE, Phase


def listens(address: str) -> bool:
    url = urlsplit(address)
    with socket.socket() as client:
        return client.connect_ex((url.hostname, url.port)) == 0


def test_down_leaves_no_process_and_no_port(cloud: FakeCloud) -> None:
    record = cloud.up()
    web, worker = record.processes
    assert urllib.request.urlopen(web.address, timeout=PATIENCE).status == 200
    assert len(cloud.processes()) == 3, "web, its child, worker"

    done = cloud.run("down")

    assert (done.returncode, done.stdout) == (0, "stopped\n")
    assert cloud.processes() == []
    assert not listens(web.address)
    assert not any(identity.alive for identity in (record.supervisor, web.identity, worker.identity))
    assert cloud.folder.holder() is None


def test_down_where_nothing_runs_says_so_and_succeeds(cloud: FakeCloud) -> None:
    done = cloud.run("down")
    assert done.returncode == 0
    assert "nothing runs" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_parts_in_reverse_order(cloud: FakeCloud, number: signal.Signals) -> None:
    supervisor = cloud.start()
    cloud.wait_ready()
    supervisor.send_signal(number)
    output, _ = supervisor.communicate(timeout=PATIENCE)

    assert supervisor.returncode == 0, output
    assert "stopping: asked to stop" in output
    assert cloud.processes() == []
    assert "web stops" in (cloud.folder.logs / "web.log").read_text()


def test_a_signal_during_the_start_ends_what_has_started(cloud: FakeCloud) -> None:
    supervisor = cloud.start(FAKE_FAULT="slow")
    wait_until(lambda: (record := cloud.folder.read()) and record.processes, "web is started")
    supervisor.send_signal(signal.SIGINT)
    output, _ = supervisor.communicate(timeout=PATIENCE)

    assert supervisor.returncode == 1
    assert "asked to stop" in output
    assert cloud.processes() == []


def test_a_second_signal_does_not_wait_for_a_part_that_does_not_stop(cloud: FakeCloud) -> None:
    supervisor = cloud.start(FAKE_FAULT="stubborn")
    cloud.wait_ready()
    supervisor.send_signal(signal.SIGINT)
    wait_until(lambda: cloud.record().phase is Phase.STOPPING, "stopping")
    supervisor.send_signal(signal.SIGINT)
    output, _ = supervisor.communicate(timeout=PATIENCE)

    assert supervisor.returncode == 0, output
    assert cloud.processes() == []


def test_the_parts_die_with_a_killed_supervisor(cloud: FakeCloud) -> None:
    record = cloud.up()
    cloud.kill_supervisor()
    wait_until(lambda: not any(process.alive for process in record.processes), "guarded parts have ended")


def test_the_next_up_ends_what_a_killed_supervisor_left(cloud: FakeCloud) -> None:
    first = cloud.up(FAKE_FAULT="leave-job")
    before = cloud.processes()
    cloud.kill_supervisor()
    wait_until(lambda: not any(process.alive for process in first.processes), "guarded parts have ended")
    left = cloud.processes()
    assert len(left) == 1, "the job that its parent did not end"

    done = cloud.run("up", "--detach")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended processes that an earlier run had left: 1" in done.stdout
    assert not any(identity.alive for identity in before)
    assert cloud.record().phase is Phase.READY


def test_down_ends_what_a_killed_supervisor_left(cloud: FakeCloud) -> None:
    cloud.up(FAKE_FAULT="leave-job")
    cloud.kill_supervisor()
    done = cloud.run("down")
    assert done.returncode == 0
    assert cloud.processes() == []


def test_a_process_of_another_state_folder_is_never_touched(cloud: FakeCloud) -> None:
    """Its state folder's path even begins with ours."""
    other = {**os.environ, STATE_VARIABLE: f"{cloud.folder.root}-2"}
    with subprocess.Popen(["sleep", "1000"], env=other) as stranger:
        cloud.up()
        cloud.run("down")
        assert stranger.poll() is None
        stranger.kill()


def test_a_recorded_pid_that_another_process_has_now_is_never_touched(cloud: FakeCloud) -> None:
    record = cloud.up()
    cloud.run("down")
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        forged = Identity(stranger.pid, started=1, boot=record.supervisor.boot)
        process = replace(record.processes[0], identity=forged)
        cloud.folder.write(replace(record, processes=(process,)))
        cloud.run("down")
        cloud.up()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("flags", [(), ("--detach",)])
def test_a_second_up_says_how_to_end_the_first(cloud: FakeCloud, flags: tuple[str, ...]) -> None:
    record = cloud.up()
    done = cloud.run("up", *flags)
    assert done.returncode == 3
    assert f"already running in {cloud.folder.root} (pid {record.supervisor.pid})" in done.stderr
    assert done.stderr.rstrip().endswith(f"local down --state-dir {cloud.folder.root}")
    assert "workforce local down" in done.stderr
    assert all(process.alive for process in record.processes)


@pytest.mark.parametrize("detach", [True, False])
def test_a_part_that_does_not_start_ends_all_with_its_last_words(cloud: FakeCloud, *, detach: bool) -> None:
    done = cloud.run("up", *(["--detach"] if detach else []), FAKE_FAULT="no-start")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "worker did not start: it ended with 1" in said
    assert "no luck today" in said
    assert str(cloud.folder.logs / "worker.log") in said
    assert cloud.processes() == []


def test_a_part_that_dies_ends_all_and_names_its_log(cloud: FakeCloud) -> None:
    supervisor = cloud.start()
    worker = cloud.wait_ready().processes[1]
    os.kill(worker.identity.pid, signal.SIGKILL)
    output, _ = supervisor.communicate(timeout=PATIENCE)

    assert supervisor.returncode == 1
    assert f"worker ended unexpectedly; its log: {worker.log}" in output
    assert cloud.processes() == []
    status = cloud.run("status")
    assert status.returncode == 1
    assert "worker ended unexpectedly" in status.stderr


def test_what_a_part_leaves_behind_is_ended_too(cloud: FakeCloud) -> None:
    cloud.up(FAKE_FAULT="leave-job")
    cloud.run("down")
    assert cloud.processes() == []
    assert "ended processes that their parts had left: 1" in cloud.folder.supervisor_log.read_text()


def test_status_shows_every_part_with_pid_address_and_health(cloud: FakeCloud) -> None:
    record = cloud.up()
    done = cloud.run("status")
    assert done.returncode == 0
    web, worker = record.processes
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["web", str(web.identity.pid), "healthy", web.address] in lines
    assert ["worker", str(worker.identity.pid), "healthy", "-"] in lines


def test_status_tells_a_part_that_does_not_answer(cloud: FakeCloud) -> None:
    web = cloud.up().processes[0]
    os.kill(web.identity.pid, signal.SIGSTOP)
    try:
        done = cloud.run("status")
    finally:
        os.kill(web.identity.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "no answer within 3 s" in done.stdout


def test_env_is_what_a_shell_needs_and_does_not_mark_the_shell_as_ours(cloud: FakeCloud) -> None:
    web = cloud.up().processes[0]
    lines = cloud.run("env").stdout
    script = f'{lines}\nprintf "%s|%s|%s" "$FAKE_ADDRESS" "$FAKE_TEXT" "$PATH"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    address, text, path = done.stdout.split("|")
    assert (address, text) == (web.address, "it's a text")
    assert path.startswith("/fake/bin:")
    assert STATE_VARIABLE not in lines


def test_a_shell_with_our_env_finds_the_cloud_from_any_folder(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.up()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    status = shlex.join([sys.executable, str(PROGRAM), "status"])
    script = f"cd {shlex.quote(str(elsewhere))}\n{status} >before || true\n{cloud.run('env').stdout}\n{status}"
    environment = {name: value for name, value in os.environ.items() if name != HOME_VARIABLE}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (elsewhere / "before").read_text() == ""
    assert done.returncode == 0, done.stderr
    assert f"ready in {cloud.folder.root}" in done.stdout


def test_env_where_nothing_runs_fails_and_exports_nothing(cloud: FakeCloud) -> None:
    done = cloud.run("env")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "workforce local up" in done.stderr


def test_logs_are_readable_while_it_runs_and_afterwards(cloud: FakeCloud) -> None:
    cloud.up()
    assert "web serves" in cloud.run("logs", "web").stdout
    cloud.run("down")
    assert "web stops" in cloud.run("logs", "web").stdout
    assert "ready after" in cloud.run("logs", "supervisor").stdout


def test_logs_of_an_unknown_part_names_the_known_ones(cloud: FakeCloud) -> None:
    cloud.up()
    done = cloud.run("logs", "etcd")
    assert done.returncode == 1
    assert "there is: web, worker, supervisor" in done.stderr


def test_followed_logs_end_when_it_has_stopped(cloud: FakeCloud) -> None:
    cloud.up()
    follower = subprocess.Popen(cloud.command("logs", "web", "-f"), stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    assert "web serves" in follower.stdout.readline()
    cloud.run("down")
    rest, _ = follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0
    assert "web stops" in rest


def test_a_relative_state_folder_works_from_any_later_folder(cloud: FakeCloud) -> None:
    command = cloud.command("up", "--detach")
    command[command.index("--state-dir") + 1] = "state"
    subprocess.run(command, cwd=cloud.folder.root.parent, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
    assert cloud.run("status").returncode == 0
