"""What the programs of this folder share: a storage service, contestants, rounds, and the one table that they print.

A program measures with `Bench`, and gives back rows. Runs of ours, of ai4s-jobq and of the bare loop alternate, each in
processes of its own on a fresh queue, so that a slower moment of the machine meets all of them. Rows hold medians.
Nothing here asserts: whether a goal is met is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.integration.agent.bus import ControlBus, control_bus

from jobq import JobQ, batch_enqueue
from workforce_local.azure import LocalAzure
from workforce_local.config import LocalConfig
from workforce_local.storage import Azurite

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
ANCESTOR = CHECKOUT / ".cache" / "interop" / "bin"
ACCOUNT = "benchaccount"
RUN_SECONDS = 120.0
OURS, THEIRS, BARE = "ours", "ai4s-jobq", "bare loop"


class MeasureError(Exception):
    """Something could not be measured; the text says what happened."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: What was measured, with its unit.
        ours: Our number.
        theirs: The ancestor's; a text says why there is none.
        bare: That of a bare loop over the SDK, where it makes sense.
        ratio: What the goal speaks of: how many times better than one of them; None where the goal is a number.
        goal: In words.
        met: Whether it was reached; None if it could not be measured.
    """

    what: str
    ours: float | str
    theirs: float | str = "-"
    bare: float | str = "-"
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


def table(rows: Iterable[Row]) -> str:
    """All rows, 104 columns wide."""
    lines = [f"{'':<45} {'ours':>8} {'ai4s-jobq':>9} {'bare':>7} {'ratio':>6}  {'goal':<17} met"]
    for row in rows:
        ratio, met = _verdict(row)
        lines.append(
            f"{row.what:<45.45} {_number(row.ours):>8} {_number(row.theirs):>9} {_number(row.bare):>7} {ratio:>6}  "
            f"{row.goal:<17} {met}"
        )
    return "\n".join(lines)


def markdown(rows: Iterable[Row]) -> str:
    """All rows, for the documents."""
    lines = ["| what | ours | ai4s-jobq | bare loop | ratio | goal | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        ratio, met = _verdict(row)
        numbers = " | ".join(_number(value) for value in (row.ours, row.theirs, row.bare))
        lines.append(f"| {row.what} | {numbers} | {ratio} | {row.goal} | {met} |")
    return "\n".join(lines)


def _verdict(row: Row) -> tuple[str, str]:
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
    return ratio, {True: "yes", False: "NO", None: "?" if row.goal else ""}[row.met]


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine() -> str:
    """The machine as it is now: absolute numbers mean little without."""
    begun = time.perf_counter()
    total = 0
    for number in range(3_000_000):
        total += number
    loop = time.perf_counter() - begun
    starts = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import asyncio"], check=True)
        starts.append(time.perf_counter() - begun)
    return (
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}: 3 million additions "
        f"{loop:.2f} s, start with asyncio {min(starts):.3f} s"
    )


class Bench:
    """One storage service, and how to run what is compared on it."""

    def __init__(self, server: Azurite, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._number = 0
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def text(self) -> str:
        """The account's connection string."""
        return self.server.connection_string(ACCOUNT)

    @property
    def ancestor(self) -> bool:
        """Whether ai4s-jobq is installed."""
        return (ANCESTOR / "ai4s-jobq").exists()

    def queue(self) -> str:
        """A name that no queue has yet."""
        self._number += 1
        return f"bench-{self._number}"

    def environ(self, queue: str, **more: str) -> dict[str, str]:
        """The environment of a worker: nothing of ours but the path."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(HERE),
            "JOBQ_CONNECTION_STRING": self.text,
            "JOBQ_STORAGE": ACCOUNT,
            "JOBQ_QUEUE": queue,
            "JOBQ_COPILOT_SKILL": "0",
            **more,
        }

    def ours(self, slots: int, *more: str) -> list[str]:
        """The command of our worker."""
        return [sys.executable, "-m", "workforce_agent", "run", "-n", str(slots), *more]

    def theirs(self, queue: str, slots: int, *more: str) -> list[str]:
        """The command of the ancestor's worker."""
        return [str(ANCESTOR / "ai4s-jobq"), f"{ACCOUNT}/{queue}", "worker", "-n", str(slots), *more]

    def bare(self, queue: str, slots: int) -> list[str]:
        """The command of the bare loop."""
        return [sys.executable, str(HERE / "bare.py"), queue, str(slots)]

    def spawn(self, command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start something whose words go to a file."""
        with (self.folder / "words.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self._started.append(process)
        return process

    async def until(self, condition: Callable[[], bool], seconds: float, pause: float = 0.002) -> bool:
        """Wait for something, looking often."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(pause)
        return True

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to a worker and to all that it has started."""
        try:
            family = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            family = []
        process.kill()
        process.wait()
        for child in family:
            with contextlib.suppress(psutil.Error):
                child.send_signal(signal.SIGKILL)

    def end_all(self) -> None:
        """End what is left, however the measurement went."""
        for process in self._started:
            if process.poll() is None:
                self.end(process)

    async def run(self, command: Sequence[str], environ: Mapping[str, str]) -> float:
        """Run something to its end. Returns the seconds."""
        begun = time.perf_counter()
        process = self.spawn(command, environ)
        try:
            code = await asyncio.to_thread(process.wait, RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise MeasureError(f"{' '.join(command[:6])} did not end in {RUN_SECONDS:.0f} s") from None
        if code != 0:
            words = (self.folder / "words.log").read_text(errors="replace")[-2000:]
            raise MeasureError(f"{' '.join(command[:6])} ended with {code}:\n{words}")
        return time.perf_counter() - begun

    async def remove(self, queue: str) -> None:
        """Remove a queue's messages: the service gets slower with what it holds."""
        async with JobQ.from_connection_string(queue, connection_string=self.text) as opened:
            await opened.clear()

    async def fill(self, queue: str, kwargs: Sequence[Mapping[str, object]]) -> None:
        """Make a queue and enqueue tasks."""
        async with JobQ.from_connection_string(queue, connection_string=self.text) as opened:
            await batch_enqueue(opened, list(kwargs), num_enqueue_workers=16, num_retries=0, show_progress=False)

    def rounds(self, wanted: int, seconds: float) -> Iterator[int]:
        """Rounds of a measurement: as many as are wanted, or as many as have room in the time; but one."""
        begun = time.monotonic()
        for number in range(wanted):
            if number and (time.monotonic() - begun) * (number + 1) / number > seconds:
                return
            yield number


@asynccontextmanager
async def opened() -> AsyncIterator[Bench]:
    """A fresh storage service in memory, gone afterwards."""
    base = next((path for path in ("/dev/shm",) if os.access(path, os.W_OK)), None)  # noqa: S108 - in memory
    folder = Path(tempfile.mkdtemp(prefix="bench-worker-", dir=base))
    server = Azurite(folder / "azurite", [ACCOUNT], guard=False)
    bench = Bench(server, folder)
    try:
        await server.start()
        yield bench
    finally:
        bench.end_all()
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def control(bench: Bench) -> AsyncIterator[ControlBus]:
    """A local Azure with a control channel."""
    async with (
        LocalAzure(bench.folder / "azure", LocalConfig()) as azure,
        control_bus(azure, bench.folder) as bus,
    ):
        yield bus


def median(values: Iterable[float]) -> float:
    """Of what there is; not a number if there is nothing."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def p95(values: Iterable[float]) -> float:
    """The value that 95 % do not exceed."""
    found = sorted(values)
    return found[max(0, math.ceil(0.95 * len(found)) - 1)] if found else float("nan")


def program(measure: Callable[[int], Awaitable[list[Row]]], doc: str | None, rounds: int) -> None:
    """Run one of the programs alone."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)

    async def main(rounds: int) -> None:
        print(machine())
        print(table(await measure(rounds)))

    asyncio.run(main(parser.parse_args().rounds))
