"""Logs come from every node, whatever became of it, and what a node wrote cannot leave the folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider
from tars import tar_bytes, tar_of_texts

from kubedrill import logs
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers.base import File, NetworkSpec, Node, NodeSpec
from kubedrill.shell import Result


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, target, mode
    return found


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class TestUnpack:
    def test_files_and_folders(self, tmp_path: Path) -> None:
        logs.unpack(tar_of_texts({"pods/a/0.log": "x", "pods/b": "y"}), tmp_path)
        assert (tmp_path / "pods" / "a" / "0.log").read_text() == "x"
        assert below(tmp_path) == ["pods", "pods/a", "pods/a/0.log", "pods/b"]

    @pytest.mark.parametrize("name", ["../evil", "pods/../../evil", "pods/../../../../../../../tmp/evil"])
    def test_nothing_leaves_the_folder(self, tmp_path: Path, name: str) -> None:
        """It is refused by one of our errors: clean-up expects those alone, and any other would hide the cause."""
        with pytest.raises(KubedrillError):
            logs.unpack(tar_bytes([(entry(name), b"x")]), tmp_path / "node")
        assert [path for path in below(tmp_path) if "evil" in path] == []
        assert not Path("/tmp/evil").exists()

    def test_an_absolute_name_stays_below_the_folder(self, tmp_path: Path) -> None:
        logs.unpack(tar_bytes([(entry("/kubedrill-evil"), b"x")]), tmp_path)
        assert below(tmp_path) == ["kubedrill-evil"]
        assert not Path("/kubedrill-evil").exists()

    @pytest.mark.parametrize(
        "link",
        [
            entry("pods/link", tarfile.SYMTYPE, "/etc/passwd"),
            entry("pods/link", tarfile.SYMTYPE, "log"),
            entry("pods/link", tarfile.LNKTYPE, "pods/log"),
            entry("pods/link", tarfile.CHRTYPE),
            entry("pods/link", tarfile.FIFOTYPE),
        ],
    )
    def test_links_and_devices_are_left_out(self, tmp_path: Path, link: tarfile.TarInfo) -> None:
        logs.unpack(tar_bytes([(entry("pods/log"), b"x"), (link, b""), (entry("pods/next"), b"y")]), tmp_path)
        assert below(tmp_path) == ["pods", "pods/log", "pods/next"]

    def test_a_file_behind_a_link_does_not_follow_it(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        link = entry("pods", tarfile.SYMTYPE, str(outside))
        logs.unpack(tar_bytes([(link, b""), (entry("pods/log"), b"x")]), tmp_path / "node")
        assert below(outside) == []
        assert (tmp_path / "node" / "pods" / "log").read_text() == "x"

    def test_what_nobody_may_read_can_be_read_here(self, tmp_path: Path) -> None:
        folder = entry("pods", tarfile.DIRTYPE, mode=0o000)
        logs.unpack(tar_bytes([(folder, b""), (entry("pods/log", mode=0o000), b"x")]), tmp_path)
        assert (tmp_path / "pods").stat().st_mode & 0o700 == 0o700
        assert (tmp_path / "pods" / "log").stat().st_mode & 0o600 == 0o600


class TestText:
    def test_of_one_file(self) -> None:
        assert logs.text_of(tar_of_texts({"admin.conf": "é\n"})) == "é\n"

    def test_that_is_no_text(self) -> None:
        assert logs.text_of(tar_bytes([(entry("x"), b"a\xff")])) == "a\N{REPLACEMENT CHARACTER}"

    @pytest.mark.parametrize("members", [[], [(entry("folder", tarfile.DIRTYPE), b"")]])
    def test_without_a_file(self, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        with pytest.raises(NotFound):
            logs.text_of(tar_bytes(members))


class Broken(FakeNode):
    """A node of which the engine gives nothing but errors."""

    def journal(self) -> str:
        """Fail."""
        raise KubedrillError("the engine refused")

    def read_tree(self, path: str) -> bytes:
        """Fail."""
        raise KubedrillError("the engine refused")


class TestCollect:
    @pytest.fixture
    def provider(self) -> FakeProvider:
        """A cluster of two nodes."""

        def script(node: FakeNode, call: Call) -> Result:
            return Result(0, f"{call.argv[0]} on {node.name}\n", "")

        made = FakeProvider(script=script)
        made.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        made.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "image"))
        made.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.0.101", "image"))
        return made

    def test_every_node_has_a_folder(self, provider: FakeProvider, tmp_path: Path) -> None:
        first, second = provider.nodes("lab")
        first.write([
            File("/var/log/pods/kube-system_etcd/0.log", "from etcd"),
            File("/var/log/kubedrill/kubeadm-init.log", "from kubeadm"),
            File("/etc/kubernetes/manifests/etcd.yaml", "kind: Pod"),
            File("/etc/kubernetes/pki/ca.key", "a key"),
            File("/etc/kubernetes/admin.conf", "a key too"),
        ])  # fmt: skip
        second.kill()
        assert logs.collect([first, second], tmp_path) == []
        there = tmp_path / "lab-control-plane-1"
        assert (there / "pods" / "kube-system_etcd" / "0.log").read_text() == "from etcd"
        assert (there / "kubedrill" / "kubeadm-init.log").read_text() == "from kubeadm"
        assert (there / "manifests" / "etcd.yaml").read_text() == "kind: Pod"
        assert (there / "processes.txt").read_text() == "ps on lab-control-plane-1\n"
        assert "boot 1" in (there / "journal.txt").read_text()
        assert "boot 1" in (tmp_path / "lab-worker-1" / "journal.txt").read_text()
        assert "boot 1" in (tmp_path / "lab-worker-1" / "console.txt").read_text()
        assert not (tmp_path / "lab-worker-1" / "processes.txt").exists(), "a dead node runs nothing"
        kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        assert "a key" not in kept

    def test_what_cannot_be_had_is_said_and_the_rest_is_kept(self, provider: FakeProvider, tmp_path: Path) -> None:
        [good, _] = provider.nodes("lab")
        spec = NodeSpec("lab-worker-2", "worker", "172.28.0.102", "image")
        broken: Node = provider.create_node("lab", spec)
        broken.__class__ = Broken
        problems = logs.collect([broken, good], tmp_path)
        assert problems
        assert all(line.startswith("lab-worker-2: ") for line in problems)
        assert "boot 1" in (tmp_path / "lab-control-plane-1" / "journal.txt").read_text()
        assert "boot 1" in (tmp_path / "lab-worker-2" / "console.txt").read_text()

    def test_a_node_that_is_gone(self, provider: FakeProvider, tmp_path: Path) -> None:
        gone, other = provider.nodes("lab")
        gone.remove()
        problems = logs.collect([gone, other], tmp_path)
        assert [line for line in problems if "journal" in line and gone.name in line]
        assert (tmp_path / other.name / "journal.txt").exists()


def test_a_tree_of_a_fake_node_is_a_tar_as_docker_sends_it() -> None:
    provider = FakeProvider()
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    node = provider.create_node("lab", NodeSpec("lab-worker-1", "worker", "172.28.0.101", "image"))
    node.write([File("/var/log/pods/a/0.log", "x", 0o640)])
    with tarfile.open(fileobj=io.BytesIO(node.read_tree("/var/log/pods"))) as tar:
        assert [(member.name, member.isdir(), member.mode) for member in tar] == [
            ("pods", True, 0o755), ("pods/a", True, 0o755), ("pods/a/0.log", False, 0o640)
        ]  # fmt: skip
