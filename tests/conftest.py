"""What all tests share: golden files, and an end in time."""

from __future__ import annotations

import difflib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import annotations
import deadline
import pytest

from kubedrill import hints

GOLDEN = Path(__file__).parent / "unit" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew from what the code renders now"
    )
    parser.addoption(
        "--on", metavar="CLUSTER", default="",
        help="run the tests of one module of tests/cluster on this cluster instead of one of their own, and leave it",
    )  # fmt: skip


def pytest_configure() -> None:
    """Hints are as in a checkout, also where `kubedrill test` runs these tests."""
    os.environ.pop(hints.VARIABLE, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """VMs are booted only where `-m` asks for them, whatever else it leaves out (invoke test --vagrant does)."""
    asked = re.sub(r"not +vagrant", "", str(config.getoption("markexpr")))
    if "vagrant" not in asked:
        in_vms = [item for item in items if item.get_closest_marker("vagrant")]
        items[:] = [item for item in items if item not in in_vms]
        config.hook.pytest_deselected(items=in_vms)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test of a cluster that CI would cut off."""
    minutes = deadline.minutes(item.get_closest_marker)
    if minutes is not None and (why := deadline.lacking(os.environ.get(deadline.VARIABLE, ""), time.time(), minutes)):
        pytest.skip(why)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell GitHub of tests that said nothing for want of time: nobody looks at what is skipped."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        skipped = terminalreporter.stats.get("skipped", [])
        for line in annotations.warnings([(one.nodeid, one.longrepr[2]) for one in skipped]):
            terminalreporter.write_line(line)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with tests/unit/golden/NAME; `pytest --update-golden` writes that file instead."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            return
        advice = f"if that is meant: pytest {request.node.path} --update-golden, then read `git diff {file}`"
        if not file.exists():
            pytest.fail(f"there is no golden file {file}; {advice}", pytrace=False)
        before = file.read_text()
        if before != text:
            lines = difflib.unified_diff(
                before.splitlines(), text.splitlines(), f"golden/{name}", "rendered now", lineterm=""
            )
            pytest.fail("\n".join([f"{file} differs from what is rendered now; {advice}", *lines]), pytrace=False)

    return compare
