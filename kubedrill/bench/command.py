"""What `invoke bench` does: from words to words."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kubedrill import cluster, spec
from kubedrill.bench import compare, fresh, machine, measure, peer
from kubedrill.bench.compare import Bench
from kubedrill.bench.figures import Figure, percent
from kubedrill.bench.kind import clusters, image
from kubedrill.cluster import Lab
from kubedrill.console import Console, fail
from kubedrill.errors import InvalidSpec, KubedrillError


def bench(console: Console, *, runs: int, only: str, json_file: str, against: Sequence[str], beside: str = "") -> int:
    """Measure and print; or compare.

    Args:
        console: told of progress.
        runs: how often each figure is taken.
        only: one group, '' for the usual ones.
        json_file: where the figures are written to as well, after each group; '' for nowhere.
        against: a file of figures to compare with; two files are compared with each other, and nothing is measured.
        beside: a peer to measure in turn with kubedrill (kind); '' for none.

    Returns:
        The exit status: 1 when something could not be measured, which is said; the rest is printed and kept.

    Raises:
        InvalidSpec: there are more than two files, or no run is asked for, or there is no such group or peer.
        KubedrillError: a file holds no figures, or none can be written; or there is a cluster of the name that is
            needed.
    """
    if len(against) > 2:
        raise InvalidSpec("more than two files cannot be compared", evidence=list(against))
    if runs < 1:
        raise InvalidSpec(f"{runs} runs measure nothing")
    if beside and beside not in peer.PEERS:
        raise InvalidSpec(f"there is no peer '{beside}'", evidence=[f"peers: {', '.join(peer.PEERS)}"])
    wanted = tuple(peer.sizes(only)) if beside else measure.groups(only)
    given = [compare.load(Path(file)) for file in against]
    if len(given) == 2:
        _compare(console, given[0], given[1])
        return 0
    if json_file and not os.access(Path(json_file).absolute().parent, os.W_OK):
        raise compare.unwritable(Path(json_file), "its folder cannot be written to")
    if json_file and Path(json_file).is_dir():
        raise compare.unwritable(Path(json_file), "it is a folder")
    place = cluster.lab(console)
    described = machine.describe(place.engine.info(), spec.load(None, {}).version())
    sheet = Sheet(described, wanted, Path(json_file) if json_file else None)
    with fresh.alone(place, console) as commands:
        if beside:
            _beside_kind(place, console, commands, sheet, wanted, runs)
        else:
            measure.prepare(place, console, wanted)
            for group in wanted:
                sheet.add(group, lambda group=group: measure.take(group, commands, runs, sheet.left_out))  # type: ignore[misc]
            _table(console, sheet.bench())
    if given:
        _compare(console, given[0], sheet.bench())
    else:
        for line in sheet.missing:
            console.line(f"missing: {line}")
    return 1 if sheet.missing else 0


class Sheet:
    """What is measured so far: a group that fails takes no other with it, and a run that ends early keeps its file.

    Args:
        described: the machine.
        wanted: the groups that will be measured.
        file: where figures are kept after each of them; None for nowhere.
    """

    def __init__(self, described: Mapping[str, str], wanted: Sequence[str], file: Path | None) -> None:
        self.machine = dict(described)
        self.figures: list[Figure] = []
        self.missing: list[str] = []
        self._to_do, self._file = list(wanted), file

    def add(self, group: str, take: Callable[[], Sequence[Figure]]) -> None:
        """Take the figures of a group, or note why there are none.

        Raises:
            KubedrillError: the file cannot be written.
        """
        try:
            self.figures += take()
        except KubedrillError as error:
            fail(error)
            self.left_out(f"the group {group}: {error.what}")
        self._to_do.remove(group)
        if self._file is not None:
            compare.save(self.bench(), self._file)

    def left_out(self, what: str) -> None:
        """Note what is missing, and why."""
        self.missing.append(what)

    def bench(self) -> Bench:
        """All of it; what is not measured yet is missing."""
        ahead = [f"the group {group}: the run ended before it" for group in self._to_do]
        return Bench(self.machine, tuple(self.figures), (*self.missing, *ahead))


def _beside_kind(
    place: Lab, console: Console, commands: fresh.Fresh, sheet: Sheet, wanted: Sequence[str], runs: int
) -> None:
    several = max(measure.SIZES[group][0] for group in wanted)
    ours: list[Figure] = []
    theirs: list[Figure] = []
    with clusters.here(place, spec.load(None, {}).kubernetes, console, several=several > 1) as kind:
        helps = kind.helps(several)
        sheet.machine |= {"peer": f"kind {image.version()}", "help": "; ".join(helps) or "none"}

        def take(group: str) -> list[Figure]:
            mine, others = peer.in_turn(peer.Ours(commands), kind, group, runs, console)
            ours.extend(mine)
            theirs.extend(others)
            return [*mine, *peer.named("kind", others)]

        for group in wanted:
            sheet.add(group, lambda group=group: take(group))  # type: ignore[misc]
    _machine(console, sheet.machine)
    for one in helps:
        console.line(f"kind needed help here: {one}")
    titles = ("figure", "kubedrill", "spread", "kind", "spread", "ratio", "beyond the spread", "goal for the ratio",
              "host took over 5 %")  # fmt: skip
    console.table(titles, peer.rows(ours, theirs))
    for one in compare.explained(compare.compare(theirs, ours)):
        console.line(one)


def _machine(console: Console, described: Mapping[str, str]) -> None:
    console.line("; ".join(f"{key} {value}" for key, value in described.items()))


def _table(console: Console, bench: Bench) -> None:
    _machine(console, bench.machine)
    rows = [
        (one.what, f"{one.median:.1f} {one.unit}", f"{one.low:.1f} to {one.high:.1f}", str(len(one.values)),
         percent(one.busy), percent(one.taken), one.goal)
        for one in bench.figures
    ]  # fmt: skip
    console.table(("figure", "median", "spread", "runs", "cores busy", "taken by the host, at most", "goal"), rows)


def _compare(console: Console, old: Bench, new: Bench) -> None:
    names = [bench.machine.get("kubedrill", "?") for bench in (old, new)]
    console.line(f"{names[0]}, and now {names[1]}:")
    rows = [
        (one.what, f"{one.old:.1f} {one.unit}", f"{one.new:.1f} {one.unit}",
         "" if one.ratio is None else f"{one.ratio:.2f}", one.word, one.taken)
        for one in compare.compare(old.figures, new.figures)
    ]  # fmt: skip
    console.table(("figure", "before", "now", "ratio", "beyond the spread", "host took over 5 %"), rows)
    for line in compare.unlike(old.machine, new.machine):
        console.line(f"not the same machine, so that ratios say little: {line}")
    for line in compare.explained(compare.compare(old.figures, new.figures)):
        console.line(line)
    for what in compare.only_in_one(old.figures, new.figures):
        console.line(f"not in both: {what}")
    for when, bench in (("before", old), ("now", new)):
        for what in bench.missing:
            console.line(f"missing {when}: {what}")
