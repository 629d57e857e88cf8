"""`workforce-agent run`: be a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import click

from jobq import names
from jobq.address import AddressError
from workforce_agent.cli.common import Duration, chosen_cloud, resolve
from workforce_agent.locks import SHORTEST
from workforce_agent.processors.opening import SHELL, ProcessorSettings
from workforce_agent.settings import ControlSettings, RunSettings, WhenEmpty

WITHOUT_HEARTBEAT = timedelta(minutes=10)
LONGEST_VISIBILITY = timedelta(days=7)
"""No storage queue hides a message for longer."""


@click.command()
@click.argument("queue", required=False)
@click.option(
    "-n",
    "--num-workers",
    type=click.IntRange(1, 10_000),
    default=1,
    envvar=names.NUM_WORKERS_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="Tasks at a time.",
)
@click.option(
    "--visibility-timeout",
    type=Duration(),
    envvar="JOBQ_VISIBILITY_TIMEOUT",
    show_envvar=True,
    help="How long a task is hidden at first: 60s, or 10m without heartbeat; grows with its age.",
)
@click.option(
    "--heartbeat/--no-heartbeat",
    default=True,
    envvar="JOBQ_HEARTBEAT",
    show_default=True,
    show_envvar=True,
    help="Renew the locks of running tasks.",
)
@click.option(
    "--time-limit",
    type=Duration(),
    default="14d",
    envvar=names.TIME_LIMIT_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="After this, return what runs and exit; 0 means never.",
)
@click.option(
    "--max-consecutive-failures",
    type=click.IntRange(0),
    default=2,
    envvar="JOBQ_MAX_CONSECUTIVE_FAILURES",
    show_default=True,
    show_envvar=True,
    help="More failures in a row in one slot end the worker.",
)
@click.option(
    "--when-empty",
    type=click.Choice([choice.value for choice in WhenEmpty]),
    default=WhenEmpty.WAIT.value,
    envvar="JOBQ_WHEN_EMPTY",
    show_default=True,
    show_envvar=True,
    help="What an empty queue means.",
)
@click.option(
    "--idle-timeout",
    type=Duration(),
    envvar="JOBQ_IDLE_TIMEOUT",
    show_envvar=True,
    help="Exit after so long without a task; never by default.",
)
@click.option(
    "--kill-timeout",
    type=Duration(),
    default="600s",
    envvar=names.KILL_TIMEOUT_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="From SIGTERM to SIGKILL of a task; 0 means never.",
)
@click.option(
    "--eviction-timeout",
    type=Duration(),
    default="120s",
    envvar="JOBQ_PREEMPTION_TIMEOUT",
    show_default=True,
    show_envvar=True,
    help="After a SIGTERM of the platform, resume work if it has not killed us by then.",
)
@click.option(
    "--proc",
    default=SHELL,
    envvar="JOBQ_PROC",
    show_default=True,
    show_envvar=True,
    help="What runs tasks: shell, or a Python callable, module:function or module.Class.",
)
@click.option(
    "--pool",
    is_flag=True,
    envvar="JOBQ_POOL",
    show_envvar=True,
    help="Run the Python callable in processes of its own, one per slot: for work that computes.",
)
@click.option(
    "-t",
    "--emulate-tty",
    is_flag=True,
    envvar="JOBQ_EMULATE_TTY",
    show_envvar=True,
    help="Let shell tasks write to a terminal.",
)
@click.option(
    "--login-shell",
    is_flag=True,
    envvar="JOBQ_USE_LOGIN_SHELL",
    show_envvar=True,
    help="Run shell tasks in a login shell.",
)
@click.option(
    "--task-timeout",
    type=Duration(),
    envvar="JOBQ_TASK_TIMEOUT",
    show_envvar=True,
    help="A task that runs longer is stopped and has failed; never by default.",
)
@click.option(
    "--output-dir",
    "output_folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="JOBQ_OUTPUT_DIR",
    show_envvar=True,
    help="Keep each task's output in a file of its own here.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    envvar="JOBQ_METRICS_PORT",
    show_envvar=True,
    help="Serve metrics for Prometheus on this port, at /metrics.",
)
@click.option("-v", "--verbose", count=True, help="Log more.")
@click.option("-q", "--quiet", count=True, help="Log less.")
def run(
    *,
    queue: str | None,
    num_workers: int,
    visibility_timeout: timedelta | None,
    heartbeat: bool,
    time_limit: timedelta,
    max_consecutive_failures: int,
    when_empty: str,
    idle_timeout: timedelta | None,
    kill_timeout: timedelta,
    eviction_timeout: timedelta,
    proc: str,
    pool: bool,
    emulate_tty: bool,
    login_shell: bool,
    task_timeout: timedelta | None,
    output_folder: Path | None,
    metrics_port: int | None,
    verbose: int,
    quiet: int,
) -> None:
    """Pull tasks of QUEUE (ACCOUNT/QUEUE, or JOBQ_STORAGE and JOBQ_QUEUE) and run them until told to leave."""
    address = resolve(queue)
    if visibility_timeout is None:
        visibility_timeout = SHORTEST if heartbeat else WITHOUT_HEARTBEAT
    if visibility_timeout < timedelta(seconds=2):
        raise click.BadParameter("must be at least 2s", param_hint="--visibility-timeout")
    if visibility_timeout > LONGEST_VISIBILITY:
        raise click.BadParameter("must be at most 7d", param_hint="--visibility-timeout")
    if proc == SHELL and pool:
        raise click.UsageError("--pool is for Python callables: name one with --proc")
    if proc != SHELL and (emulate_tty or login_shell):
        raise click.UsageError("--emulate-tty and --login-shell are for shell tasks")
    if output_folder is not None:
        _make(output_folder)
    cloud = chosen_cloud()
    settings = RunSettings(
        slots=num_workers,
        visibility_timeout=visibility_timeout,
        heartbeat=heartbeat,
        time_limit=time_limit or None,
        max_consecutive_failures=max_consecutive_failures,
        when_empty=WhenEmpty(when_empty),
        idle_timeout=idle_timeout,
        kill_timeout=kill_timeout or None,
        eviction_timeout=eviction_timeout,
        processor=ProcessorSettings(
            name=proc,
            pool=pool,
            login_shell=login_shell,
            emulate_tty=emulate_tty,
            task_timeout=task_timeout or None,
            output_folder=output_folder,
        ),
    )
    # Imported here: what makes a worker costs a quarter of a second that wrong usage need not wait for.
    from workforce_agent.guard import Guard  # noqa: PLC0415 - see above
    from workforce_agent.outside import OutsideError, open_outside  # noqa: PLC0415 - see above
    from workforce_agent.pid_file import PidFileError  # noqa: PLC0415 - see above
    from workforce_agent.processors.port import ProcessorError  # noqa: PLC0415 - see above

    control = ControlSettings.from_environment(os.environ, cloud)
    try:
        with open_outside(cloud, verbose=verbose - quiet, metrics_port=metrics_port) as outside:
            guard = Guard(own_cgroup=True)  # no task runs before it guards: it gets ready during the import
            from workforce_agent.compose import run_worker  # noqa: PLC0415 - see above

            code = asyncio.run(run_worker(address, settings, control, cloud, outside=outside, guard=guard))
    except AddressError as error:  # a connection string that is none
        raise click.UsageError(str(error)) from error
    except (PidFileError, ProcessorError, OutsideError) as error:
        from workforce_agent.compose import tell_failed_start  # noqa: PLC0415 - see above

        asyncio.run(tell_failed_start(control, cloud, str(error), click.ClickException.exit_code))
        raise click.ClickException(str(error)) from error
    if proc == SHELL or pool:
        _end_now(code)
    raise SystemExit(code)  # a callable's module may have something to do at the interpreter's end


def _make(output_folder: Path) -> None:
    try:
        output_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"cannot be made: {error.strerror}", param_hint="--output-dir") from error
    if not os.access(output_folder, os.W_OK | os.X_OK):
        raise click.BadParameter("cannot be written to", param_hint="--output-dir")


def _end_now(code: int) -> NoReturn:
    """End this process. Everything is settled, sent and closed; the interpreter would take the loaded SDKs apart first.

    That takes a third of a second with a control channel, and seconds where many workers of a node leave at once.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)
