"""``workforce local run -- PROGRAM``: becomes a program that finds itself in Azure.

Starts the gateway, enters the namespaces, puts there what the program shall see, and replaces itself by the program:
pid, terminal, signals and exit code are the program's own. Invariant: nothing of the machine and of the program's files
is changed; what the program sees instead is kept in memory and disappears with it, however it ends.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from workforce_local.config import FILE_NAME, LocalConfig
from workforce_local.interop import az, gateway, namespace
from workforce_local.interop.places import Place, hosts_file, places
from workforce_local.processes import STATE_VARIABLE
from workforce_local.state import Record, StateFolder, default_folder

_LOOPBACK = ("127.", "::1")
_RESOLVER = Path("/etc/nsswitch.conf")
_TRUST_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_OUTSIDE_VARIABLES = ("AZURE_AUTHORITY_HOST", "WORKFORCE_CLOUD")
"""How programs are told of this cloud elsewhere; in here they need not be told."""
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Cloud:
    """What is known of the running local cloud."""

    root: Path
    azure: Path
    exports: Mapping[str, str]
    config: LocalConfig

    @classmethod
    def of(cls, folder: StateFolder, record: Record) -> Cloud:
        """The cloud of a state folder."""
        cloud_file = record.exports.get("WORKFORCE_CLOUD")
        if cloud_file is None:
            raise click.ClickException(f"the local cloud in {folder.root} is not ready yet")
        azure = Path(cloud_file).parent
        return cls(folder.root, azure, record.exports, LocalConfig.load(azure / FILE_NAME))

    @property
    def ca_file(self) -> Path:
        """What to trust."""
        return self.azure / "ca.pem"

    def places(self, environ: Mapping[str, str]) -> list[Place]:
        """What a program can connect to."""
        return places(json.loads((self.azure / "cloud.json").read_text(encoding="utf-8")), self.config, environ)


def _bundle(folder: Path, cloud: Cloud, name: str, others: bytes) -> Path:
    made = folder / name
    made.write_bytes(others.rstrip() + b"\n" + cloud.ca_file.read_bytes())
    return made


def _overlays(folder: Path, cloud: Cloud, found: Sequence[Place], trust: Sequence[Path]) -> dict[Path, Path]:
    """What is seen instead of which file."""
    hosts = folder / "hosts"
    hosts.write_text(hosts_file(found), encoding="utf-8")
    overlays = {Path("/etc/hosts"): hosts}
    if _RESOLVER.exists():
        # Some machines ask a service first that does not know this process's own /etc/hosts.
        resolver = folder / "nsswitch.conf"
        resolver.write_text("passwd: files\ngroup: files\nhosts: files\n", encoding="utf-8")
        overlays[_RESOLVER] = resolver
    for number, bundle in enumerate(trust):
        overlays[bundle] = _bundle(folder, cloud, f"bundle-{number}.pem", bundle.read_bytes())
    return overlays


def _environment(folder: Path, cloud: Cloud, environ: Mapping[str, str]) -> dict[str, str]:
    system = ssl.get_default_verify_paths().cafile
    bundle = _bundle(folder, cloud, "ca-bundle.pem", Path(system).read_bytes() if system else b"")
    made = {name: value for name, value in environ.items() if name not in _OUTSIDE_VARIABLES}
    made.update(dict.fromkeys(_TRUST_VARIABLES, str(bundle)))
    if made.get("AZURE_TENANT_ID") == cloud.exports.get("AZURE_TENANT_ID"):
        made["AZURE_TENANT_ID"] = cloud.config.tenant_id
    made["PATH"] = f"{_install_az(folder, cloud)}{os.pathsep}{environ.get('PATH', os.defpath)}"
    made["AZURE_CONFIG_DIR"] = str(folder)
    made[STATE_VARIABLE] = str(cloud.root)
    return made


def _install_az(folder: Path, cloud: Cloud) -> Path:
    """Put a command `az` into a folder, logged in as the operator's service principal."""
    az.write_login(
        folder,
        {
            "subscription": cloud.config.subscription_id,
            "tenant": cloud.config.tenant_id,
            "clientId": cloud.exports["AZURE_CLIENT_ID"],
            "clientSecret": cloud.exports["AZURE_CLIENT_SECRET"],
        },
    )
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "az"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -ISs {shlex.quote(az.__file__)} "$@"\n')
    script.chmod(0o700)
    return programs


def _start_gateway(environ: Mapping[str, str]) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-m", gateway.__name__, str(os.getpid()), str(theirs.fileno())]
        # A session of its own: a Ctrl-C of the terminal is the program's.
        done = subprocess.run(
            command, pass_fds=[theirs.fileno()], env=environ, start_new_session=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    if done.returncode != 0:
        raise click.ClickException(f"the gateway ended with {done.returncode}")
    return ours


def _listen(found: Sequence[Place]) -> dict[Place, socket.socket]:
    listeners = {}
    for place in found:
        try:
            listeners[place] = namespace.listen(place.address, place.port)
        except OSError as error:
            raise click.ClickException(f"{place.address}:{place.port}: {error.strerror}") from error
    return listeners


def enter_azure(cloud: Cloud, environ: Mapping[str, str], trust: Sequence[Path]) -> dict[str, str]:
    """Put this process into Azure, and return the environment for the program that it becomes.

    Args:
        cloud: The local cloud.
        environ: The caller's environment.
        trust: Certificate bundles that the program has of its own and that shall be seen with our authority in them.

    Raises:
        click.ClickException: It cannot be done here.
    """
    # An empty folder for ever: each program sees one of its own there.
    folder = cloud.root / "run"
    folder.mkdir(exist_ok=True, mode=0o700)
    found = cloud.places(environ)
    # Before the namespaces are entered: it shall stay outside.
    with _start_gateway({**environ, STATE_VARIABLE: str(cloud.root)}) as channel:
        outside = dict.fromkeys(place.address for place in found if not place.address.startswith(_LOOPBACK))
        try:
            namespace.enter(outside)
            namespace.hide(folder)
            for seen, content in _overlays(folder, cloud, found, trust).items():
                namespace.overlay(seen, content)
        except namespace.NamespaceError as error:
            raise click.ClickException(f"cannot run it as if it were in Azure: {error}") from error
        gateway.hand_over(channel, cloud.azure, _listen(found))
        channel.settimeout(_READY_SECONDS)
        if channel.recv(len(gateway.READY)) != gateway.READY:
            raise click.ClickException("the gateway to the local cloud did not start")
    return _environment(folder, cloud, environ)


def become(program: Sequence[str], environ: Mapping[str, str]) -> None:
    """Replace this process by a program, found on the new environment's path.

    Raises:
        click.ClickException: There is no such program.
    """
    try:
        os.execvpe(program[0], list(program), dict(environ))  # noqa: S606 - replacing itself is the point
    except OSError as error:
        raise click.ClickException(f"{program[0]}: {error.strerror}") from error


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.option("--state-dir", "state_dir", type=click.Path(file_okay=False, path_type=Path), help="State folder.")
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Certificate bundle of the program's own, such as certifi's: it sees our authority in it, nobody else does.",
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(state_dir: Path | None, trust: tuple[Path, ...], program: tuple[str, ...]) -> None:
    """Run PROGRAM as if it were in Azure: public names, 169.254.169.254, certificates and `az` lead here."""
    folder = StateFolder.at(state_dir or default_folder())
    record = folder.read()
    if record is None or not folder.holder():
        raise click.ClickException(f"nothing runs in {folder.root}; to start it: workforce local up")
    inside = enter_azure(Cloud.of(folder, record), os.environ, trust)
    become(program, inside)
