"""A disk with no byte left."""

from __future__ import annotations

from collections.abc import Sequence

from kubedrill import checks
from kubedrill.faults import Fault, FillDisk, LeftOut
from kubedrill.kube import PodSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict


@scenario(workers=0, provider="vagrant")
def full_disk(lab: Lab) -> None:
    """Fill a control plane's disk: nothing new can start, no acknowledged write is lost, and all goes on afterwards."""
    run(lab)


def run(lab: Lab, *, healed: bool = True) -> None:
    """The drill; its negative control leaves the disk full.

    Args:
        lab: the lab.
        healed: whether the disk has room again.
    """
    leader = lab.control_planes()[0]
    lab.say("prediction: a container needs files of its own to start; etcd writes into space that it holds already")
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("a pod of hello is ready", lambda: lab.pods("hello"), _one, within=90)
    # What a pod there asks is written to its log, on the disk that is to be full.
    lab.baseline(4, inside=None)
    fill: Fault = FillDisk(leader.name)
    with lab.fault(fill if healed else LeftOut(fill)):
        left = leader.run(["df", "--output=avail", "/var/lib"], timeout=60).stdout.split()[-1]
        lab.require("the disk is full", left == "0", f"{left} KiB left for others than root")
        told = leader.run(["sh", "-c", "echo x >/var/lib/kubedrill/one-more 2>&1; cat /var/lib/kubedrill/one-more"],
                          check=False, timeout=60)  # fmt: skip
        lab.require("a file more cannot be written", told.stdout.strip() != "x", told.output.strip()[-120:])
        lab.apply(workload.deployment("late", 1, everywhere=True))
        lab.hold(3)
        pods = lab.read(lambda: lab.pods("late"))
        lab.require("a new pod does not start meanwhile", not any(pod.ready for pod in pods), _words(pods))
    lab.require_seen("the new pod starts once there is room", lambda: lab.pods("late"), _one, within=90)
    lab.require_seen("writes succeed", lambda: lab.monitor.works("api-write"),
                     lambda works: (works, "they do" if works else "they do not"), within=60)  # fmt: skip
    lab.verify()
    lab.require_writes()


def _one(pods: Sequence[PodSnapshot]) -> Verdict:
    return checks.pods_running(pods, 1)


def _words(pods: Sequence[PodSnapshot]) -> str:
    return ", ".join(f"{pod.name} {pod.phase}" for pod in pods) or "no pod yet"
