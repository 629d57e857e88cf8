"""Applies faults to Service Bus: to bytes, sends and tokens, and what the service does of its own accord.

Works on the server's connections and the brokers' entities. It decides nothing. Invariant: bytes of one direction of a
connection never overtake each other, however late they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from workforce_local.chaos import faults
from workforce_local.chaos.engine import Engine, Request, is_final
from workforce_local.servicebus.connection import Connection
from workforce_local.servicebus.errors import INTERNAL_ERROR, SERVER_BUSY, EntityError
from workforce_local.servicebus.namespaces import Namespace, Namespaces
from workforce_local.servicebus.queue import Queue
from workforce_local.servicebus.server import ServiceBusServer, Wire

Then = Callable[[bytes], None]


@dataclass
class _Way:
    """One direction of a connection."""

    due: float = 0.0
    waiting: deque[tuple[bytes, Then]] = field(default_factory=deque)


@dataclass
class _State:
    silent: bool = False
    ways: dict[str, _Way] = field(default_factory=lambda: {"IN": _Way(), "OUT": _Way()})


class BusWires:
    """What happens to the bytes of connections. Set it as the server's `interfere`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._states: WeakKeyDictionary[Wire, _State] = WeakKeyDictionary()

    def __call__(self, wire: Wire, way: str, data: bytes, then: Then) -> None:
        """Pass on what came in (`IN`) or goes out (`OUT`), now, later or never."""
        state = self._states.get(wire)
        if state is not None and state.silent:
            return
        namespace = wire.connection.namespace
        where = Request(
            "serviceBus", way, namespace.name if namespace else "", namespace.location if namespace else None
        )
        strokes = self._engine.strike(where)
        if not strokes and state is None:
            then(data)
            return
        state = self._states.setdefault(wire, _State())
        if strokes and is_final(strokes[-1].fault):
            self._end(wire, state, strokes[-1].fault)
        else:
            _delay(wire, state.ways[way], sum(stroke.seconds for stroke in strokes), data, then)

    def around(self, connection: Connection, entity: str, send: Callable[[], None]) -> None:
        """Carry out a send, twice or without an answer if so struck, or refuse it. Set it as the server's `around`.

        Raises:
            EntityError: It is refused.
        """
        namespace = connection.namespace
        assert namespace is not None, "whoever sends has opened a namespace"
        strokes = self._engine.strike(Request("serviceBus", "SEND", f"{namespace.name}/{entity}", namespace.location))
        struck = [stroke.fault for stroke in strokes]
        for fault in struck:
            if isinstance(fault, faults.Throttle | faults.Error):
                raise _refusal(fault)
        if any(isinstance(fault, faults.Duplicate) for fault in struck):
            send()
        send()
        if any(isinstance(fault, faults.LostResponse) for fault in struck):
            connection.cut()

    def accepts(self, audience: str, namespaces: Namespaces) -> bool:
        """Whether tokens count now for an audience, such as `sb://bus.servicebus.windows.net/orders`."""
        if not self._engine.rules:
            return True
        address = urlsplit(audience)
        try:
            namespace = namespaces.for_host(address.hostname or "")
        except EntityError:
            return True  # There is nothing of that name, which is for others to say.
        return not self._engine.strike(
            Request("serviceBus", "TOKEN", f"{namespace.name}{address.path}", namespace.location)
        )

    def _end(self, wire: Wire, state: _State, fault: faults.RequestFault) -> None:
        state.silent = True
        if isinstance(fault, faults.Silence):
            asyncio.get_running_loop().call_later(fault.seconds, wire.abort)
        else:
            wire.abort()


def _refusal(fault: faults.Throttle | faults.Error) -> EntityError:
    if isinstance(fault, faults.Throttle):
        text = "The request was terminated because the entity is being throttled. Error code: 50009. Please try again."
        return EntityError(SERVER_BUSY, text)
    return EntityError(INTERNAL_ERROR, "The service was unable to process the request; please retry the operation.")


def _delay(wire: Wire, way: _Way, seconds: float, data: bytes, then: Then) -> None:
    loop = asyncio.get_running_loop()
    way.due = max(way.due, loop.time() + seconds)
    if seconds == 0 and not way.waiting:
        then(data)
        return
    way.waiting.append((data, then))

    def go() -> None:
        # Timers of the same moment come in any order; bytes do not.
        first, deliver = way.waiting.popleft()
        if not wire.gone.done():
            deliver(first)

    loop.call_at(way.due, go)


class BusHappenings:
    """What Service Bus does of its own accord."""

    def __init__(self, server: ServiceBusServer, namespaces: Namespaces) -> None:
        self._server = server
        self._namespaces = namespaces

    def happen(self, fault: faults.BusHappening) -> Iterator[tuple[str, str]]:
        """Let it happen; yields what it happened to and how often."""
        for namespace in self._meant(fault):
            match fault:
                case faults.DropConnections():
                    yield namespace.name, f"{self._server.drop_connections(namespace.name)} connections"
                case faults.DetachLinks():
                    yield namespace.name, f"{self._server.close_links(fault.entity, namespace.name)} links"
                case faults.LoseLocks():
                    for queue in _queues(namespace, fault.entity):
                        yield f"{namespace.name}/{queue.path}", f"{queue.lose_locks()} locks"
                case faults.DuplicateMessages():
                    for queue in _queues(namespace, fault.entity):
                        yield f"{namespace.name}/{queue.path}", f"{queue.duplicate()} messages"

    def _meant(self, fault: faults.BusHappening) -> list[Namespace]:
        return [
            namespace
            for namespace in self._namespaces
            if (fault.namespace is None or fault.namespace.lower() == namespace.name.lower())
            and (fault.region is None or fault.region.lower() == namespace.location.lower())
        ]


def _queues(namespace: Namespace, entity: str | None) -> list[Queue]:
    broker = namespace.broker
    every: list[Queue] = [*broker.queues, *(one for topic in broker.topics for one in topic.subscriptions.values())]
    return [queue for queue in every if entity is None or queue.path.lower() == entity.lower()]
