"""The cluster goes to the next Kubernetes version under load, is cut off half-way, and gets there all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

from kubedrill import checkpoints, checks, cluster, logs, status, versions, ways_back
from kubedrill import upgrade as upgrades
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.faults.actions import PutBack
from kubedrill.kube import NodeSnapshot
from kubedrill.kubeadm import upgrade_config
from kubedrill.providers.base import Node
from kubedrill.providers.places import VMS
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

OLD, NEW = versions.kubernetes_minors()[-2:]
CHECKPOINT = "before-upgrade"
# An API server that is told to end lives on for 30 s while others watch through it; the kubelet looks each 10 to 15 s
# whether the next one may start, which needs some 5 s (see configuration_change.py). With one control plane that is
# how long the API is away; with several, the balancer sends to the others.
API_SERVER = 30 + 12.5 / 2 + 5
# etcd, the controller manager and the scheduler end at once; the kubelet looks as seldom.
OTHERS = 3 * (12.5 / 2 + 3)
# A pod of CoreDNS lingers 5 s (lameduck), and the second one waits until the first has its successor.
DRAIN, KUBELET = 12, 3
# kubeadm changes one static pod after the other; then the new kubelet starts all of them anew at the same time, ends
# the old ones after 2 s, and asks the new ones after 10 s whether they are well (initialDelaySeconds of their probes).
AGAIN = 2 + 5 + 10
PLANE = OTHERS + API_SERVER + 10 + DRAIN + KUBELET + AGAIN
WORKER = DRAIN + KUBELET
# Seconds that the longest gap of reads and of writes may have: with one control plane, and with several.
GAPS = {False: (75, 75), True: (3, 6)}
_TRY = "/root/kubeadm-upgrade-try.yaml"
# What an upgrade that is refused must leave as it is.
FOUND = "sha256sum /etc/kubernetes/manifests/*.yaml /etc/kubernetes/*.conf /var/lib/kubelet/config.yaml /usr/bin/kube*"
IMAGES = "jsonpath={range .items[*]}{range .spec.containers[*]}{.image}{'\\n'}{end}{end}"


class CutOff(KubedrillError):
    """Whoever ran the upgrade is gone."""


class Cutting(Console):
    """A console that ends the upgrade as soon as a step begins."""

    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print when a step ends; the one to be cut off does not begin."""
        if what == self._step:
            raise CutOff(f"cut off before '{what}'")
        with super().step(what):
            yield


@scenario(control_planes=1, workers=1, kubernetes=OLD)
def upgrade(lab: Lab) -> None:
    """Upgrade all nodes to the next Kubernetes version, cut off half-way and taken up again: no failed request.

    No acknowledged write is lost. Skipping a minor is refused before anything changes. The cluster is put back to a
    checkpoint at the end.
    """
    run(lab)


def run(lab: Lab, *, replicas: int = 2, linger: str = "2s") -> None:
    """The drill; in its negative control the Service has a single pod that ends at once, and no disruption budget."""
    place, console, name = cluster.lab(Console()), Console(), lab.cluster.spec.name
    provider = lab.cluster.spec.provider
    lab.assume_true("nodes are containers: VMs have no checkpoints", provider != VMS, provider)
    # Before there is a way back: it would put the cluster back to that one.
    left = CHECKPOINT in [one.name for one in checkpoints.listed(place.provider, name)]
    lab.assume_true("no checkpoint of an earlier drill is left", not left, f"{CHECKPOINT}; back to it with: "
                    f"invoke restore {CHECKPOINT} --name {name}; without it from then on: "
                    f"invoke checkpoint --remove {CHECKPOINT} --name {name}" if left else "none")  # fmt: skip
    with lab.way_back(PutBack(CHECKPOINT), lambda: _put_back(lab, place, console)):
        lab.command(f"invoke checkpoint {CHECKPOINT} --name {name}")
        checkpoints.take(place.provider, lab.cluster, CHECKPOINT, console)
        try:
            _run(lab, place, console, replicas, linger)
        finally:
            if not all(one.ok for one in lab.requirements) or not lab.requirements:
                folder = cluster.log_folder(name)
                logs.collect(lab.cluster.nodes, folder)  # of the nodes as they are before they are put back
                lab.fact("the logs of the nodes, before they were put back", folder)


def _run(lab: Lab, place: cluster.Lab, console: Console, replicas: int, linger: str) -> None:
    several = len(lab.control_planes()) > 1
    hello = workload.deployment("hello", replicas, spread=False, everywhere=True, linger=linger)
    lab.apply(hello, workload.service("hello", workload.NODE_PORT))
    if replicas > 1:
        lab.apply(workload.budget("hello", replicas - 1))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, replicas), within=60)
    lab.baseline(5)
    _refused(lab, place)
    order = [*lab.control_planes(), *lab.workers()]
    second = order[1]
    lab.say(f"the first attempt is cut off when {second.name} is empty, and before it has its new kubelet")
    began = lab.from_now()
    version = versions.kubernetes_version(NEW)
    with contextlib.suppress(CutOff):
        _upgrade(lab, place, Cutting(f"{second.name}: kubelet {version}"), version)
    half = status.of(cluster.attach(place.provider, lab.cluster.spec.name))
    seen = {node.name: node.kubernetes for node in half.nodes}
    told = f"{half.kubernetes}; {', '.join(f'{one}: {seen[one]}' for one in names(order))}"
    lab.require("half-way: invoke status says so, and how to go on",
                not half.healthy and f"on its way to {NEW}" in half.kubernetes, told)  # fmt: skip
    lab.hold(3)
    lab.say("taken up again: what is done is not done twice")
    lab.from_now()
    there = _upgrade(lab, place, console, version)
    lab.fact(f"from {lab.cluster.spec.version()} to {version} in", f"{lab.now() - began:.0f} s")
    lab.hold(3)
    lab.verify()
    _complete(lab, there, version)
    lab.require_no_failure("service")
    lab.require_no_failure("pod-service")
    reads, writes = GAPS[several]
    lab.require_downtime("api-read", reads)
    lab.require_downtime("api-write", writes)
    lab.require_writes()


def _upgrade(lab: Lab, place: cluster.Lab, console: Console, version: str) -> Cluster:
    name = lab.cluster.spec.name
    lab.command(f"invoke upgrade --to {NEW} --name {name}")

    def done(node: Node) -> None:
        lab.expect(f"{node.name} has Kubernetes {version}, and takes pods", lab.api.nodes,
                   partial(_there, node.name, version), within=60,
                   predicted=PLANE if node.role == "control-plane" else WORKER)  # fmt: skip
        lab.from_now()

    # The probe's pod is nobody's: a drain would not find it a new place.
    now = cluster.attach(place.provider, name)
    return upgrades.upgrade(place, now, NEW, console, stay="app!=kubedrill-probe", done=done)


def _refused(lab: Lab, place: cluster.Lab) -> None:
    """Two minors at once: refused by `invoke upgrade` and by kubeadm, before anything changes."""
    first = lab.control_planes()[0]
    before = _found(lab)
    major, _, minor = OLD.partition(".")
    far = f"{major}.{int(minor) + 2}"
    lab.command(f"invoke upgrade --to {far} --name {lab.cluster.spec.name}")
    said = "it was done"
    try:
        upgrades.upgrade(place, lab.cluster, far, Console())
    except InvalidSpec as error:
        said = error.what
    lab.require(f"invoke upgrade refuses to go from {OLD} to {far}", "more than one minor version" in said, said)
    # With checks of CoreDNS left out, which would refuse first.
    lab.command(f"kubeadm upgrade apply v{far}.0     (on {first.name})")
    config = upgrade_config(f"v{far}.0", own_dns=True, plane=True)
    refused = first.run(["sh", "-c", f"cat >{_TRY}; kubeadm upgrade apply --yes --config {_TRY}; s=$?; rm {_TRY}; "
                         "exit $s"], stdin=config, check=False, timeout=180)  # fmt: skip
    reason = next((line.strip() for line in refused.output.splitlines() if "too high" in line), refused.output[-200:])
    lab.require(f"kubeadm refuses it, too: exit status {refused.status}", refused.status != 0 and "too high" in reason,
                reason)  # fmt: skip
    same = _found(lab) == before
    lab.require("nothing was changed", same, "manifests, kubeconfigs, kubelets, programs and kubeadm-config compared")


def _complete(lab: Lab, there: Cluster, version: str) -> None:
    nodes = lab.read(lab.api.nodes)
    kubelets = sorted({node.version for node in nodes})
    lab.require(f"every kubelet is {version}", kubelets == [version], ", ".join(kubelets))
    closed = [node.name for node in nodes if node.unschedulable]
    lab.require("every node takes pods", not closed, ", ".join(closed) or "none is cordoned")
    pods = lab.kubectl("--namespace", "kube-system", "get", "pods", "-o", IMAGES).stdout
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    images = sorted({line for line in pods.splitlines() if any(f"/{one}:" in line for one in programs)})
    wanted = sorted(f"registry.k8s.io/{one}:{version}" for one in programs)
    lab.require("control plane and kube-proxy are of that version everywhere", images == wanted, ", ".join(images))
    seen = status.of(there)
    lab.require("the cluster is known as one of that version, and healthy", seen.healthy and seen.kubernetes == version,
                f"{seen.kubernetes}, API: {seen.api}")  # fmt: skip


def _put_back(lab: Lab, place: cluster.Lab, console: Console) -> None:
    """To the version that was found, whatever happened."""
    name = lab.cluster.spec.name
    lab.monitor.stop()
    lab.command(f"invoke restore {CHECKPOINT} --name {name}; invoke checkpoint --remove {CHECKPOINT} --name {name}")
    ways_back.put_back(place.provider, name, CHECKPOINT, console)


def _found(lab: Lab) -> list[str]:
    nodes = [*lab.control_planes(), *lab.workers()]
    config = lab.kubectl("--namespace", "kube-system", "get", "configmap", "kubeadm-config", "-o", "jsonpath={.data}")
    on_disk = [node.run(["sh", "-c", FOUND], check=False, show=False).stdout for node in nodes]
    return [*on_disk, config.stdout]


def _there(name: str, version: str, nodes: Sequence[NodeSnapshot]) -> Verdict:
    node = next((one for one in nodes if one.name == name), None)
    if node is None:
        return False, "not registered"
    ready, why = checks.nodes_ready(nodes, [name])
    return ready and not node.unschedulable and node.version == version, f"{node.version}; {why}"
