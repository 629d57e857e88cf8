"""Rules of subscriptions: correlation filters and the SQL of filters."""

from __future__ import annotations

import pytest

from tests.support.tables import table
from tests.unit.local_servicebus.support import message
from workforce_local.servicebus.rules import CorrelationFilter, FalseFilter, SqlFilter, TrueFilter
from workforce_local.servicebus.sql_filter import SqlFilterError

MESSAGE = message(
    subject="drain",
    session="node-1",
    properties={"job": "j1", "size": 30, "ok": True, "odd name": 1, "percent": "50%", "quote": "it's"},
)


@table(
    ("expression", "matches"),
    [
        ("1=1", True),
        ("1 <> 1", False),
        ("job = 'j1'", True),
        ("user.job = 'j1' AND size > 10", True),
        ("sys.Label = 'drain'", True),
        ("sys.label='drain' and sys.SessionId='node-1'", True),
        ("SYS.Label IN ('x', 'drain')", True),
        ("job NOT IN ('x', 'y')", True),
        ("job LIKE 'j%'", True),
        ("job LIKE '_1'", True),
        ("job NOT LIKE 'x%'", True),
        ("percent LIKE '50!%' ESCAPE '!'", True),
        ("job LIKE '50!%' ESCAPE '!'", False),
        ("quote = 'it''s'", True),
        ("[odd name] = 1", True),
        ('"odd name" = 1', True),
        ("EXISTS(job)", True),
        ("EXISTS(node)", False),
        ("NOT EXISTS(node)", True),
        ("node IS NULL", True),
        ("job IS NOT NULL", True),
        ("size + 5 * 2 = 40", True),
        ("(size + 5) * 2 = 70", True),
        ("size % 7 = 2 AND -size < 0 AND size / 4 = 7.5", True),
        ("ok = TRUE", True),
        ("job = 'x' OR size = 30 AND ok = TRUE", True),
        ("NOT (job = 'x')", True),
        # Comparing with what is missing is unknown; so is its negation, and neither matches.
        ("node = 'x'", False),
        ("NOT (node = 'x')", False),
        ("node <> 'x'", False),
        ("node NOT IN ('x')", False),
        ("node = 'x' OR job = 'j1'", True),
        ("node = 'x' AND job = 'j1'", False),
        ("NOT (node = 'x' AND job = 'other')", True),
        ("job > 5", False),
        ("size / 0 = 1", False),
        ("node = NULL", False),
    ],
)
def test_sql_is_evaluated_with_three_values(expression, matches):
    assert SqlFilter(expression).matches(MESSAGE) is matches


@table(
    ("expression", "complaint"),
    [
        ("job =", "cannot be read"),
        ("", "cannot be read"),
        ("job = 'open", "cannot be read"),
        ("sys.Nonsense = 1", "unknown system property sys.Nonsense"),
        ("job = 'x' " * 200, "at most 1024"),
    ],
)
def test_a_condition_that_is_not_valid_is_refused_with_the_reason(expression, complaint):
    with pytest.raises(SqlFilterError, match=complaint):
        SqlFilter(expression)


def test_a_correlation_filter_wants_all_of_its_properties_equal():
    assert CorrelationFilter({"subject": "drain"}, {"job": "j1"}).matches(MESSAGE)
    assert not CorrelationFilter({"subject": "Drain"}).matches(MESSAGE)
    assert not CorrelationFilter({}, {"job": "j1", "node": "n"}).matches(MESSAGE)


def test_the_constant_filters_are_constant():
    assert TrueFilter().matches(MESSAGE)
    assert not FalseFilter().matches(MESSAGE)
