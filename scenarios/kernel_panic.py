"""A kernel that panics: the computer is on, answers nothing, and does not come back by itself."""

from __future__ import annotations

from kubedrill import checks
from kubedrill.faults import Fault, KernelPanic, LeftOut
from kubedrill.scenario import back, scenario, workload
from kubedrill.scenario.lab import Lab


@scenario(workers=0, provider="vagrant")
def kernel_panic(lab: Lab) -> None:
    """Let a control plane's kernel panic: it hangs until it is reset, and then no acknowledged write is lost."""
    run(lab)


def run(lab: Lab, *, healed: bool = True) -> None:
    """The drill; its negative control does not press the reset button.

    Args:
        lab: the lab.
        healed: whether the computer is reset.
    """
    leader = lab.control_planes()[0]
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect(
        "a pod of hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=90
    )
    lab.baseline(4)
    panic: Fault = KernelPanic(leader.name)
    with lab.fault(panic if healed else LeftOut(panic)):
        lab.require_seen("the API is silent", lambda: lab.monitor.silent_for("api-read"),
                         back.silent(lab), within=60)  # fmt: skip
        lab.require_seen("its last words are on the serial console", leader.console,
                         lambda text: ("Kernel panic" in text, text[-100:]), within=60)  # fmt: skip
        lab.require("the computer itself is on", leader.state() == "running", leader.state())
    serves = back.require(lab, within=120)
    if serves:  # otherwise nobody can tell yet what is there
        lab.verify()
        lab.require_writes()
