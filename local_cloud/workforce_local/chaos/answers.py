"""What a service says when a fault strikes, in the words of that service. Pure.

Invariant: an answer made here can be told from a real one by nothing but the header `x-local-chaos`, which names the
fault.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workforce_local.azureml.errors import ArmError, throttled, unauthorized
from workforce_local.chaos import faults
from workforce_local.chaos.faults import STORAGE_SERVICES, RequestFault
from workforce_local.servicebus.atom import error_text

CHAOS_HEADER = "x-local-chaos"
_ATOM = "serviceBusManagement"
_REASONS = {
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}
_STORAGE_CODES = {403: "AuthorizationFailure", 500: "InternalError", 503: "ServerBusy", 504: "OperationTimedOut"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(fault: RequestFault, service: str, base_url: str) -> Answer:
    """The answer to a request that a fault with an answer strikes."""
    match fault:
        case faults.Throttle():
            made = _throttled(fault, service)
        case faults.Error(html=True):
            made = nginx(fault.status)
        case faults.Error():
            made = _error(fault.status, service, "Chaos")
        case faults.Revoked():
            made = _revoked(service, base_url)
        case faults.LostResponse():
            made = nginx(504)
        case _:
            # A region that is away is told by what stands before it; storage answers for itself.
            made = _error(503, service, "ServerBusy") if service in STORAGE_SERVICES else nginx(503)
    retry = getattr(fault, "retry_after_seconds", None)
    extra = {"Retry-After": str(retry)} if retry is not None else {}
    if service == "arm":
        extra |= _front_door()
    return Answer(
        made.status, made.body, made.content_type, {**made.headers, **extra, CHAOS_HEADER: fault.name or fault.kind}
    )


def _front_door() -> dict[str, str]:
    """What ARM's front door puts on every answer, also on one of a service behind it."""
    request = str(uuid.uuid4())
    return {"x-ms-request-id": request, "x-ms-correlation-request-id": request}


def nginx(status: int) -> Answer:
    """The page of the gateway before the AzureML services, which knows nothing of JSON."""
    title = f"{status} {_REASONS.get(status, 'Error')}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Answer(status, page.encode(), "text/html")


def _throttled(fault: faults.Throttle, service: str) -> Answer:
    if service in STORAGE_SERVICES:
        return _error(503, service, "ServerBusy")
    if service == _ATOM:
        return _atom(429, "The request was terminated because the namespace is being throttled.")
    error = throttled(fault.retry_after_seconds or 1)
    return Answer(429, _json(error.body()))


def _error(status: int, service: str, code: str) -> Answer:
    if service in STORAGE_SERVICES:
        return _storage(status, _STORAGE_CODES.get(status, code))
    if service == "identity":
        return _entra(status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
    if service == "imds":
        return Answer(status, _json({"error": "the metadata service failed"}))
    if service == _ATOM:
        return _atom(status, "The server was unable to process the request; please retry the operation.")
    name = {500: "InternalServerError", 503: "ServiceUnavailable", 504: "GatewayTimeout"}.get(status, "ServiceError")
    return Answer(status, _json(ArmError(status, name, "The service failed to carry out the request.").body()))


def _revoked(service: str, base_url: str) -> Answer:
    if service in STORAGE_SERVICES:
        return _storage(403, "AuthorizationFailure")
    if service == "identity":
        text = "The provided client secret keys for the app are expired."
        return _entra(401, "invalid_client", 7000222, text)
    if service == "imds":
        return Answer(400, _json({"error": "invalid_request", "error_description": "Identity not found"}))
    if service == _ATOM:
        return _atom(401, "The credentials have been revoked.")
    error = unauthorized("InvalidAuthenticationToken", "The access token has been revoked.", base_url)
    return Answer(error.status, _json(error.body()), headers=error.headers)


def _entra(status: int, code: str, number: int, text: str) -> Answer:
    description = f"AADSTS{number}: {text} Trace ID: {uuid.uuid4()}"
    return Answer(status, _json({"error": code, "error_description": description, "error_codes": [number]}))


def _storage(status: int, code: str) -> Answer:
    text = f"The operation failed: {code}. RequestId:{uuid.uuid4()}"
    xml = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
    return Answer(status, xml.encode(), "application/xml", {"x-ms-error-code": code})


def _atom(status: int, detail: str) -> Answer:
    return Answer(status, error_text(status, detail).encode(), "application/xml")


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
