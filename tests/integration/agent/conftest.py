"""A queue on Azurite, and worker processes that pull from it."""

from collections.abc import AsyncIterator, Callable

import pytest

from jobq.queue import JobQ
from tests.support.agent import AgentProcess, TaskFiles
from tests.support.storage import ACCOUNT
from workforce_local.storage import Azurite


@pytest.fixture
async def queue(azurite: Azurite, queue_name: str) -> AsyncIterator[JobQ]:
    """An empty task queue."""
    async with JobQ.from_connection_string(queue_name, connection_string=azurite.connection_string(ACCOUNT)) as opened:
        yield opened


@pytest.fixture
def files(tmp_path) -> TaskFiles:
    """Where tasks note what they do."""
    return TaskFiles(tmp_path / "tasks")


@pytest.fixture
async def agent(azurite: Azurite, queue: JobQ, tmp_path) -> AsyncIterator[Callable[..., AgentProcess]]:
    """Starts worker processes of the queue; all are gone afterwards."""
    started = []

    async def start(*arguments: str, node: str = "node-0", **environ: str) -> AgentProcess:
        process = await AgentProcess.start(
            tmp_path / node,
            {
                "JOBQ_CONNECTION_STRING": azurite.connection_string(ACCOUNT),
                "JOBQ_STORAGE": ACCOUNT,
                "JOBQ_QUEUE": queue.full_name.split("/")[1],
                **environ,
            },
            *arguments,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        await process.close()
