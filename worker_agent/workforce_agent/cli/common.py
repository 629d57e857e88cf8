"""What the verbs share: the queue's address, durations, and errors that end a command in one line."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from jobq.address import AddressError, QueueAddress
from jobq.cloud import Cloud, CloudError, load_cloud
from jobq.durations import DurationError, parse_duration
from jobq.errors import JobQError

if TYPE_CHECKING:
    from jobq.queue import JobQ


class Duration(click.ParamType[timedelta]):
    """A duration option: `90s`, `14d`."""

    name = "duration"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(str(value))
        except DurationError as error:
            self.fail(str(error), param, ctx)


def resolve(queue: str | None) -> QueueAddress:
    """The queue that a command is about; wrong usage if there is none."""
    try:
        address = QueueAddress.resolve(queue, os.environ)
        address.check()
    except AddressError as error:
        raise click.UsageError(str(error)) from error
    return address


def chosen_cloud() -> Cloud:
    """The Azure that the environment names; wrong usage if it cannot be read."""
    try:
        return load_cloud()
    except CloudError as error:
        raise click.UsageError(str(error)) from error


@asynccontextmanager
async def open_queue(queue: str | None, *, create: bool = False) -> AsyncIterator[JobQ]:
    """Open the queue that a command is about."""
    # Imported here: the SDK costs a quarter of a second that wrong usage need not wait for.
    from jobq.queue import JobQ  # noqa: PLC0415 - see above

    async with JobQ.from_address(resolve(queue), cloud=chosen_cloud(), create=create) as jobq:
        yield jobq


def run_async(work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run a command to its exit code; an error of the queue is one line, whatever the SDKs have logged of it."""
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = asyncio.run(work())
    except AddressError as error:
        raise click.UsageError(str(error)) from error
    except JobQError as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(code)
