"""Runs that look like real ones: a failover of 150 s with 2.4 s without an API, and one that came to nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from kubedrill.history import (
    ClusterEvent,
    FaultSpan,
    Lane,
    LaneFigures,
    Outcome,
    Phase,
    Requirement,
    Run,
    Sample,
    Step,
)  # fmt: skip

Samples = Mapping[str, Sequence[Sample]]
KILLED, BACK, CUT, JOINED, END = 42.3, 91.0, 108.5, 112.6, 150.0
OUTAGE = (KILLED + 0.1, KILLED + 2.5)

LANES = (
    Lane("api-read", "API read through the balancer", 0.1, "read", "new"),
    Lane("api-read-kept", "API read, connection kept", 0.1, "read", "kept"),
    Lane("api-write", "API write (ConfigMap), then read back", 0.2, "write", "new"),
    Lane("cp-1", "API server of control plane 1", 0.1, "read", "new"),
    Lane("cp-2", "API server of control plane 2", 0.1, "read", "new"),
    Lane("cp-3", "API server of control plane 3", 0.1, "read", "new"),
    Lane("nodeport", "Service at a NodePort, from outside", 0.1, "service", "new"),
    Lane("dns", "DNS: kubernetes.default from a pod", 0.1, "dns", "new"),
)
# When a lane does not answer, and how: (from, to, outcome, what is said).
TROUBLE: Mapping[str, Sequence[tuple[float, float, Outcome, str]]] = {
    "api-read": [(*OUTAGE, "failed", "dial tcp 127.0.0.1:16443: connect: connection refused")],
    "api-read-kept": [(OUTAGE[0], OUTAGE[1] + 1.1, "failed", "read: connection reset by peer")],
    "api-write": [
        (OUTAGE[0], OUTAGE[0] + 1.0, "unknown", "timeout: the write may have been done"),
        (OUTAGE[0] + 1.0, OUTAGE[1] + 0.6, "failed", "etcdserver: leader changed"),
    ],
    "cp-2": [(KILLED, BACK + 9.4, "failed", "connect: no route to host")],
    "nodeport": [(60.2, 60.6, "failed", "i/o timeout"), (CUT, JOINED - 0.4, "failed", "i/o timeout")],
    "dns": [(CUT + 0.2, CUT + 1.1, "failed", "SERVFAIL"), (CUT + 1.1, CUT + 3.0, "unknown", "no answer within 1 s")],
}
EVENTS = (
    (44.0, "Lease/kube-scheduler", "LeaderElection", "lab-control-plane-3 became leader"),
    (44.1, "Lease/kube-controller-manager", "LeaderElection", "lab-control-plane-1 became leader"),
    (81.9, "Node/lab-control-plane-2", "NodeNotReady", "Node lab-control-plane-2 status is now: NodeNotReady"),
    *((82.0 + i * 0.2, f"Pod/kube-system/proxy-{i}x7kq", "NodeNotReady", "Node is not ready") for i in range(6)),
    (91.4, "Node/lab-control-plane-2", "Starting", "Starting kubelet."),
    (92.0, "Node/lab-control-plane-2", "NodeHasSufficientMemory", "Node lab-control-plane-2 has sufficient memory"),
    (99.8, "Node/lab-control-plane-2", "NodeReady", "Node lab-control-plane-2 status is now: NodeReady"),
    *((100.1 + i * 0.7, f"Pod/kube-system/etcd-{i}", "Started", "Started container etcd") for i in range(4)),
    (109.0, "Pod/default/web-6d4c5b9f8-x2x7q", "Unhealthy", "Readiness probe failed: Get http://10.244.3.9: timeout"),
    (113.2, "Pod/default/web-6d4c5b9f8-x2x7q", "Ready", "Readiness probe succeeded"),
    (131.0, "Node/lab-worker-1", "NodeHasNoDiskPressure", "Node lab-worker-1 status is now: NodeHasNoDiskPressure"),
    (140.0, "Node/lab-worker-2", "NodeHasSufficientPID", "Node lab-worker-2 has sufficient PID available"),
)


def failover() -> tuple[Run, Samples]:
    """A run that passed: eight lanes, two faults, 20 events, 2.4 s without an API."""
    random = Random(7)
    samples = {lane.name: _sampled(lane, random) for lane in LANES}
    run = Run(
        drill="ha-failover",
        title="Kill the control plane that leads etcd; the API must come back and no acknowledged write may be lost.",
        verdict="passed",
        reason="All 4 requirements were met; the API could not be read for 2.4 s.",
        started="2026-11-24T19:56:16+00:00",
        duration=END,
        cluster={"control planes": 3, "workers": 2, "network": "flannel", "provider": "docker",
                 "subnets": ["10.244.0.0/16"]},
        kubernetes="v1.34.2",
        machine="2 cores, 8 GB, Linux 6.1",
        phases=tuple(
            Phase(name, start, end)
            for name, start, end in (
                ("assumptions", 0, 11.8), ("baseline", 11.8, KILLED), ("fault", KILLED, BACK), ("heal", BACK, 92.2),
                ("converge", 92.2, 136.0), ("verify", 136.0, END),
            )
        ),
        steps=(
            Step(0.2, "assumptions", "3 control planes and 2 workers are ready; etcd has 3 members."),
            Step(12.0, "baseline", "30 s without a fault, to compare with."),
            Step(KILLED, "fault", "kill node lab-control-plane-2, which leads etcd", "fault"),
            Step(44.9, "fault", "The API answers again through the balancer.", "wait", 30, 2.4),
            Step(46.0, "fault", "etcd has a new leader: lab-control-plane-3.", "wait", 3.0, 3.7),
            Step(81.9, "fault", "Kubernetes sees the node as not ready.", "wait", 45, 39.6),
            Step(BACK, "heal", "lab-control-plane-2 is started again.", "heal"),
            Step(100.4, "converge", "All nodes are ready.", "wait", 120, 9.4),
            Step(CUT, "converge", "cut lab-worker-1 off from the pod network", "fault"),
            Step(JOINED, "converge", "lab-worker-1 is connected again.", "heal"),
            Step(136.2, "verify", "412 of 412 acknowledged writes are there."),
        ),
        faults=(
            FaultSpan("kill node", "lab-control-plane-2", "leads etcd", KILLED, BACK),
            FaultSpan("cut network", "lab-worker-1", "runs a web pod", CUT, JOINED),
        ),
        events=tuple(ClusterEvent(*event) for event in EVENTS),
        lanes=LANES,
        figures=tuple(_figures(lane, samples[lane.name]) for lane in LANES),
        requirements=(
            Requirement("API reads were down for at most 15 s", "2.4 s", True),
            Requirement("API writes were down for at most 20 s", "3.0 s", True),
            Requirement("No acknowledged write was lost", "0 of 412", True),
            Requirement("A Service at a NodePort was down for at most 10 s", "4.1 s", True),
        ),
        targets={"leads etcd": "lab-control-plane-2", "runs a web pod": "lab-worker-1"},
        facts={"etcd": "3.6.5", "balancer": "HAProxy, health check every 500 ms"},
    )  # fmt: skip
    return run, samples


def nothing() -> tuple[Run, Samples]:
    """A run that ended in its set-up: inconclusive, no samples, no fault, no event."""
    run = Run(
        drill="ha-failover",
        title="Kill the control plane that leads etcd",
        verdict="inconclusive",
        reason="An assumption does not hold: etcd has 2 members of 3 (lab-control-plane-3 does not answer).",
        started="2026-11-24T20:10:02+00:00",
        duration=4.2,
        cluster={},
        kubernetes="v1.34.2",
        machine="2 cores, 8 GB, Linux 6.1",
        phases=(Phase("assumptions", 0, 4.2),),
        steps=(Step(4.2, "assumptions", "etcd has 2 members of 3", "fail", 3, None),),
        lanes=LANES[:2],
    )
    return run, {}


def _sampled(lane: Lane, random: Random) -> tuple[Sample, ...]:
    samples = []
    for number in range(int((END - 3 - 12) / lane.interval)):
        start = 12 + number * lane.interval + random.random() * 0.004
        if lane.name == "dns" and 70 < start < 72.5:
            continue  # The sampler itself stood still.
        trouble = next((item for item in TROUBLE.get(lane.name, ()) if item[0] <= start < item[1]), None)
        took = 0.003 * math.exp(random.gauss(0, 0.5)) * (3 if KILLED < start < BACK else 1)
        if trouble:
            samples.append(Sample(start, start + 0.001, trouble[2], trouble[3]))
        else:
            pod = random.choice(["web-6d4c5b9f8-x2x7q", "web-6d4c5b9f8-9kk2p"]) if lane.kind == "service" else ""
            samples.append(Sample(start, start + took, "ok", pod))
    return tuple(samples)


def _figures(lane: Lane, samples: Sequence[Sample]) -> LaneFigures:
    windows = tuple((start, end) for start, end, *_ in TROUBLE.get(lane.name, ()))
    latency = {}
    for period, start, end in (("before", 0.0, KILLED), ("during", KILLED, BACK), ("after", BACK, END)):
        took = sorted(s.end - s.start for s in samples if s.outcome == "ok" and start <= s.start < end)
        if took:
            latency[period] = {"p50": took[len(took) // 2], "p95": took[len(took) * 95 // 100], "max": took[-1]}
    return LaneFigures(
        lane=lane.name,
        samples=len(samples),
        failed=sum(sample.outcome == "failed" for sample in samples),
        unknown=sum(sample.outcome == "unknown" for sample in samples),
        downtime=sum(end - start for start, end in windows),
        longest=max((end - start for start, end in windows), default=0.0),
        windows=windows,
        latency=latency,
        stalled=2.5 if lane.name == "dns" else 0.02,
        overhead=0.013,
    )
