"""What a monitor could not fetch while its cluster was broken, and fetches once it is healed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kubedrill.cluster import Cluster
from kubedrill.errors import KubedrillError
from kubedrill.history import Lane
from kubedrill.probes.write import ApiWrite
from kubedrill.scenario import monitor as module
from kubedrill.scenario.monitor import Monitor
from kubedrill.wait import until


class FakeProbe:
    """Asks nobody, and is always answered."""

    lane = Lane("api-read", "API read", 0.1, "read", "new")

    def ask(self, timeout: float) -> tuple[str, str]:
        """An answer."""
        return "ok", ""

    def own_cpu(self) -> float:
        """Nothing."""
        return 0.0

    def close(self) -> None:
        """Nothing."""


class FakeWriter:
    """Reads back what was written, where the API is there."""

    def __init__(self) -> None:
        self.away = True
        self.reads = 0

    def lists(self) -> list[str]:
        """The objects that it writes to."""
        return ["probe-0"]

    def read_back(self, timeout: float) -> Mapping[str, tuple[int, ...]]:
        """What was written."""
        self.reads += 1
        if self.away:
            raise KubedrillError("the API refuses")
        return {"probe-0": (1, 2)}


@pytest.fixture
def writer() -> FakeWriter:
    return FakeWriter()


@pytest.fixture
def monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: FakeWriter) -> Monitor:
    seconds = itertools.count()
    cluster = SimpleNamespace(slow=1.0, admin_conf=lambda: "", spec=SimpleNamespace(provider="docker"))
    made = Monitor(cast(Cluster, cluster), "a-run", lambda: float(next(seconds)), 0.0, tmp_path, lambda *_, **__: None)
    monkeypatch.setattr(module, "access", lambda _: None)
    monkeypatch.setattr(module, "READ_BACK", 0.01)

    def probes(_way: Any) -> list[FakeProbe]:
        made._writer = cast(ApiWrite, writer)
        return [FakeProbe()]

    monkeypatch.setattr(made, "_probes", probes)
    return made


def test_what_could_not_be_read_back_is_read_once_the_cluster_is_healed(
    monitor: Monitor, writer: FakeWriter, tmp_path: Path
) -> None:
    monitor.start("")
    monitor.stop()
    assert writer.reads == 0, "who ends a drill does not wait for that"
    monitor.complete()
    (doubt,) = monitor.doubts()
    assert doubt.startswith("what was written could not be read back: ")
    assert "the API refuses" in doubt
    with pytest.raises(KubedrillError, match="could not be read back"):
        monitor.writes_check()

    writer.away = False
    monitor.complete()
    assert monitor.doubts() == []
    assert json.loads((tmp_path / "writes-found.json").read_text()) == {"probe-0": [1, 2]}
    reads = writer.reads
    monitor.complete()
    assert writer.reads == reads, "what is there is not fetched again"


def test_a_lane_that_comes_later_and_ends_before_the_others(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, writer: FakeWriter, tmp_path: Path
) -> None:
    asked: list[tuple[str, list[str]]] = []

    class Read(FakeProbe):
        """Asks at a URL."""

        def __init__(self, lane: Lane, endpoint: str, names: list[str], _history: object) -> None:
            self.lane = lane
            asked.append((endpoint, names))

    monkeypatch.setattr(module, "access", lambda _: SimpleNamespace(endpoint=lambda url: url))
    monkeypatch.setattr(module, "ApiRead", Read)
    writer.away = False
    monitor.start("")
    monitor.add("api-balancer", "API read through the balancer", "https://127.0.0.1:7000")
    assert asked == [("https://127.0.0.1:7000", ["probe-0"])]
    assert monitor.names() == ["api-read", "api-balancer"]
    assert monitor.lane("api-balancer").ended is None
    until(lambda: monitor.has_worked("api-balancer"), lambda ok: (ok, "asked"), within=5, what="a sample")
    monitor.end("api-balancer")
    ended = monitor.lane("api-balancer").ended
    assert ended is not None
    monitor.end("api-balancer")
    monitor.end("never-began")
    assert monitor.doubts() == ["nothing was sampled"], "the others go on"
    until(lambda: monitor.has_worked("api-read"), lambda ok: (ok, "asked"), within=5, what="a sample")
    monitor.stop()
    monitor.complete()
    assert {lane.name: lane.ended for lane in monitor.lanes()} == {"api-read": None, "api-balancer": ended}
    assert set(monitor.samples()) == {"api-read", "api-balancer"}
    assert monitor.figures("api-balancer", ()).samples >= 1
    assert monitor.doubts() == []
    assert (tmp_path / "samples" / "api-balancer.jsonl").read_text()


def test_what_can_never_be_read_back_leaves_one_doubt(monitor: Monitor) -> None:
    monitor.start("")
    monitor.stop()
    monitor.complete()
    monitor.complete()
    assert len(monitor.doubts()) == 1


def test_nothing_is_fetched_where_nothing_was_sampled(monitor: Monitor, writer: FakeWriter) -> None:
    monitor.complete()
    assert monitor.doubts() == ["nothing was sampled"]
    assert writer.reads == 0
