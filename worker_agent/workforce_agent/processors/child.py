"""The program of a pool's process: loads the callable once, then calls it for one task after the other.

It hears of tasks on a socket, a line of JSON each, and answers with a line; standard output and standard error are the
task's. SIGTERM does what the callable says, and ends the process if it says nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Container
from typing import Any

from jobq.names import CHECKPOINT_VARIABLE, TASK_ID_VARIABLE
from workforce_agent.processors.in_process import describe
from workforce_agent.processors.port import ProcessorError
from workforce_agent.processors.target import arguments, asked_for, is_async, load


def main(name: str, descriptor: int) -> None:
    """Serve until the socket closes."""
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as requests:
        try:
            function = load(name, 1)
        except ProcessorError as error:
            _answer(channel, {"broken": str(error)})
            return
        asked = asked_for(function)
        _answer(channel, {})
        for line in requests:
            _answer(channel, _serve(function, asked, json.loads(line)))


def _serve(function: Callable[..., Any], asked: Container[str], request: dict[str, Any]) -> dict[str, Any]:
    os.environ[TASK_ID_VARIABLE] = request["job_id"]
    os.environ[CHECKPOINT_VARIABLE] = request["checkpoint"]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    error: BaseException | None = None
    try:
        kwargs = arguments(asked, json.loads(request["kwargs"]), job_id=request["job_id"], worker=request["worker"])
        if is_async(function):
            asyncio.run(function(**kwargs))
        else:
            function(**kwargs)
    except BaseException as failed:
        error = failed
        traceback.print_exception(failed)
    sys.stdout.flush()
    sys.stderr.flush()
    end = describe(error)
    return {"exit_code": end.exit_code, "error": end.error}


def _answer(channel: socket.socket, answer: dict[str, Any]) -> None:
    channel.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
