"""The history: what each bring-up and each drill measured, a JSON line each, in one file that is only appended to."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from kubedrill import paths
from kubedrill.cputime import Taken
from kubedrill.history import Run, Step
from kubedrill.spec import ClusterSpec

SCHEMA = 1
BRING_UP, HOLLOW = "bring-up", "hollow nodes"
# What nodes can be, and no spec says: VMs without KVM; made from the official packages, not from modules.
EMULATED, PACKAGES = "emulated", "packages"
# What the first words of a kind say, and what changes no figure.
_TOLD = {"name", "kubernetes", "control_planes", "workers", "provider", "proxy_mode", "etcd", "pod_subnet",
         "service_subnet"}  # fmt: skip
# A random part of a pod's name; a node's number, since who leads or is chosen differs from run to run.
_POD = re.compile(r"-[0-9a-f]{8,10}-[a-z0-9]{5}\b")
_NODE = re.compile(r"\b(control-plane|worker)-\d+\b")
_VERSION = re.compile(r"v?[0-9]+\.[0-9]+(\..*)?")


@dataclass(frozen=True)
class Record:
    """What one run measured.

    Args:
        at: when it began, ISO 8601.
        name: 'bring-up', 'hollow nodes' (added to a new cluster), or a drill's name.
        kubernetes: its exact version.
        cluster: its kind: '3+2 docker iptables'.
        machine: the computer's kind: '2 cores, 24 GiB, cgroup v1'.
        verdict: of a drill; a bring-up that is recorded has passed.
        figures: seconds by what took them.
        busy: the share (0 to 1) of the cores' time in which they were not idle; None where that is not known.
        stolen: the share that the host of this computer took; None likewise.
    """

    at: str
    name: str
    kubernetes: str
    cluster: str
    machine: str
    verdict: str
    figures: Mapping[str, float]
    busy: float | None = None
    stolen: float | None = None


class Kept(NamedTuple):
    """What the history holds.

    Args:
        records: the oldest first, each once.
        passed_over: how many lines are none: cut off, of another schema, or with a field of the wrong type.
    """

    records: tuple[Record, ...]
    passed_over: int


def file() -> Path:
    """Where it is."""
    return paths.state() / "history.jsonl"


def append(record: Record, target: Path | None = None) -> None:
    """Add a line."""
    line = json.dumps({"schema": SCHEMA, **asdict(record)}) + "\n"
    with (target or file()).open("a+b", buffering=0) as sink:
        # Whoever was killed while it wrote left half a line: glued to it, this one would be lost with it.
        before = "\n" if _is_cut_off(sink) else ""
        # One write of a whole line: another process that appends at the same time comes before or after it.
        sink.write((before + line).encode())


def read(source: Path | None = None) -> tuple[Record, ...]:
    """All that is recorded, the oldest first, each once; lines that are no records are passed over."""
    return kept(source).records


def kept(source: Path | None = None) -> Kept:
    """All that is recorded, and how many lines were passed over."""
    source = source or file()
    if not source.exists():
        return Kept((), 0)
    lines = [line for line in source.read_text(errors="replace").splitlines() if line.strip()]
    parsed = [(line, _parsed(line)) for line in lines]
    found = {line: record for line, record in parsed if record}
    passed_over = sum(record is None for _, record in parsed)
    return Kept(tuple(sorted(found.values(), key=lambda record: record.at)), passed_over)


def of_run(run: Run, made: Sequence[str] = (), taken: Taken | None = None) -> Record:
    """What a drill measured: how long it took, each recovery that it waited for, and the longest gap of each lane.

    Args:
        run: the drill.
        made: what its nodes are and its spec does not say: EMULATED, PACKAGES.
        taken: how busy this computer was meanwhile.
    """
    titles = {lane.name: lane.title for lane in run.lanes}
    spec = ClusterSpec.from_json(json.dumps(dict(run.cluster)))
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
        cluster=kind_of_cluster(spec, made),
        machine=kind_of_machine(run.machine),
        verdict=run.verdict,
        figures={"took": run.duration, **_recoveries(run.steps, spec.name), **gaps},
        **_shares(taken),
    )


def of_bring_up(
    spec: ClusterSpec, taken: Taken, machine: str, *, made: Sequence[str] = (), name: str = BRING_UP
) -> Record:  # fmt: skip
    """What a bring-up took, from built images to all nodes Ready.

    Args:
        spec: the cluster.
        taken: how long, and how busy this computer was meanwhile.
        machine: the computer in a line.
        made: what its nodes are and its spec does not say: EMULATED, PACKAGES.
        name: HOLLOW for what its hollow nodes took.
    """
    return Record(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        name=name,
        kubernetes=spec.version(),
        cluster=kind_of_cluster(spec, made),
        machine=kind_of_machine(machine),
        verdict="passed",
        figures={"took": round(taken.seconds, 1)},
        **_shares(taken),
    )


def kind_of_cluster(spec: ClusterSpec, made: Sequence[str] = ()) -> str:
    """Of clusters of one kind, figures can be compared: '3+2 docker iptables', then what differs from the defaults.

    Args:
        spec: the cluster.
        made: what its nodes are and its spec does not say: EMULATED, PACKAGES.
    """
    apart = ["external-etcd"] if spec.etcd == "external" else []
    first = f"{spec.control_planes}+{spec.workers} {spec.provider} {spec.proxy_mode}"
    return " ".join([first, *apart, *_further(spec), *made])


def _further(spec: ClusterSpec) -> Iterator[str]:
    """Settings that are not the usual ones: 'hollow=1000', 'extraArgs.etcd.quota-backend-bytes=1000'."""
    given = spec.model_dump(by_alias=True, exclude=_TOLD)
    usual = dict(_flat("", ClusterSpec().model_dump(by_alias=True)))
    # KVM or emulation, 'auto' has them too: what it came to is said by `made`.
    if given["vm"]["driver"] != "virtualbox":
        given["vm"]["driver"] = "auto"
    if nodes := given.pop("nodes"):
        # Labels, taints, mounts: too long to be read, and only to be told apart.
        given["nodes"] = sha256(json.dumps(nodes, sort_keys=True).encode()).hexdigest()[:8]
    for key, value in _flat("", given):
        if value != usual.get(key):
            yield f"{key}={value}"


def _flat(before: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from sorted(_flat(f"{before}{key}.", inner))
        else:
            yield f"{before}{key}", str(inner)


def _shares(taken: Taken | None) -> dict[str, float]:
    known = {"busy": taken.busy, "stolen": taken.stolen} if taken else {}
    return {name: round(share, 3) for name, share in known.items() if share is not None}


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


def _is_cut_off(written: BinaryIO) -> bool:
    """Whether the last line of a file lacks its end."""
    if not written.seek(0, os.SEEK_END):
        return False
    written.seek(-1, os.SEEK_END)
    return written.read(1) != b"\n"


def _parsed(line: str) -> Record | None:
    """The record of a line; None where it is none. What a later version may add to it is left out."""
    try:
        content: dict[str, Any] = json.loads(line)
        if content["schema"] != SCHEMA:
            return None
        return Record(
            at=_moment(content["at"]),
            name=_text(content["name"]),
            kubernetes=_version(content["kubernetes"]),
            cluster=_text(content["cluster"]),
            machine=_text(content["machine"]),
            verdict=_text(content["verdict"]),
            figures={name: _number(value) for name, value in content["figures"].items()},
            busy=_share(content.get("busy")),
            stolen=_share(content.get("stolen")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _moment(value: object) -> str:
    """A moment as records write it: ISO 8601 has other ways, which do not sort as texts."""
    text = _text(value)
    when = datetime.fromisoformat(text)
    # One that has no equal in UTC, as late on the last day of the year 9999, is not drawn.
    (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    if text[:10] != when.date().isoformat():
        raise ValueError(f"{text} is not written as 2026-11-30T02:17:00")
    return text


def _version(value: object) -> str:
    text = _text(value)
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text} is no version")
    return text


def _number(value: object) -> float:
    # To Python true is 1, and JSON as Python reads it has NaN and Infinity, of which there is no median.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _share(value: object) -> float | None:
    return None if value is None else _number(value)
