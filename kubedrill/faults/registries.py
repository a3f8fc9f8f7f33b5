"""Registries that a node runs for a while only."""

from __future__ import annotations

from dataclasses import dataclass

from kubedrill import daemons, registries
from kubedrill.faults.actions import Command, Map, Place, Plan, StateIs, named, node_name
from kubedrill.faults.computers import safe_name


@dataclass(frozen=True)
class VisitingRegistry:
    """Registries on a node, and nodes that ask them, while the fault lasts. The undo takes all of it away.

    Nothing is injected: what is there is put there by the drill (kubedrill.registries). Refused where something of it
    is there already, since the undo would remove it.

    Args:
        node: where they run.
        registries: their names.
        asking: all nodes that may be pointed at them.
        source: the registry that images are called after, of which the nodes ask them.
    """

    node: Place
    registries: tuple[str, ...]
    asking: tuple[Place, ...]
    source: str

    def __post_init__(self) -> None:
        for name in (*self.registries, self.source):
            safe_name(name, "registry")

    @property
    def name(self) -> str:
        """What is done."""
        return "visiting registry"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"let {named(self.node)} run the registries {', '.join(self.registries)} for a while"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """systemctl and rm, of what is there."""
        node = node_name(cluster, self.node)
        nodes = [node_name(cluster, one) for one in self.asking]
        units = " ".join(f"kubedrill-registry@{name}.service" for name in self.registries)
        files = " ".join(
            f"{folder}/{name}{end}"
            for folder, end in ((registries.FOLDER, ".yml"), (registries.DATA, ""))
            for name in self.registries
        )
        # The program and the unit of all of them go with the last.
        last = f"ls {registries.FOLDER}/*.yml >/dev/null 2>&1 || rm -rf {registries.UNIT} {daemons.PROGRAMS}/registry-*"
        remove = (
            f"systemctl disable --now {units} 2>/dev/null; rm -rf {files} && {{ {last}; }} && systemctl daemon-reload"
        )
        folder = f"{registries.CERTS}/{self.source}"
        gone = (
            Command(node, ("sh", "-c", f"for f in {files}; do test ! -e $f || exit 1; done")),
            *(Command(each, ("test", "!", "-e", folder)) for each in nodes),
        )
        return (
            Plan(
                before=(*(StateIs(each, "running") for each in dict.fromkeys((node, *nodes))), *gone),
                inject=(),
                undo=(
                    *(Command(each, ("rm", "-rf", folder)) for each in nodes),
                    Command(node, ("sh", "-c", remove)),
                ),
                healed=gone,
            ),
        )
