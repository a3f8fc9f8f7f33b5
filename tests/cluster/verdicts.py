"""What the tests of drills demand of a run: its verdict, where there can be one."""

from __future__ import annotations

import re

import annotations
import pytest

from kubedrill.cputime import TOO_BUSY
from kubedrill.history import Run, Verdict

# What availability.judgeable says where the sampler itself did not get to run.
_LATE = re.compile(r"([a-z0-9-]+: )?a question was [0-9.]+ s late, at most [0-9.]+ s is allowed")


def too_busy(reason: str, ended: str = "") -> bool:
    """Whether a run was inconclusive for no other reason than a machine that had no time for it.

    Either its probes did not get to run, its cores were full while users waited (cputime.saturated), or its host had
    them while a step was waited for that never came.

    Args:
        reason: of the verdict: doubts, or how the drill ended.
        ended: how the drill's function ended, '' where it ran to its end. It is one part, whatever it quotes.
    """
    parts = [reason] if reason == ended else reason.split("; ")
    return bool(reason) and all(_LATE.fullmatch(part) or part.endswith(f": {TOO_BUSY})") for part in parts)


def demand(run: Run, verdict: Verdict) -> None:
    """The run must have this verdict.

    On a machine that stalls there is none, whatever the cluster did: the test is skipped then, and says by how much.
    Any other reason for no verdict is a failure of the test.
    """
    if run.verdict == "inconclusive" and too_busy(run.reason, run.ended):
        pytest.skip(f"{annotations.NO_VERDICT}: {run.reason}")
    assert run.verdict == verdict, f"{run.verdict}: {run.reason}"
