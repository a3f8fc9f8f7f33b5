"""Kubernetes that runs Kubernetes: the control plane's static pods become DaemonSets, and must bear whatever comes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import partial

from kubedrill import anatomy, checks, loadbalancer
from kubedrill.faults import KillNode, SelfHosted, StopNode, targets
from kubedrill.kube import PodSnapshot
from kubedrill.network import to_yaml
from kubedrill.scenario import orders, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.selfhosting import (
    COMPONENTS,
    HOME,
    LABEL,
    MANIFESTS,
    SHARE,
    TIMER,
    daemon_set,
    daemon_set_name,
    flags,
    node_label,
)
from kubedrill.shell import Result
from kubedrill.wait import Verdict

AGENT = "kubedrill-selfhosted"
# The flag that is changed on the way: Events live an hour without it.
FLAG = "--event-ttl=55m0s"
# An instance that goes without a word keeps its lease for 15 s; another asks each 2 s.
LEASE = 17
# The checkpoint looks each 3 s; a component then starts in about 5 s.
LOOK, START = 3, 5
# An API server waits for those who watch until its pod's time to end is over.
GRACE = 30
# Seconds between two looks at whether a process itself serves: each takes a dozen processes on the node, and five
# looks a second would take a core from what is about to start.
LOOK_EACH = 1.0


@scenario(control_planes=3, workers=1)
def selfhosting(lab: Lab) -> None:
    """Let the control plane run on itself, roll it, boot it cold, and come back; the API is never away meanwhile."""
    run(lab)


@scenario(control_planes=1, workers=1)
def selfhosting_single(lab: Lab) -> None:
    """The same with a single control plane, whose API is away only while its one process starts."""
    run(lab)


def run(lab: Lab, *, checkpoint: bool = True) -> None:
    """The drill; its negative control takes the checkpoint away before the cold boot."""
    lab.apply(workload.deployment("hello", 2, spread=False), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 2), within=60)
    planes = names(lab.control_planes())
    several = len(planes) > 1
    lab.baseline(5)
    with lab.fault(SelfHosted(tuple(planes), "load-balancer" if several else "")):
        began = lab.from_now()
        lab.say(f"the checkpoint is switched on, on every control plane: systemctl enable --now {TIMER}")
        for name in planes:
            lab.node(name).run(["systemctl", "enable", "--quiet", "--now", TIMER])
        for component in COMPONENTS:
            _pivot(lab, component, planes)
        lab.fact("the pivot of all three components took", f"{lab.now() - began:.0f} s")
        for component in COMPONENTS:
            _roll(lab, component, planes)
        for component in COMPONENTS:
            _delete(lab, component, planes)
        _change(lab, planes)
        _found_as(lab, "DaemonSet", planes)
        rolled = lab.now()
        if several:
            _reboot(lab, planes)
        if not checkpoint:
            lab.say("the checkpoint is taken away")
            for name in planes:
                lab.node(name).run(["sh", "-c", f"systemctl disable --quiet --now {TIMER}; rm -r {HOME}/checkpoint"])
        recovered = _cold_boot(lab, planes)
    back = lab.now()
    _static_again(lab, planes)
    lab.hold(3)
    lab.verify()
    # With several, another one always answers; but on one computer three API servers that start at once leave nobody
    # much CPU. A single one is started anew three times: for the flag that shares its port, when its pod is deleted,
    # and for the way back.
    limit = 10 if several else 45
    for lane in ("api-read", "api-write"):
        lab.require_downtime(lane, limit, between=(began, rolled), when="pivot, rollouts, deletion, changed flag")
        lab.require_downtime(lane, limit, between=(recovered, lab.now()), when="the way back")
        bad = [end - start for start, end in lab.figures(lane).windows if began <= start < rolled or start >= recovered]
        lab.fact(f"{lane}: moments without an answer, but for the boots", f"{len(bad)}, {sum(bad):.1f} s in all")
    lab.fact("the way back took", f"{back - recovered:.0f} s")
    lab.require_writes()


def _pivot(lab: Lab, component: str, planes: Sequence[str]) -> None:
    """The nine steps, with their commands."""
    first = planes[0]
    began = lab.from_now()

    def step(number: int, text: str) -> None:
        lab.say(f"{component} {number}/9: {text}")

    mirror = lab.read(lambda: _mirrors(lab, component, planes))
    step(1, f"who starts it? kubectl -n kube-system get pod {component}-{first} -o yaml: owner {mirror[0].owner}")
    static = len(mirror) == len(planes) and all(pod.owner == f"Node/{pod.node}" for pod in mirror)
    lab.assume_true("it is a static pod on each control plane", static, ", ".join(pod.owner for pod in mirror))
    shared = f"{HOME}/as-found/{component}.shared"
    step(2, f"add {' '.join(flags(component))} to {MANIFESTS}/{component}.yaml: a second process can listen beside it")
    # One after the other where it is the API itself; its own node's is away for a moment.
    several = component == "kube-apiserver" and len(planes) > 1
    groups = [[name] for name in planes] if component == "kube-apiserver" else [list(planes)]
    for group in groups:
        lab.from_now()
        with _out_of_the_balancer(lab, group if several else []):
            for name in group:
                script = f"cp {shared} {HOME}/.put && mv {HOME}/.put {MANIFESTS}/{component}.yaml"
                lab.node(name).run(["sh", "-c", script])
            for name in group:
                lab.expect(
                    f"{component} 3/9: on {name} it serves again, with the flag",
                    partial(_serves_with, lab, name, component, SHARE), _yes, within=180, every=LOOK_EACH,
                    predicted=START + (GRACE if component == "kube-apiserver" else 1),
                )  # fmt: skip
    manifest = to_yaml([daemon_set(lab.node(first).run(["cat", shared], show=False).stdout)])
    step(4, "build a DaemonSet from its pod: no ports (they would keep a second pod off the node), the node's address "
            "asked of the kubelet, control planes with a label only, all taints tolerated, no token")  # fmt: skip
    step(5, "kubectl apply -f daemonset.yaml: no node has its label yet")
    lab.order("apply", "-f", "-", stdin=manifest)
    done: list[str] = []
    for group in groups:
        done += group
        with _out_of_the_balancer(lab, group if several else []):
            lab.from_now()
            step(6, f"kubectl label node {' '.join(group)} {node_label(component)}=")
            lab.order("label", "node", *group, f"{node_label(component)}=", "--overwrite")
            lab.expect(
                f"{component} 6/9: the DaemonSet's own pod serves on {', '.join(group)}",
                partial(_own_pods, lab, component), _served(done), within=180, predicted=START + LOOK,
            )  # fmt: skip
            lab.from_now()
            step(7, f"mv {MANIFESTS}/{component}.yaml away: the kubelet ends the static pod")
            for name in group:
                lab.node(name).run(["rm", f"{MANIFESTS}/{component}.yaml"])
            lab.expect(f"{component} 8/9: no static pod is left on {', '.join(group)}",
                       partial(_mirrors, lab, component, group), lambda pods: (not pods, _told(pods)),
                       within=60, predicted=3)  # fmt: skip
    lab.expect(f"{component} 9/9: /readyz of the API says ok", lab.api.readyz, lambda answer: (answer == "ok", answer),
               within=30, predicted=1)  # fmt: skip
    if component != "kube-apiserver":
        gone = time.time()
        lab.expect(
            f"{component}: its lease is renewed, by an instance of the DaemonSet",
            partial(_renewed, lab, component), lambda renewed: (renewed > gone, f"{gone - renewed:.0f} s before"),
            within=60, predicted=LEASE,
        )  # fmt: skip
    lab.fact(f"{component}: from its static pod to a DaemonSet", f"{lab.now() - began:.1f} s")


@contextlib.contextmanager
def _out_of_the_balancer(lab: Lab, nodes: Sequence[str]) -> Iterator[None]:
    """Whoever works on a server takes it out of the balancer first, and waits until it is in again."""
    for name in nodes:
        lab.node("load-balancer").run(loadbalancer.set_state(name, "drain"))
    yield
    for name in nodes:
        lab.node("load-balancer").run(loadbalancer.set_state(name, "ready"))
    if nodes:
        planes = lab.control_planes()
        lab.expect(
            "the balancer sends to every control plane", lambda: targets.behind_balancer(lab.cluster),
            lambda found: (len(found) == len(planes), f"{len(found)} of {len(planes)}"), within=60,
        )  # fmt: skip


def _roll(lab: Lab, component: str, planes: Sequence[str]) -> None:
    before = {pod.uid for pod in lab.read(lambda: _own_pods(lab, component))}
    name = daemon_set_name(component)
    lab.from_now()
    lab.say(f"the cluster renews a part of itself: kubectl -n kube-system rollout restart daemonset {name}")
    _change_once(lab, name, "rollout", "restart", "daemonset", name)
    lab.expect(f"every pod of {component} is a new one and serves", partial(_own_pods, lab, component),
               _served(planes, without=before), within=300, predicted=(START + LOOK) * len(planes))  # fmt: skip


def _delete(lab: Lab, component: str, planes: Sequence[str]) -> None:
    victim = lab.read(lambda: _own_pods(lab, component))[0]
    lab.from_now()
    lab.say(f"kubectl -n kube-system delete pod {victim.name}: this one can be deleted, and comes back")
    lab.order("--namespace", "kube-system", "delete", "pod", victim.name, "--wait=false", "--ignore-not-found")
    lab.expect(f"{component} is whole again, with another pod on {victim.node}", partial(_own_pods, lab, component),
               _served(planes, without={victim.uid}), within=180,
               predicted=LEASE if len(planes) > 1 else 9 + START)  # fmt: skip
    _without_checkpoints(lab, planes, within=60)


def _change(lab: Lab, planes: Sequence[str]) -> None:
    before = {pod.uid for pod in lab.read(lambda: _own_pods(lab, "kube-apiserver"))}
    name = daemon_set_name("kube-apiserver")
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/command/-", "value": FLAG}]
    lab.from_now()
    lab.say(
        f"a changed flag rolls out: kubectl -n kube-system patch daemonset {name} --type json -p '{json.dumps(patch)}'"
    )
    _change_once(lab, name, "patch", "daemonset", name, "--type=json", "-p", json.dumps(patch))
    lab.expect("every API server is a new one and serves", partial(_own_pods, lab, "kube-apiserver"),
               _served(planes, without=before), within=300, predicted=(START + LOOK) * len(planes))  # fmt: skip
    running = [lab.node(node).run(["pgrep", "-a", "-f", "^kube-apiserver "]).stdout for node in planes]
    having = sum(FLAG in text for text in running)
    lab.require(f"every API server runs with {FLAG}", having == len(planes), f"{having} of {len(planes)}")


def _found_as(lab: Lab, kind: str, planes: Sequence[str]) -> None:
    """What `invoke components NODE` finds: nothing of it knows of this drill.

    One control plane at a time: all that is asked of six nodes at once kept both cores of a small computer for 15 s,
    and its users from an answer for up to 7 s.
    """
    seen = [one for node in planes for one in anatomy.of(lab.cluster, node)]
    found = [one.started.kind for one in seen if one.name in COMPONENTS and one.state != "absent"]
    right = found.count(kind)
    lab.require(
        f"`invoke components` finds each started by a {kind}",
        right == len(found) == len(planes) * len(COMPONENTS),
        f"{right} of {len(found)}",
    )


def _reboot(lab: Lab, planes: Sequence[str]) -> None:
    node = planes[-1]
    lab.say(f"a control plane reboots: {node}")
    with lab.fault(StopNode(node), role="a self-hosted control plane"):
        pass
    for component in COMPONENTS:
        lab.expect(f"{component} serves again on {node}", partial(_alive_on, lab, node, component), _yes,
                   within=120, predicted=15, every=LOOK_EACH)  # fmt: skip
    _without_checkpoints(lab, planes, within=60)


def _cold_boot(lab: Lab, planes: Sequence[str]) -> float:
    everyone = names(lab.cluster.nodes)
    lab.say(
        f"the power fails: {', '.join(everyone)}; at their boot there is no API that could tell a kubelet what to run"
    )
    with lab.fault(*(KillNode(name) for name in everyone), role="all nodes at once"):
        lab.hold(2)
    booted = lab.from_now()
    lab.expect("the API answers: the checkpoint runs it", lab.api.readyz, lambda answer: (answer == "ok", answer),
               within=90, predicted=LOOK + 3 * START)  # fmt: skip
    recovered = lab.now()
    for component in COMPONENTS:
        for node in planes:
            lab.expect(f"the DaemonSet's {component} serves on {node}", partial(_alive_on, lab, node, component), _yes,
                       within=180, predicted=40, every=LOOK_EACH)  # fmt: skip
    _without_checkpoints(lab, planes, within=60)
    wanted = names([*lab.control_planes(), *lab.workers()])
    lab.expect("all nodes are Ready", lab.api.nodes, lambda nodes: checks.nodes_ready(nodes, wanted), within=120,
               predicted=40)  # fmt: skip
    lab.expect("hello answers", lambda: lab.monitor.silent_for("service"), _below(1), within=120, predicted=40)
    lanes = [name for name in lab.monitor.names() if name.startswith("cp-")] or ["api-read"]
    lab.expect("the API of every control plane answers", lambda: max(map(lab.monitor.silent_for, lanes)), _below(1),
               within=60, predicted=40)  # fmt: skip
    lab.require_within("after the cold boot the API was back", booted, recovered, 60)
    lab.hold(2)
    return lab.now()


def _static_again(lab: Lab, planes: Sequence[str]) -> None:
    for component in COMPONENTS:
        lab.expect(f"{component} is kubeadm's static pod again", partial(_mirrors, lab, component, planes),
                   lambda pods: (len(pods) == len(planes) and all(pod.ready for pod in pods), _told(pods)),
                   within=90, predicted=15)  # fmt: skip
    left = lab.read(lambda: _own_pods(lab, ""))
    lab.require("nothing of the DaemonSets is left", not left, _told(left))


def _without_checkpoints(lab: Lab, planes: Sequence[str], *, within: float) -> None:
    """No component runs from a checkpoint: each has stepped aside."""
    find = f"ls {MANIFESTS} | grep -v -x etcd.yaml"
    lab.expect(
        "no checkpoint stands in for anything", lambda: [lab.node(name).run(["sh", "-c", find], check=False, show=False)
                                                         .stdout.split() for name in planes],
        lambda found: (not any(found), "; ".join(f"{name}: {' '.join(files)}" for name, files in
                                                 zip(planes, found, strict=True) if files) or "none"),
        within=within,
    )  # fmt: skip


def _change_once(lab: Lab, daemon_set: str, *arguments: str) -> None:
    """What changes the template of a DaemonSet each time it is said: again only where it was not taken."""

    look = ("--namespace", "kube-system", "get", "daemonset", daemon_set, "-o", "jsonpath={.metadata.generation}")
    before = lab.order(*look).stdout

    def change() -> Result:
        now = lab.kubectl(*look)
        return lab.kubectl("--namespace", "kube-system", *arguments) if now.stdout == before else now

    orders.take(change, patience=lab.patience)


def _renewed(lab: Lab, component: str) -> float:
    """When the lease of a component was last renewed, in seconds since 1970."""
    path = "jsonpath={.spec.renewTime}"
    told = lab.kubectl("--namespace", "kube-system", "get", "lease", component, "-o", path).stdout
    return datetime.fromisoformat(told).timestamp()


def _mirrors(lab: Lab, component: str, nodes: Sequence[str]) -> list[PodSnapshot]:
    wanted = {f"{component}-{name}" for name in nodes}
    return [pod for pod in lab.api.pods("kube-system", f"component={component}") if pod.name in wanted]


def _own_pods(lab: Lab, component: str) -> Sequence[PodSnapshot]:
    return lab.api.pods("kube-system", f"{LABEL}={component}" if component else LABEL)


def _served(nodes: Sequence[str], without: Collection[str] = ()) -> Callable[[Sequence[PodSnapshot]], Verdict]:
    """One pod on each node serves, none is one of those before, and none besides is left."""

    def check(pods: Sequence[PodSnapshot]) -> Verdict:
        serving = [pod for pod in pods if pod.ready and not pod.deleting and pod.uid not in without]
        whole = sorted(pod.node for pod in serving) == sorted(nodes) and len(pods) == len(nodes)
        return whole, f"{len(serving)} of {len(nodes)} serve ({_told(pods)})"

    return check


def _serves_with(lab: Lab, node: str, component: str, flag: str) -> Verdict:
    """Whether the static pod of a component runs with a flag, and answers."""
    script = f"pgrep -a -f '^{component} ' | grep -q -e '{flag}' && {AGENT} static-serves {component}"
    result = lab.node(node).run(["sh", "-c", script], check=False, show=False)
    return result.status == 0, f"not yet {result.output.strip()}"


def _alive_on(lab: Lab, node: str, component: str) -> Verdict:
    """Whether the container of a component's own pod runs on a node, and answers itself."""
    result = lab.node(node).run([AGENT, "own-serves", component], check=False, show=False)
    return result.status == 0, f"not yet {result.output.strip()}"


def _yes(verdict: Verdict) -> Verdict:
    return verdict


def _told(pods: Sequence[PodSnapshot]) -> str:
    return (
        ", ".join(f"{pod.name}{' ending' if pod.deleting else '' if pod.ready else ' not ready'}" for pod in pods)
        or "none"
    )


def _below(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet < seconds, f"silent for {quiet:.1f} s")
