"""Runs a drill on a cluster: sampling, verdict, report, and a cluster that is left as it was found."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kubedrill import cputime, history, host, live, logs, paths, report, status, ways_back
from kubedrill.cluster import Cluster
from kubedrill.console import Console
from kubedrill.errors import KubedrillError
from kubedrill.faults.errors import FaultRefused, HealFailed
from kubedrill.faults.injection import heal
from kubedrill.history import ClusterEvent, Run
from kubedrill.images import components
from kubedrill.journal import Journal, Owner
from kubedrill.kube import ApiUnavailable, Kube
from kubedrill.live import Live, Present
from kubedrill.locks import only_one
from kubedrill.probes import manifest
from kubedrill.scenario import Scenario, workload
from kubedrill.scenario.judge import Ending, Unmet, Untrustworthy, verdict
from kubedrill.scenario.lab import Lab
from kubedrill.scenario.monitor import Monitor
from kubedrill.scenario.narrator import Narrator
from kubedrill.trends import records


def runs() -> Path:
    """The folder of all runs."""
    return paths.state() / "runs"


def build(drill: Scenario, console: Console) -> None:
    """Build what a drill uses and is not there yet: it takes minutes, which are none of the drill's.

    Args:
        drill: the drill.
        console: told of what is built.

    Raises:
        MissingPrerequisite: there is no Go toolchain to build it with.
        BuildFailed: it could not be built.
    """
    compiler = components.go_version() if drill.builds else ""
    for name in drill.builds:
        components.build(name, compiler, console.say)


def run(drill: Scenario, cluster: Cluster, console: Console, *, slow: bool = False) -> tuple[Run, Path]:
    """Run a drill; what it uses is built already (`build`).

    Args:
        drill: the drill.
        cluster: a healthy cluster that fits it.
        console: told the story as it goes.
        slow: whether slow variants are asked for.

    Returns:
        The run and its folder, with report.json, samples, junit.xml and index.html in it.

    Raises:
        Busy: another process drills or changes this cluster: each would take the other's doing for its own.
        KeyboardInterrupt: the user ended it; what was broken is mended.
    """
    with only_one(cluster.spec.name):
        began, started = time.monotonic(), time.time()
        folder = runs() / f"{time.strftime('%Y%m%d-%H%M%S')}-{drill.name}"
        folder.mkdir(parents=True)

        def now() -> float:
            return time.monotonic() - began

        narrator = Narrator(now, console.say, lambda: tell())
        console.say(f"drill {drill.name}: {drill.title}")
        lab_box: list[Lab] = []

        def kubectl(*arguments: str, stdin: str | None = None) -> object:
            return lab_box[0].order(*arguments, stdin=stdin)

        journal = Journal.of(cluster.spec.name)
        monitor = Monitor(cluster, f"{drill.name}-{int(started)}", now, started, folder, kubectl)
        lab = Lab(cluster, monitor, journal, narrator, now, slow=slow)
        lab_box.append(lab)
        about = Live(cluster.spec.name, drill.name, drill.title, started, Owner.me(), narrator.phase)
        with live.going_on(folder, about, lambda: _present(narrator, monitor)) as tell:
            tell()
            return _run(drill, cluster, console, lab, narrator, folder, started)


def _run(
    drill: Scenario, cluster: Cluster, console: Console, lab: Lab, narrator: Narrator, folder: Path, started: float
) -> tuple[Run, Path]:
    monitor, journal = lab.monitor, Journal.of(cluster.spec.name)
    watch = cputime.Stopwatch(read=cputime.read)
    try:
        # What a run left that was killed would be taken for this one's, and its pods cannot be changed into this one's.
        _clear(lab, console)
        with console.keeping_commands(folder / "commands.txt"):
            ending = _body(drill, lab)
    except BaseException:  # Ctrl-C, or a bug of the drill: no report, but the cluster is left as it was found
        monitor.stop()
        _healed(cluster, journal, console)
        _clear(lab, console)
        raise
    monitor.stop()
    left = [*_healed(cluster, journal, console), *_settled(cluster, lab)]
    # A drill that ended with its API away has it again now.
    monitor.complete()
    sampled = bool(monitor.names()) or not ending.untrustworthy
    doubts = [*(monitor.doubts() if sampled else []), *lab.doubts, *left]
    late = [*(monitor.late() if sampled else []), *lab.excuses]
    # A heal has a limit of time, too: one that missed it on full cores and worked at the second try may have been late.
    if ending.late and not left and (excuse := lab.monitor.cores.excuse()):
        ending = replace(ending, error=f"{ending.error}; the second try mended it ({excuse})")
    narrator.end()
    taken = watch.taken()
    if taken.words:
        lab.fact("this computer's cores were", taken.words)
    judged, reason = verdict(ending, lab.requirements, doubts, late)
    if judged != "passed":
        logs.collect(cluster.nodes, folder / "logs")
    done = Run(
        drill=drill.name,
        title=drill.title,
        verdict=judged,
        reason=reason,
        started=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        duration=round(lab.now(), 1),
        cluster=cluster.spec.model_dump(by_alias=True),
        kubernetes=cluster.spec.version(),
        machine=host.machine(),
        phases=tuple(narrator.phases),
        steps=tuple(narrator.steps),
        faults=tuple(lab.spans),
        events=_events(lab.api, started),
        lanes=tuple(monitor.lanes()) if monitor.names() else (),
        figures=tuple(monitor.figures(name, lab.windows()) for name in monitor.samples()),
        requirements=tuple(lab.requirements),
        ended=ending.error,
        targets=lab.targets,
        facts=lab.facts,
    )
    history.save(done, folder)
    report.write(done, monitor.samples(), folder)
    report.index(runs())
    records.append(records.of_run(done, cluster.made, taken))
    _clear(lab, console)
    _summary(done, folder, console)
    return done, folder


def _present(narrator: Narrator, monitor: Monitor) -> Present:
    return Present(narrator.phase, narrator.steps, narrator.awaited, monitor.lanes() if monitor.names() else ())


def _body(drill: Scenario, lab: Lab) -> Ending:
    try:
        drill.body(lab)
    except Unmet as error:
        return Ending(str(error))
    except Untrustworthy as error:
        return Ending(str(error), untrustworthy=True)
    except FaultRefused as error:
        return Ending(f"refused: {error}", untrustworthy=True)
    except HealFailed as error:
        if isinstance(error.during, KeyboardInterrupt):
            lab.say(f"the heal failed: {error}")
            raise error.during from error
        return Ending(f"the heal failed: {error}", untrustworthy=True, late=error.late)
    except KubedrillError as error:
        # Nobody knows what broke it off, then; where the host had left the cores alone, somebody is to find out.
        excuse = lab.monitor.cores.taken([(0.0, lab.now())])
        return Ending(f"the drill broke off: {error}{f' ({excuse})' if excuse else ''}", untrustworthy=True)
    return Ending()


def _healed(cluster: Cluster, journal: Journal, console: Console) -> list[str]:
    """Undo what the drill left broken: a heal that was left out on purpose, or one that failed."""
    whole = ways_back.of(cluster.spec.name, console)
    try:
        for line in [] if journal.is_empty() else heal(cluster, journal, console.say, whole):
            console.say(line)
    except KubedrillError as error:
        return [f"what was broken could not be mended: {error.what}"]
    return []


def _settled(cluster: Cluster, lab: Lab) -> list[str]:
    """Why the cluster is not as it was found; empty where it is."""
    try:
        lab.expect_quietly(lambda: status.of(cluster), lambda found: (found.healthy, found.summary), within=60)
    except KubedrillError as error:
        return [f"the cluster is not healthy after the drill: {'; '.join(error.evidence)}"]
    return []


def _events(api: Kube, since: float) -> tuple[ClusterEvent, ...]:
    try:
        found = api.events()
    except ApiUnavailable:
        return ()
    events = [
        ClusterEvent(round(event.at - since, 1), event.subject, event.reason, event.message)
        for event in found
        if event.at >= since - 1
    ]
    return tuple(sorted(events, key=lambda event: event.time))


def _clear(lab: Lab, console: Console) -> None:
    """Take away what a drill made; the next one must find nothing of it.

    Pods first: a namespace is looked at once more after half its pods' grace period where one of them is left
    (ResourcesRemainingError in pkg/controller/namespace), and on slow nodes each look takes a minute.
    """
    for namespace in (workload.NAMESPACE, manifest.NAMESPACE):
        # Where that fails, the namespace's own end is what counts.
        with contextlib.suppress(KubedrillError):
            lab.kubectl("delete", "deployments,daemonsets,replicasets,pods", "--all", "--namespace", namespace,
                        f"--timeout={30 * lab.patience:g}s", timeout=60)  # fmt: skip
    try:
        lab.kubectl("delete", "namespace", workload.NAMESPACE, manifest.NAMESPACE, "--ignore-not-found",
                    f"--timeout={60 * lab.patience:g}s", timeout=90)  # fmt: skip
    except KubedrillError as error:
        console.say(
            f"what the drill made could not be removed: {error.what}; later: "
            f"kubectl delete namespace {workload.NAMESPACE} {manifest.NAMESPACE}"
        )


def _summary(done: Run, folder: Path, console: Console) -> None:
    rows = [
        (one.lane, str(one.samples), str(one.failed), str(one.unknown), f"{one.downtime:.2f} s", f"{one.longest:.2f} s",
         f"{one.latency.get('before', {}).get('p50', 0) * 1000:.0f} ms", f"{one.overhead:.1%}")
        for one in done.figures
    ]  # fmt: skip
    console.table(("lane", "samples", "failed", "unknown", "down", "longest", "p50 before", "cost"), rows)
    console.line(f"{done.drill}: {done.verdict.upper()} in {done.duration:.0f} s: {done.reason}")
    console.line(f"report: {folder / 'index.html'}")
