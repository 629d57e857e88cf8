"""Tests that are tables of quick rows.

pytest takes longer to set up one test than most rows take to run, so that ``@table`` runs all of them in one: each of
them, whatever became of those before it, and whoever failed is told with its row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest


def table(
    names: str | tuple[str, ...], rows: Iterable[Any], *, ids: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test once for each row; written like ``pytest.mark.parametrize``, for rows that need no fixture anew.

    Args:
        names: The test's arguments that a row gives: a tuple of names, or one name where each row is its value.
        rows: One value for each name.
        ids: What each row is about, where its values do not say it.

    Returns:
        The decorator. Where one row fails, its error is raised, where several do, a group of theirs; each has its row
        as a note.
    """
    columns = names if isinstance(names, tuple) else (names,)
    given = [dict(zip(columns, row if isinstance(names, tuple) else (row,), strict=True)) for row in rows]
    labels = ids or [f"row {number}" for number in range(len(given))]
    assert given, "a table without rows checks nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            failed = [
                error
                for label, row in zip(labels, given, strict=True)
                if (error := _error(test, label, row, fixtures)) is not None
            ]
            if failed:
                raise failed[0] if len(failed) == 1 else BaseExceptionGroup(f"{len(failed)} rows failed", failed)

        signature = inspect.signature(test)
        others = [each for name, each in signature.parameters.items() if name not in columns]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined] # what pytest reads
        return run

    return decorate


def _error(
    test: Callable[..., None], label: str, row: dict[str, Any], fixtures: dict[str, Any]
) -> BaseException | None:
    try:
        test(**row, **fixtures)
    except (Exception, pytest.fail.Exception) as error:
        error.add_note(f"{label}: {row}")
        return error
    return None
