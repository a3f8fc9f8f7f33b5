"""Finds the drills of a folder, without pytest: for lists and for names that are mistyped."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from kubedrill.errors import KubedrillError
from kubedrill.scenario import Scenario


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
