"""What `invoke bench` does: from words to words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kubedrill import cluster, spec
from kubedrill.bench import compare, machine, measure, peer
from kubedrill.bench.compare import Bench
from kubedrill.bench.kind import clusters, image
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec


def bench(console: Console, *, runs: int, only: str, json_file: str, against: Sequence[str], beside: str = "") -> None:
    """Measure and print; or compare.

    Args:
        console: told of progress.
        runs: how often each figure is taken.
        only: one group, '' for all.
        json_file: where the figures are written to as well; '' for nowhere.
        against: a file of figures to compare with; two files are compared with each other, and nothing is measured.
        beside: a peer to measure in turn with kubedrill (kind); '' for none.

    Raises:
        InvalidSpec: there are more than two files, or no run is asked for, or there is no such peer.
        KubedrillError: a file holds no figures.
    """
    if len(against) > 2:
        raise InvalidSpec("more than two files cannot be compared", evidence=list(against))
    if runs < 1:
        raise InvalidSpec(f"{runs} runs measure nothing")
    if beside and beside not in peer.PEERS:
        raise InvalidSpec(f"there is no peer '{beside}'", evidence=[f"peers: {', '.join(peer.PEERS)}"])
    given = [compare.load(Path(file)) for file in against]
    if len(given) == 2:
        _compare(console, given[0], given[1])
        return
    place = cluster.lab(console)
    described = machine.describe(place.engine.info(), spec.load(None, {}).version())
    if beside:
        taken = _beside_kind(place, console, described, runs=runs, only=only)
    else:
        taken = Bench(described, tuple(measure.measure(place, console, runs=runs, only=only)))
        _table(console, taken)
    if json_file:
        compare.save(taken, Path(json_file))
    if given:
        _compare(console, given[0], taken)


def _beside_kind(place: Lab, console: Console, described: dict[str, str], *, runs: int, only: str) -> Bench:
    wanted = peer.sizes(only)
    several = max(control_planes for control_planes, _ in wanted.values())
    with clusters.here(place, spec.load(None, {}).kubernetes, console, several=several > 1) as kind:
        helps = kind.helps(several)
        ours, theirs = peer.in_turn(peer.Ours(place, console), kind, wanted, runs, console)
    described = {**described, "peer": f"kind {image.version()}", "help": "; ".join(helps) or "none"}
    _machine(console, described)
    for one in helps:
        console.line(f"kind needed help here: {one}")
    titles = ("figure", "kubedrill", "spread", "kind", "spread", "ratio", "beyond the spread", "goal for the ratio")
    console.table(titles, peer.rows(ours, theirs))
    return Bench(described, (*ours, *peer.named("kind", theirs)))


def _machine(console: Console, described: Mapping[str, str]) -> None:
    console.line("; ".join(f"{key} {value}" for key, value in described.items()))


def _table(console: Console, bench: Bench) -> None:
    _machine(console, bench.machine)
    rows = [
        (one.what, f"{one.median:.1f} {one.unit}", f"{one.low:.1f} to {one.high:.1f}", str(len(one.values)), one.goal)
        for one in bench.figures
    ]
    console.table(("figure", "median", "spread", "runs", "goal"), rows)


def _compare(console: Console, old: Bench, new: Bench) -> None:
    names = [bench.machine.get("kubedrill", "?") for bench in (old, new)]
    console.line(f"{names[0]}, and now {names[1]}:")
    rows = [
        (one.what, f"{one.old:.1f} {one.unit}", f"{one.new:.1f} {one.unit}",
         "" if one.ratio is None else f"{one.ratio:.2f}", one.word)
        for one in compare.compare(old.figures, new.figures)
    ]  # fmt: skip
    console.table(("figure", "before", "now", "ratio", "beyond the spread"), rows)
    for line in compare.unlike(old.machine, new.machine):
        console.line(f"not the same machine, so that ratios say little: {line}")
    for line in compare.explained(compare.compare(old.figures, new.figures)):
        console.line(line)
    for what in compare.only_in_one(old.figures, new.figures):
        console.line(f"not in both: {what}")
