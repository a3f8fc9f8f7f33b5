"""This project and a peer on the same machine, in the same run, in turn: what disturbs one disturbs the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kubedrill.bench import compare, measure
from kubedrill.bench.figures import Figure, Reading, Used, of_cluster, timed
from kubedrill.bench.fresh import Fresh
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


@dataclass(frozen=True)
class Ours:
    """This project's commands, as the peer's are commands; with nodes made from modules, as those of the peer are."""

    fresh: Fresh

    def up(self, control_planes: int, workers: int) -> None:
        """As `invoke up`."""
        self.fresh.up(control_planes, workers, "--source", build.MODULES)

    def used(self) -> Used:
        """As `invoke bench` has it."""
        return measure.used(self.fresh.nodes())

    def down(self) -> None:
        """As `invoke down`; what that leaves goes, too."""
        try:
            self.fresh.down()
        except BaseException:
            self.fresh.remove()
            raise


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


def in_turn(ours: Side, peer: Side, group: str, runs: int, console: Console) -> tuple[list[Figure], list[Figure]]:
    """Bring clusters of one size up and down, one of ours and one of the peer's in turn.

    Args:
        ours: this project.
        peer: the other.
        group: the size.
        runs: how often each.
        console: told of each result.

    Returns:
        Our figures and the peer's, in the same order.
    """
    control_planes, workers, goal = measure.SIZES[group]
    label = f"{control_planes}+{workers}"
    taken: tuple[list[_Once], list[_Once]] = ([], [])
    for number in range(runs):
        for name, side, into in zip(("kubedrill", "the peer"), (ours, peer), taken, strict=True):
            once = _once(side, control_planes, workers)
            into.append(once)
            console.say(f"{label}, run {number + 1} of {runs}, {name}: "
                        f"up {once.up.value:.1f} s, down {once.down.value:.1f} s")  # fmt: skip
    mine, theirs = (
        of_cluster(label, [one.up for one in side], [one.down for one in side], [one.held for one in side], goal)
        for side in taken
    )
    return mine, theirs


def rows(ours: Sequence[Figure], peer: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Both side by side: figure, our median and spread, the peer's, the ratio of ours to theirs, its goal, the host."""
    compared = compare.compare(peer, ours)
    return [
        (one.what, *_words(one), *_words(other), "" if found.ratio is None else f"{found.ratio:.2f}", found.word,
         GOAL if one.what.startswith(("up 1+2", "up 3+2")) else "",
         compare.disturbed(one, other, ("kubedrill", "the peer")))
        for one, other, found in zip(ours, peer, compared, strict=True)
    ]  # fmt: skip


def named(peer: str, figures: Sequence[Figure]) -> list[Figure]:
    """The peer's figures under names of their own, so that they can be kept beside ours; our goals are not theirs."""
    return [replace(one, what=f"{peer}: {one.what}", goal="") for one in figures]


@dataclass(frozen=True)
class _Once:
    up: Reading
    down: Reading
    held: Used


def _once(side: Side, control_planes: int, workers: int) -> _Once:
    # What the one before it left to be written to the disk (kind's images, gigabytes) is not to be this one's burden.
    os.sync()
    up = timed(lambda: side.up(control_planes, workers))
    try:
        held = side.used()
    finally:
        down = timed(side.down)
    return _Once(up, down, held)


def _words(one: Figure) -> tuple[str, str]:
    return f"{one.median:.1f} {one.unit}", f"{one.low:.1f} to {one.high:.1f}"
