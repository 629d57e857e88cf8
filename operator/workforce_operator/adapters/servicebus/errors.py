"""From Service Bus's AMQP errors to the operator's words."""

from __future__ import annotations

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.servicebus.exceptions import (
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusServerBusyError,
)

from workforce_operator.domain.errors import Denied, Missing, OperatorError, Throttled, Unavailable

BUSY_SECONDS = 10.0
"""Service Bus asks for ten seconds when it throttles, and says so in its documentation only."""

EXPECTED = (AzureError, OSError, TimeoutError)
"""What the SDK raises when the other side, or the way to it, fails. Everything else is a fault of ours."""


def error_of(error: BaseException, *, what: str, scope: str) -> OperatorError:
    """What an error of the SDK means.

    Args:
        error: One of ``EXPECTED``.
        what: What was attempted, for people.
        scope: The entity that it was attempted on.
    """
    text = f"{what}: {str(error) or type(error).__name__}"
    match error:
        case ServiceBusAuthenticationError() | ServiceBusAuthorizationError() | ClientAuthenticationError():
            return Denied(text, scope=scope)
        case MessagingEntityNotFoundError():
            return Missing(text)
        case ServiceBusServerBusyError():
            return Throttled(text, retry_after=BUSY_SECONDS)
        case _:
            return Unavailable(text)
