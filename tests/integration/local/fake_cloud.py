"""``workforce local`` with small real programs as its parts: what the tests start instead of Kubernetes and Azure.

Run as a program, with the same verbs. ``FAKE_FAULT`` in the environment breaks something.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workforce_local.cli import Launcher, Options, main
from workforce_local.parts import Report
from workforce_local.program import Program
from workforce_local.state import Process, StateFolder
from workforce_local.supervisor import Component, Started

SERVER = """
import http.server, os, pathlib, signal, subprocess, sys
ready = pathlib.Path(sys.argv[1])
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
# Like a job: a process in a session of its own, that nobody but the tag connects with us.
job = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("web serves", server.server_port, flush=True)
ready.with_suffix(".new").write_text(str(server.server_port))
ready.with_suffix(".new").rename(ready)
def stop(*_):
    print("web stops", flush=True)
    if os.environ.get("FAKE_FAULT") != "leave-job":
        job.terminate()
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
server.serve_forever()
"""

WORKER = """
import os, pathlib, signal, sys, time
print("worker starts", flush=True)
if os.environ.get("FAKE_FAULT") == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ.get("FAKE_FAULT") == "no-start":
    sys.exit("worker: cannot start: no luck today")
if os.environ.get("FAKE_FAULT") == "slow":
    time.sleep(1000)
pathlib.Path(sys.argv[1]).touch()
time.sleep(1000)
"""


def describe_web(ready: Path) -> object:
    """What is known of the web server once it runs."""

    def describe(process: Process) -> Started:
        address = f"http://127.0.0.1:{ready.read_text()}"
        process = replace(process, address=address)
        exports = {"FAKE_ADDRESS": address, "FAKE_TEXT": "it's a text"}
        return Started((process,), exports=exports, path_folders=(Path("/fake/bin"),))

    return describe


def compose(folder: StateFolder, options: Options, report: Report) -> Sequence[Sequence[Component]]:
    """A server with a child, then a program that needs it."""
    ready = folder.root / "web.ready"
    web = Program(
        "web",
        [sys.executable, "-c", SERVER, str(ready)],
        ready_file=ready,
        log=folder.logs / "web.log",
        describe=describe_web(ready),
    )
    gone = folder.root / "worker.ready"
    worker = Program(
        "worker", [sys.executable, "-c", WORKER, str(gone)], ready_file=gone, log=folder.logs / "worker.log"
    )
    return [[web], [worker]] if os.environ.get("FAKE_FAULT") != "empty" else []


if __name__ == "__main__":
    main(Launcher(compose=compose))
