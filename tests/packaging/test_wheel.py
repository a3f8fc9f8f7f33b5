"""A wheel that is built and installed works where there is no checkout."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

import kubedrill
from kubedrill import paths, shell, versions
from kubedrill.images import address
from kubedrill.scenario import registry

pytestmark = pytest.mark.slow  # a minute on a busy machine; CI runs it by name

ROOT = paths.repository()
KEPT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel; what it depends on comes from this one."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", ignore=KEPT_OUT)
    (place / "source" / "build" / "lib" / "kubedrill" / "shipped" / "images").mkdir(parents=True)
    (place / "source" / "build" / "lib" / "kubedrill" / "shipped" / "images" / "of-yesterday").touch()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    shell.run([*pip, "wheel", "--no-deps", "-w", str(place), str(place / "source")], timeout=300)
    (wheel,) = place.glob("*.whl")
    environment = place / "environment"
    shell.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], timeout=120)
    python = environment / "bin" / "python"
    shell.run([*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], timeout=120)
    # A path in a .pth file is not searched for .pth files: the checkout itself is not found through it.
    packages = sysconfig.get_path("purelib", vars={"base": str(environment)})
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


@pytest.fixture(scope="session")
def shipped(environment: Path) -> Path:
    """The folder that stands for the checkout."""
    code = "from kubedrill import paths; print(paths.repository())"
    found = shell.run([str(environment / "bin" / "python"), "-c", code], cwd=Path("/")).stdout.strip()
    assert Path(found).is_relative_to(environment)
    return Path(found)


def run(environment: Path, *words: str, status: int = 0) -> str:
    result = shell.run([str(environment / "bin" / "kubedrill"), *words], cwd=Path("/"), check=False, timeout=120)
    assert result.status == status, result.output
    return result.output


def test_its_tasks(environment: Path) -> None:
    listed = run(environment, "--list")
    assert "Subcommands" in listed
    assert {"up", "down", "scenario", "report"} <= set(listed.split())
    assert "--kubernetes" in run(environment, "build", "--help")
    assert run(environment, "--version").strip() == f"kubedrill {kubedrill.__version__}"


def test_its_drills(environment: Path) -> None:
    listed = run(environment, "scenario", "--list").splitlines()
    assert [line.split()[0] for line in listed[1:]] == [drill.name for drill in registry.drills(ROOT / "scenarios")]
    wrong = run(environment, "scenario", "helo", status=1)
    assert "did you mean 'hello'?" in wrong
    assert "kubedrill scenario --list" in wrong


def test_pytest_collects_its_drills(environment: Path, shipped: Path) -> None:
    """What `kubedrill scenario` runs, but for the running; the settings of pytest are its own."""
    pytest_here = [
        str(environment / "bin" / "python"),
        "-m",
        "pytest",
        "--collect-only",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    said = shell.run([*pytest_here, str(shipped / "scenarios")], cwd=Path("/"), timeout=120).stdout
    assert "ha-failover" in said
    assert not (shipped / ".pytest_cache").exists()


def test_what_nodes_are_made_of_is_the_same(shipped: Path) -> None:
    """Names, executable bits and contents: so an installed kubedrill finds what a checkout has built."""
    assert address.of_tree(shipped / "images") == address.of_tree(ROOT / "images")
    assert address.of_tree(shipped / "images") != address.of_tree(shipped / "images" / "files")


def test_its_versions(environment: Path) -> None:
    code = "from kubedrill import versions; print(*versions.kubernetes_minors())"
    said = shell.run([str(environment / "bin" / "python"), "-c", code], cwd=Path("/")).stdout.split()
    assert said == list(versions.kubernetes_minors())


@pytest.mark.parametrize("name", ["py.typed", "report/assets/style.css", "course/lessons.toml", "anatomy/lib.sh"])
def test_its_data(shipped: Path, name: str) -> None:
    assert (shipped.parent / name).exists()


def test_every_file_beside_the_modules_is_in_it(shipped: Path) -> None:
    """Package data is listed by hand in pyproject.toml; what is forgotten there, only those who install it miss."""
    here = {file.relative_to(ROOT / "kubedrill") for file in (ROOT / "kubedrill").rglob("*") if file.is_file()}
    here = {file for file in here if "__pycache__" not in file.parts}
    there = {file.relative_to(shipped.parent) for file in shipped.parent.rglob("*") if file.is_file()}
    assert here - there == set()


def test_the_tests_stay_at_home(environment: Path) -> None:
    assert "run them in a clone" in run(environment, "test", "--unit", status=1)
