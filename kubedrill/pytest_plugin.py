"""Collects drills as pytest items: one runner for a person, for CI, and for anyone's own repository.

`pytest scenarios/` runs every drill of a folder named scenarios; `invoke scenario` calls the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kubedrill.errors import Busy, KubedrillError
from kubedrill.hints import hinted
from kubedrill.scenario import NO_CLUSTER, NOT_BUILT, Scenario

if TYPE_CHECKING:
    from kubedrill.scenario.pool import Pool

FOLDER = "scenarios"
# What the session ends with when nothing failed but something was inconclusive.
INCONCLUSIVE = 3


class DrillFailed(Exception):
    """The drill ran, and the cluster did not do what it requires."""


class DrillInconclusive(Exception):
    """The drill says nothing about the cluster."""


def says_nothing(told: str) -> bool:
    """Whether what is told of an error, in JUnit too, is that of an inconclusive drill: not a crash, not a bug."""
    return told.startswith(str(DrillInconclusive.__doc__))


class DrillItem(pytest.Item):
    """One drill."""

    def __init__(self, *, drill: Scenario, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.drill = drill

    def runtest(self) -> None:
        """Run it on a cluster that fits."""
        from kubedrill.scenario import runner
        from kubedrill.scenario import settings as words

        pool: Pool = self.session.stash[_POOL]
        asked = self.config.getoption("--drill-slow") or self.drill.name in self.config.getoption("--drill")
        if self.drill.slow and not asked:
            pytest.skip("slow: ask for it by name, or with --drill-slow")
        named = self.drill.name in self.config.getoption("--drill") or self.config.getoption("--drill-cluster")
        if self.drill.needs.get("provider") == "vagrant" and not named:
            pytest.skip("in VMs: ask for it by name, or name a cluster of VMs")
        settings = words.parse(self.config.getoption("--drill-with"))
        against = self.drill.conflicts(settings)
        if against:
            raise DrillInconclusive(f"no cluster to run it on: it {'; '.join(against)}")
        try:
            runner.build(self.drill, pool.console)
        except KubedrillError as error:
            raise DrillInconclusive(f"{NOT_BUILT}: {error}") from error
        try:
            cluster = pool.cluster(self.drill.within(settings))
        except KubedrillError as error:
            raise DrillInconclusive(f"{NO_CLUSTER}: {error}") from error
        try:
            run, folder = runner.run(self.drill, cluster, pool.console, slow=self.config.getoption("--drill-slow"))
        except Busy as error:
            raise DrillInconclusive(f"it did not begin: {error}") from error
        except KubedrillError as error:  # not of the drill, which says itself what it broke off for
            raise DrillInconclusive(f"{NO_CLUSTER}: {error}") from error
        if run.verdict == "failed":
            raise DrillFailed(f"{run.reason}\nreport: {folder / 'index.html'}")
        if run.verdict == "inconclusive":
            raise DrillInconclusive(f"{run.reason}\nreport: {folder / 'index.html'}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The reason alone; a traceback tells nothing of a cluster."""
        if isinstance(excinfo.value, DrillFailed | DrillInconclusive):
            return hinted(f"{type(excinfo.value).__doc__}\n{excinfo.value}")
        if isinstance(excinfo.value, KubedrillError):
            return hinted(str(excinfo.value))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is from."""
        return self.path, None, f"drill {self.drill.name}"


_POOL = pytest.StashKey["Pool"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of drills."""
    group = parser.getgroup("kubedrill", "drills on real clusters")
    group.addoption("--drill-cluster", default="", help="run on the cluster of this name")
    group.addoption(
        "--drill-from-checkpoint", default="", help="put the cluster of --drill-cluster back to this before each drill"
    )
    group.addoption("--drill-fresh", action="store_true", help="bring up a new cluster, even where one fits")
    group.addoption("--drill-keep", action="store_true", help="leave the clusters that were brought up for drills")
    group.addoption("--drill-slow", action="store_true", help="run slow drills, too")
    group.addoption("--drill-show-commands", action="store_true", help="print every command that runs in a node")
    group.addoption(
        "--drill-with", action="append", default=[], help="KEY=VALUE: on clusters of this setting; may be given again"
    )
    group.addoption("--drill", action="append", default=[], help="run this drill only; may be given again")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Files of a folder named scenarios hold drills; pytest itself takes those that are named on its command line."""
    found = yield
    if _of_drills(file_path) and not any(type(one) is pytest.Module for one in found):
        return [*found, pytest.Module.from_parent(parent, path=file_path)]
    return found


def pytest_pycollect_makeitem(collector: pytest.Module, name: str, obj: object) -> list[pytest.Item] | None:
    """Each drill that a module declares is an item."""
    if not isinstance(obj, Scenario):
        return None
    # A drill that is imported from elsewhere is collected there; one in a test is the test's own.
    if obj.body.__module__ != collector.obj.__name__ or not _of_drills(collector.path):
        return []
    wanted = collector.config.getoption("--drill")
    if wanted and obj.name not in wanted:
        return []
    return [DrillItem.from_parent(collector, name=obj.name, drill=obj)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drills that need hollow nodes come last: their cluster stays until the end, beside whatever follows."""
    items.sort(key=lambda item: isinstance(item, DrillItem) and bool(item.drill.needs.get("hollow")))


def pytest_collection_finish(session: pytest.Session) -> None:
    """The clusters of a session that has drills."""
    if not _has_drills(session):
        return
    from kubedrill.scenario.pool import Pool

    option = session.config.getoption
    session.stash[_POOL] = Pool(
        name=option("--drill-cluster"),
        fresh=option("--drill-fresh"),
        keep=option("--drill-keep"),
        show_commands=option("--drill-show-commands"),
        checkpoint=option("--drill-from-checkpoint"),
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A drill that failed is a failure, in JUnit too, and so is a crash; one that is inconclusive is an error."""
    report = yield
    if isinstance(item, DrillItem) and report.when == "call" and report.failed:
        inconclusive = call.excinfo is not None and isinstance(call.excinfo.value, DrillInconclusive)
        report.when = "setup" if inconclusive else "call"
    return report


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Take down what was brought up; the status tells failed from inconclusive."""
    result = yield
    if _POOL in session.stash:
        session.stash[_POOL].close()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    ours = _has_drills(session) or session.config.getoption("--drill")
    if ours and session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
        # That is 3, too: nobody is to take a crash of pytest for a drill without a verdict.
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    elif _has_drills(session) and reporter is not None and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
        failed, errors = (reporter.stats.get(kind, []) for kind in ("failed", "error"))
        if errors and not failed and all(says_nothing(one.longreprtext) for one in errors):
            session.exitstatus = INCONCLUSIVE
    return result


def _has_drills(session: pytest.Session) -> bool:
    return any(isinstance(item, DrillItem) for item in getattr(session, "items", []))


def _of_drills(file: Path) -> bool:
    return file.suffix == ".py" and file.parent.name == FOLDER and file.name not in ("conftest.py", "__init__.py")
