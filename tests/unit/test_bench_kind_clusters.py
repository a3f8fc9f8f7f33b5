"""Clusters of kind: up and down, the helps that they get, and that nothing of them is left."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kind_world import IMAGE, MISSING, FakeEngine, FakeKube

from kubedrill import shell
from kubedrill.bench.figures import Used
from kubedrill.bench.kind import clusters, config
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, KubedrillError, MissingPrerequisite, TimedOut
from kubedrill.shell import Result


class TestClusters:
    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
        monkeypatch.setattr(clusters, "Kube", FakeKube)
        monkeypatch.setattr(FakeKube, "nodes", config.node_names(clusters._spec(1, 2)))
        return FakeEngine()

    @pytest.fixture
    def commands(self, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> list[tuple[list[str], dict[str, str]]]:
        """kind's command lines; each `create` makes its containers."""
        found: list[tuple[list[str], dict[str, str]]] = []

        def run(argv: Sequence[str], *, env: dict[str, str], timeout: float) -> Result:
            found.append((list(argv), env))
            if argv[1] == "create":
                engine.there += ["kubedrill-peer-control-plane", "kubedrill-peer-external-load-balancer"]
            return Result(0, "", "")

        monkeypatch.setattr(shell, "run", run)
        return found

    def kind(self, engine: FakeEngine, tmp_path: Path) -> clusters.Kind:
        return clusters.Kind(engine, Path("/kind"), tmp_path, IMAGE, MISSING, True)  # type: ignore[arg-type]

    def test_up_and_down(
        self, engine: FakeEngine, commands: list[tuple[list[str], dict[str, str]]], tmp_path: Path
    ) -> None:
        kind = self.kind(engine, tmp_path)
        engine.rights_after = 1
        kind.up(1, 2)
        assert ("kubedrill-peer-control-plane", "kubectl") in engine.ran
        assert b"kind: DaemonSet" in engine.written["kubedrill-peer-control-plane"]
        # Memory of both, /var of the node alone.
        assert kind.used() == Used(180, 700)
        kind.down()
        (create, environment), (delete, _) = commands
        assert create[:3] == ["/kind", "create", "cluster"]
        assert delete[:3] == ["/kind", "delete", "cluster"]
        for argv in (create, delete):
            assert argv[argv.index("--kubeconfig") + 1] == str(tmp_path / "kubeconfig")
            assert argv[argv.index("--name") + 1] == "kubedrill-peer"
        assert environment["PATH"].startswith(f"{tmp_path}:")
        assert environment["KIND_EXPERIMENTAL_DOCKER_NETWORK"] == "kubedrill-peer"

    def test_kind_fails(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        words = []

        def run(argv: Sequence[str], **_: Any) -> Result:
            words.append(argv[1])
            engine.there.append("kubedrill-peer-worker")
            raise CommandFailed("kind", 1, "could not find a log line", "this machine")

        monkeypatch.setattr(shell, "run", run)
        engine.rights_after = 10**9
        with pytest.raises(KubedrillError, match="could not find a log line") as raised:
            self.kind(engine, tmp_path).up(1, 2)
        assert words == ["create", "export"]
        assert engine.there == []
        assert str(tmp_path) in str(raised.value)

    def test_flannel_is_refused(
        self, engine: FakeEngine, commands: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        engine.apply = Result(1, "", "forbidden")
        with pytest.raises(KubedrillError, match="forbidden"):
            self.kind(engine, tmp_path).up(1, 2)
        assert engine.there == []

    def test_interrupted(
        self, engine: FakeEngine, commands: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(clusters, "until", interrupt)
        with pytest.raises(KeyboardInterrupt):
            self.kind(engine, tmp_path).up(1, 2)
        # What kind made after the removal is removed by `here`.
        assert [argv[1] for argv, _ in commands] == ["create"]


class TestHere:
    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        made = FakeEngine(there=["left"])
        store = SimpleNamespace(etcd_tag="3.7.3", dns_tag="v1.15.0", flannel_image="flannel:1")
        monkeypatch.setattr(clusters.shutil, "which", lambda _: "/usr/bin/docker")
        monkeypatch.setattr(clusters.rootfs, "choose", lambda: None)
        monkeypatch.setattr(clusters.components, "go_version", lambda: "go")
        monkeypatch.setattr(clusters.components, "build", lambda *_: tmp_path)
        monkeypatch.setattr(clusters.build, "ensure", lambda *_, source: SimpleNamespace(store=store))
        monkeypatch.setattr(clusters.image, "ensure", lambda *_: "kubedrill/kind-node:1")
        monkeypatch.setattr(clusters.image, "ensure_balancer", lambda *_: "balancer")
        monkeypatch.setattr(shell, "run", lambda *_, **__: Result(1, "", "no such host"))
        return made

    def here(self, engine: FakeEngine, *, missing: frozenset[str] = MISSING, several: bool = True) -> Any:
        place: Any = SimpleNamespace(engine=engine, missing=missing)
        return clusters.here(place, "1.37", Console(), several=several)

    def test_all_helps_and_nothing_is_left(self, engine: FakeEngine) -> None:
        with self.here(engine) as kind:
            assert engine.there == [], "what a killed run left is gone"
            assert "SYS_RESOURCE" in (kind.folder / "docker").read_text()
            assert os.access(kind.folder / "docker", os.X_OK)
            assert engine.tags == {config.ENVOY: "balancer"}
            assert any("HAProxy" in help for help in kind.helps(3))
            engine.there.append("made")
        assert (engine.there, engine.tags, engine.networks_removed) == ([], {}, ["kubedrill-peer"])
        assert not kind.folder.exists()

    def test_nothing_is_left_of_a_run_that_fails(self, engine: FakeEngine) -> None:
        entered = self.here(engine)
        entered.__enter__()
        engine.there.append("made")
        error = TimedOut("too late")
        assert not entered.__exit__(TimedOut, error, None)
        assert (engine.there, engine.tags, engine.networks_removed) == ([], {}, ["kubedrill-peer"])

    def test_no_help_where_none_is_needed(self, engine: FakeEngine) -> None:
        engine.tags[config.ENVOY] = "the real one"
        with self.here(engine, missing=frozenset()) as kind:
            assert list(kind.folder.iterdir()) == []
            assert kind.envoy
        assert engine.tags == {config.ENVOY: "the real one"}

    def test_a_stand_in_that_a_killed_run_left_is_none(self, engine: FakeEngine) -> None:
        engine.tags[config.ENVOY] = "balancer"
        assert not clusters.has_envoy(engine, "docker")  # type: ignore[arg-type]
        with self.here(engine) as kind:
            assert not kind.envoy
        assert engine.tags == {}

    def test_envoy_is_pulled_where_it_can_be(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shell, "run", lambda argv, **_: Result(0, " ".join(argv), ""))
        assert clusters.has_envoy(engine, "docker")  # type: ignore[arg-type]

    def test_a_registry_that_never_answers(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(*_: object, **__: object) -> Result:
            raise CommandFailed("docker pull", None, "", "this machine")

        monkeypatch.setattr(shell, "run", run)
        assert not clusters.has_envoy(engine, "docker")  # type: ignore[arg-type]

    def test_without_docker(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clusters.shutil, "which", lambda _: None)
        with pytest.raises(MissingPrerequisite, match="docker-cli"), self.here(engine):
            pass
