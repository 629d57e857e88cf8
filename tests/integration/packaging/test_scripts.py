"""Scripts and the Makefile, run as people and CI run them."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGETS = ("demo", "test", "check", "crds", "bench", "fmt", "clean")


def test_help_lists_every_target_and_fits_the_screen() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    listed = {line.split()[1] for line in shown}
    assert len({re.match(r"  make \S+ +", line).end() for line in shown}) == 1, "what they do is one column"  # type: ignore[union-attr]
    assert listed >= set(TARGETS)
    assert max(map(len, shown)) <= 80


def test_the_standard_library_keeps_its_operator_module() -> None:
    """A folder `operator` with an __init__.py, or the repository root before the standard library, would hide it."""
    stdlib = Path(os.__file__).parent
    for folder in (ROOT, ROOT / "operator"):
        code = "import operator, sys; print(operator.__file__, operator.itemgetter(0)('x'))"
        shown = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        assert shown.stdout.split() == [str(stdlib / "operator.py"), "x"]
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "worker_agent" / "__init__.py").exists()
    assert importlib.import_module("operator").itemgetter is not None


def test_set_up_names_the_program_that_is_missing(tmp_path: Path) -> None:
    """In one line, with nothing on PATH but Python."""
    (tmp_path / "python3").symlink_to(sys.executable)
    done = subprocess.run(
        ["/bin/bash", ROOT / "tools" / "setup", "prerequisites"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "setup: Node.js is missing: install Node.js 20 or newer, with npm\n"


@pytest.mark.parametrize(
    ("failures", "second", "exit_code", "said"),
    [
        pytest.param(1, 0, 0, "unsteady, passed alone: FAILED tests/test_a.py::test_0", id="passes-alone"),
        pytest.param(1, 2, 2, "= 1 failed in 0.10s =", id="fails-again"),
        pytest.param(4, 0, 2, "= 4 failed in 1.00s =", id="too-many"),
    ],
)
def test_ci_tries_a_few_failed_tests_once_more_alone_and_names_them(
    tmp_path: Path, failures: int, second: int, exit_code: int, said: str
) -> None:
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    make = tmp_path / "make"
    all_failures = f"printf 'FAILED tests/test_a.py::test_%s - AssertionError\\n' $(seq 0 {failures - 1})"
    make.write_text(f"""#!/usr/bin/env bash
case "$*" in
check) exit 0 ;;
*--last-failed*) echo "= 1 failed in 0.10s ="; exit {second} ;;
*) {all_failures}; echo "= {failures} failed in 1.00s ="; exit 2 ;;
esac
""")
    make.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", script], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (exit_code, "")
    assert said in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1].startswith("= ")
