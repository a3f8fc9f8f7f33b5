"""Modules that no package holds, loaded by their path as the registry and invoke load them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from kubedrill import paths


def by_path(name: str, path: Path) -> ModuleType:
    """A module of that name from a file."""
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up there
    found.loader.exec_module(module)
    return module


def drill(name: str) -> ModuleType:
    """The module of a drill: 'etcd_disaster'."""
    return by_path(f"drill_{name}", paths.repository() / "scenarios" / f"{name}.py")
