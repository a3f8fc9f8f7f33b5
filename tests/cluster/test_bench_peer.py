"""kind beside kubedrill on this machine: both come up and go, in turn, and nothing of kind is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedrill.bench import command, compare
from kubedrill.bench.kind import clusters, config
from kubedrill.cluster import Lab
from kubedrill.console import Console

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow, pytest.mark.minutes(8)]


def test_in_turn(place: Lab, console: Console, user_config: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    assert command.bench(console, runs=1, only="small", json_file=str(file), against=[], beside="kind") == 0
    figures = {one.what: one.median for one in compare.load(file).figures}
    up, memory = "up 1+2, all Ready, CoreDNS available", "memory of 1+2"
    for name in (up, f"kind: {up}"):
        assert 5 < figures[name] < 600, figures
    # What three nodes of the same Kubernetes hold: a figure of something else would not be near to it.
    assert figures[memory] / 2 < figures[f"kind: {memory}"] < figures[memory] * 2, figures
    # kind's nodes have images of their own; ours share a store.
    assert figures["kind: disk of 1+2"] > figures["disk of 1+2"], figures
    assert not place.engine.containers(config.LABEL)
    assert not place.engine.has_network(clusters.NAME)
    assert not clusters.is_stand_in(place.engine)
    assert not user_config.exists(), "neither of both touches the user's kubeconfig"
