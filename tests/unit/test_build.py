"""Which source nodes are made from, and that what is there is not built again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import pytest

from kubedrill import machine_commands, paths
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, KubedrillError, MissingPrerequisite
from kubedrill.images import build, components, node, packages, rootfs, store
from kubedrill.scenario import registry

SUITE = rootfs.Suite("debian", "bookworm", "deb x", "a test")
GO = "go version go1.26.8 linux/amd64"


class FakeEngine:
    """Knows which images are there."""

    def __init__(self, images: Collection[str] = ()) -> None:
        self.images = images

    def has_image(self, tag: str) -> bool:
        return tag in self.images


def record(volume: str) -> store.Store:
    return store.Store(volume, "v1.37.2", None, None, "flannel", "pause", ("pause",))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with Go and nothing built: {'volumes': finished stores}; what it makes is recorded in 'made'."""
    state: dict[str, Any] = {"volumes": set(), "made": []}
    monkeypatch.setattr(rootfs, "choose", lambda: SUITE)
    monkeypatch.setattr(components, "go_version", lambda: GO)
    monkeypatch.setattr(store, "find", lambda engine, volume: record(volume) if volume in state["volumes"] else None)

    def made(name: str, result: object) -> Callable[..., object]:
        def make(*_: object) -> object:
            state["made"].append(name)
            return result

        return make

    monkeypatch.setattr(node, "ensure", made("modules node", "node-of-modules"))
    monkeypatch.setattr(store, "ensure", made("modules store", record("store-of-modules")))
    monkeypatch.setattr(packages.Packages, "node_image", made("packages node", "node-of-packages"))
    monkeypatch.setattr(packages.Packages, "image_store", made("packages store", record("store-of-packages")))
    return state


def without_go(monkeypatch: pytest.MonkeyPatch, error: KubedrillError | None = None) -> None:
    def refuse() -> str:
        raise error or MissingPrerequisite("Go 1.26 or newer is needed")

    monkeypatch.setattr(components, "go_version", refuse)


def never() -> bool:
    raise AssertionError("nobody needs to know whether the sites answer")


CHOICES = [
    # source, reachable, built -> name, why
    ("modules", True, (), "modules", "asked for"),
    ("modules", True, ("packages",), "modules", "asked for"),
    ("packages", False, ("modules",), "packages", "asked for"),
    ("auto", True, (), "packages", "pkgs.k8s.io and registry.k8s.io answer"),
    ("auto", False, (), "modules", "pkgs.k8s.io and registry.k8s.io do not both answer"),
    ("auto", True, ("modules",), "modules", "built already"),
    ("auto", False, ("modules",), "modules", "built already"),
    ("auto", False, ("packages",), "packages", "built already"),
    ("auto", True, ("packages", "modules"), "modules", "built already"),
]


@pytest.mark.parametrize(("source", "reachable", "built", "name", "why"), CHOICES)
def test_choose(source: str, reachable: bool, built: Collection[str], name: str, why: str) -> None:
    assert build.choose(source, reachable, built) == build.Choice(name, why)


@pytest.mark.parametrize("source", ["", "module", "Packages", "hub"])
def test_unknown_source_names_the_known_ones(source: str) -> None:
    with pytest.raises(KubedrillError) as caught:
        build.choose(source, True, ())
    assert f"'{source}'" in str(caught.value)
    assert "auto, modules, packages" in str(caught.value)


def test_unknown_source_is_an_error_before_anything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "choose", lambda: pytest.fail("looked for a distribution"))
    monkeypatch.setattr(components, "go_version", lambda: pytest.fail("looked for Go"))
    with pytest.raises(KubedrillError, match="no source 'hub'"):
        build.ensure(FakeEngine(), "1.37", frozenset(), lambda _: None, "hub", reachable=never)  # type: ignore[arg-type]


ENSURES = [
    ("auto", True, ["packages node", "packages store"]),
    ("auto", False, ["modules node", "modules store"]),
    ("modules", None, ["modules node", "modules store"]),
    ("packages", None, ["packages node", "packages store"]),
]


@pytest.mark.parametrize(("source", "answers", "made"), ENSURES)
def test_ensure_makes_what_was_chosen_and_says_why(
    machine: dict[str, Any], source: str, answers: bool | None, made: list[str]
) -> None:
    said: list[str] = []
    reachable = never if answers is None else lambda: bool(answers)
    built = build.ensure(FakeEngine(), "1.37", frozenset(), said.append, source, reachable=reachable)  # type: ignore[arg-type]
    chosen = made[0].split()[0]
    assert machine["made"] == made
    assert built == build.Built(f"node-of-{chosen}", record(f"store-of-{chosen}"), chosen)
    assert said == [f"nodes are made from {chosen}: {build.choose(source, bool(answers), ()).why}"]


def test_auto_stays_with_modules_that_are_built_and_asks_no_site(machine: dict[str, Any]) -> None:
    machine["volumes"] = {store.name("1.37", SUITE, GO)}
    engine = FakeEngine({node.name(SUITE, GO)})
    said: list[str] = []
    assert build.is_built(engine, "1.37")  # type: ignore[arg-type]
    build.ensure(engine, "1.37", frozenset(), said.append, reachable=never)  # type: ignore[arg-type]
    assert machine["made"] == ["modules node", "modules store"]
    assert said == ["nodes are made from modules: built already"]


@pytest.mark.parametrize("part", ["node", "store", "another minor's store"])
def test_half_of_modules_is_not_built(machine: dict[str, Any], part: str) -> None:
    minor = "1.36" if part.startswith("another") else "1.37"
    machine["volumes"] = set() if part == "node" else {store.name(minor, SUITE, GO)}
    engine = FakeEngine(set() if part == "store" else {node.name(SUITE, GO)})
    assert not build.is_built(engine, "1.37")  # type: ignore[arg-type]
    build.ensure(engine, "1.37", frozenset(), lambda _: None, reachable=lambda: True)  # type: ignore[arg-type]
    assert machine["made"] == ["packages node", "packages store"]


def test_packages_that_are_there_are_used_offline(machine: dict[str, Any]) -> None:
    there = packages.Packages(FakeEngine(), "1.37", SUITE, GO, frozenset(), print)  # type: ignore[arg-type]
    machine["volumes"] = {there.store_name}
    engine = FakeEngine({there.node_name})
    assert build.is_built(engine, "1.37")  # type: ignore[arg-type]
    assert build.is_built(engine, "1.37", "packages")  # type: ignore[arg-type]
    assert not build.is_built(engine, "1.37", "modules")  # type: ignore[arg-type]
    build.ensure(engine, "1.37", frozenset(), lambda _: None, reachable=never)  # type: ignore[arg-type]
    assert machine["made"] == ["packages node", "packages store"]


@pytest.mark.parametrize("error", [None, CommandFailed("go version", 1, "no proxy", "this machine")])
def test_packages_needs_no_go(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: KubedrillError | None
) -> None:
    without_go(monkeypatch, error)
    assert not build.is_built(FakeEngine(), "1.37")  # type: ignore[arg-type]
    build.ensure(FakeEngine(), "1.37", frozenset(), lambda _: None, reachable=lambda: True)  # type: ignore[arg-type]
    assert machine["made"] == ["packages node", "packages store"]


@pytest.mark.parametrize("source", ["auto", "modules"])
def test_modules_without_go_says_so(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    without_go(monkeypatch)
    with pytest.raises(MissingPrerequisite, match="is needed"):
        build.ensure(FakeEngine(), "1.37", frozenset(), lambda _: None, source, reachable=lambda: False)  # type: ignore[arg-type]
    assert machine["made"] == []


class TestTask:
    """`invoke build`, which CI keeps in a cache: what drills use besides is in it, too."""

    @pytest.fixture
    def built(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        made: list[str] = []
        lab = SimpleNamespace(engine="it", missing=frozenset())
        monkeypatch.setattr(machine_commands.cluster, "lab", lambda _: lab)
        monkeypatch.setattr(build, "ensure", lambda *_, **__: build.Built("node-image", record("store")))
        monkeypatch.setattr(components, "build", lambda name, compiler, say: made.append(name))
        return made

    def test_whatever_code_builds_when_it_needs_it_is_there(
        self, built: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(components, "go_version", lambda: GO)
        machine_commands.build(Console(), "1.36", "modules", box=False)
        assert built == ["porcupine", "registry", "kwok"]
        drills = registry.drills(paths.repository() / "scenarios")
        assert {name for drill in drills for name in drill.builds} <= {*built}

    def test_without_go_there_is_what_packages_give(self, built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        without_go(monkeypatch)
        machine_commands.build(Console(), None, "packages", box=False)
        assert built == []
