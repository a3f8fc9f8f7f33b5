"""A cluster moves to the next Kubernetes version while it serves: kubeadm's plan, apply and node, one node at a time.

The order is that of https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/: control planes first,
each out of the balancer meanwhile; then workers. Of each node kubeadm changes what it wrote, then it is drained, gets
its new kubelet, and takes pods again. Computers of an external etcd come last, and get the kubelet alone. How far a
node has come is seen in it, so an upgrade that was cut off is taken up by doing it again; a kubeadm that it left in a
node is let end first.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from kubedrill import cluster as clusters
from kubedrill import kept, kubeadm, lifecycle, loadbalancer, paths, versions
from kubedrill import load as loading
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Reporter
from kubedrill.errors import OF_CONTAINERS, CommandFailed, InvalidSpec, KubedrillError, NotFound
from kubedrill.etcd_upgrade import EtcdComputers
from kubedrill.images import build
from kubedrill.images.cargo import Cargo
from kubedrill.images.store import CONTROL_PLANE
from kubedrill.kube import ApiUnavailable, Kube, NodeSnapshot, PodSnapshot
from kubedrill.marks import UPGRADING, has_file, need_restored
from kubedrill.network import API_PORT
from kubedrill.providers.base import File, Node
from kubedrill.providers.places import VMS
from kubedrill.run_kubeadm import run_kubeadm, until_none_runs
from kubedrill.shell import Result
from kubedrill.wait import Verdict, until

# In a node: kubeadm has done its part for that version; it was this upgrade that cordoned it.
DONE = "/var/lib/kubedrill/kubeadm-of-{version}"
CORDONED = "/var/lib/kubedrill/cordoned-by-upgrade"
# Keeps one pod of CoreDNS while nodes are drained: without it both go at once where they share a node.
BUDGET = "kubedrill-upgrade"
# Seconds. Limits, not expectations: kubeadm gives each static pod five minutes.
_KUBEADM = 1500
# From kubeadm's limit until it has ended, also one that must be killed.
_ENDS = 30
_DRAIN = 300
_SERVES = 180
_PULL = 600
# A kubelet looks at its static pods as soon as it has started; with a margin for a slow machine.
_LOOKS = 10


def aim(there: str, to: str) -> str:
    """The minor that a cluster is to go to.

    Args:
        there: its version, v1.36.5.
        to: what was asked for: '1.37' or 'v1.37.2'.

    Returns:
        '1.37'; the minor that is there, where it is that.

    Raises:
        InvalidSpec: it is not the next one, or not known here.
    """
    wanted = to.removeprefix("v")
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", wanted):
        raise InvalidSpec(f"{to!r} is no Kubernetes version", todo=["write: invoke upgrade --to 1.37"])
    minor, now = versions.minor_of(f"{wanted}.0"), versions.minor_of(there)
    known = versions.kubernetes_minors()
    if _number(minor) < _number(now):
        raise InvalidSpec(f"the cluster has Kubernetes {there}: there is no way back to {to}",
                          evidence=["kubeadm goes to the same minor or the next; nothing was changed"],
                          todo=["a checkpoint that was taken before brings it back: invoke restore"])  # fmt: skip
    if _number(minor) > _number(now) + 1:
        major = now.partition(".")[0]
        following = f"{major}.{_number(now) + 1}"
        raise InvalidSpec(f"from Kubernetes {there} to {to} is more than one minor version",
                          evidence=["kubeadm goes one minor version at a time; nothing was changed"],
                          todo=[f"first: invoke upgrade --to {following}"])  # fmt: skip
    if minor not in known or wanted not in (minor, versions.kubernetes_version(minor).removeprefix("v")):
        all_known = ", ".join(f"{one} ({versions.kubernetes_version(one)})" for one in known)
        raise InvalidSpec(f"Kubernetes {to!r} is not known here; nothing was changed", evidence=[f"known: {all_known}"],
                          todo=["write a minor that is known: invoke upgrade --to MINOR"])  # fmt: skip
    return minor


def upgrade(
    place: Lab, cluster: Cluster, to: str, console: Reporter, *, stay: str = "",
    done: Callable[[Node], None] = lambda _: None,
) -> Cluster:  # fmt: skip
    """Bring a cluster to another Kubernetes version, or go on with that where it was cut off.

    Args:
        place: the lab.
        cluster: a cluster that runs.
        to: the minor, '1.37'.
        console: told of each step.
        stay: labels of pods that no drain moves, as kubectl's --pod-selector takes them with '!=': 'app!=probe'.
        done: told of each node of Kubernetes that has got there.

    Returns:
        The cluster as it is then.

    Raises:
        InvalidSpec: that version is not the next one, or another upgrade is half done; nothing was changed.
        KubedrillError: the cluster is not ready for it (nothing was changed then), or a step failed.
    """
    name = cluster.spec.name
    if cluster.spec.provider == VMS:
        raise KubedrillError(f"{name} is made of VMs, which keep their version", todo=[OF_CONTAINERS])
    need_restored(name, cluster.restoring)
    before = kept.metadata(place.provider, name)
    there = before.get("version", cluster.spec.version())
    minor = aim(there, to)
    if cluster.upgrading and minor != cluster.upgrading:
        clusters.need_one_version(cluster)
    if versions.kubernetes_version(minor) == there and not cluster.upgrading:
        console.say(f"{name} has Kubernetes {there} already")
        return cluster
    steps = _Steps(cluster, console, stay)
    steps.need_ready()
    _, cargo = build.cargo(place.engine, minor, place.missing, console.say)
    steps.need_drainable()
    kept.change(place.provider, name, {**before, UPGRADING: minor})
    steps.run(cargo, done)
    after = {key: value for key, value in before.items() if key != UPGRADING}
    spec = cluster.spec.model_copy(update={"kubernetes": minor})
    kept.change(place.provider, name, {**after, "spec": spec.to_json(), "version": cargo.version})
    upgraded = clusters.attach(place.provider, name)
    lifecycle.wait_until_whole(upgraded, console, [], 0)
    return upgraded


class _Steps:
    """One run of an upgrade."""

    def __init__(self, cluster: Cluster, console: Reporter, stay: str) -> None:
        self._cluster, self._console = cluster, console
        self._planes = [node for node in cluster.nodes if node.role == "control-plane"]
        self._workers = [node for node in cluster.nodes if node.role == "worker"]
        self._balancer = next((node for node in cluster.nodes if node.role == "load-balancer"), None)
        self._first = self._planes[0]
        members = [node for node in cluster.nodes if node.role == "etcd"]
        self._etcd = EtcdComputers(cluster.spec.name, members, len(cluster.spec.etcd_keys()), console)
        self._api = Kube(cluster.admin_conf(), timeout=5)
        self._stay = [f"--pod-selector={stay}"] if stay else []

    def need_ready(self) -> None:
        """See that the cluster is as it should be, before anything is changed.

        Raises:
            KubedrillError: it is not; says in what.
        """
        name = self._cluster.spec.name
        lifecycle.need_running(self._cluster)
        if self._cluster.upgrading:  # first: while kubeadm changes a control plane, its API may be away
            for node in (*self._planes, *self._workers):
                until_none_runs(node, self._console, whose=name, within=_KUBEADM + _ENDS,
                                then=self._again(self._cluster.upgrading))  # fmt: skip
        seen = {node.name: node for node in self._api.nodes()}
        wanted = [node.name for node in (*self._planes, *self._workers)]
        unready = [one for one in wanted if one not in seen or not seen[one].ready]
        if unready or len(wanted) != len(self._cluster.spec.node_keys()):
            raise KubedrillError(
                f"{name} is not ready for an upgrade; nothing was changed",
                evidence=[f"not Ready: {', '.join(unready) or 'nodes that are missing'}"],
                todo=[f"see: invoke status --name {name}"],
            )
        self._etcd.need_healthy()

    def need_drainable(self) -> None:
        """See that every node can be drained, before anything is changed.

        Raises:
            CommandFailed: with the pods that nobody would make anew.
        """
        for node in self._to_drain():
            self._first.run([*self._drain(node), "--dry-run=client"], timeout=60)

    def run(self, cargo: Cargo, done: Callable[[Node], None]) -> None:
        """All nodes, one after another."""
        mark = DONE.format(version=cargo.version)
        with tempfile.TemporaryDirectory(dir=paths.cache(), prefix=".upgrade-") as folder:
            for node in (*self._planes, *self._workers):
                with self._console.step(f"{node.name}: kubeadm {cargo.version} and its images"):
                    self._carry(node, cargo, Path(folder))
        own_dns = kubeadm.own_dns(self._configuration())
        if self._to_drain():
            self._first.run(["sh", "-c", f"kubectl --namespace kube-system create poddisruptionbudget {BUDGET} "
                             "--selector k8s-app=kube-dns --min-available 1 --dry-run=client -o yaml | "
                             "kubectl apply -f -"], timeout=60)  # fmt: skip
        for node in self._planes:
            self._balance(node, "ready")  # what was cut off may have left it out
        for node in (*self._planes, *self._workers):
            with self._out_of_balancer(node):
                if not has_file(node, mark):
                    self._kubeadm(node, cargo.version, own_dns)
                    node.write([File(mark, "")])
                self._kubelet(node, cargo)
            done(node)
        self._etcd.upgrade(cargo.version, lambda node: self._install(node, cargo, "kubeadm", "kubelet", "kubectl"))
        if self._to_drain():
            self._first.run(["kubectl", "--namespace", "kube-system", "delete", "poddisruptionbudget", BUDGET,
                             "--ignore-not-found"], timeout=60)  # fmt: skip

    def _carry(self, node: Node, cargo: Cargo, folder: Path) -> None:
        """What a node lacks of the images that its role needs, and kubeadm; what runs in it stays as it is."""
        listed = node.run(["ctr", "--namespace", "k8s.io", "images", "list", "--quiet"], timeout=60, show=False)
        there = set(listed.stdout.split())
        for name in cargo.names():
            if name in there or (node.role == "worker" and _of_control_plane(name)):
                continue
            if name in cargo.pulled:
                node.run(["ctr", "--namespace", "k8s.io", "images", "pull", name], timeout=_PULL)
            else:
                loading.archive(cargo.archive(name, folder), [node])
        self._install(node, cargo, "kubeadm")

    def _install(self, node: Node, cargo: Cargo, *programs: str) -> None:
        """Put programs into a node, as its package manager would: each is the old one or the new one at any moment."""
        for program in programs:
            new = f"/usr/bin/.{program}-{cargo.version}"
            node.send(cargo.programs[program], new)
            node.run(["sh", "-c", f"chmod 755 {new} && mv -f {new} /usr/bin/{program}"], timeout=60)

    def _kubeadm(self, node: Node, version: str, own_dns: bool) -> None:
        plane = node.role == "control-plane"
        config = kubeadm.upgrade_config(version, own_dns=own_dns, plane=plane)
        node.write([File(kubeadm.UPGRADE_CONFIG, config)])
        self._console.wrote(node.name, kubeadm.UPGRADE_CONFIG, config)
        if node is not self._first:
            with self._console.step(f"{node.name}: kubeadm upgrade node"):
                self._run_kubeadm(node, version, "node")
        else:
            with self._console.step(f"{node.name}: kubeadm upgrade plan"):
                plan = self._run_kubeadm(node, version, "plan")
            for line in planned(plan.stdout):
                self._console.say(f"  {line}")
            if own_dns:
                self._console.say("  but CoreDNS and etcd stay: they are not those that kubeadm would bring")
            with self._console.step(f"{node.name}: kubeadm upgrade apply {version}"):
                self._run_kubeadm(node, version, "apply", "--yes")
        if plane:
            self._serves(node)
        if node is self._planes[-1]:  # kubeadm changes add-ons with the last of them
            with self._console.step(f"kube-proxy {version} on every node"):
                for kind, name in (("daemonset", "kube-proxy"), ("deployment", "coredns")):
                    self._first.run(["kubectl", "--namespace", "kube-system", "rollout", "status", kind, name,
                                     f"--timeout={_SERVES}s"], timeout=_SERVES + 30)  # fmt: skip

    def _run_kubeadm(self, node: Node, version: str, *words: str) -> Result:
        argv = ["kubeadm", "upgrade", words[0], "--config", kubeadm.UPGRADE_CONFIG, *words[1:]]
        again = self._again(versions.minor_of(version))
        return run_kubeadm(node, argv, self._console, timeout=_KUBEADM, part=f"-{words[0]}", then=again)

    def _again(self, minor: str) -> str:
        return f"then go on: invoke upgrade --to {minor} --name {self._cluster.spec.name}"

    def _kubelet(self, node: Node, cargo: Cargo) -> None:
        """A new kubelet; the pods that a drain can move are elsewhere meanwhile."""
        found = self._node(node.name)
        if found.version != cargo.version:
            if node in self._to_drain():
                if not found.unschedulable:
                    node.write([File(CORDONED, "")])
                with self._console.step(f"{node.name}: drained"):
                    self._first.run(self._drain(node), timeout=_DRAIN + 30)
            with self._console.step(f"{node.name}: kubelet {cargo.version}"):
                before = self._static_pods(node)
                self._install(node, cargo, "kubelet", "kubectl")
                node.run(["sh", "-c", "systemctl daemon-reload && systemctl restart kubelet"], timeout=120)
                until(
                    self._api.nodes, lambda nodes: _has_version(nodes, node.name, cargo.version), within=_SERVES,
                    every=0.5, what=f"the new kubelet of {node.name}", transient=(ApiUnavailable,),
                )  # fmt: skip
                self._settled(node, before)
        if has_file(node, CORDONED):
            with self._console.step(f"{node.name}: takes pods again"):
                # The only API server may be started anew by the new kubelet.
                until(lambda: self._first.run(["kubectl", "uncordon", node.name], timeout=30), lambda _: (True, ""),
                      within=_SERVES, every=1, what="kubectl uncordon", transient=(CommandFailed,))  # fmt: skip
                node.run(["rm", "-f", CORDONED])

    def _static_pods(self, node: Node) -> dict[str, str]:
        """The static pods of a node, each with the hash that its kubelet has given it."""
        pods = until(lambda: self._api.pods("kube-system"), lambda _: (True, ""), within=_SERVES, every=0.5,
                     what="the API", transient=(ApiUnavailable,))  # fmt: skip
        return {pod.name: _hash(pod) for pod in pods if pod.owner == f"Node/{node.name}"}

    def _settled(self, node: Node, before: Mapping[str, str]) -> None:
        """Wait until a new kubelet is done with static pods: one of another version starts all of them anew.

        Each has another hash to it ('Deleted mirror pod as it didn't match the static Pod'); it starts new ones beside
        the old ones, and ends those 2 s later. So the API server of a control plane goes away once more.
        """
        if not before:
            return
        began = time.monotonic()
        until(
            lambda: self._api.pods("kube-system"),
            lambda pods: settled(pods, node.name, before, time.monotonic() - began),
            within=_SERVES, every=0.5, what=f"static pods of {node.name}", transient=(ApiUnavailable,),
        )  # fmt: skip
        self._serves(node)

    def _to_drain(self) -> list[Node]:
        """The nodes that are drained; none, where there is no other one that could take the pods."""
        nodes = [*self._planes, *self._workers]
        return nodes if len(nodes) > 1 else []

    def _drain(self, node: Node) -> list[str]:
        return ["kubectl", "drain", node.name, "--ignore-daemonsets", "--delete-emptydir-data", *self._stay,
                f"--timeout={_DRAIN}s"]  # fmt: skip

    def _configuration(self) -> str:
        return self._first.run(
            ["kubectl", "--namespace", "kube-system", "get", "configmap", "kubeadm-config", "-o",
             "jsonpath={.data.ClusterConfiguration}"], timeout=60, show=False,
        ).stdout  # fmt: skip

    def _node(self, name: str) -> NodeSnapshot:
        nodes = until(self._api.nodes, lambda _: (True, ""), within=_SERVES, every=0.5, what="the API",
                      transient=(ApiUnavailable,))  # fmt: skip
        for node in nodes:
            if node.name == name:
                return node
        raise NotFound(f"the API knows no node {name}", todo=[f"see: invoke status --name {self._cluster.spec.name}"])

    def _serves(self, node: Node) -> None:
        """Wait until a control plane's own API server is ready."""
        ask = ["curl", "--silent", "--insecure", "--max-time", "5", f"https://{node.address}:{API_PORT}/readyz"]
        until(lambda: node.run(ask, check=False, show=False), lambda said: (said.stdout == "ok", said.output[-200:]),
              within=_SERVES, every=0.5, what=f"the API server of {node.name}")  # fmt: skip

    @contextlib.contextmanager
    def _out_of_balancer(self, node: Node) -> Iterator[None]:
        """A control plane gets no new connections meanwhile; afterwards its own /readyz decides again."""
        self._balance(node, "drain")
        try:
            yield
        finally:
            self._balance(node, "ready")

    def _balance(self, node: Node, state: loadbalancer.State) -> None:
        if self._balancer is not None and node.role == "control-plane":
            self._balancer.run(loadbalancer.set_state(node.name, state))


def planned(output: str) -> list[str]:
    """What `kubeadm upgrade plan` says that would change: its tables, without the lines around them."""
    return [line.rstrip() for line in output.splitlines() if re.match(r"(COMPONENT|kube[a-z-]+|CoreDNS|etcd)  ", line)]


def settled(pods: Sequence[PodSnapshot], node: str, before: Mapping[str, str], passed: float) -> Verdict:
    """Whether a new kubelet is done with the static pods of its node: has started all of them anew, or none.

    Args:
        pods: of kube-system.
        node: the node.
        before: what the old kubelet made of them: {pod: hash}.
        passed: seconds since the new kubelet's start.
    """
    mirrors = {pod.name: pod for pod in pods if pod.owner == f"Node/{node}"}
    away = [name for name in before if name not in mirrors or not mirrors[name].ready or mirrors[name].deleting]
    if away:
        return False, f"not ready: {', '.join(away)}"
    same = [name for name, known in before.items() if _hash(mirrors[name]) == known]
    if len(same) == len(before):
        return passed >= _LOOKS, "all as the old kubelet left them"
    return not same, f"not started anew yet: {', '.join(same)}" if same else "all started anew"


def _hash(pod: PodSnapshot) -> str:
    return pod.annotations.get("kubernetes.io/config.hash", "")


def _of_control_plane(image: str) -> bool:
    name = image.rpartition(":")[0].rpartition("/")[2]
    return name in (*CONTROL_PLANE, "etcd")


def _has_version(nodes: tuple[NodeSnapshot, ...], name: str, version: str) -> tuple[bool, str]:
    node = next((one for one in nodes if one.name == name), None)
    if node is None:
        return False, "not registered"
    return node.ready and node.version == version, f"{'Ready' if node.ready else node.why}, {node.version}"


def _number(minor: str) -> int:
    return int(minor.partition(".")[2])
