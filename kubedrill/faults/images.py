"""An image that nodes have for a while only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kubedrill.faults.actions import Command, Map, Place, Plan, StateIs, named, node_name

# Of the distribution reference (https://pkg.go.dev/github.com/distribution/reference) what drills need.
_IMAGE = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9._-]*)+:[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class VisitingImage:
    """An image that nodes lack, and may get while the fault lasts. The undo takes it out of all of them.

    Nothing is injected: that it is not there is what a drill begins with. Nodes that have it already are refused, since
    the undo would take it from them.

    Args:
        nodes: all nodes that may get it.
        image: its full name with tag.
    """

    nodes: tuple[Place, ...]
    image: str

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise ValueError(f"{self.image!r} is no full name of an image with a tag")

    @property
    def name(self) -> str:
        """What is done."""
        return "visiting image"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(*self.nodes)

    def __str__(self) -> str:
        return f"let {named(*self.nodes)} have the image {self.image} for a while"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """crictl rmi, wherever it is."""
        nodes = [node_name(cluster, node) for node in self.nodes]
        there = f"found=$({listed(self.image)})"
        lacks = tuple(Command(node, ("sh", "-c", f'{there} && test -z "$found"')) for node in nodes)
        remove = f'{there} && if test -n "$found"; then crictl rmi {self.image}; fi'
        return (
            Plan(
                before=(*(StateIs(node, "running") for node in nodes), *lacks),
                inject=(),
                undo=tuple(Command(node, ("sh", "-c", remove)) for node in nodes),
                healed=lacks,
            ),
        )


def listed(image: str) -> str:
    """The command, on a node, that names an image where the node has it, and fails where nothing can be said.

    containerd itself is asked: its answer to `crictl images NAME` is all images (seen with 2.4; CRI lets it ignore the
    filter).

    Args:
        image: its full name with tag.
    """
    return f"ctr --namespace k8s.io images list --quiet name=={image}"
