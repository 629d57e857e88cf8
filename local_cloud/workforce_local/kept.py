"""What a state folder keeps over restarts: ports, secrets and small JSON files.

Invariant: a file is there as a whole or not at all, and what was chosen once is not chosen again.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workforce_local.identity.certificates import write_private

HOST = "127.0.0.1"
_PORTS = (20_000, 32_000)
_ATTEMPTS = 200


class KeptPorts:
    """Ports that were chosen once and are kept over restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chosen: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def choose(self, name: str, configured: int) -> int:
        """The configured port, else the remembered one, else a free one."""
        port = configured or self._chosen.get(name) or _free_port()
        if self._chosen.get(name) != port:
            self._chosen[name] = port
            write_json(self._path, self._chosen)
        return port


def _free_port() -> int:
    """A port that is free, and that no outgoing connection takes between now and its use, or over a restart."""
    for _ in range(_ATTEMPTS):
        # What the kernel gives to outgoing connections begins at 32768 by default.
        port = random.randrange(*_PORTS)  # noqa: S311 - nobody must guess it
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port of {_PORTS[0]} to {_PORTS[1]} is free on {HOST}")


def kept_secret(path: Path) -> str:
    """A random secret in a file that only its owner may read; made at the first call."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="ascii")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file, at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
