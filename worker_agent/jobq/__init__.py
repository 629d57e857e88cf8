"""Task queue library and the wire contracts that operator, agent and people share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq.version import __version__

if TYPE_CHECKING:
    from jobq.queue import JobQ

__all__ = ["JobQ", "__version__"]


def __getattr__(name: str) -> Any:
    """`from jobq import JobQ` works, and a program that needs only the version or a contract does not pay for it."""
    if name == "JobQ":
        from jobq.queue import JobQ  # noqa: PLC0415 - the purpose of this function

        return JobQ
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
