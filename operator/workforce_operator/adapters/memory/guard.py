"""A write guard that is switched by hand."""

from __future__ import annotations

from workforce_operator.domain.errors import Fenced


class MemoryGuard:
    """Holds the lease until ``held`` is set to False."""

    def __init__(self, *, held: bool = True) -> None:
        self.held = held
        self.former_writes = False
        """A former leader may have writes on their way."""

    def check(self) -> None:
        """Raise ``Fenced`` unless held."""
        if not self.held:
            raise Fenced("the lease is held by another process")

    def settled(self) -> bool:
        """See ``ports.azure.WriteGuard``."""
        return not self.former_writes
