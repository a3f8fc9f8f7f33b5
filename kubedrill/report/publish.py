"""Pages of runs for a web server: what each of them holds besides its run, 5 MB, is one file beside their index."""

from __future__ import annotations

from pathlib import Path

from kubedrill.report.page import library

LIBRARY = "plotly.min.js"


def share(runs: Path) -> int:
    """Put the library that draws timelines into one file, from which all pages below a folder get it.

    Twice is harmless.

    Their content security policy then also lets scripts of their own server run.

    Args:
        runs: the folder of all runs.

    Returns:
        How many pages have become small.
    """
    text = library()
    held = f"<script>{text}</script>"
    (runs / LIBRARY).write_text(text, encoding="utf-8")
    smaller = 0
    for page in sorted(runs.rglob("*.html")):
        content = page.read_text(encoding="utf-8")
        if held not in content:
            continue
        up = "../" * len(page.parent.relative_to(runs).parts)
        content = content.replace(held, f'<script src="{up}{LIBRARY}"></script>', 1)
        page.write_text(content.replace("script-src ", "script-src 'self' ", 1), encoding="utf-8")
        smaller += 1
    return smaller
