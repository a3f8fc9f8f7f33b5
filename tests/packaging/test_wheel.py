"""A wheel that is built and installed works where there is no checkout."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import kubedrill
from kubedrill import paths, shell, versions
from kubedrill.images import address
from kubedrill.scenario import registry

ROOT = paths.repository()
KEPT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What README says builds it."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", ignore=KEPT_OUT)
    (place / "source" / "build" / "lib" / "kubedrill" / "shipped" / "images").mkdir(parents=True)
    (place / "source" / "build" / "lib" / "kubedrill" / "shipped" / "images" / "of-yesterday").touch()
    shell.run([*PIP, "wheel", "--no-deps", "-w", str(place), str(place / "source")], timeout=300)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def environment(wheel: Path) -> Path:
    """A virtual environment that holds the wheel; what it depends on comes from this one."""
    environment = wheel.parent / "environment"
    shell.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], timeout=120)
    python = environment / "bin" / "python"
    shell.run([*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)], timeout=120)
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


def run(environment: Path, *words: str, status: int = 0, program: str = "kubedrill", **env: str) -> str:
    argv = [str(environment / "bin" / program), *words]
    result = shell.run(argv, cwd=Path("/"), env=env, check=False, timeout=120)
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


class TestWhatToDoNamesIt:
    """`invoke` has no tasks where there is no checkout."""

    @pytest.mark.parametrize("called", ["kubedrill", "python"])
    def test_where_a_drill_is_refused(self, environment: Path, shipped: Path, tmp_path: Path, called: str) -> None:
        """By its own task, and by pytest alone, as `matrix --run` calls it."""
        words = ["scenario", "hello", "--name", "nowhere"]
        if called == "python":
            words = ["-m", "pytest", "-p", "no:cacheprovider", str(shipped / "scenarios")]
            words += ["--drill=hello", "--drill-cluster=nowhere"]
        nothing = {"DOCKER_HOST": f"unix://{tmp_path}/none", "XDG_STATE_HOME": str(tmp_path)}
        said = run(environment, *words, status=3, program=called, **nothing)
        assert "The drill says nothing about the cluster" in said
        assert "run: kubedrill setup" in said
        assert "invoke " not in said

    def test_on_the_dashboard(self, environment: Path) -> None:
        code = (
            "from urllib.request import urlopen\n"
            "from kubedrill.dashboard import hub, server\n"
            "with server.Server(hub.Hub()) as made:\n"
            "    made.start()\n"
            "    for path in ('', 'page.js'):\n"
            "        print(urlopen(made.url + path, timeout=10).read().decode())\n"
            "    made.shutdown()\n"
        )
        pages = run(environment, "-c", code, program="python")
        assert "<code>kubedrill scenario NAME</code>" in pages
        assert "Mend it with: kubedrill heal" in pages
        assert "invoke " not in pages


def test_what_it_depends_on_is_written_in_it(environment: Path) -> None:
    code = "from importlib.metadata import requires; print(*requires('kubedrill'), sep='\\n')"
    written = run(environment, "-c", code, program="python").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(one for one in written if "extra ==" not in one) == sorted(project["dependencies"])


@pytest.fixture
def alone(wheel: Path) -> Iterator[Path]:
    """A virtual environment of the wheel and what pip installs with it; 300 MB, so it goes with its test."""
    with tempfile.TemporaryDirectory(prefix="kubedrill-wheel-") as folder:
        python = f"{folder}/bin/python"
        shell.run([sys.executable, "-m", "venv", "--without-pip", folder], timeout=120)
        shell.run([*PIP, "--python", python, "install", str(wheel)], timeout=600)
        shell.run([*PIP, "--python", python, "check"], timeout=120)
        yield Path(folder)


@pytest.mark.slow  # it takes a core 20 s
def test_with_its_dependencies_alone_it_works(alone: Path) -> None:
    """As README has it; what only the tests need is not there."""
    assert "ha-failover" in run(alone, "scenario", "--list")
    modules = (
        "import importlib, pkgutil, kubedrill\n"
        "for one in pkgutil.walk_packages(kubedrill.__path__, 'kubedrill.'):\n"
        "    if '.shipped' not in one.name and not one.name.endswith('__main__'):\n"
        "        importlib.import_module(one.name)\n"
        "        print(one.name)\n"
    )
    assert "kubedrill.providers.docker_engine" in run(alone, "-c", modules, program="python").split()


def test_what_nodes_are_made_of_is_the_same(shipped: Path) -> None:
    """Names, executable bits and contents: so an installed kubedrill finds what a checkout has built."""
    assert address.of_tree(shipped / "images") == address.of_tree(ROOT / "images")
    assert address.of_tree(shipped / "images") != address.of_tree(shipped / "images" / "files")


@pytest.mark.parametrize("name", ["scenarios/hello.py", "tasks.py", "Vagrantfile", "pyproject.toml"])
def test_what_lies_beside_the_package_in_a_checkout(shipped: Path, name: str) -> None:
    assert (shipped / name).read_bytes() == (ROOT / name).read_bytes()


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
