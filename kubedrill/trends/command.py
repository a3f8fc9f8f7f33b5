"""What `invoke report --trends` does."""

from __future__ import annotations

import webbrowser

from kubedrill import paths
from kubedrill.console import Console
from kubedrill.cputime import DISTURBED
from kubedrill.errors import NotFound
from kubedrill.trends import noise, page, records


def show(console: Console) -> None:
    """Write the page of trends, name it and each change beyond the noise, and open it where there is a browser.

    Raises:
        NotFound: nothing is recorded yet.
    """
    found = records.read()
    if not found:
        raise NotFound(
            "nothing is recorded yet", evidence=[f"there is no line in {records.file()}"],
            todo=["each bring-up and each drill adds one: invoke up, invoke scenario hello"],
        )  # fmt: skip
    file = paths.state() / "runs" / "trends.html"
    for change in page.write(found, file):
        console.line(f"beyond the noise: {change}")
    if disturbed := noise.disturbed(found):
        console.line(
            f"not judged: {disturbed} newest values, since the host took more than {DISTURBED:.0%} of the cores"
        )
    console.line(str(file))
    webbrowser.open(file.as_uri())
