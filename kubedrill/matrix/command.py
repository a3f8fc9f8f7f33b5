"""What `invoke matrix` does: from words to words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubedrill import host, paths, versions, vm_setup
from kubedrill.console import Console, raw
from kubedrill.errors import CommandFailed, InvalidSpec, MissingPrerequisite, NotFound
from kubedrill.images import address, components
from kubedrill.matrix import plan as planning
from kubedrill.matrix import run as running
from kubedrill.matrix import table
from kubedrill.matrix.plan import SCHEMA, Job, Plan, Skipped
from kubedrill.providers import places
from kubedrill.scenario import registry
from kubedrill.spec import nearest
from kubedrill.trends import records, sizes


def show(console: Console, *, shard: str, job: str, as_json: bool) -> int:
    """Print the jobs and what does not run; the status is 0."""
    planned, further = _plan()
    jobs = _chosen(planned.jobs, shard, job)
    if as_json:
        raw(json.dumps(as_data(jobs, planned.skipped, _compiler(), further), indent=1) + "\n")
        return 0
    console.table(
        ("job", "minutes", "drills"), [(one.name, f"{one.minutes:.0f}", ", ".join(one.drills)) for one in jobs]
    )
    console.line(f"{len(jobs)} jobs, {sum(one.minutes for one in jobs) / 60:.1f} hours one after another")
    if not shard and not job:
        console.line("\nWhat does not run, and why:")
        console.table(("drill", "where", "why"), skipped_rows(planned.skipped))
    return 0


def run(console: Console, *, shard: str, job: str, plan: str = "") -> int:
    """Run jobs here, and end with a table; the status is 0, 1 (one failed) or 3 (none failed, one inconclusive).

    Args:
        console: told of it.
        shard: K/N, a part of the jobs; '' for all.
        job: one of them; '' for all.
        plan: a file that `invoke matrix --json` printed, perhaps on another computer; '' plans here.

    Raises:
        InvalidSpec: the file is no plan, or there is no job to run.
    """
    jobs = _read(Path(plan)) if plan else _plan()[0].jobs
    chosen = _chosen(jobs, shard, job)
    if not chosen:
        # A run of nothing that passes would be green for ever.
        raise InvalidSpec(f"there is nothing to run{f' in part {shard}' if shard else ''}",
                          evidence=[f"jobs: {1 if job else len(jobs)}"],
                          todo=["ask for fewer parts, or see the jobs: invoke matrix"])  # fmt: skip
    results = running.run(chosen, console.say)
    console.line()
    rows = [(one.job, one.drill, one.outcome, f"{one.seconds:.0f} s", one.reason) for one in results]
    console.table(("job", "drill", "verdict", "took", "why"), rows)
    counts = {kind: sum(one.outcome == kind for one in results) for kind in ("passed", "failed", "inconclusive")}
    console.line(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return running.exit_status(results)


def as_data(
    jobs: Sequence[Job], skipped: Sequence[Skipped], compiler: str, further: Mapping[str, str]
) -> dict[str, Any]:  # fmt: skip
    """The plan for CI: jobs as the rows of a matrix, builds by their content address, and what does not run.

    Args:
        jobs: the jobs.
        skipped: what does not run.
        compiler: the Go that builds, as it names itself.
        further: drills that need one more Kubernetes version built, and which.
    """
    also = {one.name: _also(one, further) for one in jobs}
    needed = {str(one.cell["kubernetes"]) for one in jobs} | {minor for minor in also.values() if minor}
    keys = {minor: build_key(minor, compiler) for minor in versions.kubernetes_minors() if minor in needed}
    newest = versions.newest_minor()
    builds = [{"kubernetes": minor, "cache": key, "newest": minor == newest} for minor, key in keys.items()]
    return {
        "schema": SCHEMA,
        "jobs": [
            {
                "name": one.name,
                **{key: str(value) for key, value in one.cell.items()},
                "drills": " ".join(one.drills),
                "minutes": one.minutes,
                "cache": keys[str(one.cell["kubernetes"])],
                "also": also[one.name],
                "also_cache": keys.get(also[one.name], ""),
                "groups": [{"settings": dict(each.settings), "drills": list(each.drills)} for each in one.groups],
            }
            for one in jobs
        ],
        "builds": builds,
        "skipped": [{"drill": one.drill, "cluster": dict(one.cell), "why": one.why} for one in skipped],
    }


def build_key(minor: str, compiler: str) -> str:
    """The content address of all that nodes of a Kubernetes minor are built from, and of the Go that builds it."""
    images = paths.repository() / "images"
    others = {f"kubernetes-{other}" for other in versions.kubernetes_minors() if other != minor}
    folders = sorted(path for path in (images / "components").iterdir() if path.is_dir() and path.name not in others)
    recipes = sorted(path for path in images.iterdir() if path.is_file())
    parts = [address.of(path.name, address.of_tree(path)) for path in [*folders, images / "files"]]
    return address.of(compiler, *parts, *(part for path in recipes for part in (path.name, path.read_bytes())))


def skipped_rows(skipped: Sequence[Skipped]) -> list[tuple[str, str, str]]:
    """A row for each drill and reason: all drills of a cluster at once, where all of them are left out for it."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in skipped:
        cells.setdefault((one.drill, one.why), []).append(one.cell)
    drills: dict[tuple[str, str], list[str]] = {}
    for (drill, why), where in cells.items():
        drills.setdefault((_common(where), why), []).append(drill)
    return [(", ".join(names), where, why) for (where, why), names in drills.items()]


def _common(cells: Sequence[Mapping[str, Any]]) -> str:
    """What some clusters have in common: 'controlPlanes 1', or that they are all alike in nothing."""
    common = [f"{key} {value}" for key, value in cells[0].items() if all(cell[key] == value for cell in cells)]
    return ", ".join(common) or "everywhere"


def _compiler() -> str:
    """The Go that builds here; '' where there is none yet, which `invoke setup` sees to."""
    try:
        return components.go_version()
    except (MissingPrerequisite, CommandFailed):
        return ""


def _also(job: Job, further: Mapping[str, str]) -> str:
    """The Kubernetes minor that a job needs built besides its own; '' where it needs none."""
    needed = {further[drill] for drill in job.drills if drill in further} - {str(job.cell["kubernetes"])}
    return max(needed, default="")


def _read(file: Path) -> Sequence[Job]:
    try:
        return planning.from_data(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise InvalidSpec(f"{file} is no plan", evidence=[str(error)], todo=["invoke matrix --json >FILE"]) from error


def _plan() -> tuple[Plan, Mapping[str, str]]:
    """The plan, and what some drills need built besides."""
    drills = registry.drills(paths.repository() / "scenarios")
    measured = sizes.measured(records.read(), records.kind_of_machine(host.machine()))
    asked = table.load(drills=[drill.name for drill in drills])
    cannot = vm_setup.unavailable()
    return planning.plan(asked, drills, measured, {places.VMS: cannot} if cannot else {}), asked.builds


def _chosen(jobs: Sequence[Job], shard: str, job: str) -> Sequence[Job]:
    """The jobs of a shard, or one by its name.

    Raises:
        InvalidSpec: the shard is none.
        NotFound: there is no such job.
    """
    if job:
        found = [one for one in jobs if one.name == job]
        if not found:
            raise NotFound(f"there is no job '{job}'{nearest(job, [one.name for one in jobs])}")
        jobs = found
    if not shard:
        return jobs
    parts = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", shard)
    if not parts or int(parts[1]) > int(parts[2]):
        raise InvalidSpec(f"'{shard}' is no part of the matrix", evidence=["write K/N, such as 1/4 to 4/4"])
    return planning.shard(jobs, int(parts[1]), int(parts[2]))
