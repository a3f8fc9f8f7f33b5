"""Faults that Kubernetes itself carries out when asked: a node that takes no pods, or gives them all away."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Map, Place, Plan, named, node_name

_KUBECTL = ("kubectl", "--request-timeout=10s")
_TAINT = re.compile(r"[a-z0-9][a-z0-9./-]*(=[A-Za-z0-9._-]*)?:(NoSchedule|PreferNoSchedule|NoExecute)")


@dataclass(frozen=True)
class Cordon:
    """A node that takes no new pods. The undo uncordons it; one that was cordoned already is refused."""

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "cordon"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"cordon {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """kubectl cordon, and uncordon."""
        name = node_name(cluster, self.node)
        return (_plan(name, Command(ANY_CONTROL_PLANE, (*_KUBECTL, "cordon", name))),)


@dataclass(frozen=True)
class Taint:
    """A node with a taint more. The undo removes it; one that is there already is refused.

    Args:
        node: which.
        taint: KEY=VALUE:EFFECT.
    """

    node: Place
    taint: str

    def __post_init__(self) -> None:
        if not _TAINT.fullmatch(self.taint):
            raise ValueError(f"{self.taint!r} is no taint: KEY=VALUE:EFFECT")

    @property
    def name(self) -> str:
        """What is done."""
        return "taint"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"taint {self.node} with {self.taint}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """kubectl taint, there and back."""
        name = node_name(cluster, self.node)
        pair, _, effect = self.taint.rpartition(":")
        key = pair.partition("=")[0]
        listed = 'jsonpath={range .spec.taints[*]}{.key}:{.effect}{"\\n"}{end}'
        gone = (
            f"taints=$({' '.join(_KUBECTL)} get node {name} -o '{listed}') && "
            f"! echo \"$taints\" | grep -qx '{key}:{effect}'"
        )
        free = Command(ANY_CONTROL_PLANE, ("sh", "-c", gone))
        # kubectl refuses to remove what is not there: then there is nothing left to undo.
        remove = f"if ! {{ {gone}; }}; then {' '.join(_KUBECTL)} taint node {name} {key}:{effect}-; fi"
        return (
            Plan(
                before=(free,),
                inject=(Command(ANY_CONTROL_PLANE, (*_KUBECTL, "taint", "node", name, self.taint)),),
                undo=(Command(ANY_CONTROL_PLANE, ("sh", "-c", remove)),),
                healed=(free,),
            ),
        )


@dataclass(frozen=True)
class Drain:
    """A node that is cordoned and whose pods are evicted, those of DaemonSets excepted.

    The undo uncordons it; the pods that went stay where they are. Where a disruption budget keeps the drain from its
    end within the limit, the inject fails and is healed.

    Args:
        node: which.
        limit: seconds that the evictions may take.
    """

    node: Place
    limit: float = 120

    @property
    def name(self) -> str:
        """What is done."""
        return "drain"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"drain {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """kubectl drain, and uncordon."""
        name = node_name(cluster, self.node)
        drain = (
            "kubectl", "drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--force",
            f"--timeout={self.limit:g}s",
        )  # fmt: skip
        return (_plan(name, Command(ANY_CONTROL_PLANE, drain, timeout=self.limit + 15)),)


def _plan(name: str, inject: Command) -> Plan:
    # Assigned first, so that a kubectl that fails is no node without the mark.
    script = f'found=$({" ".join(_KUBECTL)} get node {name} -o jsonpath={{.spec.unschedulable}}) && test -z "$found"'
    open_ = Command(ANY_CONTROL_PLANE, ("sh", "-c", script))
    return Plan(
        before=(open_,),
        inject=(inject,),
        undo=(Command(ANY_CONTROL_PLANE, (*_KUBECTL, "uncordon", name)),),
        healed=(open_,),
    )
