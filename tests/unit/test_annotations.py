"""What GitHub is told of tests that were skipped since there was no time for them."""

from __future__ import annotations

import os
import sys

import annotations
import deadline
import pytest
import verdicts

from kubedrill import paths, shell

BUSY = f"Skipped: {annotations.NO_VERDICT}: dns: a question was 1.2 s late\n100% busy"


def test_those_without_a_verdict_and_those_not_begun() -> None:
    late = deadline.lacking("60", 0, 5)
    busy = BUSY.replace("%", "%25").replace("\n", "%0A")
    assert annotations.warnings([("a.py::b", BUSY), ("a.py::c", late), ("a.py::d", "no browser"), ("e", late)]) == [
        f"::warning title=Inconclusive::tests of clusters: 1%0Aa.py::b: {busy}",
        f"::warning title=Not begun::tests of clusters: 2%0Aa.py::c: {late}%0Ae: {late}",
    ]


def test_nothing_else_is_told() -> None:
    assert annotations.warnings([]) == annotations.warnings([("a", "no browser"), ("b", "in VMs")]) == []


@pytest.mark.parametrize("on_github", ["true", ""])
def test_on_github_they_stand_at_the_beginning_of_a_line(on_github: str) -> None:
    """Real pytest with this repository's conftest.py: a test that CI has no time for any more."""
    test = str(paths.repository() / "tests" / "cluster" / "test_down.py")
    environment = {deadline.VARIABLE: "1", "GITHUB_ACTIONS": on_github}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    result = shell.run(command, env={**os.environ, **environment}, cwd=paths.repository(), check=False, timeout=120)
    told = [line for line in result.stdout.splitlines() if line.startswith("::warning title=Not begun::")]
    assert len(told) == (1 if on_github else 0), result.output
    assert all("test_down.py::" in line for line in told)


def test_the_skip_of_a_run_without_a_verdict_is_one_of_them() -> None:
    class Run:
        verdict, reason, ended = "inconclusive", "dns: a question was 1.20 s late, at most 1.0 s is allowed", ""

    with pytest.raises(pytest.skip.Exception) as caught:
        verdicts.demand(Run(), "passed")  # type: ignore[arg-type]
    assert len(annotations.warnings([("x", str(caught.value))])) == 1
