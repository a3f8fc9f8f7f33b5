"""Faults of hollow nodes: nodes without a computer, whose kubelets kwok plays (hollow.py)."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill import hollow_parts
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Map, Plan

_KUBECTL = ("kubectl", "--request-timeout=30s")


@dataclass(frozen=True)
class SilenceHollowNodes:
    """Hollow nodes fall silent, as if their computers had died: no heartbeat, and no word of their pods.

    Args:
        nodes: their names.
    """

    nodes: tuple[str, ...]

    @property
    def name(self) -> str:
        """What is done."""
        return "silence hollow nodes"

    @property
    def subject(self) -> str:
        """To whom."""
        return ", ".join(self.nodes)

    def __str__(self) -> str:
        return f"silence {self.subject}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """The label by which kwok knows them is taken away, and given back."""
        label = (*_KUBECTL, "label", "--overwrite", "node", *self.nodes)
        ready = (*_KUBECTL, "wait", "--for=condition=Ready", "--timeout=90s", *(f"node/{name}" for name in self.nodes))
        return (
            Plan(
                before=(Command(ANY_CONTROL_PLANE, ready, timeout=120),),
                inject=(Command(ANY_CONTROL_PLANE, (*label, f"{hollow_parts.PLAYED}-")),),
                undo=(Command(ANY_CONTROL_PLANE, (*label, f"{hollow_parts.PLAYED}=runs")),),
                healed=(Command(ANY_CONTROL_PLANE, ready, timeout=120),),
            ),
        )
