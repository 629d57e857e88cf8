"""What a state folder keeps over restarts: ports, secrets and small JSON files.

Invariant: a file is there as a whole or not at all, and what was chosen once is not chosen again while
it can be had.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workforce_local.identity.certificates import write_private
from workforce_local.ports import KEPT, ReservedPort, reserve, reserve_again


class KeptPorts:
    """Ports that were chosen once, are kept over restarts, and are reserved until `release`.

    A configured port is taken as it is, so that whoever listens there gets a clear error if it is not free. One that
    was chosen here and that somebody else took while we were down is chosen again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chosen: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self._reserved: list[ReservedPort] = []

    def choose(self, name: str, configured: int) -> int:
        """The configured port, else the remembered one, else a free one."""
        port = configured or self._reserve(self._chosen.get(name))
        if self._chosen.get(name) != port:
            self._chosen[name] = port
            write_json(self._path, self._chosen)
        return port

    def release(self) -> None:
        """Reserve nothing any more; the numbers stay remembered."""
        while self._reserved:
            self._reserved.pop().release()

    def _reserve(self, remembered: int | None) -> int:
        reserved = (remembered and reserve_again(remembered)) or reserve(KEPT)
        self._reserved.append(reserved)
        return reserved.port


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
