"""Where passes leave what they saw, decided and did. Nothing is ever read back to decide from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from workforce_operator.domain.decision import Deed, Record
from workforce_operator.domain.workers import Workers
from workforce_operator.ports.kubernetes import Key
from workforce_operator.reconcile.execute import Done, kind_of


class Decisions(Protocol):
    """Keeps records, bounded. Never raises, never waits."""

    def decided(self, key: Key, record: Record, at: datetime, workers: Callable[[], Workers] | None = None) -> None:
        """A pass has ended; ``workers`` lists the living jobs that it read, when somebody asks."""
        ...

    def forget(self, key: Key) -> None:
        """The object is gone."""
        ...


class Unrecorded:
    """Keeps nothing."""

    def decided(self, key: Key, record: Record, at: datetime, workers: Callable[[], Workers] | None = None) -> None:
        """See `Decisions`."""

    def forget(self, key: Key) -> None:
        """See `Decisions`."""


def deeds(done: Iterable[Done]) -> Iterable[Deed]:
    """What the executor did, in the record's words."""
    return (
        Deed(
            kind=kind_of(each.action).value,
            region=each.action.region,
            job=each.action.job,
            result=each.result.value,
            why=_why(each),
            error=str(each.error) if each.error is not None else None,
        )
        for each in done
    )


def _why(done: Done) -> str | None:
    order = getattr(done.action, "order", None)
    return getattr(done.action, "reason", None) or getattr(getattr(order, "order", order), "reason", None)
