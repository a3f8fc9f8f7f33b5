"""What GitHub is told of tests that were skipped for want of time, since a skipped test is green. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# What the reason of such a skip says (verdicts.py, deadline.py).
NO_VERDICT = "this machine was too busy for a verdict"
NO_TIME = "minutes are left of CI's time"


def warnings(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """Workflow commands that show as warnings of the run; none where no test was skipped for want of time.

    One for each reason there is: GitHub shows ten of a step.

    Args:
        skipped: the tests that were skipped, and why.
    """
    told = []
    for title, kind in (("Inconclusive", NO_VERDICT), ("Not begun", NO_TIME)):
        lines = [f"{test}: {reason}" for test, reason in skipped if kind in reason]
        if lines:
            told.append(f"::warning title={title}::" + _escaped(f"tests of clusters: {len(lines)}", *lines))
    return told


def _escaped(*lines: str) -> str:
    """Lines as the text of a workflow command."""
    return "\n".join(lines).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
