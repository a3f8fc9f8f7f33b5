"""The program `kubedrill`: the tasks of tasks.py, for those who installed it and have no checkout."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from invoke.collection import Collection
from invoke.program import Program

import kubedrill
from kubedrill import hints, paths
from kubedrill.hints import NAME


def tasks() -> ModuleType:
    """tasks.py, as `invoke` imports it: the one collection of both."""
    found = importlib.util.spec_from_file_location("tasks", paths.repository() / "tasks.py")
    if found is None or found.loader is None:
        raise ImportError(f"{paths.repository() / 'tasks.py'} cannot be imported")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def program() -> Program:
    """`kubedrill TASK` does what `invoke TASK` does."""
    collection = Collection.from_module(tasks())
    for task in collection.tasks.values():
        task.__doc__ = hints.hinted(task.__doc__ or "")
        task.help = {flag: hints.hinted(text) for flag, text in task.help.items()}
    return Program(
        name=NAME,
        binary=NAME,
        binary_names=[NAME],
        version=kubedrill.__version__,
        namespace=collection,
    )


def main() -> None:
    """Run the task that the command line names."""
    hints.called()
    program().run([NAME, *sys.argv[1:]])
