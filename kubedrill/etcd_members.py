"""etcd's members, asked and changed on a control plane."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from kubedrill.network import etcd_peer
from kubedrill.providers.base import Node
from kubedrill.wait import until

# Seconds for an etcd that has just been started to have a leader again.
_QUORUM = 60

# etcdctl in the etcd container of a node that has one, with the certificates that kubeadm made.
ETCDCTL = (
    "crictl exec $(crictl ps --quiet --name etcd) etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt "
    "--cert /etc/kubernetes/pki/etcd/peer.crt --key /etc/kubernetes/pki/etcd/peer.key"
)

# What etcd of a control plane has written so far that says how far it has come, whatever its pod's identity.
LOG = (
    """grep -hE '"(applied snapshot|published local member to cluster through raft|promote member)"' """
    "/var/log/pods/kube-system_etcd-*/etcd/*.log"
)
# There, once etcd's container is made: etcd itself runs some tenths of a second later.
BEGINS = "ls -d /var/log/pods/kube-system_etcd-*/etcd"
# The members as another one knows them.
LIST = f"{ETCDCTL} member list"
Standing = Literal["starts", "overtaken", "serves"]


def add(addresses: Mapping[str, str]) -> str:
    """The command by which etcd is told of members that will join; they have no vote until they are promoted.

    Args:
        addresses: of their nodes, by host name.
    """
    added = [f"member add {name} --learner --peer-urls={etcd_peer(at)}" for name, at in addresses.items()]
    return f'etcdctl() {{ {ETCDCTL} "$@"; }}; ' + " && ".join(f"etcdctl {each}" for each in added)


def standing(log: str) -> Standing:
    """How far a new member of etcd has come.

    Args:
        log: what LOG finds.

    Returns:
        'overtaken' where it has its first snapshot, but has not heard of itself in the log since.
    """
    if '"published local member to cluster through raft"' in log:
        return "serves"
    return "overtaken" if '"applied snapshot"' in log else "starts"


def votes(log: str) -> bool:
    """Whether a new member of etcd is none that only learns any more.

    Args:
        log: what LOG finds.
    """
    return any(
        re.search(rf'"promoted-member-id":"{found[1]}"', line) is not None
        for line in log.splitlines()
        if '"promote member"' in line and (found := re.search(r'"local-member-id":"(\w+)"', line))
    )


def started(members: str, name: str) -> bool:
    """Whether a member of that name has been heard of.

    Args:
        members: what LIST tells.
        name: its node's.
    """
    return any(line.split(", ")[1:3] == ["started", name] for line in members.splitlines())


def of(nodes: Sequence[Node]) -> list[Node]:
    """Of the nodes of a cluster those with a member of etcd: computers for that alone, or its control planes."""
    own = [node for node in nodes if node.role == "etcd"]
    return own or [node for node in nodes if node.role == "control-plane"]


def alone(name: str) -> bool:
    """Whether the node of that host name is a computer for etcd alone."""
    return re.search(r"-etcd-\d+$", name) is not None


def forget_member(leader: Node, address: str) -> None:
    """Take the etcd member at an address out of the cluster; harmless where there is none.

    A member that never started has no name yet, only the address of its peer. An etcd that is only just starting, or
    choosing a leader, is waited for.

    Raises:
        TimedOut: etcd does not answer, or has no quorum.
    """
    its = f"grep -F ' {etcd_peer(address)},' | cut -d, -f1"
    script = f"""set -e
members=$({LIST})
for id in $(echo "$members" | {its}); do {ETCDCTL} member remove $id; done"""
    until(
        lambda: leader.run(["sh", "-c", script], check=False, timeout=60),
        lambda did: (did.status == 0, did.output.strip()[-300:]),
        within=_QUORUM, every=1, what=f"no member of etcd at {address} any more",
    )  # fmt: skip
