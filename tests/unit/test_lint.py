"""The code's own rules: types, lint (with DESIGN.md's "only place that"), format, shell scripts that parse."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kubedrill import paths, shell

ROOT = paths.repository()
PYTHON = ["kubedrill", "tests", "tasks.py", "setup.py"]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["mypy"], id="types"),
        pytest.param(["ruff", "check", *PYTHON], id="lint"),
        pytest.param(["ruff", "format", "--check", *PYTHON], id="format"),
    ],
)
def test_python_keeps_the_rules(command: list[str]) -> None:
    result = shell.run([sys.executable, "-m", *command], cwd=ROOT, check=False)
    assert result.status == 0, result.output


@pytest.mark.parametrize("only", ["subprocess", "time.sleep", "tenacity", "docker", "kubernetes", "vagrant"])
def test_the_lint_rule_catches_the_wrong_place(only: str) -> None:
    """A rule that never fires would keep nothing."""
    module, _, name = only.rpartition(".")
    code = f"from {module} import {name}\n\n{name}(1)\n" if module else f"import {name}\n\nprint({name})\n"
    arguments = ["--config", str(ROOT / "pyproject.toml"), "--stdin-filename", str(ROOT / "kubedrill" / "spec.py"), "-"]
    result = shell.run([sys.executable, "-m", "ruff", "check", *arguments], stdin=code, check=False, cwd=ROOT)
    assert "TID251" in result.output


def test_shell_scripts_parse() -> None:
    images = ROOT / "images"
    programs = [*(images / "files/usr/local/sbin").iterdir(), *(images / "box/usr/local/sbin").iterdir()]
    kind = [images / "kind" / script for script in ("import.sh", "kubedrill-help", "balancer/envoy")]
    scripts = [*images.glob("*.sh"), *programs, *kind]
    assert len(scripts) >= 11
    for script in scripts:
        shell.run(["sh", "-n", str(script)])


def test_no_module_grows_into_two() -> None:
    modules = [path for folder in ("kubedrill", "scenarios", "tests") for path in (ROOT / folder).rglob("*.py")]
    long = {path.name: count for path in modules if (count := _lines(path)) > 400}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
