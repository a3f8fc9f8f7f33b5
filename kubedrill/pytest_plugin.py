"""Collects drills as pytest items: one runner for a person, for CI, and for anyone's own repository.

`pytest scenarios/` runs every drill of a folder named scenarios; `invoke scenario` calls the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kubedrill.errors import KubedrillError
from kubedrill.scenario import Scenario

if TYPE_CHECKING:
    from kubedrill.scenario.pool import Pool

FOLDER = "scenarios"
# What the session ends with when nothing failed but something was inconclusive.
INCONCLUSIVE = 3


class DrillFailed(Exception):
    """The drill ran, and the cluster did not do what it requires."""


class DrillInconclusive(Exception):
    """The drill says nothing about the cluster."""


class DrillItem(pytest.Item):
    """One drill."""

    def __init__(self, *, drill: Scenario, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.drill = drill

    def runtest(self) -> None:
        """Run it on a cluster that fits."""
        from kubedrill.scenario import runner

        pool: Pool = self.session.stash[_POOL]
        if self.drill.slow and not self.config.getoption("--slow"):
            pytest.skip("slow: ask for it with --slow")
        try:
            cluster = pool.cluster(self.drill)
        except KubedrillError as error:
            raise DrillInconclusive(f"no cluster to run it on: {error}") from error
        run, folder = runner.run(self.drill, cluster, pool.console, slow=self.config.getoption("--slow"))
        if run.verdict == "failed":
            raise DrillFailed(f"{run.reason}\nreport: {folder / 'index.html'}")
        if run.verdict == "inconclusive":
            raise DrillInconclusive(f"{run.reason}\nreport: {folder / 'index.html'}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The reason alone; a traceback tells nothing of a cluster."""
        if isinstance(excinfo.value, DrillFailed | DrillInconclusive):
            return f"{type(excinfo.value).__doc__}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is from."""
        return self.path, None, f"drill {self.drill.name}"


_POOL = pytest.StashKey["Pool"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of drills."""
    group = parser.getgroup("kubedrill", "drills on real clusters")
    group.addoption("--cluster", default="", help="run on the cluster of this name")
    group.addoption("--fresh", action="store_true", help="bring up a new cluster, even where one fits")
    group.addoption("--keep", action="store_true", help="leave the clusters that were brought up for drills")
    group.addoption("--slow", action="store_true", help="run slow drills, too")
    group.addoption("--show-commands", action="store_true", help="print every command that runs in a node")
    group.addoption("--drill", action="append", default=[], help="run this drill only; may be given again")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Files of a folder named scenarios hold drills."""
    if file_path.suffix == ".py" and file_path.parent.name == FOLDER and not file_path.name.startswith("test_"):
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_pycollect_makeitem(collector: pytest.Module, name: str, obj: object) -> list[pytest.Item] | None:
    """Each drill that a module declares is an item."""
    if not isinstance(obj, Scenario):
        return None
    # A drill that is imported from elsewhere is collected there.
    if obj.body.__module__ != collector.obj.__name__:
        return []
    wanted = collector.config.getoption("--drill")
    if wanted and obj.name not in wanted:
        return []
    return [DrillItem.from_parent(collector, name=obj.name, drill=obj)]


def pytest_sessionstart(session: pytest.Session) -> None:
    """The clusters of the session."""
    from kubedrill.scenario.pool import Pool

    option = session.config.getoption
    session.stash[_POOL] = Pool(
        name=option("--cluster"),
        fresh=option("--fresh"),
        keep=option("--keep"),
        show_commands=option("--show-commands"),
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """An inconclusive drill is an error in JUnit, not a failure."""
    outcome = yield
    report = outcome.get_result()
    call_failed = report.when == "call" and report.failed
    if isinstance(item, DrillItem) and call_failed and "DrillInconclusive" in _kind(item, report):
        report.when = "setup"


def _kind(item: pytest.Item, report: Any) -> str:
    return DrillInconclusive.__name__ if str(report.longrepr).startswith(str(DrillInconclusive.__doc__)) else ""


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Take down what was brought up; the status tells failed from inconclusive."""
    result = yield
    session.stash[_POOL].close()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    drills = any(isinstance(item, DrillItem) for item in getattr(session, "items", []))
    if drills and reporter is not None and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
        failed, errors = (len(reporter.stats.get(kind, [])) for kind in ("failed", "error"))
        if errors and not failed:
            session.exitstatus = INCONCLUSIVE
    return result
