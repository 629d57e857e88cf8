"""The wheel, installed alone into a clean environment with the base lock: what a worker node gets, and nothing more."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jobq.version import __version__

ROOT = Path(__file__).resolve().parents[3]
INSTALL_SECONDS = 600
pytestmark = [pytest.mark.slow, pytest.mark.timeout(INSTALL_SECONDS)]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # Without the variables that would let the development environment shine through.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT]
    subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the base lock and the wheel."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALL_SECONDS)
    install = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    lock = ROOT / "requirements" / "base.txt"
    subprocess.run([*install, "--require-hashes", "-r", lock], check=True, timeout=INSTALL_SECONDS)
    subprocess.run([*install, "--no-deps", "--no-index", wheel], check=True, timeout=INSTALL_SECONDS)
    return folder


def test_the_wheel_holds_the_four_packages_their_types_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"jobq", "workforce_agent", "workforce_operator", "workforce_local"}
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == packages
    assert {f"{package}/py.typed" for package in packages} <= set(names)


def test_the_agent_starts(environment: Path, tmp_path: Path) -> None:
    done = run(environment / "bin" / "workforce-agent", "--version", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout


@pytest.mark.parametrize("recipe", [0, 1])
def test_each_recipe_of_the_documents_puts_the_agent_into_an_image(wheel: Path, tmp_path: Path, recipe: int) -> None:
    """The lines as they stand there, with this wheel for the package, and folders of the test's for the image's."""
    page = (ROOT / "docs" / "worker" / "running.md").read_text(encoding="utf-8")
    line = re.findall(r"^RUN (.*)$", page, re.MULTILINE)[recipe]
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "python"], check=True, timeout=INSTALL_SECONDS)
    line = line.replace("pip install workforce-operator", f"pip install -q {wheel}")
    line = line.replace("/opt/", f"{tmp_path}/opt/").replace("/usr/local/", f"{tmp_path}/usr/local/")
    path = f"{tmp_path}/python/bin:{tmp_path}/usr/local/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-ec", line], env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["bash", "-c", "workforce-agent run --help"], env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--num-workers" in done.stdout


def test_the_lock_is_all_that_the_wheel_asks_for(environment: Path, tmp_path: Path) -> None:
    done = run(environment / "bin" / "pip", "check", cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["kopf", "kubernetes", "azure.ai.ml", "azure.mgmt.core", "trustme", "pytest"])
def test_what_only_the_operator_or_a_laptop_needs_is_absent(environment: Path, tmp_path: Path, module: str) -> None:
    done = run(environment / "bin" / "python", "-c", f"import {module}", cwd=tmp_path)
    assert done.returncode != 0
    assert "ModuleNotFoundError" in done.stderr


def test_every_module_of_the_worker_side_can_be_imported(environment: Path, tmp_path: Path) -> None:
    code = """
import importlib, pkgutil
for package in ("jobq", "workforce_agent"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""
    done = run(environment / "bin" / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("workforce-operator",), "operator"),
        (("workforce", "local", "up"), "local"),
        (("kubectl-workforce", "local", "up"), "local"),
    ],
)
def test_a_program_that_needs_an_extra_says_which(
    environment: Path, tmp_path: Path, command: tuple[str, ...], extra: str
) -> None:
    program, *arguments = command
    done = run(environment / "bin" / program, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"pip install 'workforce-operator[{extra}]'" in done.stderr


@pytest.mark.parametrize("program", ["workforce", "kubectl-workforce"])
def test_the_command_line_works_without_extras_and_lists_what_they_add(
    environment: Path, tmp_path: Path, program: str
) -> None:
    assert run(environment / "bin" / program, "version", cwd=tmp_path).stdout == f"{__version__}\n"
    shown = run(environment / "bin" / program, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert f"Usage: {program.replace('-', ' ')} " in shown.stdout
    assert "pip install 'workforce-operator[local]'" in " ".join(shown.stdout.split())


def test_the_standard_library_keeps_its_operator_module_where_the_wheel_is_installed(
    environment: Path, tmp_path: Path
) -> None:
    done = run(environment / "bin" / "python", "-c", "import operator; print(operator.__file__)", cwd=tmp_path)
    assert done.stdout.strip().endswith("/operator.py")
    assert "site-packages" not in done.stdout
