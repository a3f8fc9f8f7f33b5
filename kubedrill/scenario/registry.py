"""Finds the drills of a folder, without pytest: for lists and for names that are mistyped."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from kubedrill import paths
from kubedrill.errors import KubedrillError
from kubedrill.scenario import COUNTS, Scenario


def folders(here: Path | None = None) -> list[Path]:
    """Where drills are: kubedrill's own, and those of the folder `scenarios` of wherever one is.

    Args:
        here: instead of the current directory.
    """
    own, other = paths.repository() / "scenarios", (here or Path.cwd()) / "scenarios"
    return [own] if not other.is_dir() or other.samefile(own) else [own, other]


def needs(drill: Scenario) -> str:
    """The cluster that a drill needs, in words: '3+2, hollow 1000, slow'."""
    counts = f"{drill.needs['controlPlanes']}+{drill.needs['workers']}"
    further = [text for key, value in drill.needs.items() if key not in COUNTS[:2] for text in _words(key, value)]
    return ", ".join([counts, *further, *(["slow"] if drill.slow else [])])


def _words(key: str, value: object) -> list[str]:
    """A setting in words; of one that holds others, the innermost: 'node-monitor-grace-period 20s'."""
    if isinstance(value, Mapping):
        return [text for name, inner in value.items() for text in _words(name, inner)]
    return [f"{key} {value}"]


def drills(folder: Path) -> list[Scenario]:
    """The drills that the files of a folder declare, in the order of their names.

    Raises:
        KubedrillError: a file cannot be imported.
    """
    found = []
    for file in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"scenarios.{file.stem}", file)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except (ImportError, SyntaxError) as error:
            raise KubedrillError(f"{file} cannot be imported", evidence=[str(error)]) from error
        found += [
            one for one in vars(module).values() if isinstance(one, Scenario) and one.body.__module__ == spec.name
        ]
    return sorted(found, key=lambda drill: drill.name)
