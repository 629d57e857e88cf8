"""A client that speaks raw AMQP to a connection without a socket."""

from __future__ import annotations

from workforce_local.servicebus import framing as f
from workforce_local.servicebus.amqp_types import Described, Symbol, UInt, ULong
from workforce_local.servicebus.connection import Connection
from workforce_local.servicebus.namespaces import Namespaces

SENDER, RECEIVER = False, True


class Client:
    """The other end of a connection."""

    def __init__(self, authorize=None, host: str = "bus.servicebus.windows.net") -> None:
        self.namespaces = Namespaces()
        self.broker = self.namespaces.declare("bus").broker
        self.broker.create_queue("q")
        self.sent = bytearray()
        self.ended = False
        self.connection = Connection(self.namespaces, authorize, self.sent.extend, self._end)
        self._reader = f.FrameReader()
        self._read = 0
        self.host = host

    def _end(self) -> None:
        self.ended = True

    def frames(self) -> list:
        """What has come since the last call."""
        fresh, self._read = bytes(self.sent[self._read :]), len(self.sent)
        return [one for one in self._reader.feed(fresh) if isinstance(one, f.Frame)]

    def codes(self) -> list[int]:
        return [frame.code for frame in self.frames()]

    def say(self, code: int, fields: list, payload: bytes = b"", channel: int = 0) -> list:
        self.connection.feed(f.frame(channel, code, fields, payload))
        return self.frames()

    def open(self):
        self.connection.feed(f.SASL_HEADER + f.frame(0, f.SASL_INIT, [Symbol("ANONYMOUS")], sasl=True) + f.AMQP_HEADER)
        self.say(f.OPEN, ["client", self.host, UInt(65536)])
        self.say(f.BEGIN, [None, UInt(0), UInt(1000), UInt(1000)])
        return self

    def attach(self, handle: int, role: bool, address: str, filters: dict | None = None) -> list:
        end = Described(ULong(0x28 if role else 0x29), [address, *[None] * 6, filters])
        source, target = (end, None) if role else (None, end)
        return self.say(f.ATTACH, [f"link-{handle}", UInt(handle), role, None, None, source, target])

    def send(self, handle: int, number: int, message: bytes, *, more: bool = False) -> list:
        fields = [UInt(handle), UInt(number), b"tag", UInt(0), False, more]
        return self.say(f.TRANSFER, fields, message)

    def grant(self, handle: int, credit: int, seen: int = 0, *, window: int = 1000, drain: bool = False) -> list:
        fields = [UInt(0), UInt(window), UInt(0), UInt(1000), UInt(handle), UInt(seen), UInt(credit), None, drain]
        return self.say(f.FLOW, fields)
