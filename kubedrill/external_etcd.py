"""etcd on computers of its own: certificates by kubeadm's own phases, and a kubelet that no API tells anything.

https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/setup-ha-etcd-with-kubeadm/
The CA's key stays on the first of them; the others have it only while they sign their own certificates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from kubedrill import etcd_config, kubeadm
from kubedrill.etcd_members import ETCDCTL
from kubedrill.marks import JOINED
from kubedrill.network import Addresses
from kubedrill.providers.base import File, Node
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import Verdict

CA_KEY = "/etc/kubernetes/pki/etcd/ca.key"
CERTIFICATES = ("etcd-server", "etcd-peer", "etcd-healthcheck-client")
_PHASE = 60


@dataclass(frozen=True)
class Members:
    """The members to be.

    Args:
        spec: the cluster asked for.
        addresses: of the cluster.
        machine: what is known of the nodes.
        nodes: its computers for etcd, by key: {etcd-1: node}.
    """

    spec: ClusterSpec
    addresses: Addresses
    machine: kubeadm.Machine
    nodes: Mapping[str, Node]

    def start(self, wait: Callable[[Callable[[], Result], Callable[[Result], Verdict]], object]) -> None:
        """Make certificates and start all members, which then are a cluster.

        Args:
            wait: until a command's result is as it should be.

        Raises:
            CommandFailed: of the phase that failed.
            TimedOut: they do not come to be a cluster.
        """
        first, *others = self.nodes.values()
        for key, node in self.nodes.items():
            config = etcd_config.member_config(self.spec, key, self.addresses, self.machine)
            node.write([
                File(etcd_config.CONFIG, config),
                File(etcd_config.KUBELET_CONFIG, etcd_config.standalone_kubelet(self.spec, self.machine)),
                File(etcd_config.UNIT, etcd_config.NO_API),
            ])  # fmt: skip
        _phase(first, "certs", "etcd-ca")
        ca = [File(kubeadm.ETCD_CA, _read(first, kubeadm.ETCD_CA)), File(CA_KEY, _read(first, CA_KEY), 0o600)]
        for node in others:
            node.write(ca)
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as pool:
            list(pool.map(_certificates, self.nodes.values()))
        _phase(first, "certs", "apiserver-etcd-client")
        for node in others:
            node.run(["rm", "-f", CA_KEY])

        def ask() -> Result:
            health = f"{ETCDCTL} endpoint health --cluster --command-timeout=3s"
            return first.run(["sh", "-c", health], check=False, show=False)

        for count, (key, node) in enumerate(self.nodes.items(), 1):
            if node is not first:
                peer = etcd_config.peer(self.addresses, key)
                there = f"{ETCDCTL} member list | grep -qF ' {peer},'"
                add = f"{there} || {ETCDCTL} member add {node.name} --peer-urls={peer}"
                # etcd takes no further one until the one before was there for some seconds ('unhealthy cluster').
                wait(partial(first.run, ["sh", "-c", add], check=False), _done)
            _phase(node, "etcd", "local")
            # A member takes part only once it has what was written before: the next one waits for that.
            wait(ask, partial(_healthy, count))
        for node in self.nodes.values():
            node.write([File(JOINED, "")])

    def introduce(self, plane: Node) -> None:
        """Give the first control plane what it needs to be a client; further ones get it from kubeadm.

        Raises:
            CommandFailed: there is no such certificate.
        """
        first = next(iter(self.nodes.values()))
        certificate, key = kubeadm.ETCD_CLIENT
        plane.write([
            File(kubeadm.ETCD_CA, _read(first, kubeadm.ETCD_CA)),
            File(certificate, _read(first, certificate)),
            File(key, _read(first, key), 0o600),
        ])  # fmt: skip


def _certificates(node: Node) -> None:
    """Its own certificates, and a kubelet that waits for manifests."""
    for certificate in CERTIFICATES:
        _phase(node, "certs", certificate)
    # A folder that is not there when the kubelet starts is looked for again after 20 s.
    start = "mkdir -p /etc/kubernetes/manifests && systemctl daemon-reload && systemctl restart kubelet"
    node.run(["sh", "-c", start], timeout=_PHASE)


def _phase(node: Node, *words: str) -> None:
    node.run(["kubeadm", "init", "phase", *words, "--config", etcd_config.CONFIG], timeout=_PHASE)


def _read(node: Node, path: str) -> str:
    return node.run(["cat", path], show=False).stdout


def _done(said: Result) -> Verdict:
    return said.status == 0, said.output[-200:]


def _healthy(members: int, said: Result) -> Verdict:
    healthy = said.output.count(" is healthy")
    return said.status == 0 and healthy == members, f"{healthy} of {members} members healthy; {said.output[-200:]}"
