"""What a command imports before it begins: each user waits for that, each time."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from kubedrill import paths, shell

LATE = {
    "kubernetes", "kubedrill.drill_commands", "kubedrill.history", "kubedrill.hollow", "kubedrill.images.box",
    "kubedrill.install", "kubedrill.lifecycle", "kubedrill.registries", "kubedrill.status", "kubedrill.trends.records",
}  # fmt: skip


def imported(module: str) -> set[str]:
    """What an interpreter of its own has imported after a module."""
    ask = f"import sys, {module}; print(*sys.modules)"
    return set(shell.run([sys.executable, "-c", ask], cwd=paths.repository(), timeout=60).stdout.split())


def test_up_begins_without_what_it_needs_late_or_never() -> None:
    there = imported("kubedrill.commands")
    assert "kubedrill.bringup" in there
    assert not there & LATE


@pytest.mark.parametrize("heavy", ["docker", "pydantic", "rich", "kubedrill.cluster"])
def test_a_list_of_tasks_needs_nothing_of_what_they_do(heavy: str) -> None:
    assert heavy not in imported("tasks")


def test_all_that_is_late_is_there() -> None:
    """Else a module that was renamed would be late for ever."""
    assert all(importlib.util.find_spec(module) for module in LATE)
