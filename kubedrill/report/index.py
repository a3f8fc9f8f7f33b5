"""A page over all runs below a folder, the newest first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from kubedrill import history
from kubedrill.errors import KubedrillError
from kubedrill.report import figures, words
from kubedrill.report.page import asset, policy, template


@dataclass(frozen=True)
class Entry:
    """A run in the index; of a broken one only the folder and the problem are known.

    Args:
        when: when it started; of a broken one, when its report was written.
        folder: relative to the index.
        link: to its page, or to its report.json where there is no page.
        problem: why it cannot be read; empty if it can.
    """

    when: datetime
    folder: str
    link: str
    problem: str = ""
    drill: str = ""
    title: str = ""
    verdict: str = ""
    reason: str = ""
    started: str = ""
    duration: str = ""
    kubernetes: str = ""
    figure: str = ""


def index(folder: Path) -> Path:
    """Write index.html over all runs below a folder.

    Args:
        folder: each run has a folder of its own somewhere below it.

    Raises:
        KubedrillError: the folder is itself that of a run, whose page would be lost.
    """
    if (folder / "report.json").exists():
        raise KubedrillError(
            f"{folder} is the folder of one run; an index would take the place of its page",
            todo=[f"write the index of the folder above: {folder.absolute().parent}"],
        )
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted((entry(file, folder) for file in folder.rglob("report.json")), key=lambda item: item.folder)
    found.sort(key=lambda item: item.when, reverse=True)
    page = folder / "index.html"
    html = template("index.html").render(
        entries=found, trends=(folder / "trends.html").exists(), style=Markup(asset("style.css")), policy=policy([])
    )
    page.write_bytes(html.encode("utf-8", "replace"))
    return page


def entry(file: Path, folder: Path) -> Entry:
    """What a report.json says about its run; a report that is broken, in whatever way, says just that."""
    place = file.parent.relative_to(folder).as_posix()
    target = file.parent / "index.html"
    link = quote(Path(os.path.relpath(target if target.exists() else file, folder)).as_posix())
    try:
        return _read(history.load(file.parent), place, link)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        written = datetime.fromtimestamp(file.lstat().st_mtime, UTC)
        return Entry(written, place, link, problem=f"{type(error).__name__}: {words.shortened(str(error), 200)}")


def _read(run: history.Run, place: str, link: str) -> Entry:
    if run.verdict not in words.VERDICTS:
        raise ValueError(f"there is no verdict {run.verdict!r}")
    return Entry(
        when=words.parsed(run.started) or datetime.min.replace(tzinfo=UTC),
        folder=place,
        link=link,
        drill=run.drill,
        title=run.title,
        verdict=run.verdict,
        reason=run.reason,
        started=words.calendar(run.started),
        duration=words.seconds(run.duration),
        kubernetes=run.kubernetes,
        figure=figures.headline(run),
    )
