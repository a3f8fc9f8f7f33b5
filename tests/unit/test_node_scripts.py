"""What a node does at a boot, run for real in a folder that stands for it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from kubedrill import shell, versions

SCRIPTS = versions.components_dir().parent / "files" / "usr" / "local" / "sbin"


class Node:
    """A folder with a store, in which kubedrill-store can run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "opt/kubedrill/stores/v1.37.2"
        self.snapshots = folder / "var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"
        for name in ("usr/bin", "opt/kubedrill/stores/v1.37.2/bin"):
            (folder / name).mkdir(parents=True)
        for number in (1, 2, 10):
            (self.store / f"containerd/snapshots/{number}/fs").mkdir(parents=True)
        (self.store / "containerd/metadata").mkdir()
        (self.store / "containerd/metadata/meta.db").write_text("metadata")
        for program in ("kubeadm", "kubelet", "kubectl"):
            (self.store / "bin" / program).write_text(program)
        (self.store / "sandbox-image").write_text("registry.k8s.io/pause:3.10.2")  # as the builder writes it

    def boot(self, version: str = "v1.37.2") -> shell.Result:
        """Run it."""
        text = (SCRIPTS / "kubedrill-store").read_text()
        for place in ("/opt/kubedrill", "/var/lib/containerd", "/usr/bin", "/etc/containerd"):
            text = text.replace(place, f"{self.folder}{place}")
        return shell.run(["sh", "-c", text], env={"KUBEDRILL_STORE": version}, check=False)

    def links(self) -> dict[str, str]:
        """Where the snapshots' links lead."""
        return {link.name: str(link.readlink()) for link in self.snapshots.iterdir()}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_store_is_opened(node: Node) -> None:
    assert node.boot() == shell.Result(0, "", "")
    assert node.links() == {name: f"{node.store}/containerd/snapshots/{name}" for name in ("1", "2", "10")}
    assert (node.folder / "var/lib/containerd/meta.db").read_text() == "metadata"
    assert (node.folder / "usr/bin/kubelet").read_text() == "kubelet"
    settings = (node.folder / "etc/containerd/conf.d/10-node.toml").read_text()
    assert "sandbox = 'registry.k8s.io/pause:3.10.2'" in settings
    assert "restrict_oom_score_adj = " in settings


def test_a_second_boot_changes_nothing(node: Node) -> None:
    node.boot()
    (node.folder / "var/lib/containerd/meta.db").write_text("with what containerd has done since")
    (node.snapshots / "11").mkdir()
    assert node.boot() == shell.Result(0, "", "")
    assert (node.folder / "var/lib/containerd/meta.db").read_text() == "with what containerd has done since"
    assert {path.name for path in node.snapshots.iterdir()} == {"1", "2", "10", "11"}


def test_what_was_installed_by_an_upgrade_stays(node: Node) -> None:
    (node.folder / "usr/bin/kubeadm").write_text("new")
    (node.folder / "usr/bin/kubelet").symlink_to("an-older-store")
    assert node.boot() == shell.Result(0, "", "")
    programs = {name: (node.folder / "usr/bin" / name).read_text() for name in ("kubeadm", "kubelet", "kubectl")}
    assert programs == {"kubeadm": "new", "kubelet": "kubelet", "kubectl": "kubectl"}


def test_a_boot_that_was_cut_off_is_done_again(node: Node) -> None:
    node.boot()
    (node.folder / "var/lib/containerd/.kubedrill-seeded").unlink()
    (node.snapshots / "2").unlink()
    assert node.boot() == shell.Result(0, "", "")
    assert node.links() == {name: f"{node.store}/containerd/snapshots/{name}" for name in ("1", "2", "10")}
    assert [*(node.store / "containerd/snapshots/1").iterdir()] == [node.store / "containerd/snapshots/1/fs"]


def test_a_damaged_store_is_told_and_the_node_boots(node: Node) -> None:
    (node.store / "sandbox-image").write_text("")
    found = node.boot()
    assert found.status == 0
    assert f"no sandbox image is known to {node.store}" in found.stderr


def test_a_computer_without_a_store(node: Node) -> None:
    assert node.boot("") == shell.Result(0, "", "")
    assert not node.snapshots.exists()


@pytest.mark.parametrize("left", [None, "", "\n", "0123", "0123\n", "0123456789abcdef0123456789abcdef\n"])
def test_a_machine_id_is_kept_where_it_is_whole(tmp_path: Path, left: str | None) -> None:
    text = (SCRIPTS / "kubedrill-entrypoint").read_text()
    part = text[text.index("machine=\n") : text.index('echo "$machine" >/etc/machine-id')]
    kept = tmp_path / "machine-id"
    if left is not None:
        kept.write_text(left)
    said = shell.run(["sh", "-euc", part.replace("/var/lib/kubedrill", str(tmp_path)) + "\necho $machine"]).stdout
    assert said == kept.read_text()
    assert len(said) == 33
    assert (said == left) == (left is not None and len(left) == 33)


class TestServingCertificates:
    """What kubelet, controller manager and scheduler show to whoever connects."""

    def boot(self, folder: Path, role: str) -> shell.Result:
        """Make them."""
        text = (SCRIPTS / "kubedrill-serving-certificates").read_text()
        for place in ("/var/lib/kubelet", "/etc/kubernetes"):
            text = text.replace(place, f"{folder}{place}")
        return shell.run(["sh", "-c", text], env={"KUBEDRILL_ROLE": role}, check=False)

    def made(self, folder: Path) -> dict[str, bytes]:
        """What is there, by its path."""
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_a_control_plane_has_three_each_with_a_key_of_its_own(self, tmp_path: Path) -> None:
        assert self.boot(tmp_path, "control-plane") == shell.Result(0, "", "")
        made = self.made(tmp_path)
        pairs = [
            "var/lib/kubelet/pki/kubelet", "etc/kubernetes/serving/kube-controller-manager",
            "etc/kubernetes/serving/kube-scheduler",
        ]  # fmt: skip
        assert set(made) == {f"{pair}.{end}" for pair in pairs for end in ("crt", "key")}
        assert len(set(made.values())) == 6
        for pair, name in zip(pairs, (socket.gethostname(), "localhost", "localhost"), strict=True):
            assert (tmp_path / f"{pair}.key").stat().st_mode & 0o777 == 0o600
            assert self.shown(tmp_path / f"{pair}.crt", tmp_path / f"{pair}.key", name) == {("DNS", name)} | (
                {("IP Address", "127.0.0.1")} if name == "localhost" else set()
            )

    def shown(self, certificate: Path, key: Path, name: str) -> set[tuple[str, str]]:
        """For which names a server with these is believed, by who believes that certificate and asks for a name."""
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(certificate, key)
        client = ssl.create_default_context(cafile=str(certificate))
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [
            server.wrap_bio(there, back, server_side=True),
            client.wrap_bio(back, there, server_hostname=name),
        ]
        for _ in range(3):
            for end in reversed(ends):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        told = ends[1].getpeercert()
        assert told is not None
        alternatives: Any = told["subjectAltName"]
        return set(alternatives)

    def test_the_kubelets_stays_and_the_others_last_as_long_as_the_node_runs(self, tmp_path: Path) -> None:
        self.boot(tmp_path, "control-plane")
        before = self.made(tmp_path)
        self.boot(tmp_path, "control-plane")
        after = self.made(tmp_path)
        assert {path for path in before if before[path] == after[path]} == {
            "var/lib/kubelet/pki/kubelet.crt", "var/lib/kubelet/pki/kubelet.key",
        }  # fmt: skip

    def test_half_a_pair_is_none(self, tmp_path: Path) -> None:
        self.boot(tmp_path, "worker")
        (tmp_path / "var/lib/kubelet/pki/kubelet.crt").unlink()
        self.boot(tmp_path, "worker")
        assert set(self.made(tmp_path)) == {"var/lib/kubelet/pki/kubelet.crt", "var/lib/kubelet/pki/kubelet.key"}
