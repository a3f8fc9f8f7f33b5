"""Each fault on real nodes: its effect is seen, it is healed, and that is seen too. And a kill -9 in the middle."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from workload import in_pod, kubectl, manifest, running

from kubedrill import paths, shell
from kubedrill.cluster import Cluster
from kubedrill.faults import (
    Cordon,
    Drain,
    DropForward,
    FaultRefused,
    KillNode,
    KillProcess,
    PacketLoss,
    Partition,
    PauseNode,
    RemoveStaticPod,
    StopNode,
    StopUnit,
    inject,
    targets,
)  # fmt: skip
from kubedrill.images.store import HELLO
from kubedrill.journal import Journal
from kubedrill.kube import Kube, PodSnapshot
from kubedrill.providers.base import Node
from kubedrill.wait import until

pytestmark = [pytest.mark.engine, pytest.mark.cluster]
SPEC = {"workers": 2}
BREAKS = """
import signal, sys
from kubedrill import cluster
from kubedrill.console import Console
from kubedrill.faults import DropForward, KillNode, inject
from kubedrill.journal import Journal

lab = cluster.attach(cluster.lab(Console()).provider, sys.argv[1])
notes = Journal.of(sys.argv[1])
with inject(DropForward(("worker-1",)), lab, notes), inject(KillNode("worker-2"), lab, notes):
    print("all is broken", flush=True)
    signal.pause()
"""

# Its pods end within a second: hello waits much longer by itself.
WEB = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: hello, image: "{HELLO}", imagePullPolicy: Never}}
"""


@pytest.fixture(scope="module")
def notes(lab: Cluster) -> Journal:
    return Journal.of(lab.spec.name)


@pytest.fixture(scope="module")
def pods(lab: Cluster, api: Kube) -> tuple[PodSnapshot, PodSnapshot]:
    """A pod of worker-1 and one of worker-2."""
    kubectl(lab, "apply", "-f", "-", stdin=manifest())
    first, second = sorted(running(api, 2), key=lambda pod: pod.node)
    return first, second


def reaches(lab: Cluster, pods: tuple[PodSnapshot, PodSnapshot]) -> bool:
    """Whether the pod of worker-1 reaches that of worker-2."""
    return in_pod(lab, pods[0], f"curl -sS -m 1 -o /dev/null http://{pods[1].ip}:8080/", check=False).status == 0


def answers(node: Node, address: str) -> bool:
    """Whether a node reaches an address."""
    return node.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", address], check=False).status == 0


def soon(holds: Callable[[], bool], what: str, within: float = 30) -> None:
    until(holds, lambda state: (state, f"{what}: {state}"), within=within, what=what, every=0.1)


def pid(node: Node, program: str) -> str:
    return node.run(["pgrep", "-o", "-f", f"^([^ ]*/)?{program}( |$)"], check=False).stdout.strip()


def test_targets(lab: Cluster, pods: tuple[PodSnapshot, PodSnapshot]) -> None:
    name = f"{lab.spec.name}-control-plane-1"
    assert targets.etcd_leader(lab).node == name
    assert targets.lease_holder(lab, "kube-scheduler").node == name
    assert targets.lease_holder(lab, "kube-controller-manager").node == name
    assert targets.node_of_pod(lab, "app=hello").node in (pods[0].node, pods[1].node)
    with pytest.raises(targets.NoTarget, match="no balancer"):
        targets.behind_balancer(lab)


def test_pods_lose_each_other_while_all_nodes_stay_ready(
    lab: Cluster, api: Kube, notes: Journal, pods: tuple[PodSnapshot, PodSnapshot]
) -> None:
    soon(lambda: reaches(lab, pods), "traffic between pods before")
    node = lab.node("worker-2")
    # What the course calls the trap does nothing with today's flannel: its rules accept first.
    node.run(["iptables", "-w", "-P", "FORWARD", "DROP"])
    assert reaches(lab, pods)
    node.run(["iptables", "-w", "-P", "FORWARD", "ACCEPT"])
    before = node.run(["iptables", "-w", "-S", "FORWARD"]).stdout
    with inject(DropForward(("worker-1", "worker-2")), lab, notes) as entry:
        assert not reaches(lab, pods)
        assert all(found.ready for found in api.nodes())
        assert answers(lab.node("worker-1"), node.address)
        # kube-proxy and flannel put their own rules back each second or so, and leave this one where it is.
        node.run(["sleep", "2"])
        rules = node.run(["iptables", "-w", "-S", "FORWARD"]).stdout.splitlines()
        assert [entry.mark in rule for rule in rules] == [False, True, *[False] * (len(rules) - 2)]
        counted = [
            re.search(rf"^ *([1-9]\d*) .*{entry.mark}", lab.node(name).run(
                ["iptables", "-w", "-L", "FORWARD", "-n", "-v"]).stdout, flags=re.MULTILINE)
            for name in ("worker-1", "worker-2")
        ]  # fmt: skip
        assert any(counted), "the counter tells who drops"
    assert reaches(lab, pods)
    assert node.run(["iptables", "-w", "-S", "FORWARD"]).stdout == before


def test_a_partition_cuts_existing_connections_too(
    lab: Cluster, notes: Journal, pods: tuple[PodSnapshot, PodSnapshot]
) -> None:
    one, other, leader = lab.node("worker-1"), lab.node("worker-2"), lab.node("control-plane-1")
    other.run(["systemd-run", "--unit=kd-echo", "socat", "TCP-LISTEN:7777,reuseaddr,fork", "EXEC:cat"])
    talk = (
        f"while :; do echo x; sleep 0.05; done | socat - TCP:{other.address}:7777,retry=20,interval=0.1 >/run/kd-said"
    )
    one.run(["systemd-run", "--unit=kd-talk", "sh", "-c", talk])

    def flows() -> bool:
        growth = "a=$(wc -c </run/kd-said); sleep 0.6; b=$(wc -c </run/kd-said); echo $((b - a))"
        return int(one.run(["sh", "-c", growth]).stdout or 0) > 0

    def udp(source: Node, target: Node) -> bool:
        target.run(["sh", "-c", "timeout 1 socat -u UDP-RECV:7778 - >/run/kd-udp 2>/dev/null </dev/null & sleep 0.2"])
        source.run(["sh", "-c", f"echo x | socat -u - UDP-SENDTO:{target.address}:7778"], check=False)
        return target.run(["sh", "-c", "sleep 0.2; cat /run/kd-udp"]).stdout == "x\n"

    soon(lambda: one.run(["test", "-s", "/run/kd-said"], check=False).status == 0, "a connection between the workers")
    with inject(Partition("worker-1", ("worker-2",)), lab, notes):
        assert not answers(one, other.address)
        assert not flows()
        assert not reaches(lab, pods), "pods' traffic travels in packets of the nodes"
        assert answers(one, leader.address)
    assert answers(one, other.address)
    soon(flows, "the old connection going on")
    with inject(Partition("worker-1", ("worker-2",), "in"), lab, notes):
        assert (udp(other, one), udp(one, other)) == (False, True)
    with inject(Partition("worker-1", ("worker-2",), "out"), lab, notes):
        assert (udp(other, one), udp(one, other)) == (True, False)
    assert (udp(other, one), udp(one, other)) == (True, True)
    soon(lambda: reaches(lab, pods), "traffic between pods")
    assert "kubedrill" not in one.run(["nft", "list", "tables"]).stdout
    one.run(["systemctl", "stop", "kd-talk"], check=False)
    other.run(["systemctl", "stop", "kd-echo"], check=False)


def test_packets_are_lost(lab: Cluster, notes: Journal) -> None:
    leader, lossy = lab.node("control-plane-1"), lab.node("worker-2")

    def lost() -> float:
        said = leader.run(["ping", "-q", "-c", "80", "-i", "0.01", "-W", "1", lossy.address], check=False).stdout
        found = re.search(r"([\d.]+)% packet loss", said)
        assert found, said
        return float(found[1])

    with inject(PacketLoss("worker-2", 40), lab, notes) as entry:
        assert entry.means
        assert 15 < lost() < 70
    assert lost() == 0


def test_units(lab: Cluster, notes: Journal, pods: tuple[PodSnapshot, PodSnapshot]) -> None:
    node = lab.node("worker-1")
    serves = ["curl", "-sS", "-m", "2", "http://127.0.0.1:10248/healthz"]
    # Killed by a signal, the kubelet is there again at once, as another process: no fault of that kind.
    first = pid(node, "kubelet")
    with inject(KillProcess("worker-1", "kubelet"), lab, notes):
        pass
    soon(lambda: pid(node, "kubelet") not in ("", first), "another kubelet")
    with inject(StopUnit("worker-1", "kubelet"), lab, notes):
        node.run(["sleep", "1.5"])
        assert pid(node, "kubelet") == ""
        assert node.run(serves, check=False).status != 0
        here = node.run(["curl", "-sS", "-m", "2", "-o", "/dev/null", f"http://{pods[0].ip}:8080/"], check=False)
        assert here.status == 0, "pods go on"
        with pytest.raises(FaultRefused, match="cannot be injected"):
            inject(StopUnit("worker-1", "kubelet"), lab, notes).__enter__()
    soon(lambda: node.run(serves, check=False).stdout == "ok", "the kubelet")
    with inject(StopUnit("worker-1", "containerd"), lab, notes):
        assert node.run(["crictl", "--timeout", "1s", "ps"], check=False).status != 0
    soon(lambda: node.run(["crictl", "ps"], check=False).status == 0, "containerd")


def test_a_cordon_and_a_drain(lab: Cluster, api: Kube, notes: Journal) -> None:
    def cordoned() -> list[str]:
        return [node.name.removeprefix(f"{lab.spec.name}-") for node in api.nodes() if node.unschedulable]

    kubectl(lab, "apply", "-f", "-", stdin=WEB)
    running(api, 2, "web")
    with inject(Cordon("worker-1"), lab, notes):
        assert cordoned() == ["worker-1"]
        with pytest.raises(FaultRefused):
            inject(Drain("worker-1"), lab, notes).__enter__()
    assert cordoned() == []
    with inject(Drain("worker-1", limit=60), lab, notes):
        assert cordoned() == ["worker-1"]
        there = [pod for pod in api.pods("default") if pod.node.endswith("worker-1") and not pod.deleting]
        assert [pod.labels["app"] for pod in there] == ["hello"], "a DaemonSet's pod is left"
    assert cordoned() == []
    kubectl(lab, "delete", "deployment", "web", "--wait=false")


def test_static_pods_and_processes(lab: Cluster, notes: Journal) -> None:
    """After this the controller manager waits for the lease of its predecessor: what needs it comes before."""
    node = lab.node("control-plane-1")
    with inject(RemoveStaticPod("control-plane-1", "kube-scheduler"), lab, notes):
        soon(lambda: not pid(node, "kube-scheduler"), "the end of the scheduler")
    soon(lambda: bool(pid(node, "kube-scheduler")), "the scheduler")
    assert node.run(["ls", "/etc/kubernetes/kubedrill-removed"]).stdout == ""
    before = {program: pid(node, program) for program in ("kube-controller-manager", "etcd", "kube-apiserver")}
    with inject(KillProcess("control-plane-1", "kube-controller-manager"), lab, notes):
        pass
    after = {program: pid(node, program) for program in before}
    changed = [program for program in before if before[program] != after[program]]
    assert changed == ["kube-controller-manager"]


@pytest.mark.parametrize(("fault", "state"), [(PauseNode, "paused"), (StopNode, "stopped"), (KillNode, "stopped")])
def test_computers(
    lab: Cluster, notes: Journal, pods: tuple[PodSnapshot, PodSnapshot], fault: Callable[[str], KillNode], state: str
) -> None:
    node, other = lab.node("worker-2"), lab.node("control-plane-1")
    with inject(fault("worker-2"), lab, notes):
        assert node.state() == state
        # The host answers pings of a paused container, as its network is the kernel's; its programs do not.
        asked = other.run(["curl", "-sSk", "-m", "1", f"https://{node.address}:10250/healthz"], check=False)
        assert asked.status != 0
    assert node.state() == "running"
    asks = ["curl", "-sSk", "-m", "1", f"https://{node.address}:10250/healthz"]
    soon(lambda: other.run(asks, check=False).status == 0, "the kubelet")


def test_kill_9_in_the_middle_and_then_heal(lab: Cluster, api: Kube, notes: Journal, tmp_path: Path) -> None:
    log = tmp_path / "breaks.log"
    task = [sys.executable, "-m", "invoke", f"--search-root={paths.repository()}", "heal", "--name", lab.spec.name]
    breaking = shell.start_daemon([sys.executable, "-c", BREAKS, lab.spec.name], log)
    try:
        until(
            log.read_text, lambda text: ("all is broken" in text, text[-500:]), within=30, what="two faults", every=0.1
        )
        assert lab.node("worker-2").state() == "stopped"
        assert "kubedrill" in lab.node("worker-1").run(["iptables", "-w", "-S", "FORWARD"]).stdout
        busy = shell.run(task, check=False)
        assert (busy.status, "another kubedrill" in busy.output) == (1, True), busy.output
        assert lab.node("worker-2").state() == "stopped"
    finally:
        os.kill(breaking.pid, signal.SIGKILL)
    until(breaking, lambda status: (status is not None, "still there"), within=10, what="its end", every=0.05)
    with pytest.raises(FaultRefused, match="killed run"):
        inject(KillNode("worker-1"), lab, notes).__enter__()
    said = shell.run(task).stdout
    assert said.index("healed: kill the node worker-2") < said.index("healed: drop what worker-1 should forward")
    assert lab.node("worker-2").state() == "running"
    assert "kubedrill" not in lab.node("worker-1").run(["iptables", "-w", "-S", "FORWARD"]).stdout
    assert notes.is_empty()
    assert "nothing to undo" in shell.run(task).stdout
    soon(lambda: all(node.ready for node in api.nodes()), "all nodes Ready", within=60)
