"""The plug is pulled."""

from __future__ import annotations

from kubedrill import checks
from kubedrill.faults import PowerCut
from kubedrill.scenario import back, scenario, workload
from kubedrill.scenario.lab import Lab

SYNCED, CARELESS = "/var/lib/kubedrill/power-cut-synced", "/var/lib/kubedrill/power-cut-careless"


@scenario(workers=0, provider="vagrant")
def power_cut(lab: Lab) -> None:
    """Cut a control plane's power: every acknowledged write, and what was synced, is there afterwards."""
    run(lab)


def run(lab: Lab, *, sync: bool = True) -> None:
    """The drill; its negative control does not sync what must be there afterwards.

    Args:
        lab: the lab.
        sync: whether the careful file is synced.
    """
    leader = lab.control_planes()[0]
    lab.say("prediction: etcd syncs before it acknowledges, so no acknowledged write is lost; what nobody synced is")
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect(
        "a pod of hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=90
    )
    lab.baseline(4)
    careful = f"echo kept >{SYNCED}" + (f" && sync {SYNCED}" if sync else "")
    leader.run(["sh", "-c", f"rm -f {SYNCED} {CARELESS}; sync; {careful}; echo lost >{CARELESS}"], timeout=120)
    with lab.fault(PowerCut(leader.name)):
        lab.expect("the API is silent", lambda: lab.monitor.silent_for("api-read"),
                   back.silent(lab), within=60)  # fmt: skip
    serves = back.require(lab, within=120)
    there = leader.run(["cat", SYNCED], check=False, timeout=60).stdout.strip()
    lab.require("what was synced is there", there == "kept", there or "nothing")
    careless = leader.run(["cat", CARELESS], check=False, timeout=60).stdout.strip()
    lab.require("what was not synced is gone, as after a real power cut", careless != "lost", careless or "nothing")
    if serves:  # otherwise nobody can tell yet what is there
        lab.verify()
        lab.require_writes()
