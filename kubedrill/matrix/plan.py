"""From the matrix and the drills to jobs: what runs where, what does not and why, and who runs it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from kubedrill.errors import InvalidSpec
from kubedrill.matrix.table import Cell, Table
from kubedrill.scenario import Scenario

# Of what `invoke matrix --json` prints.
SCHEMA = 1
# Of a drill on the smallest cluster that it can run on there, minutes; None where nothing is known of it.
Measured = Callable[[str, Cell], float | None]
# Drills that need more of these or fewer share the larger cluster. Hollow nodes are not among them: a thousand of them
# would be beside drills that are about something else.
_SHARED = ("controlPlanes", "workers")


@dataclass(frozen=True)
class Skipped:
    """A drill that does not run on a cluster, and why."""

    drill: str
    cell: Cell
    why: str


@dataclass(frozen=True)
class Group:
    """Drills that share a cluster.

    Args:
        settings: what the cluster is to be, beyond what the drills say.
        drills: their names.
    """

    settings: Mapping[str, Any]
    drills: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """What one computer does in at most the time of a job.

    Args:
        name: unique, and fit for a file's name: '1.37-docker-3-iptables-1'.
        cell: the settings of its clusters.
        groups: one cluster after another.
        minutes: how long it is thought to take.
    """

    name: str
    cell: Cell
    groups: tuple[Group, ...]
    minutes: float

    @property
    def drills(self) -> tuple[str, ...]:
        """All of its drills, in the order in which they run."""
        return tuple(name for group in self.groups for name in group.drills)


@dataclass(frozen=True)
class Plan:
    """All jobs, and all that does not run."""

    jobs: tuple[Job, ...]
    skipped: tuple[Skipped, ...]


@dataclass
class _Bin:
    minutes: float
    clusters: dict[str, list[str]] = field(default_factory=dict)


def plan(
    table: Table, drills: Sequence[Scenario], measured: Measured = lambda _drill, _cell: None,
    cannot: Mapping[str, str] = MappingProxyType({}),
) -> Plan:  # fmt: skip
    """Cut the matrix into jobs.

    Args:
        table: matrix.toml.
        drills: all drills that there are.
        measured: what a drill took before; else the table's estimate counts.
        cannot: the providers that there cannot be, and why.
    """
    jobs: list[Job] = []
    skipped: list[Skipped] = []
    for cell in table.cells():
        runs: list[tuple[Scenario, float]] = []
        for drill in drills:
            if why := cannot.get(str(cell.get("provider"))) or _why_not(table, drill, cell):
                skipped.append(Skipped(drill.name, cell, why))
                continue
            known = measured(drill.name, drill.within(cell).needs)
            guess = table.minutes.drills.get(drill.name, table.minutes.drill) * table.times(cell)
            minutes = guess if known is None else known * table.minutes.margin
            whole = _setup(table) + _up(table, cell, drill) + minutes
            if whole > table.minutes.job:
                why = f"takes {whole:.0f} minutes with its cluster, and a job has {table.minutes.job:.0f}"
                skipped.append(Skipped(drill.name, cell, why))
            else:
                runs.append((drill, minutes))
        jobs += _jobs(table, cell, runs)
    return Plan(tuple(jobs), tuple(skipped))


def from_data(data: Any) -> tuple[Job, ...]:
    """The jobs of a plan that was printed as JSON: who runs one of them may not plan anew, with a longer history.

    Raises:
        InvalidSpec: it is no such plan.
    """
    try:
        if (schema := data["schema"]) != SCHEMA:
            raise ValueError(f"schema {schema}, not {SCHEMA}")
        return tuple(
            Job(
                str(job["name"]),
                {"provider": str(job["provider"])},
                tuple(Group(dict(one["settings"]), tuple(map(str, one["drills"]))) for one in job["groups"]),
                float(job["minutes"]),
            )
            for job in data["jobs"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidSpec("that is no plan of `invoke matrix --json`",
                          evidence=[f"{type(error).__name__}: {error}"]) from error  # fmt: skip


def shard(jobs: Sequence[Job], part: int, of: int) -> tuple[Job, ...]:
    """The jobs of part 1 to `of`: each job goes, the longest first, to the part that has least to do yet."""
    parts: list[list[Job]] = [[] for _ in range(of)]
    for job in sorted(jobs, key=lambda job: (-job.minutes, job.name)):
        min(parts, key=lambda part: sum(one.minutes for one in part)).append(job)
    mine = {job.name for job in parts[part - 1]}
    return tuple(job for job in jobs if job.name in mine)


def _setup(table: Table) -> float:
    return table.minutes.setup * table.minutes.margin


def _up(table: Table, cell: Cell, drill: Scenario) -> float:
    """Minutes until the cluster of a drill is there, with its hollow nodes."""
    hollow = table.minutes.hollow if _hollow(drill) else 0
    return (table.minutes.up[str(cell["controlPlanes"])] + hollow) * table.times(cell)


def _hollow(drill: Scenario) -> int:
    return int(drill.needs.get("hollow", 0))


def _why_not(table: Table, drill: Scenario, cell: Cell) -> str:
    against = drill.conflicts(cell)
    if against:
        return "; ".join(against)
    for one in table.exceptions:
        if one.holds(drill.name, drill.needs, cell):
            return one.why
    try:
        drill.within(cell).spec("matrix")
    except InvalidSpec as error:
        return "no such cluster can be made: " + "; ".join(error.evidence)
    return ""


def _jobs(table: Table, cell: Cell, runs: Sequence[tuple[Scenario, float]]) -> list[Job]:
    """First fit, the longest first. A drill whose cluster the job has not yet brings that cluster with it."""
    by_cluster = _by_cluster(runs, cell)
    settings = {key: _settings(cell, drills) for key, drills in by_cluster.items()}
    ups = {key: _up(table, cell, drills[0]) for key, drills in by_cluster.items()}
    minutes = {drill.name: took for drill, took in runs}
    bins: list[_Bin] = []
    for key, drills in sorted(by_cluster.items(), key=lambda item: -sum(minutes[drill.name] for drill in item[1])):
        for drill in sorted(drills, key=lambda drill: (-minutes[drill.name], drill.name)):
            for place in bins:
                more = minutes[drill.name] + (0 if key in place.clusters else ups[key])
                if place.minutes + more <= table.minutes.job:
                    break
            else:
                place = _Bin(_setup(table))
                more = minutes[drill.name] + ups[key]
                bins.append(place)
            place.minutes += more
            place.clusters.setdefault(key, []).append(drill.name)
    name = "-".join(str(value) for value in cell.values())
    return [
        Job(
            f"{name}-{number}",
            cell,
            # The largest cluster last: what is left of it disturbs no other.
            tuple(sorted(
                (Group(settings[key], tuple(sorted(names))) for key, names in one.clusters.items()),
                key=lambda group: int(group.settings.get("hollow", 0)),
            )),
            round(one.minutes, 1),
        )
        for number, one in enumerate(bins, 1)
    ]  # fmt: skip


def _by_cluster(runs: Sequence[tuple[Scenario, float]], cell: Cell) -> dict[str, list[Scenario]]:
    """Drills by what they need beyond the number of real nodes: those of one key can share a cluster."""
    found: dict[str, list[Scenario]] = {}
    for drill, _ in runs:
        needs = {key: value for key, value in drill.within(cell).needs.items() if key not in _SHARED}
        found.setdefault(json.dumps(needs, sort_keys=True), []).append(drill)
    return found


def _settings(cell: Cell, drills: Sequence[Scenario]) -> dict[str, Any]:
    """The cluster that is large enough for each of them."""
    hollow = _hollow(drills[0])
    workers = max(drill.needs.get("workers", 0) for drill in drills)
    return {**cell, "workers": workers, **({"hollow": hollow} if hollow else {})}
