"""Where a task queue is, as people and environments write it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jobq import names
from jobq.errors import JobQError

SERVICE_BUS_SCHEME = "sb://"
_STORAGE_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST_NAME = 63
_FAILED = "-failed"


class AddressError(JobQError, ValueError):
    """No queue is named. The text says how to name one."""


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """Where the task queue is.

    Attributes:
        account: Name of the storage account or of the Service Bus namespace; the latter may be a host name.
        queue: Name of the queue.
        connection_string: Takes the account's place, if given; its own form says which service it is of.
        service_bus: Whether it is a Service Bus queue.
    """

    account: str
    queue: str
    connection_string: str | None = None
    service_bus: bool = False

    def check(self) -> None:
        """See that the service can have a queue of this name, with one for its dead letters.

        Raises:
            AddressError: It cannot. Rules of a storage queue's name; Service Bus takes nearly anything.
        """
        if self.service_bus:
            return
        longest = _LONGEST_NAME if self.queue.endswith(_FAILED) else _LONGEST_NAME - len(_FAILED)
        if not _STORAGE_NAME.fullmatch(self.queue) or not 3 <= len(self.queue) <= longest:
            raise AddressError(
                f"{self.queue!r} cannot be a storage queue: write 3 to {_LONGEST_NAME - len(_FAILED)} lower-case "
                "letters, digits and single hyphens in between; its dead letters go to a queue with -failed at the end"
            )

    @classmethod
    def resolve(cls, text: str | None, environ: Mapping[str, str]) -> Self:
        """From `ACCOUNT/QUEUE` or `sb://NAMESPACE/QUEUE`, or from `JOBQ_STORAGE` and `JOBQ_QUEUE`.

        Raises:
            AddressError: Neither names a queue.
        """
        connection_string = environ.get(names.CONNECTION_STRING_VARIABLE) or None
        if text is None:
            service, queue = environ.get(names.STORAGE_VARIABLE, ""), environ.get(names.QUEUE_VARIABLE, "")
            if not queue or not (service or connection_string):
                raise AddressError(
                    f"name the queue: ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE, "
                    f"or {names.STORAGE_VARIABLE} and {names.QUEUE_VARIABLE}"
                )
        else:
            service, slash, queue = text.rpartition("/")
            if not (slash and service and queue):
                raise AddressError(f"{text!r} does not name a queue: write ACCOUNT/QUEUE or sb://NAMESPACE/QUEUE")
        account = service.removeprefix(SERVICE_BUS_SCHEME).rstrip("/")
        is_bus = service.startswith(SERVICE_BUS_SCHEME) or _is_service_bus(connection_string)
        if "/" in account or ":" in account:
            raise AddressError(
                f"{account!r} is not the name of a {'Service Bus namespace' if is_bus else 'storage account'}"
            )
        return cls(account, queue, connection_string, is_bus)


def _is_service_bus(connection_string: str | None) -> bool:
    return bool(connection_string) and f"endpoint={SERVICE_BUS_SCHEME}" in (connection_string or "").lower()
