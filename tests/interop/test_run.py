"""`workforce local run`: what a program sees as Azure, and what nobody else notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.conftest import ACCOUNT, NAMESPACE, PATIENCE, LocalCloud, Program, wait_until
from workforce_local.processes import Identity, tagged

FETCH = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Metadata": "true"})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def run(cloud: LocalCloud, *program: str | Path, trust: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"]}
    command = cloud.into_azure(*program, trust=trust)
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE)


def fetch(cloud: LocalCloud, url: str) -> str:
    done = run(cloud, sys.executable, "-c", FETCH, url)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["management.azure.com", "ml.azure.com", "login.microsoftonline.com"])
def test_azures_names_lead_to_the_local_cloud_with_certificates_that_are_trusted(
    local_cloud: LocalCloud, name: str
) -> None:
    """ai4s-jobq 3.13.1: these hosts are hard-coded in the ancestor, and always HTTPS."""
    [answer] = json.loads(fetch(local_cloud, f"https://{name}/metadata/endpoints?api-version=2019-05-01"))
    assert answer["name"].startswith("Local")


def test_the_metadata_address_leads_to_this_machines_metadata_service(local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: the ancestor asks http://169.254.169.254, and no setting changes that."""
    url = "http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01"
    assert json.loads(fetch(local_cloud, url))["Events"] == []


def test_addresses_that_the_local_cloud_gives_out_lead_there_too(local_cloud: LocalCloud) -> None:
    """azure-ai-ml 1.35: clients follow addresses that a workspace's document names."""
    [answer] = json.loads(fetch(local_cloud, f"{local_cloud.exports['AZURE_AUTHORITY_HOST']}/metadata/endpoints"))
    assert answer["resourceManager"] == f"{local_cloud.exports['AZURE_AUTHORITY_HOST']}/"


def test_nothing_else_can_be_reached(local_cloud: LocalCloud) -> None:
    """A program that is tested must never reach the real Azure, whatever it calls."""
    with socket.create_server(("127.0.0.1", 0)) as outside:
        code = (
            "import socket, sys\n"
            "for where in (('example.com', 443), ('127.0.0.1', int(sys.argv[1])), ('1.1.1.1', 53)):\n"
            "    try: socket.create_connection(where, 5)\n"
            "    except OSError: continue\n"
            "    sys.exit(f'reached {where}')\n"
        )
        done = run(local_cloud, sys.executable, "-c", code, str(outside.getsockname()[1]))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_bundle_of_the_programs_own_is_seen_with_our_authority_and_stays_as_it_is(
    local_cloud: LocalCloud, tmp_path: Path
) -> None:
    """azure-servicebus 7.15 trusts certifi's bundle and no setting of the environment."""
    bundle = tmp_path / "own.pem"
    bundle.write_text("somebody's authorities\n")
    authority = (local_cloud.state_dir / "azure" / "ca.pem").read_text()
    done = run(local_cloud, "cat", bundle, trust=bundle)
    assert done.stdout == f"somebody's authorities\n{authority}"
    assert bundle.read_text() == "somebody's authorities\n"


def test_files_of_the_machine_stay_as_they_are(local_cloud: LocalCloud) -> None:
    before = Path("/etc/hosts").read_bytes()
    inside = run(local_cloud, "cat", "/etc/hosts").stdout
    assert f"{ACCOUNT}.queue.core.windows.net" in inside
    assert f"{NAMESPACE}.servicebus.windows.net" in inside
    assert Path("/etc/hosts").read_bytes() == before


def test_the_exit_code_is_the_programs(local_cloud: LocalCloud) -> None:
    assert run(local_cloud, "sh", "-c", "exit 7").returncode == 7


def test_signals_reach_the_program_itself(local_cloud: LocalCloud, tmp_path: Path) -> None:
    """It is this very process: no other one stands between."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(9))\n"
        "print('pid', os.getpid(), flush=True)\n"
        "while True: signal.pause()\n"
    )
    environ = {"PATH": os.environ["PATH"]}
    program = Program(local_cloud.into_azure(sys.executable, "-c", code), environ, tmp_path / "log")
    try:
        program.said(f"pid {program.process.pid}")
        program.process.send_signal(signal.SIGUSR1)
        assert program.exit_code() == 9
    finally:
        program.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_gateway_ends_with_the_program_however_that_ends(
    local_cloud: LocalCloud, tmp_path: Path, number: signal.Signals
) -> None:
    environ = {"PATH": os.environ["PATH"]}
    before = set(tagged(local_cloud.state_dir))
    program = Program(local_cloud.into_azure("sh", "-c", "echo up; exec sleep 600"), environ, tmp_path / "log")
    try:
        program.said("up")
        started = set(tagged(local_cloud.state_dir)) - before
        assert len(started) == 2
        assert list((local_cloud.state_dir / "run").iterdir()) == []
        program.process.send_signal(number)
        assert program.exit_code() == -number

        def left() -> list[Identity]:
            return [identity for identity in started if identity.alive]

        wait_until(lambda: not left(), "the end of the gateway")
    finally:
        program.close()


def test_a_program_that_ends_with_open_connections_is_all_that_is_heard(local_cloud: LocalCloud) -> None:
    """Programs rarely close what they opened; the gateway must not print a traceback into their output for that."""
    code = (
        "import os, socket\n"
        "opened = [socket.create_connection(('169.254.169.254', 80), 30) for _ in range(3)]\n"
        "for one in opened:\n"
        "    one.sendall(b'GET /metadata/scheduledevents HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "    one.recv(1)\n"
        "pid = os.fork()\n"
        "os._exit(0) if pid else os.execvp('sleep', ['sleep', '1'])\n"
    )
    done = run(local_cloud, sys.executable, "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_that_does_not_exist_is_said_in_one_line(local_cloud: LocalCloud) -> None:
    done = run(local_cloud, "no-such-program")
    assert done.returncode == 1
    assert done.stderr == "Error: no-such-program: No such file or directory\n"


def test_without_a_local_cloud_it_says_how_to_start_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workforce_local.cli", "run", "--state-dir", str(tmp_path / "none"), "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert "to start it: workforce local up" in done.stderr


def test_the_stand_in_command_gives_real_tokens(local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: the ancestor's credential is AzureCliCredential; these are the fields that it reads."""
    found = run(
        local_cloud, "az", "account", "get-access-token", "--output", "json", "--resource", "https://ml.azure.com"
    )
    answer = json.loads(found.stdout)
    assert answer["accessToken"].count(".") == 2
    assert answer["expires_on"] > 0
    assert answer["tenant"] == local_cloud.config.tenant_id


def test_the_stand_in_command_logs_in_as_the_machines_identity(local_cloud: LocalCloud) -> None:
    """ai4s-jobq 3.13.1: where a command fails, the ancestor runs `az login --identity --client-id ID`
    and tries again.
    """
    client = local_cloud.config.node_client_id
    script = f"az login --identity --client-id {client} >&2 && az account show"
    assert json.loads(run(local_cloud, "sh", "-c", script).stdout)["user"]["name"] == client


def test_the_stand_in_command_fails_as_the_real_one(local_cloud: LocalCloud) -> None:
    here = ["--resource-group", "workforce", "--namespace-name", "no-such-bus"]
    done = run(local_cloud, "az", "servicebus", "topic", "list", *here)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: (ParentResourceNotFound)")
    assert run(local_cloud, "az", "vm", "list").returncode == 2
