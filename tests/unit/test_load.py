"""An image reaches every node that can hold one, or it is said which did not take it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider
from tars import tar_of_texts

from kubedrill import load
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result


class FakeEngine:
    """An engine with one image."""

    def has_image(self, tag: str) -> bool:
        """Whether it is that one."""
        return tag == "app:1"

    def export_image(self, tag: str) -> Iterator[bytes]:
        """Two pieces."""
        yield b"first "
        yield b"second"


class Imports:
    """What nodes were given to import; `failing` refuses."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.failing: set[str] = set()
        self.before: Callable[[FakeNode], object] = lambda _: None
        self._lock = threading.Lock()

    def __call__(self, node: FakeNode, call: Call) -> Result:
        """Answer ctr and rm."""
        path = call.argv[-1]
        if call.argv[0] == "rm":
            node.disk.pop(path)
            return Result(0, "", "")
        assert call.line == f"ctr --namespace k8s.io images import --local --platform linux/amd64 {path}"
        self.before(node)
        if node.name in self.failing:
            return Result(1, "", "ctr: no space left on device")
        with self._lock:
            self.taken[node.name] = node.disk[path].content
        return Result(0, "", "")


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imports:
    """The commands of the nodes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Imports()


@pytest.fixture
def nodes(imports: Imports) -> list[FakeNode]:
    """A balancer, a control plane and a worker."""
    provider = FakeProvider(script=imports)
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    provider.create_node("lab", NodeSpec("lab-load-balancer", "load-balancer", "172.28.0.2", "image"))
    provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "image"))
    provider.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.0.101", "image"))
    return cast("list[FakeNode]", provider.nodes("lab"))


def run(image: str | Path, nodes: list[FakeNode]) -> None:
    load.load(cast(Engine, FakeEngine()), str(image), cast("list[Node]", nodes))


@pytest.mark.parametrize("member", ["index.json", "manifest.json", "./index.json"])
def test_an_archive(tmp_path: Path, nodes: list[FakeNode], imports: Imports, member: str) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(tar_of_texts({member: "{}"}))
    run(archive, nodes)
    assert imports.taken == dict.fromkeys(["lab-control-plane-1", "lab-worker-1"], archive.read_bytes())
    assert all(node.disk == {} for node in nodes), "nothing is left on the nodes"


def test_an_image_of_the_engine(tmp_path: Path, nodes: list[FakeNode], imports: Imports) -> None:
    run("app:1", nodes)
    assert set(imports.taken.values()) == {b"first second"}
    assert len(imports.taken) == 2
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def truncated() -> bytes:
    whole = gzip.compress(tar_of_texts({"index.json": "{}", "blob": "".join(map(str, range(60_000)))}))
    return whole[: len(whole) // 2]


BAD = {
    "a text": (b"hello\n" * 200, "no archive"),
    "nothing": (b"", "no archive"),
    "a tar of something else": (tar_of_texts({"README": "x"}), "neither index.json"),
    "a tar whose end is missing": (tar_of_texts({"a": "x" * 4000})[:1000], "no archive"),
    "a compressed tar whose end is missing": (truncated(), "no archive"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_archive_reaches_no_node(tmp_path: Path, nodes: list[FakeNode], case: str) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(BAD[case][0])
    with pytest.raises(InvalidSpec) as caught:
        run(archive, nodes)
    assert BAD[case][1] in str(caught.value)
    assert str(archive) in str(caught.value)
    assert all(node.calls == [] for node in nodes)


@pytest.mark.parametrize("image", ["app:2", "no/such/file.tar", "./nothing.oci", "missing.tar"])
def test_what_is_not_there(nodes: list[FakeNode], image: str) -> None:
    with pytest.raises(NotFound, match=image):
        run(image, nodes)
    assert all(node.calls == [] for node in nodes)


def test_a_node_that_refuses_is_named(nodes: list[FakeNode], imports: Imports) -> None:
    imports.failing = {"lab-worker-1"}
    with pytest.raises(KubedrillError) as caught:
        run("app:1", nodes)
    assert "1 nodes did not take the image, 1 have it" in str(caught.value)
    assert "lab-worker-1" in str(caught.value)
    assert "no space left" in str(caught.value)
    assert list(imports.taken) == ["lab-control-plane-1"]
    assert all(node.disk == {} for node in nodes)


@pytest.mark.parametrize("fate", ["kill", "remove", "pause"])
def test_a_node_that_dies_meanwhile_is_named(nodes: list[FakeNode], imports: Imports, fate: str) -> None:
    def dies(node: FakeNode) -> None:
        if node.name == "lab-worker-1":
            getattr(node, fate)()
            raise NotFound(f"{node.name} does not run")

    imports.before = dies
    with pytest.raises(KubedrillError, match="1 nodes did not take the image, 1 have it"):
        run("app:1", nodes)
    assert list(imports.taken) == ["lab-control-plane-1"]
