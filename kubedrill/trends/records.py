"""The history: what each bring-up and each drill measured, a JSON line each, in one file that is only appended to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubedrill import paths
from kubedrill.history import Run, Step
from kubedrill.spec import ClusterSpec

SCHEMA = 1
# A random part of a pod's name; a node's number, since who leads or is chosen differs from run to run.
_POD = re.compile(r"-[0-9a-f]{8,10}-[a-z0-9]{5}\b")
_NODE = re.compile(r"\b(control-plane|worker)-\d+\b")


@dataclass(frozen=True)
class Record:
    """What one run measured.

    Args:
        at: when it began, ISO 8601.
        name: 'bring-up', or a drill's name.
        kubernetes: its exact version.
        cluster: its kind: '3+2 docker iptables'.
        machine: the computer's kind: '2 cores, 24 GiB, cgroup v1'.
        verdict: of a drill; a bring-up that is recorded has passed.
        figures: seconds by what took them.
    """

    at: str
    name: str
    kubernetes: str
    cluster: str
    machine: str
    verdict: str
    figures: Mapping[str, float]


def file() -> Path:
    """Where it is."""
    return paths.state() / "history.jsonl"


def append(record: Record, target: Path | None = None) -> None:
    """Add a line."""
    with (target or file()).open("a") as sink:
        # One write of a whole line: another process that appends at the same time comes before or after it.
        sink.write(json.dumps({"schema": SCHEMA, **asdict(record)}) + "\n")


def read(source: Path | None = None) -> tuple[Record, ...]:
    """All that is recorded, the oldest first, each once; lines of another schema, or cut off, are passed over."""
    source = source or file()
    if not source.exists():
        return ()
    found = {}
    for line in source.read_text(errors="replace").splitlines():
        record = _parsed(line)
        if record:
            found[line] = record
    return tuple(sorted(found.values(), key=lambda record: record.at))


def of_run(run: Run) -> Record:
    """What a drill measured: how long it took, each recovery that it waited for, and the longest gap of each lane."""
    titles = {lane.name: lane.title for lane in run.lanes}
    spec = ClusterSpec.model_validate(dict(run.cluster))
    gaps: dict[str, float] = {}
    for one in run.figures:
        # Control planes have a lane each: of the same kind the longest counts.
        name = f"longest gap: {_lasting(titles.get(one.lane, one.lane), spec.name)}"
        if one.samples:
            gaps[name] = max(one.longest, gaps.get(name, 0.0))
    return Record(
        at=run.started,
        name=run.drill,
        kubernetes=run.kubernetes,
        cluster=kind_of_cluster(spec),
        machine=kind_of_machine(run.machine),
        verdict=run.verdict,
        figures={"took": run.duration, **_recoveries(run.steps, spec.name), **gaps},
    )


def of_bring_up(spec: ClusterSpec, seconds: float, machine: str) -> Record:
    """What a bring-up took, from built images to all nodes Ready."""
    return Record(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        name="bring-up",
        kubernetes=spec.version(),
        cluster=kind_of_cluster(spec),
        machine=kind_of_machine(machine),
        verdict="passed",
        figures={"took": round(seconds, 1)},
    )


def kind_of_cluster(spec: ClusterSpec) -> str:
    """Of clusters of one kind, figures can be compared: '3+2 docker iptables'."""
    apart = " external-etcd" if spec.etcd == "external" else ""
    return f"{spec.control_planes}+{spec.workers} {spec.provider} {spec.proxy_mode}{apart}"


def kind_of_machine(text: str) -> str:
    """What makes figures comparable: '2 cores, 24105 MiB, ...' gives '2 cores, 24 GiB, cgroup v1'."""
    cores, memory, cgroup = (
        re.search(pattern, text) for pattern in (r"\d+ cores", r"(\d+) MiB", r"cgroup v\d")
    )  # fmt: skip
    size = f"{round(int(memory[1]) / 1024)} GiB" if memory else ""
    return ", ".join(part for part in (cores and cores[0], size, cgroup and cgroup[0]) if part)


def _lasting(text: str, cluster: str) -> str:
    """A text without what is another in each run: the cluster's name, random parts of pods' names, nodes' numbers."""
    return _NODE.sub(r"\1", _POD.sub("", text.replace(f"{cluster}-", "")))


def _recoveries(steps: Iterable[Step], cluster: str) -> dict[str, float]:
    """What was waited for once something was broken; what was waited for again is numbered."""
    found: dict[str, float] = {}
    for step in steps:
        if step.kind != "wait" or step.measured is None or step.phase not in ("fault", "heal", "converge"):
            continue
        text = _lasting(step.text, cluster)
        name, number = text, 1
        while name in found:
            number += 1
            name = f"{text} ({number})"
        found[name] = round(step.measured, 2)
    return found


def _parsed(line: str) -> Record | None:
    try:
        content: dict[str, Any] = json.loads(line)
        if content.pop("schema") != SCHEMA:
            return None
        return Record(**{**content, "figures": {name: float(value) for name, value in content["figures"].items()}})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
