"""The course's helloworld: pods on different nodes that reach each other, the API, and names."""

from __future__ import annotations

import contextlib
import json

from kubedrill import checks
from kubedrill.faults import Fault
from kubedrill.kube import PodSnapshot
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab


@scenario(workers=1)
def hello(lab: Lab) -> None:
    """Deploy hello; its pods must reach each other across nodes, the API, the Service, and find names."""
    run(lab)


def run(lab: Lab, broken: Fault | None = None) -> None:
    """The drill; its negative control breaks the pod network before it looks.

    Args:
        lab: the lab.
        broken: what is broken while it looks; nothing in the drill itself.
    """
    # Two nodes are enough: where there is one worker, the control plane is the other.
    everywhere = len(lab.workers()) == 1
    lab.apply(workload.deployment("hello", 2, everywhere=everywhere), workload.service("hello", workload.NODE_PORT))
    first, second = lab.expect(
        "two pods of hello are ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60
    )
    lab.assume_true("the pods are on different nodes", first.node != second.node, f"{first.node}, {second.node}")
    lab.baseline(5)
    with lab.fault(broken) if broken else contextlib.nullcontext():
        _look(lab, first, second)
    lab.verify()
    lab.require_no_failure("service")
    lab.require_no_failure("pod-service")
    lab.require_no_failure("pod-dns")


def _look(lab: Lab, first: PodSnapshot, second: PodSnapshot) -> None:
    """As the course does it, by hand."""
    wait = round(5 * lab.patience)
    pinged = lab.in_pod(first.name, f"nping --tcp -c 3 -p {workload.PORT} {second.ip}", check=False).stdout
    lab.require("nping from pod to pod across nodes loses nothing", "Lost: 0 (0.00%)" in pinged, _lost(pinged))
    answer = lab.in_pod(first.name, f"curl -sS -m {wait} http://{second.ip}:{workload.PORT}/", check=False).stdout
    lab.require("an HTTP request from pod to pod is answered by that pod", second.name in answer, answer.strip())
    version = lab.in_pod(first.name, f"curl -sS -k -m {wait} https://kubernetes.default/version", check=False).stdout
    lab.require(
        "a pod reaches the API: curl -k https://kubernetes.default",
        lab.cluster.spec.version() in version,
        _version(version),
    )
    address = lab.kubectl(
        "get", "service", "hello", "--namespace", workload.NAMESPACE, "-o", "jsonpath={.spec.clusterIP}"
    ).stdout
    found = lab.in_pod(first.name, f"dig +short hello.{workload.NAMESPACE}.svc.cluster.local", check=False).stdout
    lab.require(
        "DNS gives a pod the Service's address", found.split() == [address], f"{found.strip()}, it is {address}"
    )


def _lost(output: str) -> str:
    return next((line.strip() for line in output.splitlines() if "Lost:" in line), "no answer")


def _version(output: str) -> str:
    try:
        return str(json.loads(output)["gitVersion"])
    except (ValueError, KeyError):
        return output.strip()[:80] or "no answer"
