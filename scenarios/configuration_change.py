"""The API server gets other flags, one control plane after another; then a flag that it does not know."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import partial

from kubedrill import checks, kubeadm, loadbalancer
from kubedrill.faults import ChangeConfigMap, Reconfigure, targets
from kubedrill.faults.computers import MANIFESTS, REMOVED
from kubedrill.faults.perform import holds
from kubedrill.faults.settings import as_written
from kubedrill.providers.base import Node
from kubedrill.scenario import etcd, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

COMPONENT = "kube-apiserver"
ENTRANCE = "load-balancer"
NAMESPACE, CONFIG_MAP, KEY = "kube-system", "kubeadm-config", "ClusterConfiguration"
# Of the API server alone, of no consequence for users, and off in Kubernetes 1.36 and 1.37; that it is off is looked
# up before, and that it is on afterwards. The first that is off is taken.
GATES = ("APIServingWithRoutine", "PodLogsQuerySplitStreams", "ContainerStopSignals")
FLAG = {"event-ttl": "2h0m0s"}
BAD = {"no-such-flag": "true"}
# An API server that is told to end stops listening at once, but lives on for the whole of its grace period (30 s,
# terminationGracePeriodSeconds) while others watch through it. The kubelet looks each 10 to 15 s whether the next one
# may start (allowPodStart in pkg/kubelet/pod_workers.go), which then needs some 5 s until it is ready.
ENDS, LOOKS, STARTS = 30, 12.5, 5
GONE = ENDS + LOOKS / 2
RESTART = GONE + STARTS
# A control plane's kubelet reports to its own API server; one that is silent for 50 s makes its node NotReady
# (--node-monitor-grace-period). A roll that waits longer than that for one control plane waits for a slow machine.
PATIENCE = 90
# Seconds between two looks into a node: each is a command there, and five a second would take half a core from what
# is about to start.
LOOK = 1.0


@scenario(control_planes=3, workers=1)
def configuration_change(lab: Lab) -> None:
    """Roll a feature gate and a flag over the API servers, then a flag that is wrong; users notice neither."""
    run(lab)


def run(lab: Lab, *, at_once: bool = False) -> None:
    """The drill; its negative control changes all control planes at once instead of one after another."""
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    planes = lab.control_planes()
    gate = _a_gate_that_is_off(lab)
    found, manifests = configuration(lab), {node.name: _sum(node) for node in planes}
    wanted = kubeadm.with_arguments(found, "apiServer", {"feature-gates": f"{gate}=true", **FLAG})
    lab.baseline(8)

    lab.say("the ConfigMap first, so that a later join or upgrade keeps it (apiServer.extraArgs)")
    lab.command(f"kubectl edit configmap --namespace {NAMESPACE} {CONFIG_MAP}")
    with lab.fault(ChangeConfigMap(NAMESPACE, CONFIG_MAP, KEY, found, wanted)):
        with contextlib.ExitStack() as changed:
            if at_once:
                changed.enter_context(lab.fault(*(_change(node, wanted) for node in planes)))
                _healthy(lab, planes, planes)
            else:
                for node in planes:
                    _tell(lab, node)
                    changed.enter_context(lab.fault(_change(node, wanted)))
                    _healthy(lab, [node], planes)
                    _differs(lab, node, gate)
                _in_force(lab, gate)
                _wrong(lab, wanted)
            lab.say("everything is put back as it was found, one control plane after another")
        _healthy(lab, planes, planes)
    same = configuration(lab) == found
    lab.hold(3)

    lab.verify()
    now = {node.name: _sum(node) for node in planes}
    lab.require("manifests and ConfigMap are as they were found, byte for byte", same and now == manifests,
                f"{sum(now[name] == manifests[name] for name in now)} of {len(now)} manifests the same, ConfigMap "
                f"{'the same' if same else 'another'}")  # fmt: skip
    for number, _ in enumerate(planes, 1):
        lab.fact(
            f"the API of control plane {number} itself was away at most", f"{lab.figures(f'cp-{number}').longest:.1f} s"
        )
    lab.require_never_together([f"cp-{number}" for number, _ in enumerate(planes, 1)], "API servers")
    # An API server that starts takes both cores of a small computer for some seconds: requests of others wait longer
    # than the probe does. One that is gone without a replacement is away for 40 s and more.
    lab.require_downtime("api-read", 2)
    lab.require_downtime("api-write", 2)
    lab.require_no_failure("service")
    lab.require_writes()


def _change(node: Node, wanted: str) -> Reconfigure:
    config = kubeadm.phase_config(wanted, node.name, node.address)
    return Reconfigure(node.name, COMPONENT, config, entrance=ENTRANCE)


def _tell(lab: Lab, node: Node) -> None:
    lab.say(f"whoever works on a server takes it out of the balancer first: {node.name} gets no new connections")
    lab.command(f"{loadbalancer.set_state(node.name, 'drain')[-1]}     (on {ENTRANCE})")
    lab.command(
        f"cp {MANIFESTS}/{COMPONENT}.yaml /root/     (on {node.name}; not in that folder: the kubelet starts all in it)"
    )
    lab.command(f"kubeadm init phase control-plane apiserver --config FILE     (on {node.name})")
    lab.say("FILE: the ClusterConfiguration of the ConfigMap, and an InitConfiguration with this node's own address")


def _healthy(lab: Lab, changed: list[Node], planes: list[Node]) -> None:
    """What must hold before the next control plane is touched; here the roll stops where it does not.

    Raises:
        Unmet: it does not hold in time.
    """
    for node in changed:
        lab.expect(
            f"the API server of {node.name} runs with the flags of its manifest, and its /readyz says ok",
            partial(holds, lab.cluster, as_written(node.name, COMPONENT)), _itself, within=PATIENCE, predicted=RESTART,
            every=LOOK,
        )  # fmt: skip
        lab.node(ENTRANCE).run(loadbalancer.set_state(node.name, "ready"))
    lab.expect(
        "all members of etcd are healthy", lambda: etcd.healthy(lab.cluster),
        lambda healthy: (len(healthy) == len(planes), f"healthy: {', '.join(healthy) or 'none'}"), within=30,
    )  # fmt: skip
    lab.expect(
        "the balancer sends to every control plane", lambda: _behind(lab), _all_of(names(planes)), within=30,
        predicted=RESTART + 1,
    )  # fmt: skip
    lab.expect(
        "all nodes are Ready", lab.api.nodes,
        lambda nodes: checks.nodes_ready(nodes, names([*planes, *lab.workers()])), within=PATIENCE,
    )  # fmt: skip


def _differs(lab: Lab, node: Node, gate: str) -> None:
    """kubeadm must have changed what was asked for, and nothing else."""
    lab.command(f"diff /root/{COMPONENT}.yaml {MANIFESTS}/{COMPONENT}.yaml     (on {node.name})")
    lines = _diff(node)
    flags = {f"--feature-gates={gate}=true", *(f"--{name}={value}" for name, value in FLAG.items())}
    only = {line.removeprefix(">").strip().removeprefix("- ") for line in lines if line[:1] in "<>"}
    lab.require(f"{node.name}: kubeadm changed these flags, and nothing else", only == flags, "; ".join(sorted(only)))


def _in_force(lab: Lab, gate: str) -> None:
    for node in lab.control_planes():
        on, flagz = _gates(lab, node).get(gate), _own(lab, node, "/flagz")
        told = next((line for line in flagz.splitlines() if line.startswith("event-ttl")), "no /flagz")
        lab.require(f"{node.name}: the gate {gate} is on, and the flag is in force",
                    on == 1 and (told == "no /flagz" or FLAG["event-ttl"] in told),
                    f"kubernetes_feature_enabled {on}, {told}")  # fmt: skip


def _wrong(lab: Lab, good: str) -> None:
    """A flag that the API server does not know: kubeadm writes it, and nobody but the process itself refuses it."""
    planes = lab.control_planes()
    first, others = planes[0], planes[1:]
    bad = kubeadm.with_arguments(good, "apiServer", BAD)
    untouched = {node.name: _sum(node) for node in others}
    began = lab.now()
    with lab.fault(ChangeConfigMap(NAMESPACE, CONFIG_MAP, KEY, good, bad)):
        _tell(lab, first)
        with lab.fault(_change(first, bad)):
            lab.command(f"crictl ps --all --name {COMPONENT}; crictl logs ID     (on {first.name})")
            said = lab.expect(
                f"the API server of {first.name} does not come back, and says why", lambda: _last_words(first),
                lambda words: ("unknown flag" in words, words[-160:] or "it runs"), within=PATIENCE, predicted=GONE + 1,
                every=LOOK,
            )  # fmt: skip
            lab.require("its log names the flag", "--no-such-flag" in said, said.strip().splitlines()[-1][:160])
            lab.require("the check that the roll waits for does not hold: the roll stops here",
                        *_not(holds(lab.cluster, as_written(first.name, COMPONENT))))  # fmt: skip
            behind = lab.expect("the balancer sends to the others", lambda: _behind(lab), _all_of(names(others)),
                                within=20, predicted=5)  # fmt: skip
            healthy = etcd.healthy(lab.cluster)
            lab.require("etcd never lost a member, the balancer has the others", len(healthy) == len(planes),
                        f"{len(healthy)} members healthy; behind the balancer: {', '.join(behind)}")  # fmt: skip
            lab.require("no other control plane was touched", untouched == {node.name: _sum(node) for node in others},
                        ", ".join(untouched))  # fmt: skip
            lab.command(f"mv /root/{COMPONENT}.yaml {MANIFESTS}/     (on {first.name})")
        _healthy(lab, [first], planes)
        lab.fact("from the wrong flag to a healthy control plane", f"{lab.now() - began:.1f} s")
        lab.command(f"kubectl edit configmap --namespace {NAMESPACE} {CONFIG_MAP}     (back to what runs)")


def configuration(lab: Lab) -> str:
    """The ClusterConfiguration that kubeadm keeps in the cluster."""
    where = ("get", "configmap", "--namespace", NAMESPACE, CONFIG_MAP)
    return lab.kubectl(*where, "-o", f"jsonpath={{.data.{KEY}}}").stdout


def _a_gate_that_is_off(lab: Lab) -> str:
    lab.command("kubectl get --raw /metrics | grep kubernetes_feature_enabled")
    states = [_gates(lab, node) for node in lab.control_planes()]
    gate = next((name for name in GATES if all(one.get(name) == 0 for one in states)), "")
    lab.assume_true("a feature gate that is off on every control plane", bool(gate), gate or f"none of {GATES}")
    return gate


def _gates(lab: Lab, node: Node) -> dict[str, int]:
    return feature_gates(_own(lab, node, "/metrics"))


def feature_gates(metrics: str) -> dict[str, int]:
    """The gates in a component's metrics: {name: 1 where it is on, else 0}."""
    lines = [line for line in metrics.splitlines() if line.startswith("kubernetes_feature_enabled{")]
    return {line.split('name="')[1].split('"')[0]: int(float(line.rsplit(" ", 1)[1])) for line in lines}


def _own(lab: Lab, node: Node, path: str) -> str:
    """A page of the API server of one control plane, past the balancer."""
    return lab.kubectl(f"--server=https://{node.address}:6443", "get", "--raw", path, check=False).stdout


def _behind(lab: Lab) -> list[str]:
    return sorted(target.node for target in targets.behind_balancer(lab.cluster))


def _last_words(node: Node) -> str:
    """The log of the API server's newest container, where that has ended; empty where it runs."""
    listed = node.run(["crictl", "ps", "--all", "--name", COMPONENT, "-o", "json"], show=False).stdout
    containers = sorted(json.loads(listed or "{}").get("containers") or [], key=lambda one: int(one["createdAt"]))
    if not containers or containers[-1]["state"] != "CONTAINER_EXITED":
        return ""
    return node.run(["crictl", "logs", "--tail", "5", containers[-1]["id"]], check=False, show=False).output


def _sum(node: Node) -> str:
    return node.run(["sha256sum", f"{MANIFESTS}/{COMPONENT}.yaml"], show=False).stdout.split()[0]


def _diff(node: Node) -> list[str]:
    """What differs between the manifest that was saved first and the one that is there."""
    saved = node.run(["sh", "-c", f"ls -t {REMOVED}/{COMPONENT}.*.yaml | tail -1"], show=False).stdout.strip()
    return node.run(["diff", saved, f"{MANIFESTS}/{COMPONENT}.yaml"], check=False, show=False).stdout.splitlines()


def _itself(verdict: Verdict) -> Verdict:
    return verdict[0], verdict[1].rpartition("exit status ")[2]


def _not(verdict: Verdict) -> Verdict:
    return not verdict[0], _itself(verdict)[1]


def _all_of(wanted: list[str]) -> Callable[[list[str]], Verdict]:
    return lambda found: (found == sorted(wanted), ", ".join(found))
