"""What `invoke report --trends` does."""

from __future__ import annotations

import webbrowser

from kubedrill import paths
from kubedrill.console import Console
from kubedrill.cputime import DISTURBED
from kubedrill.errors import NotFound
from kubedrill.report import words
from kubedrill.trends import noise, page, records


def show(console: Console) -> None:
    """Write the page of trends, name it and each change beyond the noise, and open it where there is a browser.

    Raises:
        NotFound: nothing is recorded yet, or nothing of it can be read.
    """
    found, passed_over = records.kept()
    if not found:
        raise _nothing(passed_over)
    if passed_over:
        console.line(f"passed over: {words.count(passed_over, 'line')} of {records.file()} that cannot be read")
    file = paths.state() / "runs" / "trends.html"
    for change in page.write(found, file):
        console.line(f"beyond the noise: {change}")
    count = noise.counted(found)
    if count.short:
        console.line(
            f"not judged: {count.short} of {count.series} series, since they have fewer than {noise.FEWEST} earlier "
            "runs that count"
        )
    if count.disturbed:
        console.line(
            f"not judged: {count.disturbed} newest values, since the host took more than {DISTURBED:.0%} of the cores"
        )
    console.line(str(file))
    webbrowser.open(file.as_uri())


def _nothing(passed_over: int) -> NotFound:
    """Why there is no page: an empty history is another matter than one that cannot be read."""
    if not passed_over:
        return NotFound(
            "nothing is recorded yet", evidence=[f"there is no line in {records.file()}"],
            todo=["each bring-up and each drill adds one: invoke up, invoke scenario hello"],
        )  # fmt: skip
    return NotFound(
        "nothing that is recorded can be read",
        evidence=[f"{words.count(passed_over, 'line')} of {records.file()} passed over: cut off, of another schema, or "
                  "with a field that is missing or of the wrong type"],
        todo=[f"if a newer kubedrill wrote them, read them with it; else begin anew: mv {records.file()}{{,.broken}}"],
    )  # fmt: skip
