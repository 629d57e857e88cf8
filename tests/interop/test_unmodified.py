"""What runs beside us is ai4s-jobq as its users have it, in the version that all of our facts are about."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def wrong_files(record: Path) -> list[str]:
    """Files of an installed package that are not as its RECORD says."""
    found = []
    for name, digest, _ in csv.reader(record.read_text(encoding="utf-8").splitlines()):
        file = (record.parent.parent / name).resolve()
        if not digest:
            continue
        kind, _, wanted = digest.partition("=")
        seen = hashlib.new(kind, file.read_bytes()).digest() if file.exists() else b""
        if base64.urlsafe_b64encode(seen).rstrip(b"=").decode() != wanted:
            found.append(name)
    return found


def test_the_ancestor_is_the_version_that_the_facts_are_about(installed: Path) -> None:
    """Our facts are about ai4s-jobq 3.13.1."""
    assert [path.name for path in installed.glob("lib/python3*/site-packages/ai4s_jobq-*.dist-info")] == [
        "ai4s_jobq-3.13.1.dist-info"
    ]


def test_no_file_of_the_ancestor_or_of_its_libraries_differs_from_what_was_published(installed: Path) -> None:
    """Not even certifi's bundle does: our authority is seen in it by the running program only."""
    records = list(installed.glob("lib/python3*/site-packages/*.dist-info/RECORD"))
    assert len(records) > 50
    assert {record.parent.name: wrong for record in records if (wrong := wrong_files(record))} == {}


def test_the_ancestor_has_no_file_that_was_not_published(installed: Path) -> None:
    record = next(installed.glob("lib/python3*/site-packages/ai4s_jobq-*.dist-info/RECORD"))
    known = {name for name, *_ in csv.reader(record.read_text(encoding="utf-8").splitlines())}
    packages = record.parent.parent
    there = {str(file.relative_to(packages)) for file in (packages / "ai4s").rglob("*") if file.is_file()}
    assert {name for name in there - known if "__pycache__" not in name} == set()


def test_what_is_installed_is_what_is_locked(installed: Path) -> None:
    text = (ROOT / "requirements" / "interop.txt").read_text(encoding="utf-8")
    locked = {name.lower().replace("_", "-") for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}
    there = {
        path.name.split("-")[0].lower().replace("_", "-")
        for path in installed.glob("lib/python3*/site-packages/*.dist-info")
    }
    assert there - locked - {"pip", "setuptools"} == set()
