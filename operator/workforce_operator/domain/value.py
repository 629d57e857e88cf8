"""Values that every pass makes anew for each region: dataclasses that only the type checker keeps from being changed.

A frozen dataclass sets its fields through ``object.__setattr__``, so that making one of twenty fields takes more than
twice as long. Where a pass makes thousands, that was a third of its time. mypy refuses an assignment either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a class a dataclass with slots, whose fields nobody assigns to after it was made."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
