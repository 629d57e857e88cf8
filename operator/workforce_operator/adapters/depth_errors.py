"""What an Azure SDK says while a task queue is counted, in the operator's words."""

from __future__ import annotations

from collections.abc import Mapping

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError

from workforce_operator.adapters.arm.errors import DEFAULT_RETRY_AFTER, retry_after
from workforce_operator.domain.errors import Denied, Missing, OperatorError, Throttled, Unavailable


def depth_error(error: BaseException, queue: str, *, right: str = "", made_by: str = "") -> OperatorError:
    """The error of a reading that failed.

    Args:
        error: What the SDK or the network raised.
        queue: ``<account or namespace>/<name>``.
        right: What to say about the right that is needed, where it surprises.
        made_by: What to say about who makes a queue that does not exist.
    """
    reason = str(getattr(error, "message", error)).splitlines()
    text = f"read queue {queue}: {reason[0] if reason else type(error).__name__}"
    denied = Denied(f"{text}; {right}" if right else text, scope=queue)
    match error:
        case ResourceNotFoundError():
            return Missing(f"{text.rstrip('.')}; {made_by}" if made_by else text)
        case ClientAuthenticationError():
            return denied
        case HttpResponseError(status_code=401 | 403):
            return denied
        case HttpResponseError(status_code=429 | 503) if error.response is not None:
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            return Throttled(text, retry_after=retry_after(headers) or DEFAULT_RETRY_AFTER)
        case _:
            return Unavailable(text)
