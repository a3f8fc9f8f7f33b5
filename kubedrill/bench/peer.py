"""This project and a peer on the same machine, in the same run, in turn: what disturbs one disturbs the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kubedrill import cluster
from kubedrill.bench import compare, measure
from kubedrill.bench.measure import Figure, Used
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec
from kubedrill.images import build
from kubedrill.spec import nearest

PEERS = ("kind",)
# What is measured where no size is named.
USUAL = ("small", "large")
# Issue 8: bring-up at most a third of kind's time for 1+2 and for 3+2.
GOAL = "at most 0.33"


class Side(Protocol):
    """One of the two: brings a cluster up, tells what it holds, takes it down."""

    def up(self, control_planes: int, workers: int) -> None:
        """Bring a cluster up, until all nodes are Ready and CoreDNS is available."""
        ...

    def used(self) -> Used:
        """What its nodes hold."""
        ...

    def down(self) -> None:
        """Remove it."""
        ...


@dataclass
class Ours:
    """This project, with nodes made from modules, as those of the peer are."""

    place: Lab
    console: Console

    def up(self, control_planes: int, workers: int) -> None:
        """As `invoke up`."""
        asked = measure.spec_of(control_planes, workers)
        cluster.up(self.place, asked, self.console, source=build.MODULES, merge=False)

    def used(self) -> Used:
        """As `invoke bench` has it."""
        return measure.used(self.place.provider.nodes(self._name()))

    def down(self) -> None:
        """As `invoke down`."""
        cluster.down(self.place.provider, self._name(), self.console)

    def _name(self) -> str:
        return measure.spec_of(1, 0).name


def sizes(only: str) -> dict[str, tuple[int, int]]:
    """Control planes and workers of what is to be measured, by group.

    Args:
        only: one group; '' for 1+2 and 3+2.

    Raises:
        InvalidSpec: there is no such group of sizes.
    """
    if only and only not in measure.SIZES:
        raise InvalidSpec(
            f"'{only}' is no size of cluster that a peer is measured with{nearest(only, tuple(measure.SIZES))}",
            evidence=[f"sizes: {', '.join(measure.SIZES)}"],
        )
    return {group: measure.SIZES[group][:2] for group in ([only] if only else USUAL)}


def in_turn(
    ours: Side, peer: Side, wanted: Mapping[str, tuple[int, int]], runs: int, console: Console
) -> tuple[list[Figure], list[Figure]]:
    """Bring clusters up and down, one of ours and one of the peer's in turn.

    Args:
        ours: this project.
        peer: the other.
        wanted: control planes and workers, by group.
        runs: how often each.
        console: told of each result.

    Returns:
        Our figures and the peer's, in the same order.
    """
    figures: tuple[list[Figure], list[Figure]] = ([], [])
    for group, (control_planes, workers) in wanted.items():
        label = f"{control_planes}+{workers}"
        taken: tuple[list[_Once], list[_Once]] = ([], [])
        for number in range(runs):
            for name, side, into in zip(("kubedrill", "the peer"), (ours, peer), taken, strict=True):
                once = _once(side, control_planes, workers)
                into.append(once)
                console.say(f"{label}, run {number + 1} of {runs}, {name}: up {once.up:.1f} s, down {once.down:.1f} s")
        for all_of, side_taken in zip(figures, taken, strict=True):
            ups, downs, held = zip(*((one.up, one.down, one.held) for one in side_taken), strict=True)
            all_of += measure.figures_of(label, ups, downs, held, measure.SIZES[group][2])
    return figures


def rows(ours: Sequence[Figure], peer: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Both side by side: figure, our median and spread, the peer's, the ratio of ours to theirs, its goal."""
    compared = compare.compare(peer, ours)
    return [
        (one.what, *_words(one), *_words(other), "" if found.ratio is None else f"{found.ratio:.2f}", found.word,
         GOAL if one.what.startswith(("up 1+2", "up 3+2")) else "")
        for one, other, found in zip(ours, peer, compared, strict=True)
    ]  # fmt: skip


def named(peer: str, figures: Sequence[Figure]) -> list[Figure]:
    """The peer's figures under names of their own, so that they can be kept beside ours; our goals are not theirs."""
    return [replace(one, what=f"{peer}: {one.what}", goal="") for one in figures]


@dataclass(frozen=True)
class _Once:
    up: float
    down: float
    held: Used


def _once(side: Side, control_planes: int, workers: int) -> _Once:
    # What the one before it left to be written to the disk (kind's images, gigabytes) is not to be this one's burden.
    os.sync()
    up = measure.seconds(lambda: side.up(control_planes, workers))
    try:
        held = side.used()
    finally:
        down = measure.seconds(side.down)
    return _Once(up, down, held)


def _words(one: Figure) -> tuple[str, str]:
    return f"{one.median:.1f} {one.unit}", f"{one.low:.1f} to {one.high:.1f}"
