"""``workforce local``: Kubernetes and Azure on this machine, from one command.

Reads and writes the state folder and talks to the supervisor by signals; the parts are composed in `parts`. Exit codes:
0 done; 1 failed, or not running; 2 wrong usage; 3 runs already.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from workforce_local.console import ConsoleReporter, export_lines, program, status_lines
from workforce_local.processes import end
from workforce_local.state import HOME_VARIABLE, Phase, Record, StateError, StateFolder, default_folder
from workforce_local.supervisor import LEFTOVER_GRACE_SECONDS, Component, clean_up, supervise

if TYPE_CHECKING:
    from workforce_local.config import LocalConfig
    from workforce_local.parts import Report

EXIT_RUNNING = 3
"""Exit code of an `up` where a local cloud runs already."""
STOP_SECONDS = 90.0
"""How long `down` waits for the supervisor before it ends everything by itself."""
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Options:
    """What `up` was asked for."""

    kubernetes: bool = True
    config: LocalConfig | None = None
    """What the local Azure contains, if the user says so."""


def _compose(folder: StateFolder, options: Options, report: Report) -> Sequence[Sequence[Component]]:
    from workforce_local.parts import compose  # noqa: PLC0415 - most verbs start nothing

    return compose(folder, options.config, kubernetes=options.kubernetes, report=report)


@dataclass(frozen=True)
class Launcher:
    """How the parts are made. Tests bring their own."""

    compose: Callable[[StateFolder, Options, Report], Sequence[Sequence[Component]]] = _compose


_LAZY = {
    "chaos": "workforce_local.chaos.command",
    "insights": "workforce_local.insights.command",
    "run": "workforce_local.interop.command",
    "demo": "workforce_local.demo.command",
}
"""Verbs whose packages the others need not load, and where they are."""


class LazyVerbs(click.Group):
    """Adds the verbs that are imported when they are asked for."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of their use."""
        return [*self.commands, *_LAZY]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a verb, and import it if need be."""
        if cmd_name not in _LAZY:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(_LAZY[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


def _folder(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> StateFolder:
    return StateFolder.at(value or default_folder())


state_dir = click.option(
    "--state-dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_folder,
    help=f"State folder; by default ${HOME_VARIABLE}, else .workforce in the current folder.",
)


@click.group("local", cls=LazyVerbs)
@click.pass_context
def local(ctx: click.Context) -> None:
    """Kubernetes and Azure on this machine, for tests, demonstrations and development."""
    ctx.obj = ctx.obj or Launcher()


@local.command()
@state_dir
@click.option("--detach", "-d", is_flag=True, help="Return when it is ready, and leave it running.")
@click.option("--no-kubernetes", is_flag=True, help="Start Azure only.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file that says what the local Azure contains.",
)
@click.pass_obj
def up(launcher: Launcher, folder: StateFolder, *, detach: bool, no_kubernetes: bool, config_file: Path | None) -> None:
    """Start it; Ctrl-C, or `down` elsewhere, ends it."""
    options = Options(kubernetes=not no_kubernetes, config=_config(config_file) if config_file else None)
    if detach:
        sys.exit(_up_detached(launcher, folder, options))
    _up(launcher, folder, options)


def _config(file: Path) -> LocalConfig:
    from workforce_local.config import ConfigError, LocalConfig  # noqa: PLC0415 - a third of a start without one

    try:
        return LocalConfig.load(file)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _up(launcher: Launcher, folder: StateFolder, options: Options) -> None:
    reporter = ConsoleReporter(folder, attached=sys.stdout.isatty())
    try:
        ending = supervise(folder, lambda: launcher.compose(folder, options, reporter.note), reporter)
    except StateError as error:
        raise click.ClickException(str(error)) from error
    finally:
        reporter.close()
    if ending is None:
        sys.exit(_say_running(folder))
    if ending.failed:
        raise click.ClickException(ending.reason)


def _say_running(folder: StateFolder) -> int:
    holder = folder.holder()
    pid = f" (pid {holder.pid})" if holder else ""
    where = "" if StateFolder.at(default_folder()) == folder else f" --state-dir {shlex.quote(str(folder.root))}"
    click.echo(f"already running in {folder.root}{pid}; to end it: {program()} local down{where}", err=True)
    return EXIT_RUNNING


def _up_detached(launcher: Launcher, folder: StateFolder, options: Options) -> int:
    """Let a copy of this process supervise: another interpreter would load all of this once more first."""
    try:
        folder.create()
    except StateError as error:
        raise click.ClickException(str(error)) from error
    if folder.holder():
        return _say_running(folder)
    folder.supervisor_log.write_bytes(b"")
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _leave_terminal(folder.supervisor_log)
        os._exit(_exit_code(lambda: _up(launcher, folder, options)))
    try:
        return _await_ready(folder, child)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGINT)
        os.waitpid(child, 0)
        raise click.Abort from None


def _leave_terminal(log: Path) -> None:
    """Neither Ctrl-C nor the end of this terminal reaches this process any more; what it prints goes to the log."""
    os.setsid()
    for path, flags, descriptors in ((os.devnull, os.O_RDONLY, (0,)), (log, os.O_WRONLY | os.O_APPEND, (1, 2))):
        file = os.open(path, flags)
        for descriptor in descriptors:
            os.dup2(file, descriptor)
        os.close(file)


def _exit_code(run: Callable[[], None]) -> int:
    """Run to the end of this process, and say on standard error what ended it badly."""
    try:
        run()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def _await_ready(folder: StateFolder, child: int) -> int:
    """Show what the supervisor prints until it is ready or has ended."""
    with folder.supervisor_log.open(encoding="utf-8", errors="replace") as log:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            record = folder.read()
            ready = record is not None and record.phase is Phase.READY and record.supervisor.pid == child
            click.echo(log.read(), nl=False)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if ready:
                return 0
            time.sleep(_POLL_SECONDS)


@local.command()
@state_dir
def down(folder: StateFolder) -> None:
    """End everything, also what a killed supervisor has left."""
    supervisor = folder.holder()
    if supervisor:
        end([supervisor], grace=STOP_SECONDS)
    if folder.holder():
        raise click.ClickException(f"the supervisor does not end; see {folder.supervisor_log}")
    found, survivors = clean_up(folder, grace=LEFTOVER_GRACE_SECONDS)
    if survivors:
        pids = ", ".join(str(identity.pid) for identity in survivors)
        raise click.ClickException(f"could not end the processes {pids}")
    if found:
        click.echo(f"ended processes that an earlier run had left: {found}")
    click.echo("stopped" if supervisor or found else f"nothing runs in {folder.root}")


@local.command()
@state_dir
def status(folder: StateFolder) -> None:
    """Show each part, its process and its health; the exit code is 0 if all of it runs and is healthy."""
    from workforce_local.health import faults  # noqa: PLC0415 - an HTTP client, which no other verb needs

    record = _running(folder)
    found = dict(zip(record.processes, asyncio.run(faults(record.processes)), strict=True))
    click.echo(f"{record.phase} in {folder.root} (supervisor: pid {record.supervisor.pid})")
    click.echo("\n".join(status_lines(record, found)))
    if record.phase is not Phase.READY or any(found.values()):
        sys.exit(1)


@local.command()
@state_dir
def env(folder: StateFolder) -> None:
    """Print what a shell needs to use it: eval "$(workforce local env)"."""
    click.echo("\n".join(export_lines(folder, _running(folder))))


def _running(folder: StateFolder) -> Record:
    record = folder.read()
    if record is None or not folder.holder():
        why = f" (the last run ended: {record.reason})" if record and record.reason else ""
        raise click.ClickException(f"nothing runs in {folder.root}{why}; to start it: {program()} local up")
    return record


@local.command()
@state_dir
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is printed later, until it has stopped.")
def logs(folder: StateFolder, name: str, *, follow: bool) -> None:
    """Print the log of a part, or of the supervisor if it was detached; also after they have ended."""
    path = _log_file(folder, name)
    with path.open("rb") as log:
        for chunk in _chunks(folder, log.read, follow=follow):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def _log_file(folder: StateFolder, name: str) -> Path:
    record = folder.read()
    known = {process.name: process.log for process in record.processes} if record else {}
    known["supervisor"] = folder.supervisor_log
    there = {part: path for part, path in known.items() if path.exists()}
    if name not in there:
        raise click.ClickException(f"no log of {name}; there is: {', '.join(there) or 'none yet'}")
    return there[name]


def _chunks(folder: StateFolder, read: Callable[[], bytes], *, follow: bool) -> Iterator[bytes]:
    yield read()
    while follow and folder.holder():
        chunk = read()
        if chunk:
            yield chunk
        else:
            time.sleep(_POLL_SECONDS)
    yield read()


def main(launcher: Launcher | None = None) -> None:
    """Entry point of ``python -m workforce_local.cli``."""
    local(obj=launcher, prog_name="workforce local")


if __name__ == "__main__":
    main()
