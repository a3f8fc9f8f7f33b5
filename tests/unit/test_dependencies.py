"""pyproject.toml names what kubedrill imports: what comes along with something else today may not come tomorrow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from kubedrill import paths

ROOT = paths.repository()


def modules() -> Iterator[Path]:
    """What a wheel holds."""
    for folder in ("kubedrill", "scenarios"):
        yield from (ROOT / folder).rglob("*.py")
    yield ROOT / "tasks.py"


def imported(file: Path) -> set[str]:
    """The packages of others that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"kubedrill", "scenarios"}


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {normal(re.split(r"[^-\w.]", one)[0]) for one in project["dependencies"]}


def normal(name: str) -> str:
    """A name as the index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    found: dict[str, Path] = {name: file for file in modules() for name in imported(file)}
    assert len(found) > 10
    known = packages_distributions()
    owners = {name: {normal(one) for one in known.get(name, ())} for name in found}
    undeclared = {name: str(found[name]) for name, owner in owners.items() if not owner & declared()}
    assert undeclared == {}
    assert declared() - set().union(*owners.values()) == set()


def test_an_import_in_a_function_counts(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import os, a.b\nfrom . import c\nfrom kubedrill import d\n\ndef f():\n    from e.f import g\n")
    assert imported(module) == {"a", "e"}
