"""A clock that is far ahead: certificates are expired then, and nobody can be told apart any more."""

from __future__ import annotations

from kubedrill import checks
from kubedrill.faults import Fault, LeftOut, SkewClock
from kubedrill.scenario import back, scenario, workload
from kubedrill.scenario.lab import Lab

# kubeadm's certificates are valid for 365 days, its CA for ten years.
AHEAD = 400 * 24 * 3600


@scenario(workers=0, provider="vagrant")
def clock_skew(lab: Lab) -> None:
    """Set the clock of a control plane 400 days ahead: clients are refused until it is right, and then all is well."""
    run(lab)


def run(lab: Lab, *, healed: bool = True) -> None:
    """The drill; its negative control leaves the clock wrong.

    Args:
        lab: the lab.
        healed: whether the clock is set right again.
    """
    leader = lab.control_planes()[0]
    lab.say("prediction: the API server compares certificates with its own clock, and its clients' are expired then")
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect(
        "a pod of hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=90
    )
    lab.baseline(4)
    skew: Fault = SkewClock(leader.name, AHEAD)
    with lab.fault(skew if healed else LeftOut(skew)):
        lab.require_seen("reads are refused while the clock is wrong", lambda: lab.monitor.works("api-read"),
                         lambda works: (not works, "they succeed"), within=60)  # fmt: skip
        told = leader.run(["sh", "-c", "kubectl get --raw /readyz 2>&1 | tail -n 1"], check=False, timeout=120)
        lab.fact("what a client on the node is told", told.stdout.strip()[:200])
    serves = back.require(lab, within=60, when="once it is right")
    if serves:  # otherwise nobody can tell yet what is there
        lab.verify()
        lab.require_writes()
