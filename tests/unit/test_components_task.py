"""`invoke components`: the node is a word that may be left out, before or after flags."""

from __future__ import annotations

import importlib.util
import signal
import sys
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.program import Program

from kubedrill import insights, paths


@pytest.mark.parametrize(
    ("typed", "node", "name", "component"),
    [
        (["components"], None, "lab", ""),
        (["components", "worker-1"], "worker-1", "lab", ""),
        (["components", "--name", "other"], None, "other", ""),
        (["components", "--name", "other", "worker-1"], "worker-1", "other", ""),
        (["components", "worker-1", "--component=etcd"], "worker-1", "lab", "etcd"),
        (["components", "--explain", "--json", "worker-1"], "worker-1", "lab", ""),
        (["components", "--node", "worker-1"], "worker-1", "lab", ""),
        (["components", "-n", "other", "worker-1"], "worker-1", "other", ""),
    ],
)
def test_the_node_is_found_among_the_words(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], node: str | None, name: str, component: str
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sys, "argv", ["invoke", *typed])
    monkeypatch.setattr(insights, "components", lambda _, *words, **flags: asked.append((*words, flags)))
    before = signal.getsignal(signal.SIGTERM)
    spec = importlib.util.spec_from_file_location("tasks", paths.repository() / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    try:
        Program(namespace=Collection.from_module(tasks)).run(["invoke", *typed], exit=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    flags = {"as_json": "--json" in typed, "explained": "--explain" in typed}
    assert asked == [(name, node, component, flags)]
