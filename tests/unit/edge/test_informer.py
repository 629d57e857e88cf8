"""The informer's thread: keys arrive in our loop, and an informer that ended is started again."""

import asyncio
import threading

from workforce_operator.edge.informer import Informer
from workforce_operator.ports.kubernetes import Key

KEY = Key("chem", "md")


async def until(condition):
    while not condition():  # noqa: ASYNC110 - the condition is set by another thread
        await asyncio.sleep(0.001)


async def stop(task):
    task.cancel()
    await asyncio.wait([task])


async def test_keys_arrive_in_the_loop_that_started_the_informer():
    seen = []

    async def run(wake, stop):
        wake(KEY, None)
        await stop.wait()

    informer = Informer(run, lambda key, new: seen.append((key, new, threading.current_thread())))
    task = asyncio.create_task(informer.run())
    await until(lambda: seen)
    await stop(task)
    assert seen == [(KEY, None, threading.current_thread())]


async def test_an_informer_that_ended_is_started_again():
    runs, seen = [], []

    async def run(wake, stop):
        runs.append(1)
        if len(runs) == 1:
            raise OSError("the stream broke")
        if len(runs) == 2:
            return
        wake(KEY, None)
        await stop.wait()

    task = asyncio.create_task(Informer(run, lambda *what: seen.append(what), pauses=(0.0,)).run())
    await until(lambda: seen)
    await stop(task)
    assert len(runs) == 3


async def test_stopping_asks_the_running_informer_to_end():
    started, ended = threading.Event(), threading.Event()

    async def run(wake, stop):
        started.set()
        await stop.wait()
        ended.set()

    task = asyncio.create_task(Informer(run, lambda *_: None).run())
    await until(started.is_set)
    await stop(task)
    assert ended.is_set()
