"""One AMQP connection, whatever carries its bytes: SASL, open, sessions, heartbeats, close.

Invariant: whatever bytes come in, this connection is at most closed with an error that says why; nothing else suffers.
A lost connection takes back no lock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from workforce_local.servicebus import framing
from workforce_local.servicebus.amqp_types import Array, Symbol, UByte, UInt, UShort
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.cbs import Claims
from workforce_local.servicebus.errors import CONNECTION_FORCED, AmqpError, DecodeError
from workforce_local.servicebus.framing import Frame, FrameReader
from workforce_local.servicebus.namespaces import Namespace, Namespaces
from workforce_local.servicebus.performatives import Begin, Open, error_value
from workforce_local.servicebus.session import Session
from workforce_local.servicebus.tokens import Authorize

LOG = logging.getLogger(__name__)
IDLE_TIMEOUT_SECONDS = 240.0

_CHANNEL_MAX = 4999
_SMALLEST_FRAME = 512
_SYMBOL = 0xA3
_MECHANISMS = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")
"""Whoever comes is let in: what counts is the token that is put to `$cbs` later."""


class Connection:
    """The server's end of a connection.

    Args:
        namespaces: What there is to connect to.
        authorize: Decides about tokens; None lets everybody in.
        write: Sends bytes.
        close: Ends the transport once everything written was sent.
        around: What stands around sends now; None lets them happen.

    Attributes:
        container: The client's name of itself.
        namespace: The one that the client opened.
        closed: Nothing more is sent or understood.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        authorize: Authorize | None,
        write: Callable[[bytes], None],
        close: Callable[[], None],
        around: Callable[[], Around | None] = lambda: None,
    ) -> None:
        self.container = ""
        self.namespace: Namespace | None = None
        self.claims = Claims(authorize)
        self.max_frame_size = _SMALLEST_FRAME
        self.closed = False
        self.sessions: dict[int, Session] = {}
        self._namespaces = namespaces
        self._write = write
        self._close = close
        self._around = around
        self._reader = FrameReader()
        self._last_in = self._last_out = time.monotonic()

    @property
    def broker(self) -> Broker:
        """The entities of the namespace that was opened."""
        if self.namespace is None:
            raise DecodeError("a session must not begin before the connection is open")
        return self.namespace.broker

    # -- bytes in

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._last_in = time.monotonic()
        try:
            for item in self._reader.feed(data):
                if self.closed:
                    return
                if isinstance(item, bytes):
                    self._on_header(item)
                elif item is not None:
                    self._on_frame(item)
        except AmqpError as error:
            LOG.warning("connection of %r closed: %s: %s", self.container, error.condition, error)
            self.shut(error)

    def lost(self) -> None:
        """The transport has gone. Sessions of entities stay locked until their locks end, like messages."""
        self._end(orderly=False)

    def _on_header(self, header: bytes) -> None:
        if header == framing.SASL_HEADER:
            mechanisms = Array([Symbol(name) for name in _MECHANISMS], code=_SYMBOL)
            frame = framing.frame(0, framing.SASL_MECHANISMS, [mechanisms], sasl=True)
            self.send_raw(framing.SASL_HEADER + frame)
            return
        # Also the answer to a header that we do not speak, followed by the end of the connection.
        self.send_raw(framing.AMQP_HEADER)
        if header != framing.AMQP_HEADER:
            self.closed = True
            self._close()

    def _on_frame(self, frame: Frame) -> None:
        if frame.sasl:
            if frame.code == framing.SASL_INIT:
                self.send_raw(framing.frame(0, framing.SASL_OUTCOME, [UByte(0)], sasl=True))
        elif frame.code == framing.OPEN:
            self._on_open(Open.of(frame.fields))
        elif frame.code == framing.BEGIN:
            self._on_begin(frame.channel, Begin.of(frame.fields))
        elif frame.code == framing.CLOSE:
            self._end_politely()
        elif (session := self.sessions.get(frame.channel)) is None:
            # The SDK may still send for a session that it has ended; it does no harm.
            LOG.debug("frame 0x%x for no session on channel %d", frame.code, frame.channel)
        elif frame.code == framing.END:
            del self.sessions[frame.channel]
            session.close(orderly=True)
            self.send(frame.channel, framing.END, [])
        else:
            session.on_frame(frame)

    def _on_open(self, opened: Open) -> None:
        self.container = opened.container
        self.max_frame_size = max(_SMALLEST_FRAME, min(opened.max_frame_size, framing.MAX_FRAME_SIZE))
        idle = UInt(int(IDLE_TIMEOUT_SECONDS * 1000))
        fields = ["workforce-local", opened.hostname, UInt(framing.MAX_FRAME_SIZE), UShort(_CHANNEL_MAX), idle]
        self.send(0, framing.OPEN, fields)
        self.namespace = self._namespaces.for_host(opened.hostname)

    def _on_begin(self, channel: int, begin: Begin) -> None:
        if channel in self.sessions or channel > _CHANNEL_MAX:
            raise DecodeError(f"channel {channel} is in use or above {_CHANNEL_MAX}", "amqp:not-allowed")
        self.sessions[channel] = Session(self, channel, begin)

    def _end_politely(self) -> None:
        """The client closes: what it leaves open is given back as if it had detached each link."""
        sessions = list(self.sessions.values())
        self.sessions.clear()
        for session in sessions:
            session.close(orderly=True)
        self.shut(None)

    # -- bytes out

    def send(self, channel: int, code: int, fields: Sequence[Any]) -> None:
        """Send a performative."""
        self.send_raw(framing.frame(channel, code, fields))

    def send_raw(self, frame: bytes) -> None:
        """Send a frame that is ready."""
        if not self.closed:
            self._last_out = time.monotonic()
            self._write(frame)

    def carry_out(self, entity: str, send: Callable[[], None]) -> None:
        """Let a send to an entity happen, or refuse it, as what stands around it will have it.

        Raises:
            AmqpError: It is refused.
        """
        if (around := self._around()) is None:
            send()
        else:
            around(self, entity, send)

    def cut(self) -> None:
        """End the connection without a word: what was just done is not answered any more."""
        if not self.closed:
            self._end(orderly=False)
            self._close()

    def shut(self, error: AmqpError | None) -> None:
        """Close the connection, and say why."""
        if not self.closed:
            self.send(0, framing.CLOSE, [error_value(error) if error is not None else None])
            self.cut()

    def keep_alive(self, now: float) -> None:
        """Send a heartbeat if it is time for one; end a connection whose client has been silent for too long."""
        if now - self._last_in > 1.5 * IDLE_TIMEOUT_SECONDS:
            text = "The connection was inactive for more than the allowed time."
            self.shut(AmqpError(CONNECTION_FORCED, text))
        elif now - self._last_out > IDLE_TIMEOUT_SECONDS / 8 and self.namespace is not None:
            self.send_raw(framing.HEARTBEAT)

    def _end(self, *, orderly: bool) -> None:
        self.closed = True
        sessions = list(self.sessions.values())
        self.sessions.clear()
        for session in sessions:
            session.close(orderly=orderly)


Around = Callable[[Connection, str, Callable[[], None]], None]
"""Gets each send with its entity: lets it happen, once or more, or refuses it by an `AmqpError`."""
