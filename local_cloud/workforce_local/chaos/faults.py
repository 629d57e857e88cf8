"""What can be made to go wrong: one model per kind of fault, and the places where it strikes.

Plain data: nothing is decided or done here. Invariant: a fault that was read is complete and can be applied to every
service that it names; one that cannot is refused when it is read, with the field's name.

There are two sorts. *Request faults* strike requests (and, on Service Bus, chunks of bytes, sends and tokens) one by
one as they come.
*Happenings* strike by the clock: once after a while, or again and again.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workforce_local.model import Model

Service = Literal["arm", "index", "identity", "imds", "insights", "queue", "blob", "serviceBusManagement", "serviceBus"]
"""`serviceBus` is the connections over AMQP, `serviceBusManagement` the endpoint over HTTPS that counts messages."""
HTTP_SERVICES = ("arm", "index", "identity", "imds", "insights", "queue", "blob", "serviceBusManagement")
STORAGE_SERVICES = ("queue", "blob")
LIST_SERVICES = ("arm", "index")

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Where(Model):
    """Which requests are meant. What is left out restricts nothing."""

    service: tuple[Service, ...] = ()
    region: str | None = None
    method: str | None = None
    path: Annotated[str | None, Field(description="Pattern with * and ?, compared without regard to case.")] = None

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list_too(cls, given: object) -> object:
        if isinstance(given, dict) and isinstance(given.get("service"), str):
            return {**given, "service": [given["service"]]}
        return given


class _Fault(Model):
    name: Annotated[Name | None, Field(description="Unique; by default made from the kind and its number.")] = None
    after_seconds: Annotated[Seconds, Field(description="Nothing happens before.")] = 0
    lasting_seconds: Annotated[Seconds | None, Field(description="Nothing happens later; for ever if missing.")] = None
    times: Annotated[int | None, Field(ge=1, description="How often at most.")] = None


class _RequestFault(_Fault):
    where: Where = Where()
    share: Annotated[Share, Field(description="Which part of the requests is hit, by the seed.")] = 1.0

    _services: tuple[str, ...] = HTTP_SERVICES
    _bus_methods: tuple[str, ...] = ("IN", "OUT")

    @model_validator(mode="after")
    def _applies(self) -> Self:
        wrong = [service for service in self.where.service if service not in self._services]
        if wrong:
            raise ValueError(
                f"{getattr(self, 'kind', 'this')} does not exist for {', '.join(wrong)}, only for "
                f"{', '.join(self._services)}"
            )
        method = self.where.method
        if self.where.service == ("serviceBus",) and method and method.upper() not in self._bus_methods:
            raise ValueError(
                f"where.method: on serviceBus this strikes {' and '.join(self._bus_methods)}, not {method}"
            )
        return self

    @property
    def services(self) -> tuple[str, ...]:
        """The services that it strikes: those that were named, else all that it can."""
        return self.where.service or self._services

    @property
    def bus_methods(self) -> tuple[str, ...]:
        """What it strikes on Service Bus: bytes (`IN`, `OUT`), sends (`SEND`), or tokens presented (`TOKEN`)."""
        return self._bus_methods


_EVERYWHERE = (*HTTP_SERVICES, "serviceBus")


class Latency(_RequestFault):
    """Requests, and chunks of bytes on Service Bus, are late."""

    kind: Literal["latency"]
    distribution: Literal["fixed", "uniform", "exponential", "normal", "lognormal"] = "fixed"
    seconds: Annotated[Seconds, Field(description="The mean; the median for lognormal.")] = 1.0
    spread: Annotated[
        float, Field(ge=0, description="uniform: ± seconds; normal: σ; lognormal: σ of the logarithm.")
    ] = 0
    most_seconds: Annotated[Seconds, Field(description="Never more than this.")] = 60.0

    _services = _EVERYWHERE


class Throttle(_RequestFault):
    """Too many requests: 429; storage and Service Bus say that the server is busy. The service does not hear of it."""

    kind: Literal["throttle"]
    retry_after_seconds: Annotated[int | None, Field(ge=0, description="Null: without the header.")] = 1

    _services = _EVERYWHERE
    _bus_methods = ("SEND",)


class Error(_RequestFault):
    """An error answer; the service does not hear of the request."""

    kind: Literal["error"]
    status: Annotated[int, Field(ge=400, le=599)] = 503
    html: Annotated[bool, Field(description="The page of an nginx instead of the service's own error body.")] = False
    retry_after_seconds: Annotated[int | None, Field(ge=0)] = None

    _services = _EVERYWHERE
    _bus_methods = ("SEND",)


class LostResponse(_RequestFault):
    """The request is carried out, but the client does not get the answer."""

    kind: Literal["lostResponse"]
    instead: Annotated[Literal["cut", "504"], Field(description="The connection is cut, or a gateway times out.")] = (
        "cut"
    )

    _services = _EVERYWHERE
    _bus_methods = ("SEND",)


class Drop(_RequestFault):
    """The connection is cut before the service hears of the request; on Service Bus: is cut."""

    kind: Literal["drop"]

    _services = _EVERYWHERE


class Silence(_RequestFault):
    """The peer says nothing: the service never hears of the request; on Service Bus the connection falls silent."""

    kind: Literal["silence"]
    seconds: Annotated[Seconds, Field(description="Then the connection is cut.")] = 600.0

    _services = _EVERYWHERE


class Duplicate(_RequestFault):
    """The request is delivered twice; the client gets the answer to the second one."""

    kind: Literal["duplicate"]

    _services = _EVERYWHERE
    _bus_methods = ("SEND",)


class StaleList(_RequestFault):
    """A list is answered as it was some time ago."""

    kind: Literal["staleList"]
    seconds: Annotated[Seconds, Field(description="How old an answer may become.")] = 30.0

    _services = LIST_SERVICES


class TruncatedList(_RequestFault):
    """A list is answered without its end, as if there were no more."""

    kind: Literal["truncatedList"]
    keep: Annotated[float, Field(ge=0, lt=1, description="Which part of each page is left.")] = 0.5

    _services = LIST_SERVICES


class Outage(_RequestFault):
    """A region or a service is away: connections are cut, or a gateway answers 503 for it."""

    kind: Literal["outage"]
    shows_as: Literal["503", "cut"] = "503"

    _services = _EVERYWHERE


class Revoked(_RequestFault):
    """Credentials do not count any more: no new tokens, and those that are out are refused."""

    kind: Literal["revoked"]

    _services = _EVERYWHERE
    _bus_methods = ("TOKEN",)


class _Happening(_Fault):
    every_seconds: Annotated[float | None, Field(gt=0, le=86_400, description="Again and again.")] = None
    times: Annotated[int | None, Field(ge=1, description="How often at most; once without everySeconds.")] = None


class _BusHappening(_Happening):
    namespace: str | None = None
    region: str | None = None


class DropConnections(_BusHappening):
    """Service Bus cuts all connections without a word."""

    kind: Literal["dropConnections"]


class DetachLinks(_BusHappening):
    """Service Bus detaches all links, as it does when it moves an entity."""

    kind: Literal["detachLinks"]
    entity: str | None = None


class LoseLocks(_BusHappening):
    """The locks of messages are lost: they are delivered again, and settling them fails."""

    kind: Literal["loseLocks"]
    entity: str | None = None


class DuplicateMessages(_BusHappening):
    """Messages that wait, or are being handled, are stored once more."""

    kind: Literal["duplicateMessages"]
    entity: str | None = None


class _NodeHappening(_Happening):
    region: str | None = None
    share: Annotated[Share, Field(description="Which part of the nodes is hit, at least one; by the seed.")] = 1.0


class Preemption(_NodeHappening):
    """Nodes are announced to be preempted; then they are, or the announcement is withdrawn."""

    kind: Literal["preemption"]
    notice_seconds: Annotated[Seconds, Field(description="Between the announcement and what follows.")] = 30.0
    withdrawn: Annotated[float, Field(ge=0, le=1, description="Which part of the announcements is withdrawn.")] = 0.0


class NodeLoss(_NodeHappening):
    """Nodes are gone without a word, with all processes on them."""

    kind: Literal["nodeLoss"]


class FullClusters(_Fault):
    """Clusters have no room for new jobs while it lasts; those that run go on."""

    kind: Literal["fullClusters"]
    region: str | None = None


RequestFault = (
    Latency
    | Throttle
    | Error
    | LostResponse
    | Drop
    | Silence
    | Duplicate
    | StaleList
    | TruncatedList
    | Outage
    | Revoked
)
BusHappening = DropConnections | DetachLinks | LoseLocks | DuplicateMessages
NodeHappening = Preemption | NodeLoss
Happening = BusHappening | NodeHappening | FullClusters
Fault = Annotated[RequestFault | Happening, Field(discriminator="kind")]
