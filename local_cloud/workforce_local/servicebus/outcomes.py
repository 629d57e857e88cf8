"""What a client's delivery states mean, and how they are answered. Pure."""

from __future__ import annotations

from typing import Any

from workforce_local.servicebus.amqp_types import Described
from workforce_local.servicebus.errors import AmqpError, not_implemented
from workforce_local.servicebus.performatives import (
    ACCEPTED,
    MODIFIED,
    REJECTED,
    RELEASED,
    Fields,
    error_value,
    outcome,
)
from workforce_local.servicebus.stored import Action, Settlement


def settlement_of(state: Described | None) -> Settlement:
    """What a receiver wants done with a message.

    Raises:
        AmqpError: The state is none that the service knows.
    """
    if state is None:
        return Settlement(Action.COMPLETE)
    fields = Fields(state.value, "delivery state")
    if state.descriptor == ACCEPTED:
        return Settlement(Action.COMPLETE)
    if state.descriptor == RELEASED:
        return Settlement(Action.RELEASE)
    if state.descriptor == MODIFIED:
        action = Action.DEFER if fields.flag(1) else Action.ABANDON
        return Settlement(action, fields.mapping(2))
    if state.descriptor == REJECTED:
        return _dead_letter(fields.described(0))
    raise not_implemented(f"the delivery state {state.descriptor!r}")


def _dead_letter(error: Described | None) -> Settlement:
    info: dict[Any, Any] = Fields(error.value, "error").mapping(2) if error is not None else {}
    return Settlement(
        Action.DEAD_LETTER,
        reason=_text(info.get("DeadLetterReason")),
        description=_text(info.get("DeadLetterErrorDescription")),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def confirmation(state: Described | None, settlement: Settlement) -> Described:
    """The answer to a settlement that was done: the same state, of a dead letter without its error."""
    if settlement.action is Action.DEAD_LETTER:
        return outcome(REJECTED)  # With an error it would mean: refused.
    return state or outcome(ACCEPTED)


def refusal(error: AmqpError) -> Described:
    """The answer to what was refused."""
    return outcome(REJECTED, [error_value(error)])
