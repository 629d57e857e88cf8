"""The pages of defects: complete, and every test that they name exists."""

import re
from pathlib import Path

from tests.support.tables import table

ROOT = Path(__file__).parents[3]
PAGES = {"docs/worker/defects.md": {"L": 16, "H": 14, "M": 7}, "docs/defects.md": {"O": 14}}


@table("page", PAGES)
def test_every_known_defect_has_a_row(page: str):
    rows = re.findall(r"^\| ([A-Z]\d+) \|", (ROOT / page).read_text(), re.MULTILINE)
    assert rows == [f"{letter}{number}" for letter, last in PAGES[page].items() for number in range(1, last + 1)]


@table("page", PAGES)
def test_every_row_names_a_test_or_says_that_it_needs_none(page: str):
    rows = re.findall(r"^\| [A-Z]\d+ \|.*\| (.*) \|$", (ROOT / page).read_text(), re.MULTILINE)
    assert [row for row in rows if row != "-" and not re.fullmatch(r"`test_\w+`", row)] == []


def test_every_test_that_is_named_exists():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", (ROOT / page).read_text())}
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_every_file_that_a_page_of_the_documents_names_exists():
    pages = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
    pages += [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "adr"]
    pattern = re.compile(r"`((?:tests|bench|docs|examples|operator|worker_agent|local_cloud|tools|helm|crds)/[\w./-]+)")
    named = {(page.name, name) for page in pages for name in pattern.findall(page.read_text())}
    assert {found for found in named if not (ROOT / found[1]).exists()} == set()
