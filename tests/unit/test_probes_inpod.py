"""The pod that asks: its manifest, the log format of the CRI, and the samples in it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest
import yaml

from kubedrill.history import Lane, Sample
from kubedrill.probes import inpod
from kubedrill.probes.manifest import NAMESPACE, READ, manifest

T = "2026-11-24T20:00:00.123456789Z"
DNS = inpod.PodLane(Lane("dns", "DNS", 0.1, "dns", "new"), "hello.default.svc.cluster.local.")
HTTP = inpod.PodLane(Lane("svc", "Service", 0.25, "service", "new"), "http://hello.default/")


def line(lane: str, start: float, outcome: str = "ok", detail: str = "") -> str:
    return json.dumps({"lane": lane, "start": start, "end": start + 0.5, "outcome": outcome, "detail": detail})


def test_the_manifests_have_what_the_probes_ask_for() -> None:
    namespace, config_map = yaml.safe_load_all(manifest())
    assert namespace["metadata"]["name"] == config_map["metadata"]["namespace"] == NAMESPACE
    assert config_map["metadata"]["name"] == READ
    pod = yaml.safe_load(inpod.pod_manifest("asker", "lab-worker-1", [HTTP, DNS], timeout=0.5))
    assert pod["spec"]["nodeName"] == "lab-worker-1"
    assert pod["spec"]["containers"][0]["command"][1:] == [
        "-timeout", "0.5s", "http,svc,0.25s,http://hello.default/", "dns,dns,0.1s,hello.default.svc.cluster.local.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"{T} stdout F one two\n"], [("stdout", "one two")]),
        (
            [f"{T} stdout P one \n", f"{T} stderr F x\n", f"{T} stdout F two\n"],
            [("stderr", "x"), ("stdout", "one two")],
        ),
        ([f"{T} stdout F \n"], [("stdout", "")]),
        ([f"{T} stdout F\n"], [("stdout", "")]),
        ([f"{T} stdout F cut o"], []),
        (["what is this\n"], [("", "what is this")]),
    ],
)
def test_the_log_format_is_taken_off(lines: list[str], expected: list[tuple[str, str]]) -> None:
    assert inpod.unwrap(lines) == expected


def test_samples_are_read_from_a_log() -> None:
    cost = json.dumps({"cpu": 0.4, "began": 1000.0, "at": 1010.0, "lanes": 2})
    lines = [
        f"{T} stdout F {line('svc', 1002, 'ok', 'hello-1')}\n",
        f"{T} stdout F {line('dns', 1001, 'unknown', 'timed out')}\n",
        f"{T} stdout F {line('svc', 1001.5, 'failed', 'refused')}\n",
        f"{T} stdout F {cost}\n",
        f"{T} stdout F {line('svc', 1003)[:20]}",
    ]
    parsed = inpod.parse(lines, 1000)
    assert parsed.lanes == {
        "svc": (Sample(1.5, 2.0, "failed", "refused"), Sample(2, 2.5, "ok", "hello-1")),
        "dns": (Sample(1, 1.5, "unknown", "timed out"),),
    }
    assert parsed.overhead == pytest.approx(0.02)
    assert parsed.noise == ()


@pytest.mark.parametrize("text", ["stderr F panic: oh", "stdout F {}x", 'stdout F {"lane": "svc"}', "stdout F [1]"])
def test_what_is_no_sample_is_noise(text: str) -> None:
    parsed = inpod.parse([f"{T} {text}\n"], 1000)
    assert parsed.lanes == {}
    assert parsed.noise == (text.split(" ", 2)[2],)


def test_lines_of_all_files_of_the_pod_and_of_no_other() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in {
            f"pods/{NAMESPACE}_asker_1-2/probe/0.log": b"now\n",
            f"pods/{NAMESPACE}_asker_1-2/probe/0.log.20261124-200000.gz": gzip.compress(b"before\n"),
            f"pods/{NAMESPACE}_asker2_1-2/probe/0.log": b"another\n",
            "pods/default_asker_1-2/probe/0.log": b"elsewhere\n",
        }.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert sorted(inpod.log_lines(buffer.getvalue(), "asker")) == ["before\n", "now\n"]


def test_a_pod_whose_node_was_down_had_no_service() -> None:
    """Silence that an outage of its node explains is failure; other silence stays what it is, a probe's stall."""
    asked = tuple(Sample(at, at + 0.01, "ok", "") for at in (0.0, 0.1, 1.0, 5.0, 5.1))
    filled = inpod.while_off(asked, 0.1, [(1.2, 4.0)], 5.2)
    assert [one for one in filled if one.outcome == "ok"] == list(asked)
    added = [one.start for one in filled if one.outcome == "failed"]
    assert len(added) == 39
    assert min(added) > 1.0
    assert max(added) < 5.0
    assert inpod.while_off(asked, 0.1, [], 9.0) == asked
    gone = inpod.while_off(asked[:3], 0.1, [(1.2, 1.4)], 3.0)
    assert len(gone) == 3 + 19, "it never came back"
