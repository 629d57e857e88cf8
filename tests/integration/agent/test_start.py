"""What a worker's start may not pay for: each of these modules costs more than the start of a task."""

import os
import subprocess
import sys

import pytest

from tests.support.storage import ACCOUNT

FORBIDDEN = {
    "aiohttp", "azure", "certifi", "cryptography", "email", "http", "importlib.metadata", "msal", "opentelemetry",
    "pydantic", "psutil", "requests", "rich.console", "stamina", "urllib.request", "xml.sax", "xml.etree",
}  # fmt: skip
"""Not needed without a control channel, an identity or a terminal."""


def imported(environ, *arguments):
    """The modules that a worker imports on its way from its start to the end of an empty queue."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "workforce_agent", "run", "--when-empty", "exit", *arguments],
        env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("arguments", [(), ("-n", "32")])
async def test_a_worker_of_a_storage_queue_imports_little(azurite, queue, tmp_path, arguments):
    queue_name = queue.full_name.split("/")[1]
    await queue.push("true")
    found = imported(
        {
            "HOME": str(tmp_path),
            "JOBQ_CONNECTION_STRING": azurite.connection_string(ACCOUNT),
            "JOBQ_STORAGE": ACCOUNT,
            "JOBQ_QUEUE": queue_name,
        },
        *arguments,
    )
    assert "workforce_agent.supervisor" in found
    assert "jobq.backends.storage" in found
    assert {name for name in found if any(name == one or name.startswith(f"{one}.") for one in FORBIDDEN)} == set()


def test_the_version_is_said_without_the_worker():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "workforce_agent", "--version"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "asyncio" not in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
