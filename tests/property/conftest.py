"""How many examples are tried."""

from tests.support import examples  # noqa: F401 - sets it, and that load is no failure
