"""The whole operator of these tests."""

from tests.support.whole_operator import world  # noqa: F401 - a fixture
