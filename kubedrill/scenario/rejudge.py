"""Judges a saved run again, from its samples on disk alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kubedrill import availability, history, linearizability, porcupine, report
from kubedrill.availability import Restored, WritesCheck
from kubedrill.errors import KubedrillError
from kubedrill.history import Run
from kubedrill.linearizability import Judgement
from kubedrill.probes.write import ledger, load_found
from kubedrill.scenario import rules
from kubedrill.scenario.judge import Ending, verdict


def rejudge(folder: Path) -> tuple[Run, Run]:
    """The run as it was saved, and as its samples judge it now; the report is written anew.

    How the drill's function ended, and what it saw in the cluster itself, is taken as saved.

    Raises:
        KubedrillError: the folder holds no run that can be read.
    """
    try:
        saved = history.load(folder)
        samples = {lane.name: history.read_samples(folder, lane.name) for lane in saved.lanes}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise KubedrillError(f"{folder} holds no run that can be judged again", evidence=[str(error)]) from error
    end = max((sample.end for lane in samples.values() for sample in lane), default=saved.duration)
    faults = [(span.injected, span.healed if span.healed is not None else end) for span in saved.faults]
    before = {one.lane: one for one in saved.figures}
    figures = {
        lane.name: availability.figures(
            lane, samples[lane.name], faults, end, overhead=before[lane.name].overhead if lane.name in before else 0.0
        )
        for lane in saved.lanes
    }

    def check(restored: Restored | None) -> WritesCheck:
        found = load_found(folder / "writes-found.json")
        return availability.lost_writes(ledger(samples["api-write"]), found, restored)

    def judge(restored: Restored | None) -> Judgement:
        return porcupine.check(linearizability.load(folder), restored, folder, lambda _: None)

    titles = {lane.name: lane.title for lane in saved.lanes}
    requirements = tuple(rules.again(one, titles, figures, check, judge) for one in saved.requirements)
    judged, reason = saved.verdict, saved.reason
    # A run that broke off, or whose probes did, is not mended by adding up again.
    if saved.verdict != "inconclusive":
        judged, reason = verdict(Ending(saved.ended), requirements, rules.undecided(requirements))
    now = replace(saved, verdict=judged, reason=reason, requirements=requirements, figures=tuple(figures.values()))
    history.save(now, folder)
    report.write(now, samples, folder)
    return saved, now
