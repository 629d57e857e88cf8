"""Facts about the repository that nothing else would notice: scripts, lock files, extras, sizes."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tools import check_locks

from tests.support.tables import table
from workforce_operator import extras

ROOT = Path(__file__).resolve().parents[3]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@cache
def files() -> tuple[Path, ...]:
    """What git has or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


@cache
def modules() -> dict[str, str]:
    """The text of each Python module, by its path from the root."""
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files() if path.suffix == ".py"}


def first_bytes(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(2)


def test_every_script_is_executable() -> None:
    scripts = [path for path in files() if first_bytes(path) == b"#!"]
    assert ROOT / ".ci" / "run" in scripts
    assert [str(path) for path in scripts if not os.access(path, os.X_OK)] == []


@table("lock", LOCKS)
def test_no_lock_file_holds_a_download_address(lock: Path) -> None:
    assert "://" not in lock.read_text(encoding="utf-8")


@table("lock", LOCKS)
def test_every_locked_package_has_a_hash(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert check_locks.pins(text)
    assert check_locks.unhashed(text) == []


def test_no_npm_lock_file_holds_a_download_address() -> None:
    for lock in files():
        if lock.name == "package-lock.json":
            assert '"resolved"' not in lock.read_text(encoding="utf-8"), lock


def test_the_lock_files_agree_on_every_version() -> None:
    base, operator, dev = (
        check_locks.pins((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8"))
        for name in ("base", "operator", "dev")
    )
    assert base.items() <= operator.items() <= dev.items()


def test_a_dependency_that_is_not_locked_is_found() -> None:
    wrong = list(check_locks.complaints([Requirement("no-such-thing>=1")], {}))
    assert wrong == ["no-such-thing>=1 is not in it"]


def test_a_locked_version_that_was_not_asked_for_is_found() -> None:
    wrong = list(check_locks.complaints([Requirement("no-such-thing>=2")], {"no-such-thing": "1.0"}))
    assert wrong == ["no-such-thing>=2 is asked for, 1.0 is locked"]


def test_a_dependency_of_a_dependency_that_is_not_locked_is_found() -> None:
    locked = check_locks.pins((ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"))
    del locked["pluggy"]
    assert any("pluggy" in wrong for wrong in check_locks.complaints([Requirement("pytest")], locked))


def test_an_entry_without_a_hash_is_found() -> None:
    assert check_locks.unhashed("a==1 \\\n    --hash=sha256:00\nb==2\n") == ["b"]


def test_extras_of_the_project_are_followed_into_each_other() -> None:
    names = {requirement.name for requirement in check_locks.direct(project(), ["dev"])}
    assert {"pytest", "kopf", "trustme", "click"} <= names
    assert "workforce-operator" not in names


def test_every_console_script_names_something_that_exists_or_its_extra() -> None:
    scripts = project()["scripts"]
    assert set(scripts) == {"workforce", "kubectl-workforce", "workforce-operator", "workforce-agent"}
    assert scripts["workforce"] == scripts["kubectl-workforce"]


@table("extra", list(extras.MARKERS))
def test_what_marks_an_extra_as_installed_is_brought_by_that_extra_only(extra: str) -> None:
    """The names of modules and distributions differ in a few cases."""
    modules = {"pyyaml": "yaml", "azure-ai-ml": "azure.ai.ml"}

    def brought(lines: list[str]) -> set[str]:
        names = (Requirement(line).name for line in lines)
        return {modules.get(name, name.replace("-", "_")) for name in names}

    declared = {requirement.name for requirement in check_locks.direct(project(), [extra])}
    base = check_locks.pins((ROOT / "requirements" / "base.txt").read_text(encoding="utf-8"))
    for module in extras.MARKERS[extra]:
        assert module in brought(sorted(declared))
        assert module not in brought(sorted(base))


def test_a_missing_extra_is_one_line_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "MARKERS", {"operator": ("no_such_module",)})
    with pytest.raises(SystemExit) as ended:
        extras.require("operator", "workforce-operator")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'workforce-operator[operator]'" in error


def test_every_package_is_marked_as_typed() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    packages = tables["wheel"]["packages"]
    assert [name for name in packages if not (ROOT / name / "py.typed").exists()] == []


def test_the_ci_script_calls_what_people_call() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^make check\b", text, re.MULTILINE)
    assert re.search(r"^make test\b", text, re.MULTILINE)


def test_a_docstring_cites_nothing_that_its_reader_does_not_have() -> None:
    """Facts are cited by their public source: neither a section without a document nor a page that is not here."""
    pages = {path.name for path in files() if path.suffix == ".md"}
    wrong = [
        f"{name}: {text}"
        for name, source in modules().items()
        if "§" in source or ".md" in source
        for text in re.findall(r'"""(.*?)"""', source, re.DOTALL)
        if re.search(r"§ ?\d", text) or not set(re.findall(r"[\w-]+\.md\b", text)) <= pages
    ]
    assert wrong == []


def test_no_module_is_longer_than_600_lines() -> None:
    """Most have below 400; what grows beyond that is two things."""
    found = {name: source.count("\n") for name, source in modules().items()}
    assert len(found) > 300
    assert {name: lines for name, lines in found.items() if lines > 600} == {}
