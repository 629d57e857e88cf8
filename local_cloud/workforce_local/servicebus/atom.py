"""The management endpoint of the namespaces, as far as programs with task queues use it: making and reading one queue.

Everything else is done over the resource manager here. A namespace is the first part of the path, because all of them
are at one address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import web

from workforce_local.azureml.errors import ArmError
from workforce_local.servicebus import durations
from workforce_local.servicebus.arm_properties import read_queue
from workforce_local.servicebus.errors import EntityError
from workforce_local.servicebus.namespaces import Namespace, Namespaces
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
        name = request.match_info["queue"]
        if request.method == "PUT" and "If-Match" not in request.headers:
            return _make(namespace, name, await request.text())
        if request.method != "GET":
            return _error(405, "The local Service Bus changes and deletes queues over the resource manager.")
        queue = namespace.broker.queue(name)
        return _answer(200, _NOTHING if queue is None else _entry(name, queue))

    return [web.route("*", f"{PREFIX}/{{namespace}}/{{queue:.+}}", handle)]


def _make(namespace: Namespace, name: str, body: str) -> web.Response:
    if namespace.broker.queue(name) is not None:
        return _error(409, f"SubCode=40901. The queue {name} exists.")
    try:
        queue = namespace.broker.create_queue(name, read_queue(_properties(body), None, "Queue"))
    except ElementTree.ParseError as error:
        return _error(400, f"SubCode=40000. The body is no XML: {error}")
    except ArmError as error:
        return _error(error.status, str(error))
    except EntityError as error:
        return _error(409, str(error))
    return _answer(201, _entry(name, queue))


def _properties(body: str) -> dict[str, Any]:
    """A queue's description, with the names and types that the resource manager gives to the same properties."""
    found = ElementTree.fromstring(body).iter()  # noqa: S314 - of programs on this machine
    texts = {
        element.tag.partition("}")[2]: element.text or ""
        for element in found
        if element.tag.startswith(f"{{{_CONNECT}}}")
    }
    return {f"{name[:1].lower()}{name[1:]}": _value(text) for name, text in texts.items() if name != "QueueDescription"}


def _value(text: str) -> str | int | bool:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if text.isdecimal() else text


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


def _answer(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="application/atom+xml")


def error_text(status: int, detail: str) -> str:
    """The body of an error."""
    return f"<Error><Code>{status}</Code><Detail>{escape(detail)}</Detail></Error>"


def _error(status: int, detail: str) -> web.Response:
    return web.Response(status=status, text=error_text(status, detail), content_type="application/xml")
