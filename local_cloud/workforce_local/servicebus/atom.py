"""The management endpoint of the namespaces, as far as it counts: reading one queue in Atom.

Queues are made over the resource manager here, so that nothing but GET is answered. A namespace is the first part of
the path, because all of them are at one address.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.sax.saxutils import escape

from aiohttp import web

from workforce_local.servicebus import durations
from workforce_local.servicebus.namespaces import Namespaces
from workforce_local.servicebus.queue import Queue

PREFIX = "/servicebus-management"

_ATOM = "http://www.w3.org/2005/Atom"
_CONNECT = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
_COUNTS = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
_NOTHING = f'<feed xmlns="{_ATOM}"><title type="text">Publicly Listed Services</title></feed>'
"""What the service answers, with status 200, where there is no such queue."""


def routes(namespaces: Namespaces, accepts: Callable[[str], bool]) -> list[web.RouteDef]:
    """The routes of an application.

    Args:
        namespaces: What there is.
        accepts: Whether a bearer token gives the right to manage.
    """

    async def handle(request: web.Request) -> web.Response:
        if not accepts(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            return _error(401, "Unauthorized access. 'Manage' claim is required to perform this operation.")
        namespace = namespaces.get(request.match_info["namespace"])
        if namespace is None:
            return _error(404, "No such host is known.")
        if request.method != "GET":
            return _error(405, "The local Service Bus makes queues over the resource manager.")
        queue = namespace.broker.queue(request.match_info["queue"])
        text = _NOTHING if queue is None else _entry(request.match_info["queue"], queue)
        return web.Response(text=text, content_type="application/atom+xml")

    return [web.route("*", f"{PREFIX}/{{namespace}}/{{queue:.+}}", handle)]


def _entry(name: str, queue: Queue) -> str:
    counts, settings = queue.counts(), queue.settings
    detail = {
        "ActiveMessageCount": counts.active,
        "DeadLetterMessageCount": counts.dead_lettered,
        "ScheduledMessageCount": counts.scheduled,
        "TransferMessageCount": 0,
        "TransferDeadLetterMessageCount": 0,
    }
    counted = "".join(f"<d:{key}>{value}</d:{key}>" for key, value in detail.items())
    return (
        f'<entry xmlns="{_ATOM}"><title type="text">{escape(name)}</title><content type="application/xml">'
        f'<QueueDescription xmlns="{_CONNECT}"><LockDuration>{durations.write(settings.lock_duration)}</LockDuration>'
        f"<MaxDeliveryCount>{settings.max_delivery_count}</MaxDeliveryCount><MessageCount>{counts.total}</MessageCount>"
        f'<CountDetails xmlns:d="{_COUNTS}">{counted}</CountDetails></QueueDescription></content></entry>'
    )


def _error(status: int, detail: str) -> web.Response:
    text = f"<Error><Code>{status}</Code><Detail>{detail}</Detail></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")
