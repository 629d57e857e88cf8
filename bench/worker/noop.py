"""Tasks that do nothing, for our worker (`noop:nothing`) and for the ancestor's (`noop.Nothing`)."""

from __future__ import annotations

from typing import Any


async def nothing(**_: Any) -> None:
    """Do nothing."""


def __getattr__(name: str) -> Any:
    # The ancestor's base class exists in its own virtual environment only.
    if name != "Nothing":
        raise AttributeError(name)
    from ai4s.jobq import Processor  # noqa: PLC0415 - see above

    class Nothing(Processor):
        """Does nothing."""

        def __init__(self, num_workers: int = 1) -> None:
            super().__init__()

        async def __call__(self, **_: Any) -> None:
            """Do nothing."""

    return Nothing
