"""The page of defects: complete, and every test that it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/worker/defects.md").read_text()


def test_every_known_defect_has_a_row():
    rows = re.findall(r"^\| ([LHM]\d+) \|", PAGE, re.MULTILINE)
    numbers = {"L": 16, "H": 14, "M": 7}
    assert rows == [f"{letter}{number}" for letter, last in numbers.items() for number in range(1, last + 1)]


def test_every_test_that_is_named_exists():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert {name for name in named if f"def {name}(" not in tests} == set()
