"""Faults of computers, and of what runs on them without Kubernetes' say."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from kubedrill.faults.actions import Command, Doing, Fault, Map, Place, Plan, Power, StateIs, named, node_name
from kubedrill.providers.base import State

MANIFESTS = "/etc/kubernetes/manifests"
REMOVED = "/etc/kubernetes/kubedrill-removed"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._:-]*")


@dataclass(frozen=True)
class KillNode:
    """A power cut: everything on the node ends at once. Its disk, and what was synced to it, stays."""

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "kill node"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"kill the node {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Kill; the undo starts it."""
        return _power(node_name(cluster, self.node), "kill", "start")


@dataclass(frozen=True)
class StopNode:
    """An orderly shutdown: services are stopped one by one. The undo starts it."""

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "stop node"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"shut the node {self.node} down"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Stop; the undo starts it."""
        return _power(node_name(cluster, self.node), "stop", "start")


@dataclass(frozen=True)
class PauseNode:
    """A node that hangs: no process of it runs, but its connections stay open."""

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "pause node"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"pause the node {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Pause; the undo lets it go on."""
        return _power(node_name(cluster, self.node), "pause", "resume")


@dataclass(frozen=True)
class StopUnit:
    """A systemd unit that is down: kubelet or containerd.

    Ending its process by a signal would do nothing, as systemd starts it again (Restart=always). Pods go on running in
    both cases (KillMode=process).

    Args:
        node: where.
        unit: its name without '.service'.
    """

    node: Place
    unit: str

    def __post_init__(self) -> None:
        safe_name(self.unit, "unit")

    @property
    def name(self) -> str:
        """What is done."""
        return f"stop {self.unit}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"stop {self.unit} on {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """systemctl stop; the undo starts it."""
        node = node_name(cluster, self.node)
        active = Command(node, ("systemctl", "is-active", self.unit), until_boot=True)
        return (
            Plan(
                before=(StateIs(node, "running"), active),
                inject=(Command(node, ("systemctl", "stop", self.unit)),),
                # An enabled unit is started at boot: a node that is off has nothing to undo.
                undo=(Command(node, ("systemctl", "start", self.unit), until_boot=True),),
                healed=(active,),
            ),
        )


@dataclass(frozen=True)
class KillProcess:
    """A process that dies (SIGKILL) once, all of that name; whoever started it has to notice.

    There is nothing to undo: the kubelet or systemd starts it again. Heal means that one of that name runs again.

    Args:
        node: where.
        program: what its command line begins with, with or without a folder: 'etcd', 'kube-apiserver'. Not a word
            anywhere in the line, as kube-apiserver's holds 'etcd' too.
    """

    node: Place
    program: str

    def __post_init__(self) -> None:
        safe_name(self.program, "program")

    @property
    def name(self) -> str:
        """What is done."""
        return f"kill {self.program}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"kill the process {self.program} on {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """pkill; nothing to undo."""
        node = node_name(cluster, self.node)
        pattern = f"^([^ ]*/)?{re.escape(self.program)}( |$)"
        runs = Command(node, ("pgrep", "-f", pattern), until_boot=True)
        return (
            Plan(
                before=(StateIs(node, "running"), runs),
                inject=(Command(node, ("pkill", "-KILL", "-f", pattern)),),
                undo=(),
                healed=(runs,),
            ),
        )


@dataclass(frozen=True)
class RemoveStaticPod:
    """A static pod whose manifest is gone: the kubelet ends it, in order. The undo puts the manifest back.

    Args:
        node: a control plane.
        component: etcd, kube-apiserver, kube-controller-manager or kube-scheduler.
    """

    node: Place
    component: str

    def __post_init__(self) -> None:
        safe_name(self.component, "component")

    @property
    def name(self) -> str:
        """What is done."""
        return f"remove {self.component}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"remove the static pod {self.component} of {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Move the manifest away, and back."""
        node, file = node_name(cluster, self.node), f"{self.component}.yaml"
        away, here = f"{REMOVED}/{file}", f"{MANIFESTS}/{file}"
        there = Command(node, ("test", "-e", here))
        return (
            Plan(
                before=(StateIs(node, "running"), there),
                # Both folders are on one file system, so that the kubelet sees a whole manifest or none.
                inject=(Command(node, ("sh", "-c", f"mkdir -p {REMOVED} && mv {here} {away}")),),
                undo=(Command(node, ("sh", "-c", f"if test -e {away}; then mv {away} {here}; fi")),),
                healed=(there,),
            ),
        )


@dataclass(frozen=True)
class LeftOut:
    """A fault whose heal is left out, for a negative control: it stays in the journal until `heal`.

    Where its inject fails half-way it is healed at once, as any other.
    """

    fault: Fault

    @property
    def name(self) -> str:
        """What is done."""
        return self.fault.name

    @property
    def subject(self) -> str:
        """To whom."""
        return self.fault.subject

    def __str__(self) -> str:
        return f"{self.fault} (not healed, on purpose)"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Those of the fault."""
        return tuple(replace(plan, left_out=True) for plan in self.fault.ways(cluster, mark))


def _power(node: str, do: Doing, undo: Doing) -> tuple[Plan, ...]:
    running: State = "running"
    return (
        Plan(
            before=(StateIs(node, running),),
            inject=(Power(node, do),),
            undo=(Power(node, undo),),
            healed=(StateIs(node, running), Command(node, ("true",))),
        ),
    )


def safe_name(name: str, what: str) -> None:
    """Names end up in command lines.

    Raises:
        ValueError: this one would not be taken as a name there.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a {what}")
