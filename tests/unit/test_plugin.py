"""Drills as pytest items: which are collected, what their verdicts become, and sessions that have none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from kubedrill import hints, paths, pytest_plugin, versions
from kubedrill.console import Console
from kubedrill.errors import BuildFailed, KubedrillError, MissingPrerequisite
from kubedrill.pytest_plugin import DrillItem
from kubedrill.scenario import Scenario, pool, registry, runner

pytest_plugins = ["pytester"]

HEADER = "from kubedrill.scenario import scenario\n"


def drills(**titles: str) -> str:
    """A file of drills. The title of each says how it ends; one that begins with 'slow' is slow."""
    text = HEADER
    for name, title in titles.items():
        text += f'\n@scenario(slow={name.startswith("slow")})\ndef {name}(lab):\n    """{title}"""\n'
    return text


class Fakes:
    """What stands for the pool and the runner: a drill ends as its title says."""

    def __init__(self) -> None:
        self.pools: list[dict[str, Any]] = []
        self.closed = 0
        self.ran: list[tuple[str, bool]] = []
        self.clusters: list[str] = []
        self.built: list[tuple[str, int]] = []

    def pool(self, **settings: Any) -> Any:
        """A pool."""
        self.pools.append(settings)
        return SimpleNamespace(cluster=self.cluster, close=self.close, console=Console())

    def cluster(self, drill: Scenario) -> str:
        """A cluster, unless the title says that there is none."""
        if drill.title == "no cluster":
            raise MissingPrerequisite("the cluster 'mine' cannot be used", todo=["see `invoke status`"])
        self.clusters.append(drill.name)
        return "the cluster"

    def build(self, name: str, compiler: str, say: object) -> None:
        """Build a program."""
        if name == "broken":
            raise BuildFailed("broken could not be built")
        self.built.append((name, len(self.clusters)))

    def close(self) -> None:
        """Take all down."""
        self.closed += 1

    def run(self, drill: Scenario, cluster: str, console: Console, *, slow: bool) -> tuple[Any, Path]:
        """Run a drill."""
        assert cluster == "the cluster"
        self.ran.append((drill.name, slow))
        match drill.title:
            case "ctrl-c":
                raise KeyboardInterrupt
            case "bug":
                raise IndexError("a bug of the drill")
            case "no kubeconfig":
                raise KubedrillError("no control plane has a kubeconfig", todo=["run: invoke down"])
        return SimpleNamespace(verdict=drill.title, reason=f"why {drill.name}"), Path("/runs/one")

    def names(self) -> list[str]:
        """The drills that ran."""
        return [name for name, _ in self.ran]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> Fakes:
    """No cluster is touched."""
    made = Fakes()
    monkeypatch.setattr(pool, "Pool", made.pool)
    monkeypatch.setattr(runner, "run", made.run)
    monkeypatch.setattr(runner.components, "go_version", lambda: "go version go1 linux/amd64")
    monkeypatch.setattr(runner.components, "build", made.build)
    return made


def write(pytester: pytest.Pytester, **files: str) -> None:
    """Write files: `scenarios__a` is scenarios/a.py."""
    for name, text in files.items():
        file = pytester.path / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class TestCollection:
    def test_only_folders_named_scenarios(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(
            pytester, scenarios__a=drills(one="passed"), deep__scenarios__b=drills(two="passed"),
            other__c=drills(three="passed"), other__test_d=drills(four="passed") + "def test_it(): pass\n",
            scenarios__sub__e=drills(five="passed"),
        )  # fmt: skip
        result = pytester.runpytest()
        assert sorted(fakes.names()) == ["one", "two"]
        result.assert_outcomes(passed=3)  # with test_it

    @pytest.mark.parametrize("argument", [".", "scenarios", "scenarios/a.py"])
    def test_each_once_however_it_is_asked_for(self, pytester: pytest.Pytester, fakes: Fakes, argument: str) -> None:
        write(pytester, scenarios__a=drills(one="passed", two="passed"))
        pytester.runpytest(argument).assert_outcomes(passed=2)
        assert fakes.names() == ["one", "two"]

    def test_by_its_id(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__a=drills(one="passed", two_three="passed"))
        pytester.runpytest("scenarios/a.py::two-three").assert_outcomes(passed=1)
        assert fakes.names() == ["two-three"]

    def test_a_file_that_pytest_takes_by_itself_is_not_taken_twice(
        self, pytester: pytest.Pytester, fakes: Fakes
    ) -> None:  # fmt: skip
        write(pytester, scenarios__one_test=drills(one="passed"), scenarios__test_two=drills(two="passed"))
        pytester.runpytest().assert_outcomes(passed=2)

    def test_conftest_and_init_hold_no_drills(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(
            pytester, scenarios__conftest=drills(one="passed"), scenarios____init__=drills(two="passed"),
            scenarios__a=drills(three="passed"),
        )  # fmt: skip
        pytester.runpytest()
        assert fakes.names() == ["three"]

    def test_imported_ones_are_not_collected_again(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__a=drills(one="passed"), scenarios__b="from a import one\n" + drills(two="passed"))
        pytester.runpytest().assert_outcomes(passed=2)
        assert fakes.names() == ["one", "two"]

    @pytest.mark.parametrize(
        ("arguments", "ran"),
        [
            ([], ["one", "two", "three-four"]),
            (["--drill=two"], ["two"]),
            (["--drill=three-four", "--drill", "one"], ["one", "three-four"]),
            (["--drill=nonsense"], []),
        ],
    )
    def test_filter(self, pytester: pytest.Pytester, fakes: Fakes, arguments: list[str], ran: list[str]) -> None:
        write(pytester, scenarios__a=drills(one="passed", two="passed"), scenarios__b=drills(three_four="passed"))
        result = pytester.runpytest("scenarios", *arguments)
        assert fakes.names() == ran
        assert result.ret == (pytest.ExitCode.OK if ran else pytest.ExitCode.NO_TESTS_COLLECTED)

    def test_those_with_hollow_nodes_come_last(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        """Their cluster stays until the end of the session."""
        many = '\n@scenario(hollow=9)\ndef many(lab):\n    """passed"""\n'
        write(pytester, scenarios__a=HEADER + many + drills(one="passed"), scenarios__b=drills(two="passed"))
        pytester.runpytest("scenarios").assert_outcomes(passed=3)
        assert fakes.names() == ["one", "two", "many"]

    def test_a_file_that_cannot_be_imported_is_no_pass(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__a=drills(one="passed"), scenarios__b="import there_is_no_such_module\n")
        assert pytester.runpytest("scenarios").ret == pytest.ExitCode.INTERRUPTED
        assert fakes.names() == []

    def test_slow_ones_run_where_they_are_asked_for(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__a=drills(one="passed", slow_one="passed"))
        pytester.runpytest("scenarios").assert_outcomes(passed=1, skipped=1)
        assert fakes.ran == [("one", False)]
        fakes.ran.clear()
        pytester.runpytest("scenarios", "--drill-slow").assert_outcomes(passed=2)
        assert fakes.ran == [("one", True), ("slow-one", True)]

    def test_those_in_vms_run_where_they_are_named(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        """Whoever has containers alone is not bothered by them."""
        in_vms = '\n@scenario(provider="vagrant")\ndef two(lab):\n    """passed"""\n'
        write(pytester, scenarios__a=drills(one="passed") + in_vms)
        pytester.runpytest("scenarios").assert_outcomes(passed=1, skipped=1)
        for arguments in (["--drill=two"], ["--drill-cluster=vms"]):
            fakes.ran.clear()
            pytester.runpytest("scenarios", *arguments)
            assert ("two", False) in fakes.ran


class TestVerdicts:
    @pytest.mark.parametrize(
        ("titles", "status"),
        [
            ({"a": "passed"}, 0),
            ({"a": "passed", "b": "passed"}, 0),
            ({"a": "failed"}, 1),
            ({"a": "passed", "b": "failed"}, 1),
            ({"a": "inconclusive"}, 3),
            ({"a": "passed", "b": "inconclusive"}, 3),
            ({"a": "inconclusive", "b": "failed"}, 1),
            ({"a": "failed", "b": "inconclusive"}, 1),
            ({"a": "no cluster"}, 3),
            ({"a": "no kubeconfig", "b": "passed"}, 3),
            ({"a": "bug"}, 1),
            ({"a": "bug", "b": "inconclusive"}, 1),
            ({"a": "bug", "b": "failed"}, 1),
            ({"slow_one": "failed"}, 0),
            ({"a": "passed", "b": "ctrl-c", "c": "passed"}, 2),
        ],
        ids=lambda value: ",".join(value.values()) if isinstance(value, dict) else str(value),
    )
    def test_exit_status(
        self, pytester: pytest.Pytester, fakes: Fakes, titles: dict[str, str], status: int
    ) -> None:  # fmt: skip
        write(pytester, scenarios__x=drills(**titles))
        # in this process, with Ctrl-C left to pytest
        result = pytester.runpytest_inprocess("scenarios", no_reraise_ctrlc=True)
        assert result.ret == status
        assert fakes.closed == 1

    def test_junit(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(
            pytester,
            scenarios__x=drills(
                good="passed",
                bad="failed",
                unclear="inconclusive",
                nowhere="no cluster",
                wrong="bug",
                slow_one="passed",
            ),
        )
        result = pytester.runpytest("scenarios", "--junitxml=out.xml")
        result.assert_outcomes(passed=1, failed=2, errors=2, skipped=1)
        root = ElementTree.parse(pytester.path / "out.xml").getroot()
        cases = {case.get("name"): case for case in root.iter("testcase")}
        assert {name: [part.tag for part in case] for name, case in cases.items()} == {
            "good": [], "bad": ["failure"], "unclear": ["error"], "nowhere": ["error"], "wrong": ["failure"],
            "slow-one": ["skipped"],
        }  # fmt: skip
        for name, said in {
            "bad": ["the cluster did not do what it requires", "why bad", "report: /runs/one/index.html"],
            "unclear": ["says nothing about the cluster", "why unclear", "report: /runs/one/index.html"],
            "nowhere": ["says nothing about the cluster", "no cluster could be had: the cluster 'mine' cannot"],
            "wrong": ["IndexError", "a bug of the drill"],
        }.items():
            text = cases[name][0].text or ""
            assert not [part for part in said if part not in text], text
        suite = next(root.iter("testsuite"))
        assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "2", "1")
        told = {name: pytest_plugin.says_nothing(part.text or "") for name, case in cases.items() for part in case}
        assert {name for name, nothing in told.items() if nothing} == {"unclear", "nowhere"}

    def test_a_verdict_is_told_without_a_traceback(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__x=drills(bad="failed", unclear="inconclusive"))
        shown = pytester.runpytest("scenarios").stdout.str()
        assert "why bad" in shown
        assert "why unclear" in shown
        assert "Traceback" not in shown
        assert "pytest_plugin.py" not in shown

    def test_what_to_do_names_the_program_that_was_called(
        self, pytester: pytest.Pytester, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On the terminal, and in the JUnit file that `matrix --run` reads."""
        write(pytester, scenarios__x=drills(nowhere="no cluster", broken="no kubeconfig"))
        for called, name in (("", "invoke"), ("yes", "kubedrill")):
            monkeypatch.setenv(hints.VARIABLE, called)
            told = [pytester.runpytest("scenarios", "--junitxml=out.xml").stdout.str()]
            told.append((pytester.path / "out.xml").read_text())
            for text in told:
                assert f"see `{name} status`" in text
                assert f"run: {name} down" in text

    def test_a_set_up_that_crashes_is_no_drill_without_a_verdict(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        broken = "import pytest\n@pytest.fixture\ndef x(): raise OSError\ndef test_it(x): pass\n"
        write(pytester, scenarios__x=drills(a="inconclusive"), test_y=broken)
        assert pytester.runpytest().ret == 1

    @pytest.mark.parametrize("hook", ["pytest_runtest_logstart", "pytest_collection"])
    def test_a_crash_of_pytest_is_no_drill_without_a_verdict(
        self, pytester: pytest.Pytester, fakes: Fakes, hook: str
    ) -> None:
        """pytest itself ends with 3 then."""
        write(pytester, scenarios__x=drills(a="passed"))
        pytester.makeconftest(f"def {hook}():\n    raise OSError('a bug')\n")
        result = pytester.runpytest_inprocess("scenarios", "--drill=a")
        assert "INTERNALERROR" in result.stdout.str() + result.stderr.str()
        assert result.ret == 1

    def test_a_failing_test_beside_drills_stays_a_failure(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__x=drills(a="inconclusive"), test_y="def test_it():\n    assert False\n")
        assert pytester.runpytest().ret == 1


class TestBuilds:
    """What a drill uses is built before it has a cluster: none of its time, and not for nothing."""

    def test_before_there_is_a_cluster(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        text = drills(a="passed", b="passed").replace("slow=False", "builds=['registry', 'kwok']", 1)
        write(pytester, scenarios__x=text)
        pytester.runpytest("scenarios").assert_outcomes(passed=2)
        assert (fakes.built, fakes.clusters) == ([("registry", 0), ("kwok", 0)], ["a", "b"])

    def test_one_that_cannot_be_built(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__x=drills(a="passed").replace("slow=False", "builds=['broken']"))
        result = pytester.runpytest_inprocess("scenarios")
        assert result.ret == 3
        assert "what it uses could not be built: broken could not be built" in result.stdout.str()
        assert (fakes.clusters, fakes.ran) == ([], [])

    def test_ours_name_folders_of_components(self) -> None:
        ours = {one.name: one.builds for one in registry.drills(paths.repository() / "scenarios") if one.builds}
        assert ours == {"images": ("registry",)}
        assert all((versions.components_dir() / name / "go.mod").exists() for names in ours.values() for name in names)


class TestPool:
    @pytest.mark.parametrize(
        ("arguments", "settings"),
        [
            ([], {}),
            (["--drill-cluster=mine"], {"name": "mine"}),
            (["--drill-fresh", "--drill-keep"], {"fresh": True, "keep": True}),
            (["--drill-show-commands"], {"show_commands": True}),
            (["--drill-cluster=mine", "--drill-from-checkpoint=clean"], {"name": "mine", "checkpoint": "clean"}),
        ],
    )
    def test_one_for_the_session_with_the_options(
        self, pytester: pytest.Pytester, fakes: Fakes, arguments: list[str], settings: dict[str, Any]
    ) -> None:
        write(pytester, scenarios__a=drills(one="passed"), scenarios__b=drills(two="passed"))
        pytester.runpytest("scenarios", *arguments)
        usual = {"name": "", "fresh": False, "keep": False, "show_commands": False, "checkpoint": ""}
        assert fakes.pools == [{**usual, **settings}]
        assert fakes.closed == 1


class Watch:
    """A plugin that looks at the end of a session."""

    def __init__(self) -> None:
        self.stash: list[bool] = []
        self.drills = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look."""
        self.stash.append(pytest_plugin._POOL in session.stash)
        self.drills = sum(isinstance(item, DrillItem) for item in session.items)


class TestWithoutDrills:
    @pytest.mark.parametrize(
        ("text", "status"),
        [
            ("def test_it(): pass\n", 0),
            ("def test_it(): assert False\n", 1),
            # pytest's own status of an error in a fixture: not one of ours
            ("import pytest\n@pytest.fixture\ndef x(): raise OSError\ndef test_it(x): pass\n", 1),
            ("", 5),
        ],
        ids=["passes", "fails", "error", "empty"],
    )
    def test_nothing_is_touched(self, pytester: pytest.Pytester, fakes: Fakes, text: str, status: int) -> None:
        write(pytester, test_it=text)
        watch = Watch()
        assert pytester.inline_run(plugins=[watch]).ret == status
        assert (watch.stash, watch.drills) == ([False], 0)
        assert (fakes.pools, fakes.closed) == ([], 0)

    def test_with_drills_it_is(self, pytester: pytest.Pytester, fakes: Fakes) -> None:
        write(pytester, scenarios__a=drills(one="passed"))
        watch = Watch()
        assert pytester.inline_run("scenarios", plugins=[watch]).ret == 0
        assert (watch.stash, watch.drills) == ([True], 1)
