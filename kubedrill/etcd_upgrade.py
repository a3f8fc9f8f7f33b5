"""Computers that have etcd to themselves get another kubelet: one after another, so that etcd keeps its quorum.

kubeadm knows nothing of them, and no API tells their kubelets anything. A kubelet of another version may start its
static pods anew (see `upgrade`), and with that pod the member of etcd is away for a moment. etcd itself stays as it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedrill import versions
from kubedrill.console import Reporter
from kubedrill.errors import CommandFailed, KubedrillError, TimedOut
from kubedrill.etcd_members import ETCDCTL
from kubedrill.marks import has_file
from kubedrill.providers.base import File, Node
from kubedrill.shell import Result
from kubedrill.wait import Verdict, until

# In a computer for etcd: it has the kubelet of that version, and its member has served since.
DONE = "/var/lib/kubedrill/kubelet-of-{version}"
# The container of a member, and how many members serve.
LOOK = f"crictl ps --quiet --name etcd; {ETCDCTL} endpoint health --cluster --command-timeout=3s"
# Seconds. Limits, not expectations.
_SERVES = 180
# One that was cut off may have left a member that is just starting.
_HEALTHY = 30
# A kubelet looks at its static pods as soon as it has started; with a margin for a slow machine.
_LOOKS = 10


@dataclass(frozen=True)
class EtcdComputers:
    """The computers of an external etcd.

    Args:
        cluster: the cluster's name.
        nodes: they; none where etcd is on control planes.
        members: how many there must be.
        console: told of each step.
    """

    cluster: str
    nodes: Sequence[Node]
    members: int
    console: Reporter

    def need_healthy(self) -> None:
        """See that all members serve, before anything is changed: one of them will be away at a time.

        Raises:
            KubedrillError: some do not.
        """
        if not self.members:
            return
        try:
            if len(self.nodes) != self.members:
                raise TimedOut(f"{len(self.nodes)} of {self.members} computers are there")
            self._until_healthy(self.nodes[0], _HEALTHY)
        except TimedOut as error:
            raise KubedrillError(
                f"etcd of {self.cluster} is not ready for an upgrade; nothing was changed",
                evidence=[error.what, *error.evidence],
                todo=[f"see: invoke components --name {self.cluster}"],
            ) from error

    def upgrade(self, version: str, install: Callable[[Node], None]) -> None:
        """All of them, one after another; those that have that version already are left alone.

        Args:
            version: of Kubernetes: v1.37.2.
            install: puts the programs of that version into a node.

        Raises:
            TimedOut: a member does not serve again; the others were not touched then.
        """
        mark = DONE.format(version=version)
        for node in self.nodes:
            if not has_file(node, mark):
                with self.console.step(f"{node.name}: kubelet {version}, and all members of etcd serve"):
                    self._go_on(node, install, version)
                node.write([File(mark, "")])

    def _go_on(self, node: Node, install: Callable[[Node], None], version: str) -> None:
        try:
            self._renew(node, install)
        except TimedOut as error:
            raise TimedOut(
                error.what, evidence=error.evidence,
                todo=[f"see: invoke components --name {self.cluster}",
                      f"then go on: invoke upgrade --to {versions.minor_of(version)} --name {self.cluster}"],
            ) from error  # fmt: skip

    def _renew(self, node: Node, install: Callable[[Node], None]) -> None:
        before, _ = looked(self._until_healthy(node, _SERVES))
        install(node)
        node.run(["sh", "-c", "systemctl daemon-reload && systemctl restart kubelet"], timeout=120)
        began = time.monotonic()
        until(
            lambda: self._look(node), lambda said: settled(said, before, self.members, time.monotonic() - began),
            within=_SERVES, every=0.5, what=f"etcd on {node.name}", transient=(CommandFailed,),
        )  # fmt: skip

    def _until_healthy(self, node: Node, within: float) -> Result:
        return until(lambda: self._look(node), lambda said: healthy(said, self.members),
                     within=within, every=0.5, what="all members of etcd", transient=(CommandFailed,))  # fmt: skip

    def _look(self, node: Node) -> Result:
        return node.run(["sh", "-c", LOOK], check=False, show=False, timeout=30)


def looked(said: Result) -> tuple[frozenset[str], int]:
    """What LOOK tells: the containers of etcd on that computer, and how many members of the cluster serve."""
    containers = frozenset(line for line in said.stdout.splitlines() if re.fullmatch(r"[0-9a-f]+", line))
    return containers, said.output.count(" is healthy")


def healthy(said: Result, members: int) -> Verdict:
    """Whether all members serve.

    Args:
        said: what LOOK tells.
        members: how many there are.
    """
    _, serving = looked(said)
    return said.status == 0 and serving == members, f"{serving} of {members} members healthy; {said.output[-200:]}"


def settled(said: Result, before: frozenset[str], members: int, passed: float) -> Verdict:
    """Whether a new kubelet is done with the member on its computer: has started it anew, or leaves it as it is.

    Args:
        said: what LOOK tells.
        before: the containers of etcd that the old kubelet had started.
        members: how many members there are.
        passed: seconds since the new kubelet's start.
    """
    there, _ = looked(said)
    if not there or (there & before and (there != before or passed < _LOOKS)):
        return False, "etcd runs as the old kubelet left it" if there else "etcd does not run"
    return healthy(said, members)
