"""The parts of the operator that these tests take one of."""

from tests.support.whole_operator import bus, queue, world  # noqa: F401 - fixtures
