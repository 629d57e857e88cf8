"""Tables of rows: every row counts, whatever became of the others, and whoever failed is named."""

import inspect

import pytest

from tests.support.tables import table


def run(rows, **options):
    """Run a table whose rows should be below 10; returns those that were looked at, and what it raised."""
    seen = []

    @table("number", rows, **options)
    def test(number):
        seen.append(number)
        assert number < 10

    try:
        test()
    except (AssertionError, ExceptionGroup) as error:
        return seen, error
    return seen, None


def test_every_row_is_looked_at():
    assert run([1, 2, 3]) == ([1, 2, 3], None)


def test_the_row_that_failed_is_named_and_the_others_are_looked_at():
    seen, error = run([1, 20, 3], ids=["first", "second", "third"])
    assert seen == [1, 20, 3]
    assert isinstance(error, AssertionError)
    assert error.__notes__ == ["second: {'number': 20}"]


def test_all_rows_that_failed_are_named():
    seen, error = run([10, 1, 20])
    assert seen == [10, 1, 20]
    assert [each.__notes__ for each in error.exceptions] == [["row 0: {'number': 10}"], ["row 2: {'number': 20}"]]


def test_an_error_that_did_not_come_names_its_row_too():
    @table(("given", "other"), [(1, 2)])
    def test(given, other):
        with pytest.raises(ValueError, match="never"):
            assert given < other

    with pytest.raises(pytest.fail.Exception) as caught:
        test()
    assert caught.value.__notes__ == ["row 0: {'given': 1, 'other': 2}"]


def test_a_table_that_checks_nothing_or_does_not_fit_is_refused():
    with pytest.raises(AssertionError, match="checks nothing"):
        table("given", [])
    with pytest.raises(ValueError, match="shorter"):
        table(("given", "other"), [(1,)])


def test_pytest_is_asked_for_the_fixtures_only():
    @table("given", [1])
    def test(given, tmp_path): ...

    assert list(inspect.signature(test).parameters) == ["tmp_path"]
