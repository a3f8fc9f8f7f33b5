"""The trap of the course: the FORWARD chain drops, and traffic between nodes dies while all nodes stay Ready."""

from __future__ import annotations

from kubedrill import checks
from kubedrill.faults import DropForward, Fault
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab, names


@scenario(workers=2)
def pod_network(lab: Lab) -> None:
    """Let the FORWARD chain of the workers drop; pods of different nodes must lose each other, and be found again."""
    run(lab, DropForward(tuple(names(lab.workers()))))


def run(lab: Lab, fault: Fault) -> None:
    """The drill, with its fault as an argument, so that its negative control can leave the heal out."""
    lab.apply(workload.deployment("hello", 2), workload.service("hello", workload.NODE_PORT))
    first, second = lab.expect(
        "two pods on different nodes", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60
    )
    ask = f"curl -sS -m 2 -o /dev/null http://{second.ip}:{workload.PORT}/healthz"
    lab.assume_true("pod reaches pod before", lab.in_pod(first.name, ask, check=False).status == 0, ask)
    lab.baseline(5, inside=first.node)

    with lab.fault(fault):
        lab.expect("pod no longer reaches pod", lambda: lab.in_pod(first.name, ask, check=False),
                   lambda result: (result.status != 0, f"status {result.status}"), within=15, predicted=1)  # fmt: skip
        nodes = lab.api.nodes()
        ready = [node.name for node in nodes if node.ready]
        lab.require(
            "all nodes stay Ready: Kubernetes does not see it",
            len(ready) == len(nodes),
            f"{len(ready)} of {len(nodes)}",
        )
        _diagnose(lab, first.node, second.ip, first.name, ask)
    lab.expect("pod reaches pod again", lambda: lab.in_pod(first.name, ask, check=False),
               lambda result: (result.status == 0, f"status {result.status}"), within=30, predicted=1)  # fmt: skip
    lab.hold(3)
    lab.verify()
    felt = lab.figures("pod-service")
    bad = felt.failed + felt.unknown
    lab.require("pods felt it: their Service failed", bad > 0, f"{bad} bad answers, longest gap {felt.longest:.1f} s")


def _diagnose(lab: Lab, node: str, address: str, pod: str, ask: str) -> None:
    """As a person would: is there a route, does the packet leave through VXLAN, who drops it."""
    computer = lab.node(node)
    route = computer.run(["ip", "route", "get", address]).stdout.split("\n")[0].strip()
    lab.say(f"1. is there a route on {node}? {route}")
    sent = _counter(computer.run(["ip", "-s", "link", "show", "flannel.1"], check=False).stdout)
    lab.in_pod(pod, ask, check=False)
    after = _counter(computer.run(["ip", "-s", "link", "show", "flannel.1"], check=False).stdout)
    lab.say(f"2. does a packet leave through VXLAN? flannel.1 sent {sent} packets before a request, {after} after it")
    rules = computer.run(["iptables", "-L", "FORWARD", "-n", "-v"]).stdout.splitlines()
    lab.say(f"3. who drops it? {rules[0].strip()}")
    dropping = [line.split() for line in rules if "DROP" in line]
    lab.require(
        "the counters of FORWARD name the culprit",
        bool(dropping),
        " / ".join(" ".join(line) for line in dropping)[:160],
    )


def _counter(text: str) -> int:
    lines = [line.split() for line in text.splitlines()]
    index = next((number for number, line in enumerate(lines) if line[:1] == ["TX:"]), None)
    return int(lines[index + 1][1]) if index is not None else 0
