"""Lanes inside a pod: the program `probe` of the hello image asks; its lines are read from the pod's log on its node.

The log is a file of the node, so it can be read while the API is down, and after the pod is gone from the API. The
program tells calendar time; on nodes that are containers it is the same clock as this machine's.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from kubedrill.history import Lane, Sample
from kubedrill.images.store import HELLO
from kubedrill.network import to_yaml
from kubedrill.probes.manifest import NAMESPACE

LOGS = "/var/log/pods"


@dataclass(frozen=True)
class PodLane:
    """What a pod asks.

    Args:
        lane: name, interval; its kind says how: 'service' by HTTP, 'dns' by a query.
        target: http://hello.default/ or a DNS name. A name that ends with a dot is asked for as it is; the search list
            of the pod makes several questions of any other.
    """

    lane: Lane
    target: str

    def argument(self) -> str:
        """It as an argument of `probe`."""
        return f"{'dns' if self.lane.kind == 'dns' else 'http'},{self.lane.name},{self.lane.interval:g}s,{self.target}"


@dataclass(frozen=True)
class PodSamples:
    """What a pod's log holds.

    Args:
        lanes: the samples of each lane, in the order of their starts.
        overhead: share of one core that the program used for each lane, 0 to 1.
        noise: lines that are none of the program's: what it reported on standard error, or a panic. With anything in
            it the lanes are inconclusive.
    """

    lanes: dict[str, tuple[Sample, ...]]
    overhead: float
    noise: tuple[str, ...]


def pod_manifest(
    name: str,
    node: str,
    lanes: Sequence[PodLane],
    *,
    timeout: float = 1.0,
    image: str = HELLO,
    host_network: bool = False,
) -> str:
    """A pod that asks. It is put on its node without the scheduler, tolerates all, and starts again when it ends.

    Args:
        name: of the pod, in the namespace of the probes.
        node: where it runs.
        lanes: what it asks.
        timeout: seconds that each question has.
        image: one with `probe` in it.
        host_network: whether it uses its node's network instead of a pod's.
    """
    arguments = ["-timeout", f"{timeout:g}s", *(lane.argument() for lane in lanes)]
    return to_yaml(
        [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "kubedrill-probe"}},
                "spec": {
                    "nodeName": node,
                    "hostNetwork": host_network,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {
                            "name": "probe",
                            "image": image,
                            "imagePullPolicy": "Never",
                            "command": ["/usr/local/bin/probe", *arguments],
                            # Without a request it would be the last on its node to get CPU, and be late.
                            "resources": {"requests": {"cpu": "50m"}},
                        }
                    ],
                },
            }
        ]
    )


def log_lines(tree: bytes, pod: str, namespace: str = NAMESPACE) -> list[str]:
    """The lines that the containers of a pod printed, of all its restarts, rotated files too.

    Args:
        tree: a tar of /var/log/pods of its node: `node.read_tree(LOGS)`, read a timeout after the end of the run or
            later: what is still asked has no line yet.
        pod: its name.
        namespace: its namespace.
    """
    lines = []
    with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
        for member in tar:
            opened = tar.extractfile(member) if f"/{namespace}_{pod}_" in f"/{member.name}" else None
            if opened is None:
                continue
            content = opened.read()
            if member.name.endswith(".gz"):
                content = gzip.decompress(content)
            lines += content.decode(errors="replace").splitlines(keepends=True)
    return lines


def unwrap(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Take the CRI log format off: 'TIME STREAM TAG TEXT', where the tag P says that the line goes on in the next.

    Args:
        lines: with their line ends; a line without one was cut off while it was written, and is passed over.

    Returns:
        (stream, text) of each whole line; the stream is empty for what is not in the format.
    """
    whole: list[tuple[str, str]] = []
    begun: dict[str, str] = {}
    for line in lines:
        if not line.endswith("\n"):
            continue
        parts = line.rstrip("\n").split(" ", 3)
        if len(parts) < 3 or parts[1] not in ("stdout", "stderr"):
            whole.append(("", line.rstrip("\n")))
            continue
        stream, text = parts[1], begun.pop(parts[1], "") + (parts[3] if len(parts) == 4 else "")
        if parts[2].split(":")[0] == "P":
            begun[stream] = text
        else:
            whole.append((stream, text))
    return whole


def parse(lines: Iterable[str], started_wall: float) -> PodSamples:
    """The samples in a pod's log.

    Args:
        lines: as `log_lines` gives them.
        started_wall: time.time() at second 0 of the run.
    """
    lanes: dict[str, list[Sample]] = {}
    noise: list[str] = []
    costs: dict[float, float] = {}
    for stream, text in unwrap(lines):
        try:
            told = json.loads(text) if stream == "stdout" else None
            if told and "cpu" in told:
                costs[told["began"]] = told["cpu"] / (told["at"] - told["began"]) / told["lanes"]
            elif told:
                sample = Sample(
                    told["start"] - started_wall, told["end"] - started_wall, told["outcome"], told["detail"]
                )
                lanes.setdefault(told["lane"], []).append(sample)
            elif text:
                noise.append(text)
        except (ValueError, KeyError, TypeError, ZeroDivisionError):
            noise.append(text)
    return PodSamples(
        lanes={name: tuple(sorted(samples, key=lambda sample: sample.start)) for name, samples in lanes.items()},
        overhead=max(costs.values(), default=0.0),
        noise=tuple(noise),
    )


def while_off(
    samples: Sequence[Sample], interval: float, off: Sequence[tuple[float, float]], run_end: float
) -> tuple[Sample, ...]:
    """The samples, and failed ones for when the pod was not there because its own node was down.

    Nobody asked then; but nobody in such a pod had the service either, and silence would count as a probe's stall.

    Args:
        samples: of a lane, in the order of their starts.
        interval: between two questions, seconds.
        off: when the node was down: (start, end). The pod comes back some time after that, or never.
        run_end: when sampling ended.
    """
    filled: list[Sample] = []
    for earlier, following in zip_longest(samples, samples[1:]):
        until = following.start if following else run_end
        filled.append(earlier)
        if any(earlier.start <= end and until >= start for start, end in off):
            moments = [
                earlier.start + number * interval for number in range(1, round((until - earlier.start) / interval))
            ]
            filled += [Sample(at, at, "failed", "the pod's own node is down") for at in moments]
    return tuple(filled)
