"""Keeps the kopf informer running, in a thread and an event loop of its own.

kopf treats the loop that it runs in as its own: it takes over signals and cancels all tasks when it ends. It also ends
by itself, for example at an error within a watch stream. Both are harmless here: the thread has nothing but kopf in it,
and whenever kopf ends before it was asked to, it is started again after a pause; its first act is then a full list.

What the informer misses meanwhile is found by the daemon's own regular listing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence

import structlog

from workforce_operator.edge import event_loop
from workforce_operator.ports.kubernetes import Key, StoredWorkforce

log = structlog.stdlib.get_logger(__name__)

RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before kopf is started again; the last one repeats. A run of ten minutes starts over with the first."""

STABLE_SECONDS = 600.0
STOP_SECONDS = 10.0
"""Time that kopf gets to end its streams; afterwards its thread is left to die with the process."""


Wake = Callable[[Key, StoredWorkforce | None], None]
"""Told of each key whose object has changed; and what the object is like, if the operator has not written to it yet."""

Run = Callable[[Wake, asyncio.Event], Coroutine[None, None, None]]
"""One run of the informer: calls back until the event is set."""


class Informer:
    """Starts and restarts the informer's thread; ``run`` ends only when it is cancelled.

    Args:
        run: One run of the informer, executed in the thread's own loop.
        wake: Called in the loop that ``Informer.run`` runs in.
        pauses: Seconds before each restart.
    """

    def __init__(self, run: Run, wake: Wake, *, pauses: Sequence[float] = RESTART_SECONDS) -> None:
        self._run, self._wake, self._pauses = run, wake, pauses

    async def run(self) -> None:
        """Keep the informer running until this is cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            problem = await self._once()
            failures = 0 if loop.time() - began > STABLE_SECONDS else failures + 1
            pause = self._pauses[min(failures, len(self._pauses)) - 1] if failures else self._pauses[0]
            log.warning("the watch ended and starts again", problem=problem, pause_seconds=pause)
            await asyncio.sleep(pause)

    async def _once(self) -> str:
        """One run in a thread; returns why it ended."""
        ours = asyncio.get_running_loop()
        ended: asyncio.Future[str] = ours.create_future()
        thread = _Thread(
            self._run, lambda *what: _post(ours, self._wake, *what), lambda why: _post(ours, _settle, ended, why)
        )
        thread.start()
        try:
            return await asyncio.shield(ended)
        except asyncio.CancelledError:
            thread.stop()
            await asyncio.wait([ended], timeout=STOP_SECONDS)
            raise


class _Thread:
    """A thread with its own event loop that runs the informer once."""

    def __init__(self, run: Run, wake: Wake, ended: Callable[[str], None]) -> None:
        self._once, self._wake, self._ended = run, wake, ended
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Start the thread. It does not keep the process alive."""
        threading.Thread(target=self._work, name="informer", daemon=True).start()

    def stop(self) -> None:
        """Ask the informer to end. Returns at once."""
        self._ready.wait(1.0)
        if self._loop is not None and self._stop is not None:
            _post(self._loop, self._stop.set)

    def _work(self) -> None:
        # Whatever ends the run is told, not raised: a thread has no caller.
        try:
            event_loop.run(self._main())
        except Exception as error:  # supervisor of foreign code: the reason is logged, and it starts again
            self._ended(f"{type(error).__name__}: {error}")
        else:
            self._ended("it stopped by itself")
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._once(self._wake, self._stop)


def _settle(future: asyncio.Future[str], why: str) -> None:
    if not future.done():
        future.set_result(why)


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    """Call in another thread's loop; a loop that is closed has no use for it any more."""
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise
