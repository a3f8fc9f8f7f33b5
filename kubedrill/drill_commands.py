"""What tasks of drills do: run them, read their reports, undo what killed ones left."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Mapping, Sequence

from kubedrill import cluster, faults, journal_folders, operations, paths, shell, spec, ways_back
from kubedrill import report as reports
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, NotFound
from kubedrill.journal import Journal
from kubedrill.scenario import registry
from kubedrill.scenario import settings as cluster_settings
from kubedrill.scenario.rejudge import rejudge


def heal(console: Console, name: str) -> None:
    """Undo what killed runs left of faults, in one cluster or, without a name, in all."""
    names = [name] if name else journal_folders.clusters()
    for each in names:
        _heal(console, each)
    if not names:
        console.say("nothing to undo in any cluster")


def _heal(console: Console, name: str) -> None:
    try:
        notes = Journal.of(name)
    except ValueError as error:
        raise InvalidSpec(str(error)) from None
    place = cluster.lab(console)
    if notes.is_empty():
        cluster.attach(place.provider, name)  # a name that was mistyped must not look like a cluster that is well
        console.say(f"nothing to undo in {name}")
        return
    place.provider.check()
    with cluster.only_one(name):
        if name not in place.provider.clusters():
            journal_folders.forget(name)
            console.say(f"{name} is gone, and with it all that was broken")
            return
        for line in faults.heal(cluster.attach(place.provider, name), notes, whole=ways_back.of(name, console)):
            console.say(line)


def list_drills(console: Console) -> int:
    """Print the drills and what they need."""
    drills = [drill for folder in registry.folders() for drill in registry.drills(folder)]
    rows = [(one.name, registry.needs(one), one.title) for one in drills]
    console.table(("drill", "needs", "what it does"), rows)
    return 0


def scenario(
    console: Console, names: Sequence[str], *, everything: bool, name: str, flags: Mapping[str, bool],
    settings: Sequence[str] = (), checkpoint: str = "",
) -> int:  # fmt: skip
    """Run drills through pytest; the status is 0, 1 (one failed) or 3 (none failed, one inconclusive).

    Raises:
        InvalidSpec: there is no such drill, or none was named; or no such setting.
        KubedrillError: they are to begin from a checkpoint, and there is none of that name, or no cluster was named.
    """
    cluster_settings.parse(settings)
    folders = registry.folders()
    known = [drill.name for folder in folders for drill in registry.drills(folder)]
    unknown = [f"'{one}'{spec.nearest(one, known)}" for one in names if one not in known]
    if unknown or (not names and not everything):
        what, evidence = ("there is no such drill", unknown) if unknown else ("which drill?", ["none was named"])
        raise InvalidSpec(what, evidence=evidence, todo=["invoke scenario --list", "or: --all"])
    arguments = [f"--drill={one}" for one in names] + [f"--drill-{flag}" for flag, on in flags.items() if on]
    if checkpoint:
        operations.need_checkpoint(console, checkpoint, name)
        arguments.append(f"--drill-from-checkpoint={checkpoint}")
    arguments += [f"--drill-cluster={name}"] if name else []
    arguments += [f"--drill-with={one}" for one in settings]
    return shell.interactive(
        [
            *(sys.executable, "-m", "pytest", "--capture=no", "--show-capture=no", "-q"),
            # What is installed may belong to somebody else.
            *(["-p", "no:cacheprovider"] if paths.is_installed() else []),
            f"--rootdir={paths.repository()}",
            *map(str, folders),
            *arguments,
        ]
    )


def report(console: Console, drill: str, *, index: bool, again: bool) -> None:
    """Name the newest report, or the index, and open it where there is a browser; judge it again first if asked.

    Raises:
        NotFound: no drill was run yet.
    """
    runs = paths.state() / "runs"
    # CI gathers the runs of several computers, each in a folder of its own.
    pages = runs.rglob(f"*-{drill or '*'}/index.html")
    found = sorted((page.parent for page in pages if (page.parent / "report.json").exists()), key=lambda run: run.name)
    if not found:
        raise NotFound(f"there is no report{f' of {drill}' if drill else ''}", todo=["run: invoke scenario --list"])
    if again:
        saved, now = rejudge(found[-1])
        console.line(f"{now.drill} of {now.started}: was {saved.verdict}, is {now.verdict}: {now.reason}")
    page = reports.index(runs) if index else found[-1] / "index.html"
    console.line(str(page))
    webbrowser.open(page.as_uri())


def publish(console: Console) -> None:
    """Make the pages of all runs small, for a web server."""
    console.say(f"{reports.share(paths.state() / 'runs')} pages share what draws their timelines")
