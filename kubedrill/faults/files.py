"""A folder more on a node, for what a drill must leave there for a while."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kubedrill.faults.actions import Command, Map, Place, Plan, StateIs, named, node_name
from kubedrill.faults.computers import safe_name

_FOLDER = re.compile(r"/etc/kubernetes/kubedrill-[a-z]+")


@dataclass(frozen=True)
class PutFolder:
    """A folder with files, where none was. The undo removes it, with all that has come into it since.

    Args:
        node: where.
        folder: /etc/kubernetes/kubedrill- and a word: nothing else is removed by an undo.
        files: (name, text) of what is in it.
    """

    node: Place
    folder: str
    files: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if not _FOLDER.fullmatch(self.folder):
            raise ValueError(f"{self.folder!r} is no folder of a drill")
        for name, _ in self.files:
            safe_name(name, "file")

    @property
    def name(self) -> str:
        """What is done."""
        return "put files"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"put {', '.join(name for name, _ in self.files)} into {self.folder} of {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """mkdir, cat, and rm."""
        node = node_name(cluster, self.node)
        gone = Command(node, ("test", "!", "-e", self.folder))
        return (
            Plan(
                before=(StateIs(node, "running"), gone),
                inject=(
                    Command(node, ("mkdir", "-m", "700", self.folder)),
                    *(
                        Command(node, ("sh", "-c", f"umask 077; cat >{self.folder}/{name}"), stdin=text)
                        for name, text in self.files
                    ),
                ),
                undo=(Command(node, ("rm", "-rf", self.folder)),),
                healed=(gone,),
            ),
        )
