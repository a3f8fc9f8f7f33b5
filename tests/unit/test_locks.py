"""What no two processes may do at once: the same cluster never, a network for another one in turn."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubedrill import cluster, host, locks
from kubedrill.errors import Busy
from kubedrill.providers.base import NetworkSpec, Provider
from kubedrill.spec import ClusterSpec


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(host, "host_networks", list)


def test_two_clusters_that_come_up_at_once_choose_two_networks() -> None:
    made: list[str] = []
    meet = threading.Barrier(2)

    def used() -> list[str]:
        found = list(made)
        # Where nobody had to wait, both would have read by now.
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait(0.2)
        return found

    def create(_name: str, network: NetworkSpec) -> None:
        made.append(network.subnet)

    provider: Any = SimpleNamespace(used_subnets=used, create_network=create)
    with ThreadPoolExecutor() as pool:
        specs = [ClusterSpec(name=name) for name in ("one", "two")]
        list(pool.map(lambda spec: cluster._make_network(cast(Provider, provider), spec, "modules"), specs))
    assert len(set(made)) == 2


def test_a_turn_that_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TURN", 0.05)
    with (
        locks.in_turn("networks"),
        locks.only_one("networks"),
        pytest.raises(Busy, match="at work on networks"),
        locks.in_turn("networks"),
    ):
        pytest.fail("two at once")
