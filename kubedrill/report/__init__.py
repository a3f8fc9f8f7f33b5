"""What a person, a CI server and a colleague without either get to see of a run: a page, JUnit XML, an index.

`history` keeps the data (report.json, samples); everything here can be made from that again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kubedrill.history import Run, Sample
from kubedrill.report import junit
from kubedrill.report.index import index
from kubedrill.report.page import render
from kubedrill.report.publish import share

__all__ = ["index", "render", "share", "write"]


def write(run: Run, samples: Mapping[str, Sequence[Sample]], folder: Path) -> Path:
    """Write junit.xml and index.html of a finished run.

    Args:
        run: the run.
        samples: the samples of each lane, by the lane's name; a lane may be missing.
        folder: the run's own folder; made if it is not there.

    Returns:
        The page, index.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "junit.xml").write_bytes(junit.xml(run))
    page = folder / "index.html"
    # Bytes, and lone surrogates replaced: a broken character in a pod's message must not cost the report.
    page.write_bytes(render(run, samples).encode("utf-8", "replace"))
    return page
