"""The probe that writes, against a real TLS server that misbehaves: what is classified, read back and lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import probe_server
import pytest
from probe_server import MISBEHAVIOUR, PLENTY, SHORT, Handler, Server, cut, drip, fail, hang, lane, late, sampled

from kubedrill import availability
from kubedrill.errors import KubedrillError
from kubedrill.history import Outcome
from kubedrill.probes import write
from kubedrill.probes.access import Access
from kubedrill.probes.operations import numbers_of
from kubedrill.probes.write import ApiWrite

keys, server, way = probe_server.keys, probe_server.server, probe_server.way  # fixtures


@pytest.mark.parametrize(("how", "_", "expected", "why"), MISBEHAVIOUR)
def test_writes_are_classified(
    server: Server, way: Access, how: Callable[[Handler], bool], _: Outcome, expected: Outcome, why: str
) -> None:
    """Two lists: the first write to each creates it, the third finds its list known and is one PUT."""
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    first = [probe.ask(PLENTY) for _ in range(4)]
    assert first == [("ok", f"#{n} @{100 + n}") for n in (1, 2, 3, 4)]
    server.before = how
    outcome, detail = probe.ask(SHORT if how in (hang, drip) else PLENTY)
    assert (outcome, why in detail, detail[:2]) == (expected, True, "#5"), detail
    server.before = late
    assert probe.ask(PLENTY)[0] == "ok"
    assert set(numbers_of(server.maps["probe-r-02"])) | {6} >= {2, 6}
    assert 5 not in {n for numbers in probe.read_back().values() for n in numbers}


def test_a_write_whose_answer_is_lost_is_unknown_and_resolved_by_a_read(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    asked = [probe.ask(PLENTY) for _ in range(4)]
    server.after_put = cut
    asked.append(probe.ask(PLENTY))
    server.after_put = lambda handler: True
    asked += [probe.ask(PLENTY) for _ in range(8)]
    assert [outcome for outcome, _ in asked] == ["ok"] * 4 + ["unknown"] + ["ok"] * 8
    assert sorted(n for numbers in probe.read_back().values() for n in numbers) == list(range(1, 14))


def test_a_write_that_lands_late_meets_a_conflict_which_a_read_resolves(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    for _ in range(4):
        probe.ask(PLENTY)
    name = "probe-r-01"  # of 1, 5, ...: four lists
    with server.lock:
        content = json.loads(json.dumps(server.maps[name]))
        server.change(name, content)
    assert probe.ask(PLENTY)[0] == "ok"
    assert probe.read_back()[name] == (1, 5)


def test_a_second_run_of_the_same_name_is_an_error_not_a_success(server: Server, way: Access) -> None:
    assert ApiWrite(lane("write"), way.endpoint(), "r").ask(PLENTY)[0] == "ok"
    with pytest.raises(KubedrillError, match="before this run wrote it"):
        ApiWrite(lane("write"), way.endpoint(), "r").ask(PLENTY)


def test_a_first_write_whose_answer_is_lost_is_taken_up(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    server.after_put = cut
    assert probe.ask(PLENTY)[0] == "unknown"
    server.after_put = lambda handler: True
    assert [probe.ask(PLENTY)[0] for _ in range(4)] == ["ok"] * 4
    assert probe.read_back()["probe-r-01"] == (1, 5)


def test_lost_writes_are_found_from_the_samples_alone(server: Server, way: Access, tmp_path: Path) -> None:
    probe = ApiWrite(lane("write", interval=0.05), way.endpoint(), "r", timeout=2)
    recording, _, _ = sampled(probe, 0.7, lambda: None, timeout=2)
    ledger = write.ledger(recording.samples)
    found = probe.read_back()
    write.save_found(found, tmp_path / "found.json")
    assert availability.lost_writes(ledger, write.load_found(tmp_path / "found.json")).intact
    last = max(item.number for item in ledger if item.outcome == "ok")
    forgotten = {name: [n for n in numbers if n != last] for name, numbers in found.items()}
    assert availability.lost_writes(ledger, forgotten).lost == (last,)


def test_writes_that_cannot_be_read_back_are_an_error(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write"), way.endpoint(), "r")
    server.before = fail
    with pytest.raises(KubedrillError, match="read back"):
        probe.read_back()


def test_other_samples_are_no_ledger() -> None:
    with pytest.raises(ValueError, match="hello"):
        write.ledger([availability.Sample(0, 1, "ok", "hello-1")])
