"""The base of everything that the local cloud reads as JSON: camelCase, nothing unknown, and never changed.

It says how such a model is read, not what it holds.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = ["Model"]


class Model(BaseModel):
    """A part of a configuration, a fault or an order."""

    # Built when the first one is read: most starts see few of them, and building all takes a good part of a start.
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, defer_build=True
    )
