"""Carry out the actions of faults, and look whether their checks hold."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from kubedrill import etcd_members, slowness
from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.faults.actions import (
    ANY_CONTROL_PLANE,
    ANY_MEMBER,
    CONTROL_PLANES,
    Action,
    Check,
    Command,
    StateIs,
    Together,
)
from kubedrill.providers.base import Node
from kubedrill.shell import Result
from kubedrill.wait import Verdict, until

# A node that was off boots, and a control plane that was cut off finds its quorum, before its commands work again.
# A limit, not an expectation: where a host had 30 % of the cores, an API server needed more than two minutes.
_PATIENCE = 240
# Seconds between two tries of an undo, or looks whether it holds: each look takes CPU from what is to serve again.
_AGAIN = 1.0
_DONE = {"kill": "stopped", "stop": "stopped", "start": "running", "pause": "paused", "resume": "running"}


class NoControlPlane(KubedrillError):
    """No control plane runs that a command could be given to."""


class Computers(Protocol):
    """What carrying out needs of a cluster; kubedrill.cluster.Cluster is one."""

    @property
    def nodes(self) -> Sequence[Node]:
        """Its nodes, running or not."""
        ...

    @property
    def slow(self) -> float:
        """How many times slower than real hardware its nodes are."""
        ...

    def node(self, name: str) -> Node:
        """A node by its name.

        Raises:
            NotFound: there is none.
        """
        ...


def perform(cluster: Computers, action: Action | Together) -> None:
    """Carry an action out, once; what a computer has done already is not done again.

    Raises:
        CommandFailed: the command's status was not 0, or its time ran out.
        NotFound: the node is gone or does not run.
        KubedrillError: the provider refuses.
    """
    if isinstance(action, Command):
        _run(cluster, action)
        return
    if isinstance(action, Together):
        with ThreadPoolExecutor(max_workers=16) as pool:
            for done in [pool.submit(perform, cluster, one) for one in action.actions]:
                done.result()
        return
    node = cluster.node(action.node)
    if node.state() == _DONE[action.do]:
        return
    do = {"kill": node.kill, "stop": node.stop, "start": node.start, "pause": node.pause, "resume": node.resume}
    do[action.do]()


def mend(cluster: Computers, action: Action) -> None:
    """Carry out an action of an undo, again and again until it works; a node that is gone needs no mending.

    Raises:
        TimedOut: it did not work in time; says what was last seen.
        KubedrillError: it cannot work: the provider refuses.
    """
    if _needless(cluster, action):
        return
    until(
        lambda: perform(cluster, action), lambda _: (True, "done"), within=_patience(cluster),
        every=_AGAIN, what=f"undo ({action})",
        transient=(CommandFailed, NoControlPlane),
    )  # fmt: skip


def verify(cluster: Computers, check: Check) -> None:
    """Wait until a check holds; on a node that is gone there is nothing to check.

    Raises:
        TimedOut: it did not hold in time; says what was last seen.
        KubedrillError: it cannot be looked at.
    """
    if _needless(cluster, check):
        return
    until(
        lambda: holds(cluster, check), lambda verdict: verdict, within=_patience(cluster),
        every=_AGAIN, what=f"after the undo ({check})",
        transient=(CommandFailed, NoControlPlane),
    )  # fmt: skip


def holds(cluster: Computers, check: Check) -> Verdict:
    """Whether a check holds right now.

    Raises:
        CommandFailed: its command did not end, or no control plane could run it.
        NotFound: the node is gone or does not run.
    """
    if isinstance(check, StateIs):
        state = cluster.node(check.node).state()
        return state == check.state, f"{check.node} is {state}"
    result = _run(cluster, check, check=False)
    return result.status == 0, f"{check}: exit status {result.status} {' '.join(result.output.split())[-200:]}".strip()


def running_control_planes(cluster: Computers) -> list[Node]:
    """The control planes whose computers run.

    Raises:
        NoControlPlane: none does.
    """
    found = [node for node in cluster.nodes if node.role == "control-plane" and _state(node) == "running"]
    if not found:
        raise NoControlPlane("no control plane runs")
    return found


def running_members(cluster: Computers) -> list[Node]:
    """The nodes with a member of etcd whose computers run.

    Raises:
        NoControlPlane: none does.
    """
    found = [node for node in etcd_members.of(cluster.nodes) if _state(node) == "running"]
    if not found:
        raise NoControlPlane("no node with a member of etcd runs")
    return found


def on_a_control_plane(cluster: Computers, command: Command) -> Result:
    """Run a command on the first control plane on which it works.

    Raises:
        CommandFailed: it works on none of those that run; tells what the last one said.
        NoControlPlane: none runs.
    """
    return _on_any(running_control_planes(cluster), command)


def _on_any(nodes: Sequence[Node], command: Command) -> Result:
    *others, last = nodes
    for node in others:
        try:
            return _on(node, command, check=True)
        except (CommandFailed, NotFound):
            continue  # its API server may be what is broken
    return _on(last, command, check=True)


def _patience(cluster: Computers) -> float:
    return _PATIENCE * slowness.patience(cluster.slow)


def _run(cluster: Computers, command: Command, check: bool = True) -> Result:
    command = replace(command, timeout=command.timeout * slowness.patience(cluster.slow))
    if command.node == CONTROL_PLANES:
        return [_on(node, command, check) for node in running_control_planes(cluster)][-1]
    if command.node not in (ANY_CONTROL_PLANE, ANY_MEMBER):
        return _on(cluster.node(command.node), command, check)
    try:
        running = running_members if command.node == ANY_MEMBER else running_control_planes
        return _on_any(running(cluster), command)
    except CommandFailed as error:
        if check or error.status is None:
            raise
        return Result(error.status, error.output, "")


def _on(node: Node, command: Command, check: bool) -> Result:
    return node.run(list(command.argv), stdin=command.stdin or None, check=check, timeout=command.timeout)


def _needless(cluster: Computers, action: Action | Check) -> bool:
    """Whether a node has lost by itself what would be undone, by being gone or (some things) by being off."""
    if action.node in (ANY_CONTROL_PLANE, ANY_MEMBER, CONTROL_PLANES):
        return False
    try:
        state = _state(cluster.node(action.node))
    except NotFound:
        return True
    return state is None or (isinstance(action, Command) and action.until_boot and state == "stopped")


def _state(node: Node) -> str | None:
    try:
        return node.state()
    except NotFound:
        return None
