"""Registries of a lab: what they are told, who asks them, and that a drill leaves nothing of them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import daemons, registries, shell
from kubedrill.cluster import Cluster
from kubedrill.errors import InvalidSpec, KubedrillError, TimedOut
from kubedrill.faults import VisitingRegistry
from kubedrill.faults.actions import Command, Plan, from_data, to_data
from kubedrill.images import oci, push
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec, Role
from kubedrill.registries import Registry
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec

LAB = Registry("lab", "172.28.0.2", 5000)
CACHE = Registry("docker.io", "172.28.0.2", 5001, "https://registry-1.docker.io")


class TestTexts:
    def test_a_registry(self) -> None:
        assert yaml.safe_load(registries.config(LAB)) == {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": "/var/lib/kubedrill/registry/lab"}},
            "http": {"addr": "172.28.0.2:5000"},
        }

    def test_a_cache(self) -> None:
        found = yaml.safe_load(registries.config(CACHE))
        assert found["proxy"] == {"remoteurl": "https://registry-1.docker.io"}
        assert found["storage"]["filesystem"]["rootdirectory"].endswith("/docker.io")

    def test_it_listens_in_the_lab_alone(self) -> None:
        assert yaml.safe_load(registries.config(LAB))["http"]["addr"].startswith("172.28.0.2:")

    def test_nodes_ask_the_lab_first_then_the_cache(self) -> None:
        text = registries.hosts("docker.io", LAB, CACHE)
        assert tomllib.loads(text)["host"] == {
            "http://172.28.0.2:5000/v2/docker.io": {"capabilities": ["pull", "resolve"], "override_path": True},
            "http://172.28.0.2:5001": {"capabilities": ["pull", "resolve"]},
        }
        assert text.index(":5000") < text.index(":5001")

    def test_one_of_both(self) -> None:
        assert list(tomllib.loads(registries.hosts("a.b", None, CACHE))["host"]) == ["http://172.28.0.2:5001"]
        assert list(tomllib.loads(registries.hosts("a.b", LAB, None))["host"]) == ["http://172.28.0.2:5000/v2/a.b"]

    @pytest.mark.parametrize(
        ("name", "upstream"),
        [("A", ""), ("a b", ""), ("../x", ""), ("a", "ftp://x"), ("a", "https://x/y"), ("a", "https://u:p@x")],
    )
    def test_names_end_up_in_paths(self, name: str, upstream: str) -> None:
        with pytest.raises(InvalidSpec):
            Registry(name, "172.28.0.2", 5000, upstream)


class World:
    """Nodes that keep files, and units that run once they are told to."""

    def __init__(self, *roles: tuple[Role, str]) -> None:
        self.provider = FakeProvider(script=self.answer)
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        for number, (role, name) in enumerate(roles, 10):
            self.provider.create_node("lab", NodeSpec(f"lab-{name}", role, f"172.28.0.{number}", "an image"))
        self.nodes = cast("Sequence[Node]", self.provider.nodes("lab"))
        self.lines: list[str] = []

    def answer(self, node: FakeNode, call: Call) -> Result:
        """test, mv, and what `found` reads."""
        self.lines.append(f"{node.name.removeprefix('lab-')}: {call.line}")
        if call.argv[:2] == ("test", "-x"):
            return Result(0 if call.argv[2] in node.disk else 1, "", "")
        if "mv " in call.line:
            path = call.line.split()[-1].strip("'\"")
            node.disk[path] = node.disk.pop(f"{path}.new")
        if call.argv[:2] == ("rm", "-f"):
            node.disk.pop(call.argv[2], None)
        if call.argv[0] == "journalctl":
            return Result(0, "starting\npanic: connection refused\n\ngoroutine 1\n", "")
        return Result(0, "", "")

    def hosts(self, node: str, source: str) -> list[str]:
        """Whom a node asks for images of a registry."""
        return list(
            tomllib.loads(self.provider.node(f"lab-{node}").text(f"{registries.CERTS}/{source}/hosts.toml"))["host"]
        )


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Registries that are built, and answer; the images in them."""
    built = tmp_path / "registry-0badcafe" / "registry"
    built.parent.mkdir()
    built.write_text("a program")
    holding: list[str] = []
    monkeypatch.setattr(push, "program", lambda name, _: built)
    monkeypatch.setattr(push, "catalog", lambda _: holding)
    return holding


def nobody(_: str) -> None:
    pass


@pytest.mark.usefixtures("answering")
class TestServing:
    @pytest.fixture
    def world(self) -> World:
        return World(("load-balancer", "load-balancer"), ("control-plane", "control-plane-1"), ("worker", "worker-1"))

    def test_where(self, world: World) -> None:
        assert registries.host(world.nodes).name == "lab-load-balancer"
        assert registries.host(World(("worker", "w"), ("control-plane", "c")).nodes).name == "lab-c"

    def test_a_registry_of_the_lab(self, world: World) -> None:
        found = registries.lab_registry(world.nodes, nobody)
        assert found == Registry("lab", registries.host(world.nodes).address, 5000)
        balancer = world.provider.node("lab-load-balancer")
        assert balancer.text("/usr/local/lib/kubedrill/registry-0badcafe") == "a program"
        assert (
            "ExecStart=/usr/local/lib/kubedrill/registry-0badcafe serve /etc/kubedrill/registry/%i.yml"
            in balancer.text(registries.UNIT)
        )
        assert "load-balancer: systemctl restart kubedrill-registry@lab.service" in world.lines
        assert "load-balancer: systemctl enable kubedrill-registry@lab.service" in world.lines

    def test_twice_is_harmless(self, world: World) -> None:
        first = registries.lab_registry(world.nodes, nobody)
        world.lines.clear()
        assert registries.lab_registry(world.nodes, nobody) == first
        assert not [line for line in world.lines if "systemctl" in line]

    def test_caches_have_ports_of_their_own_and_keep_them(self, world: World) -> None:
        made = [registries.mirror(world.nodes, source, "", nobody) for source in ("docker.io", "quay.io", "docker.io")]
        assert [one.port for one in made] == [5001, 5002, 5001]
        assert [one.upstream for one in made] == [
            "https://registry-1.docker.io", "https://quay.io", "https://registry-1.docker.io"
        ]  # fmt: skip
        assert registries.mirror(world.nodes, "quay.io", "http://172.28.0.9:5000", nobody).port == 5002
        assert registries.found(registries.host(world.nodes))[1].upstream == "http://172.28.0.9:5000"

    def test_all_nodes_ask_it_but_the_balancer(self, world: World) -> None:
        cache = registries.mirror(world.nodes, "docker.io", "", nobody)
        for node in ("control-plane-1", "worker-1"):
            assert world.hosts(node, "docker.io") == [cache.url]
        assert not [path for path in world.provider.node("lab-load-balancer").disk if "certs.d" in path]

    def test_an_image_is_brought(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pushed: list[tuple[str, str, str]] = []
        monkeypatch.setattr(push, "push", lambda _archive, *words: pushed.append(words[:3]))
        cache = registries.mirror(world.nodes, "docker.io", "", nobody)
        (tmp_path / "program").write_text("x")
        file = tmp_path / "image.tar"
        oci.archive(oci.Image("docker.io/me/app:2", {"/app": tmp_path / "program"}), "x86_64", file)
        assert str(registries.bring(world.nodes, file, nobody)) == "docker.io/me/app:2"
        url = f"http://{cache.address}:5000"
        assert pushed == [(url, "docker.io/me/app", "2")]
        assert world.hosts("worker-1", "docker.io") == [f"{url}/v2/docker.io", cache.url]

    def test_what_is_no_registry_is_refused_before_anything_is_done(self, world: World) -> None:
        with pytest.raises(InvalidSpec):
            registries.mirror(world.nodes, "docker.io/library", "", nobody)
        assert not [line for line in world.lines if "systemctl" in line]

    def test_a_cache_that_does_not_start_says_why(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def late(*_: Any, **__: Any) -> None:
            raise TimedOut("the registry", evidence=["refused"])

        monkeypatch.setattr(registries, "until", late)
        with pytest.raises(KubedrillError, match="does not answer") as caught:
            registries.mirror(world.nodes, "docker.io", "", nobody)
        assert "panic: connection refused" in str(caught.value)
        assert "curl https://registry-1.docker.io/v2/" in str(caught.value)
        assert not [path for path in world.provider.node("lab-worker-1").disk if "certs.d" in path], "nobody asks it"
        assert registries.found(registries.host(world.nodes)) == ()
        assert world.lines[-2] == "load-balancer: systemctl disable --now kubedrill-registry@docker.io.service"


@pytest.mark.usefixtures("answering")
class TestClustersThatGrow:
    def test_registries_stay_where_they_are_when_a_balancer_comes(self) -> None:
        world = World(("load-balancer", "load-balancer"), ("control-plane", "control-plane-1"), ("worker", "worker-1"))
        first = registries.lab_registry(world.nodes[1:], nobody)
        assert registries.host(world.nodes).name == "lab-control-plane-1"
        assert registries.lab_registry(world.nodes, nobody) == first

    def test_a_node_that_comes_later_asks_whom_the_others_ask(self) -> None:
        world = World(("control-plane", "control-plane-1"), ("worker", "worker-1"), ("etcd", "etcd-1"))
        plane, *new = world.nodes
        cache = registries.mirror([plane], "docker.io", "", nobody)
        registries.point_like(plane, new)
        assert world.hosts("worker-1", "docker.io") == [cache.url]
        assert not [path for path in world.provider.node("lab-etcd-1").disk if "certs.d" in path]

    def test_where_there_are_none_nothing_is_written(self) -> None:
        world = World(("control-plane", "control-plane-1"), ("worker", "worker-1"))
        registries.point_like(world.nodes[0], world.nodes[1:])
        assert not [path for path in world.provider.node("lab-worker-1").disk if "certs.d" in path]


class TestVisitingRegistry:
    @pytest.fixture
    def plan(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
        """Its plan, on paths that a test can have."""
        for name in ("FOLDER", "DATA", "UNIT", "CERTS"):
            monkeypatch.setattr(registries, name, f"{tmp_path}/{name.lower()}")
        monkeypatch.setattr(daemons, "PROGRAMS", f"{tmp_path}/programs")
        world = World(("control-plane", "control-plane-1"), ("worker", "worker-1"))
        cluster = Cluster(ClusterSpec(workers=1), tuple(world.nodes), 1)
        fault = VisitingRegistry("control-plane-1", ("up", "cache"), ("control-plane-1", "worker-1"), "kubedrill.test")
        (made,) = fault.ways(cluster, "0badcafe")
        return made

    def put(self, root: Path, *names: str) -> None:
        """What registries leave on a node."""
        for folder in ("folder", "data", "programs", "certs/kubedrill.test"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / "folder" / f"{name}.yml").write_text("http:")
            (root / "data" / name).mkdir()
        (root / "unit").write_text("[Unit]")
        (root / "programs" / "registry-0badcafe").write_text("a program")
        (root / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{root}/systemctl.log\n')
        (root / "systemctl").chmod(0o755)

    def do(self, root: Path, *actions: object) -> list[int]:
        path = {"PATH": f"{root}:/usr/bin:/bin"}
        return [shell.run(list(cast(Command, one).argv), env=path, check=False).status for one in actions]

    def left(self, root: Path) -> list[str]:
        kept = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        return [path for path in kept if "systemctl" not in path]

    def test_all_of_it_goes(self, tmp_path: Path, plan: Plan) -> None:
        self.put(tmp_path, "up", "cache")
        assert 0 not in self.do(tmp_path, *plan.healed)
        assert self.do(tmp_path, *plan.undo, *plan.undo) == [0] * 6
        assert self.left(tmp_path) == ["certs", "data", "folder", "programs"]
        assert set(self.do(tmp_path, *plan.healed)) == {0}
        log = (tmp_path / "systemctl.log").read_text()
        assert "disable --now kubedrill-registry@up.service kubedrill-registry@cache.service" in log

    def test_a_registry_of_somebody_else_stays(self, tmp_path: Path, plan: Plan) -> None:
        self.put(tmp_path, "up", "cache", "lab")
        self.do(tmp_path, *plan.undo)
        assert {"folder/lab.yml", "data/lab", "unit", "programs/registry-0badcafe"} <= set(self.left(tmp_path))
        assert set(self.do(tmp_path, *plan.healed)) == {0}

    def test_where_nothing_was_put_nothing_is_wrong(self, tmp_path: Path, plan: Plan) -> None:
        self.put(tmp_path)
        assert self.do(tmp_path, *plan.undo) == [0] * 3

    def test_what_is_there_already_is_refused(self, plan: Plan) -> None:
        assert set(plan.healed) <= set(plan.before)
        assert plan.inject == ()

    def test_it_can_be_written_to_disk(self, plan: Plan) -> None:
        for action in (*plan.undo, *plan.healed, *plan.before):
            assert from_data(json.loads(json.dumps(to_data(action)))) == action

    @pytest.mark.parametrize(("names", "source"), [(("a b",), "x.y"), (("a",), "x;y"), (("../a",), "x.y")])
    def test_names_end_up_in_command_lines(self, names: tuple[str, ...], source: str) -> None:
        with pytest.raises(ValueError, match="is no name of a registry"):
            VisitingRegistry("worker-1", names, ("worker-1",), source)
