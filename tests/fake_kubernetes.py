"""The commands of fake nodes answered as kubeadm, kubectl and systemd would: enough to bring a cluster up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fake_node import Call, FakeNode, Stored
from fake_provider import FakeProvider

from kubedrill.etcd_members import LIST, LOG
from kubedrill.init_phases import BEGIN, NO_LIST, STARTED, afterwards, at_last
from kubedrill.join_phases import AT_ONCE, ETCD
from kubedrill.kube import ApiUnavailable, ClusterSnapshot, NodeSnapshot, WorkloadSnapshot
from kubedrill.kubeadm import Secrets
from kubedrill.shell import Result

KEYS = Secrets("s3cret.token0123456789ab", "deadbeef" * 8)
ADMIN = """\
apiVersion: v1
kind: Config
clusters:
- {name: kubernetes, cluster: {certificate-authority-data: Q0EK, server: 'https://172.28.0.11:6443'}}
contexts:
- {name: kubernetes-admin@kubernetes, context: {cluster: kubernetes, user: kubernetes-admin}}
current-context: kubernetes-admin@kubernetes
users:
- {name: kubernetes-admin, user: {client-certificate-data: Q0VSVAo=, client-key-data: S0VZCg==}}
"""
CA = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
OK = Result(0, "", "")
# What etcd writes once it has its first snapshot, once it hears of itself, and once it votes.
SNAPSHOT, WORD = '{"msg":"applied snapshot"}\n', '{"msg":"published local member to cluster through raft"}\n'
PROMOTED = '{"msg":"promote member","local-member-id":"5304627255e49b0c","promoted-member-id":"5304627255e49b0c"}\n'


def ends_init(call: Call) -> bool:
    """Whether a command does the last phases of init."""
    whole = [at_last(other_planes=more) for more in (True, False)]
    slow = [afterwards(dns=dns) for dns in (True, False)]
    return list(call.argv) in whole or list(call.argv[: len(slow[0])]) in slow


@dataclass
class FakeKubernetes:
    """The state of one fake cluster, and the script of its nodes.

    Args:
        answers: asked first, and its Result taken where it gives one: what a test makes go wrong.
        static_pods: how many run once init has begun.
    """

    answers: Callable[[FakeNode, Call], Result | None] = lambda _node, _call: None
    static_pods: int = 2
    registered: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    applied: list[str] = field(default_factory=list)
    api: threading.Event = field(default_factory=threading.Event)
    flannel: threading.Event = field(default_factory=threading.Event)
    dns: threading.Event = field(default_factory=threading.Event)

    def script(self, node: FakeNode, call: Call) -> Result | None:
        """Answer a command."""
        answer = self.answers(node, call)
        if answer is not None:
            return answer
        slow = afterwards(dns=True)
        if "addon coredns" in call.line or "addon all" in call.line or list(call.argv[: len(slow)]) == slow:
            self.dns.set()
        match call.argv:
            case ("systemctl", "start", service):
                assert service == ("haproxy" if node.role == "load-balancer" else "containerd")
                return OK
            case ("kubeadm", "init", "phase", *_) | ("systemctl", "restart", "kubelet"):
                return OK
            case ("kubeadm", "init", *_) if list(call.argv) == BEGIN:
                return self._begin(node)
            case ("kubeadm", "init", *_) if ends_init(call):
                return self._init()
            case ("kubedrill-bootstrap-objects", *_):
                return Result(NO_LIST, "there is no list", "")
            case ("kubeadm", "init", *_) | ("kubedrill-at-once", *_) | ("unshare", *_):
                return OK
            case ("crictl", *_) if list(call.argv) == STARTED:
                return Result(0, "9d1\n" * self.static_pods, "")
            case ("kubeadm", "join", *_) if list(call.argv) == AT_ONCE:
                return OK
            case ("kubeadm", "join", *_) if list(call.argv) == ETCD:
                self.members.add(node.name)
                return OK
            case ("kubeadm", "join", *_):
                self.joined(node)
                return Result(0, "This node has joined the cluster\n", "")
            case ("sh", "-c", line) if line == LIST:
                members = [f"8e9e05c52164694d, started, {name}, https://a:2380, https://a:2379, false"
                           for name in sorted(self.members)]  # fmt: skip
                return Result(0, "".join(f"{member}\n" for member in members), "")
            case ("sh", "-c", line) if line == LOG:
                return Result(0, WORD + PROMOTED if node.name in self.members else "", "")
            case ("kubectl", _, _, "apply", *_, "-f", "-"):
                self.applied.append(call.stdin or "")
                self.flannel.set()
                return OK
            case ("kubectl", "delete", "node", name, *_):
                self.registered.discard(name)
                return OK
            case ("kubeadm", "token", "create", *_):
                return OK
            case ("cat", path):
                return Result(0, node.text(path), "") if path in node.disk else Result(1, "", f"cat: {path}: not there")
            case ("sh", "-c", _):
                return OK
            case ("crictl" | "ip" | "ps", *_):
                return OK
        return None

    def joined(self, node: FakeNode) -> None:
        """A node is part of the cluster from now on."""
        self.registered.add(node.name)
        if node.role == "control-plane":
            self.members.add(node.name)

    def readyz(self, *_without: str) -> str:
        """What the API answers, if it does.

        Raises:
            ApiUnavailable: init has not come so far.
        """
        if not self.api.is_set():
            raise ApiUnavailable("connection refused")
        return "ok"

    def snapshot(self, provider: FakeProvider) -> ClusterSnapshot:
        """What the API would tell: every node that has joined and runs is Ready."""
        nodes = tuple(
            NodeSnapshot(name, provider.node(name).state() == "running", "", False, False, (), "", "v1.37.2")
            for name in sorted(self.registered)
        )
        flannel = WorkloadSnapshot("kube-flannel-ds", len(nodes), len(nodes)) if self.flannel.is_set() else None
        dns = WorkloadSnapshot("coredns", 2, 2) if self.dns.is_set() else None
        return ClusterSnapshot(nodes, dns, flannel)

    def _begin(self, node: FakeNode) -> Result:
        for name in ("admin.conf", "super-admin.conf"):
            self.put(node, f"/etc/kubernetes/{name}", ADMIN)
        self.put(node, "/etc/kubernetes/pki/ca.crt", CA)
        self.joined(node)
        self.api.set()
        return OK

    def _init(self) -> Result:
        printed = f"kubeadm join --token {KEYS.token} --certificate-key {KEYS.certificate_key}\n"
        # init does not end before flannel is applied: nothing may make flannel wait for its end
        return Result(0, printed, "") if self.flannel.wait(10) else Result(1, "", "flannel waited for the end of init")

    @staticmethod
    def put(node: FakeNode, path: str, text: str) -> None:
        """A file that kubeadm writes by itself."""
        node.disk[path] = Stored(text.encode(), 0o600)


@dataclass
class FakeApi:
    """The API of a fake cluster whose controllers work, as kube.Kube has it."""

    kubernetes: FakeKubernetes
    provider: FakeProvider

    def readyz(self, *without: str) -> str:
        """Whether it answers."""
        return self.kubernetes.readyz(*without)

    def has_namespace(self, name: str) -> bool:
        """Whether it answers.

        Raises:
            ApiUnavailable: it does not.
        """
        return self.kubernetes.readyz(name) == "ok"

    def make_priority_class(self, wanted: Mapping[str, object]) -> None:
        """It takes it."""

    def has_config_map(self, namespace: str, name: str) -> bool:
        """It has."""
        return True

    def has_cluster_role(self, name: str) -> bool:
        """It has."""
        return True

    def coredns(self) -> WorkloadSnapshot | None:
        """CoreDNS, if it is there."""
        return self.cluster().coredns

    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """All that there are."""
        return tuple(self.cluster().nodes)

    def cluster(self) -> ClusterSnapshot:
        """What is there."""
        return self.kubernetes.snapshot(self.provider)
