"""Which link a client gets when it attaches, or why it gets none.

Invariant: a client that is refused is answered as the service does: attached without source and target, then detached
with the reason. Without a claim nobody learns whether an entity exists.
"""

from __future__ import annotations

from typing import Any, Protocol

from workforce_local.servicebus.amqp_types import Described, Symbol
from workforce_local.servicebus.broker import Broker
from workforce_local.servicebus.cbs import CBS_ADDRESS, Claims, entity_path
from workforce_local.servicebus.errors import NOT_ALLOWED, AmqpError, EntityError
from workforce_local.servicebus.link import Carrier, DeliveryLink, Link, PublishLink, RequestLink, ResponseLink
from workforce_local.servicebus.management import MANAGEMENT_SUFFIX, Management
from workforce_local.servicebus.performatives import Attach
from workforce_local.servicebus.sessions import SessionRequest, Sessions

SESSION_FILTER = "com.microsoft:session-filter"
_LOCKED_UNTIL = "com.microsoft:locked-until-utc"
_TIMEOUT = "com.microsoft:timeout"
_DEFAULT_TIMEOUT_MS = 65000
_TICKS_PER_SECOND = 10_000_000
_EPOCH_TICKS = 621_355_968_000_000_000
"""The epoch, in .NET's ticks since the year 1."""


class LinkHost(Carrier, Protocol):
    """What attaching needs of the session."""

    links: dict[int, Link]

    def open_link(self, link: Link, attach: Attach, source: Described | None, properties: Any = None) -> None:
        """Tell the client that a link stands."""


class Attacher:
    """Attaches the links of one session."""

    def __init__(self, host: LinkHost, broker: Broker, claims: Claims) -> None:
        self._host = host
        self._broker = broker
        self._claims = claims

    def attach(self, attach: Attach) -> None:
        """Open the link that a client asks for, or refuse it."""
        address = entity_path(attach.address)
        try:
            link = self._link(attach, address)
        except AmqpError as error:
            self._refuse(attach, address, error)
            return
        self._host.links[link.handle] = link
        if isinstance(link, DeliveryLink) and link.queue.sessions is not None:
            self._accept_session(link, attach, link.queue.sessions)
        else:
            self._host.open_link(link, attach, attach.source)

    def _refuse(self, attach: Attach, address: str, error: AmqpError) -> None:
        link = Link(self._host, attach, address)
        self._host.links[link.handle] = link
        self._host.detach(link, error)

    def _link(self, attach: Attach, address: str) -> Link:
        if address.lower() == CBS_ADDRESS:
            if attach.client_receives:
                return ResponseLink(self._host, attach, address)
            return RequestLink(self._host, attach, address, self._claims.put_token)
        if address.lower().endswith(MANAGEMENT_SUFFIX):
            return self._management_link(attach, address)
        self._claims.check(address)
        if not attach.client_receives:
            return PublishLink(self._host, attach, address, self._broker.target(address))
        queue = self._broker.source(address)
        wants_session = SESSION_FILTER in attach.filters
        if wants_session != (queue.sessions is not None):
            verb, kind = ("requires", "non-sessionful") if queue.sessions else ("does not require", "sessionful")
            text = f"It is not possible for an entity that {verb} sessions to create a {kind} message receiver."
            raise EntityError(NOT_ALLOWED, text)
        return DeliveryLink(self._host, attach, address, queue)

    def _management_link(self, attach: Attach, address: str) -> Link:
        path = address[: -len(MANAGEMENT_SUFFIX)]
        self._claims.check(path)
        management = Management(self._broker, path)
        if attach.client_receives:
            return ResponseLink(self._host, attach, address)
        return RequestLink(self._host, attach, address, management.answer)

    def _accept_session(self, link: DeliveryLink, attach: Attach, sessions: Sessions) -> None:
        """Attach a receiver of sessions: at once to a certain session, or when the next one is free."""
        wanted = attach.filters[SESSION_FILTER]
        wanted = wanted.value if isinstance(wanted, Described) else wanted

        def accepted(session_id: str, locked_until: float) -> None:
            ticks = int(locked_until * _TICKS_PER_SECOND) + _EPOCH_TICKS
            source = _with_session(attach.source, session_id)
            self._host.open_link(link, attach, source, {Symbol(_LOCKED_UNTIL): ticks})

        if wanted is not None:
            try:
                accepted(str(wanted), sessions.accept(str(wanted), link))
            except EntityError as error:
                self._host.detach(link, error)
            return
        link.session_request = SessionRequest(link, accepted, link.force_detach)
        milliseconds = attach.properties.get(_TIMEOUT)
        timeout = milliseconds if isinstance(milliseconds, int) else _DEFAULT_TIMEOUT_MS
        sessions.accept_next(link.session_request, timeout / 1000)


def _with_session(source: Described | None, session_id: str) -> Described | None:
    """The source that the client asked for, with the session that it got."""
    if source is None:
        return None
    fields = [*source.value, *[None] * (8 - len(source.value))]
    fields[7] = {Symbol(SESSION_FILTER): session_id}
    return Described(source.descriptor, fields)
