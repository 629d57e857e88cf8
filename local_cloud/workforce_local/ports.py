"""Ports on loopback that stay ours from the moment they are chosen until a server listens there.

A free port that was only looked up may be gone when it is used: another process looks at the same time. So the socket
that found it stays bound and never listens. On Linux, a server that allows the reuse of addresses, as those of asyncio,
Node.js and Go do, can listen beside such a socket; nobody can reserve the port, or gets it for an outgoing connection.
"""

from __future__ import annotations

import random
import socket
from typing import Self

HOST = "127.0.0.1"
PASSING, KEPT = range(26_000, 32_000), range(20_000, 26_000)
"""Ports for one start, and for many. What the kernel gives to outgoing connections begins at 32768 by default."""
_ATTEMPTS = 200


class ReservedPort:
    """A port that no other process is given. A context manager; without it, call `release`.

    Attributes:
        port: Its number.
    """

    def __init__(self, bound: socket.socket) -> None:
        self.port: int = bound.getsockname()[1]
        self._bound = bound

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it up; a server that listens there keeps it."""
        self._bound.close()


def reserve(among: range = PASSING) -> ReservedPort:
    """A free port of a range from which no outgoing connection takes one.

    Who asks for a port again cannot tell one that is reserved by somebody else from one whose last connections the
    kernel remembers: so nobody who needs a port for one start chooses among those that are asked for again.

    Raises:
        OSError: None is free.
    """
    for _ in range(_ATTEMPTS):
        port = random.choice(among)  # noqa: S311 - nobody must guess it
        if (bound := _bind(port, beside=False)) is not None:
            return ReservedPort(bound)
    raise OSError(f"no port of {among.start} to {among.stop - 1} is free on {HOST}")


def reserve_again(port: int) -> ReservedPort | None:
    """This port, which was ours before, or None if somebody listens there now."""
    # Connections of the former server that have ended may still be remembered there: that hinders only the first.
    bound = _bind(port, beside=False) or _bind(port, beside=True)
    return None if bound is None else ReservedPort(bound)


def _bind(port: int, *, beside: bool) -> socket.socket | None:
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, beside)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        return None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return bound
