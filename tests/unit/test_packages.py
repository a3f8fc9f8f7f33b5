"""Source 'packages': what it asks of the engine, what it records, and what its content addresses depend on."""

from __future__ import annotations

import io
import shutil
import socket
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import pytest

from kubedrill import paths, versions
from kubedrill.errors import BuildFailed
from kubedrill.images import components, node, packages, rootfs, store
from kubedrill.providers.archive import tar_of
from kubedrill.shell import Result

SUITE = rootfs.Suite("debian", "bookworm", "deb x", "a test")
GO = "go version go1.26.8 linux/amd64"
PAUSE = "registry.k8s.io/pause:3.10.2"
LISTED = (
    "registry.k8s.io/kube-apiserver:v1.37.2",
    PAUSE,
    "registry.k8s.io/etcd:3.7.0-0",
    "registry.k8s.io/e2e-test-images/agnhost:2.66.1",
)


def version(minor: str = "1.37") -> str:
    return versions.kubernetes_version(minor)


def flannel() -> str:
    return f"ghcr.io/flannel-io/flannel:{versions.component_version('flannel', 'github.com/flannel-io/flannel')}"


class FakeEngine:
    """Records what it is asked, and answers as Docker's engine would where all goes well."""

    def __init__(self) -> None:
        self.images: set[str] = {node.rootfs_image(SUITE)}
        self.kept: dict[str, Mapping[str, str]] = {}
        self.runs: list[tuple[str, list[str]]] = []
        self.context: list[str] = []
        self.loaded: dict[str, bytes] = {}
        self.fetch = Result(0, "", "")
        self.fill = Result(0, "", "")
        self.finished: dict[str, str] = {}

    def has_image(self, tag: str) -> bool:
        return tag in self.images

    def build_image(self, context: bytes, tag: str, arguments: Mapping[str, str]) -> None:
        assert arguments == {"ROOTFS": node.rootfs_image(SUITE)}
        with tarfile.open(fileobj=io.BytesIO(context)) as tar:
            self.context = tar.getnames()
        self.images.add(tag)

    def volumes(self, label: str) -> Sequence[Mapping[str, Any]]:
        key, _, value = label.partition("=")
        return [{"Name": name} for name, labels in self.kept.items() if key in labels and value in ("", labels[key])]

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.kept[name] = labels

    def remove_volume(self, name: str) -> None:
        self.kept.pop(name, None)

    def run_once(
        self, image: str, argv: Sequence[str], *, host: Mapping[str, Any], labels: Mapping[str, str],
        archives: Sequence[tuple[str, bytes | IO[bytes]]] = (), fetch: str = "",
    ) -> tuple[Result, bytes]:  # fmt: skip
        self.runs.append((image, list(argv)))
        if labels["kubedrill.builder"] == "record":
            volume, _, _ = host["binds"][0].partition(":")
            for folder, data in archives:
                assert folder == "/store"
                with tarfile.open(fileobj=io.BytesIO(cast("bytes", data))) as tar:
                    self.finished[volume] = tar.extractfile(store.FINISHED).read().decode()  # type: ignore[union-attr]
            return Result(0 if volume in self.finished else 1, self.finished.get(volume, ""), ""), b""
        put: dict[str, bytes] = {}
        for folder, data in archives:
            assert folder == "/"
            with tarfile.open(fileobj=io.BytesIO(data) if isinstance(data, bytes) else data) as tar:
                put |= {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
        if labels["kubedrill.builder"] == "fetch":
            assert put["fetch.sh"] == (paths.repository() / "images" / "fetch.sh").read_bytes()
            assert (host, fetch) == ({"network_mode": "bridge"}, "/fetched")
            return self.fetch, fetched(argv[3]) if self.fetch.status == 0 else b""
        if labels["kubedrill.builder"] == "collect":
            return Result(0, "", ""), tar_of({"collected.tar": (tar_of({}), 0o644)})
        assert host["binds"] == [f"{next(iter(self.kept))}:/store"]
        assert host["network_mode"] == "bridge"  # images are pulled
        self.loaded = put
        return self.fill, b""


def fetched(what: str) -> bytes:
    """The folder that fetch.sh makes, as the engine sends it."""
    programs = {
        "runtime": ("bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/crictl", "cni/bridge"),
        "kubernetes": ("bin/kubeadm", "bin/kubelet", "bin/kubectl"),
    }[what]
    files = {f"fetched/{name}": (name.encode(), 0o755) for name in programs}
    if what == "kubernetes":
        files["fetched/images"] = ("".join(f"{image}\n" for image in LISTED).encode(), 0o644)
    return tar_of(files)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, with hello built already."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hello = tmp_path / "kubedrill" / "components" / f"kubedrill-{components.key(components.load('kubedrill'), GO)}"
    hello.mkdir(parents=True)
    (hello / "hello").write_text("hello")
    (hello / "probe").write_text("probe")
    (hello / "addon-manager").write_text("addon-manager")
    return tmp_path / "kubedrill"


def source(
    engine: FakeEngine, kubernetes: str = "1.37", compiler: str | None = GO, say: Callable[[str], None] = lambda _: None
) -> packages.Packages:
    return packages.Packages(engine, kubernetes, SUITE, compiler, frozenset(), say)  # type: ignore[arg-type]


def test_node_image() -> None:
    engine = FakeEngine()
    containerd = versions.component_version("containerd", "github.com/containerd/containerd/v2")
    tag = source(engine).node_image()
    argv = ["/bin/sh", "/fetch.sh", "/fetched", "runtime", versions.newest_minor(), containerd]
    assert engine.runs == [(node.rootfs_image(SUITE), argv)]
    assert engine.has_image(tag)
    programs = {name for name in engine.context if name.startswith(("bin/", "cni/"))}
    assert programs == {
        "bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/crictl", "cni/bridge"
    }  # fmt: skip
    assert {"Dockerfile", "files/etc/crictl.yaml"} <= set(engine.context)


def test_store() -> None:
    engine = FakeEngine()
    made = source(engine).image_store()
    assert made == store.Store(
        volume=source(engine).store_name, kubernetes=version(), etcd_tag=None, dns_tag=None,
        flannel_image=flannel(), sandbox_image=PAUSE,
        images=(*LISTED, flannel(), store.metrics_server(), store.HELLO, store.ADDON_MANAGER),
    )  # fmt: skip
    argv = ["/bin/sh", "/fetch.sh", "/fetched", "kubernetes", "1.37", version()]
    assert (node.rootfs_image(SUITE), argv) in engine.runs
    assert engine.runs[-2:] == [(source(engine).node_name, argv) for argv in (["/pull.sh"], ["true"])]
    assert engine.loaded["build/pull"].decode().split() == [*LISTED, flannel(), store.metrics_server()]
    assert engine.loaded["build/sandbox-image"].decode() == PAUSE
    assert engine.loaded["build/bin/kubelet"] == b"bin/kubelet"
    assert {"pull.sh", "store.sh", "build/bin/kubeadm", "build/bin/kubectl", "build/00.tar"} <= set(engine.loaded)
    assert store.find(engine, made.volume) == made  # type: ignore[arg-type]


def test_without_go_hello_is_left_out_and_it_says_so() -> None:
    engine, said = FakeEngine(), list[str]()
    made = source(engine, compiler=None, say=said.append).image_store()
    assert made.images == (*LISTED, flannel(), store.metrics_server())
    assert not [name for name in engine.loaded if name.endswith(".tar")]
    assert any(store.HELLO in line and store.ADDON_MANAGER in line and "no Go" in line for line in said)


def test_a_store_that_another_user_of_the_engine_has_filled_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    filled = source(engine).image_store()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    volumes, engine.runs = dict(engine.kept), []
    for _ in range(2):
        assert source(engine).image_store() == filled
    assert engine.kept == volumes
    assert [argv for _, argv in engine.runs] == [["cat", f"/store/{store.FINISHED}"]]


def test_a_store_that_nobody_has_finished_is_filled_anew() -> None:
    engine = FakeEngine()
    volume = source(engine).store_name
    engine.kept[volume] = {store.LABEL: "of a killed one"}
    assert source(engine).image_store().volume == volume
    assert engine.kept[volume] != {store.LABEL: "of a killed one"}


def test_nothing_is_fetched_twice() -> None:
    engine = FakeEngine()
    assert not source(engine).ready()
    tag, made = source(engine).node_image(), source(engine).image_store()
    assert source(engine).ready()
    before = list(engine.runs)
    assert (source(engine).node_image(), source(engine).image_store()) == (tag, made)
    assert engine.runs == before
    # The engine forgot all, the cache did not: only the volume is filled again.
    engine.images, engine.kept = {node.rootfs_image(SUITE)}, {}
    source(engine).image_store()
    assert [argv[:2] for _, argv in engine.runs[len(before) :] if "/fetch.sh" in argv] == []


def test_one_node_image_serves_all_minors() -> None:
    engine = FakeEngine()
    assert source(engine, "1.36").node_name == source(engine, "1.37").node_name
    assert source(engine, "1.36").store_name != source(engine, "1.37").store_name


def test_the_volume_names_the_exact_version_and_is_not_that_of_modules() -> None:
    named = source(FakeEngine()).store_name
    assert named.startswith(f"kubedrill-store-{version()}-")
    assert named != store.name("1.37", SUITE, GO)
    assert source(FakeEngine()).node_name != node.name(SUITE, GO)


def test_a_missing_patch_is_told_as_such() -> None:
    engine = FakeEngine()
    engine.images.add(source(engine).node_name)
    engine.fetch = Result(3, "", "pkgs.k8s.io has no kubeadm 1.37.2; of Kubernetes 1.37 it has: 1.37.0-1.1\n")
    with pytest.raises(BuildFailed, match=f"pkgs.k8s.io has no packages of Kubernetes {version()}") as caught:
        source(engine).image_store()
    assert "1.37.0-1.1" in str(caught.value)
    assert "source 'modules'" in str(caught.value)
    assert engine.kept == {}


@pytest.mark.parametrize("compiler", [GO, None])
def test_a_failed_fetch_leaves_nothing_behind(cache: Path, compiler: str | None) -> None:
    engine = FakeEngine()
    engine.fetch = Result(22, "", "curl: (22) The requested URL returned error: 404\n")
    with pytest.raises(BuildFailed, match=r"containerd v\S+ could not be fetched") as caught:
        source(engine, compiler=compiler).image_store()
    assert "404" in str(caught.value)
    assert [path.name for path in (cache / "packages").iterdir() if path.is_dir()] == []


def test_a_failed_pull_leaves_no_store() -> None:
    engine = FakeEngine()
    engine.fill = Result(1, "", f"could not pull {PAUSE}\n")
    with pytest.raises(BuildFailed, match="could not be filled") as caught:
        source(engine).image_store()
    assert f"could not pull {PAUSE}" in str(caught.value)
    assert not source(engine).ready()
    assert engine.kept == {}


# A file of images/, and which names follow it: the node's, the store's.
INPUTS = [
    ("fetch.sh", True, True),
    ("components/containerd/go.mod", True, True),
    ("Dockerfile", True, False),
    ("files/etc/crictl.yaml", True, False),
    ("packages.txt", True, True),
    ("pull.sh", False, True),
    ("store.sh", False, True),
    ("collect.sh", False, True),
    ("components/flannel/go.mod", False, True),
    ("components/kubedrill/cmd/hello/main.go", False, True),
    ("components/kubernetes-1.37/go.mod", False, True),
    ("components/etcd/go.mod", False, False),
    ("components/coredns/go.mod", False, False),
]


@pytest.mark.parametrize(("changed", "of_node", "of_store"), INPUTS)
def test_content_addresses_follow_their_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, of_node: bool, of_store: bool
) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(paths.repository() / "images", copy / "images")
    monkeypatch.setattr(paths, "repository", lambda: copy)
    monkeypatch.setattr(versions, "repository", lambda: copy)
    it = source(FakeEngine())
    before = (it.node_name, it.store_name)
    file = copy / "images" / changed
    text = file.read_text()
    if file.name == "go.mod":
        modules = ("github.com/containerd/containerd/v2 v", "github.com/flannel-io/flannel v", "k8s.io/kubernetes v")
        for module in modules:
            text = text.replace(module, f"{module}9")
    file.write_text(text + ("\nanother-package\n" if changed == "packages.txt" else "\n"))
    assert (it.node_name != before[0], it.store_name != before[1]) == (of_node, of_store)


@pytest.mark.parametrize("other", [None, "go version go1.27.0 linux/amd64"])
def test_the_store_follows_the_compiler_of_hello(other: str | None) -> None:
    it, with_other = source(FakeEngine()), source(FakeEngine(), compiler=other)
    assert it.store_name != with_other.store_name
    assert it.node_name == with_other.node_name


def test_unpack_takes_files_alone_and_keeps_them_inside(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, mode in (
            ("fetched", tarfile.DIRTYPE, 0o755), ("fetched/bin/kubeadm", tarfile.REGTYPE, 0o700),
            ("fetched/images", tarfile.REGTYPE, 0o600), ("fetched/bin/link", tarfile.SYMTYPE, 0o777),
            ("fetched/../../outside", tarfile.REGTYPE, 0o644),
        ):  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.linkname = kind, mode, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            tar.addfile(entry, io.BytesIO())
    target = tmp_path / "here" / "target"
    packages.unpack(buffer.getvalue(), target)
    found = {str(path.relative_to(tmp_path / "here")): path for path in target.parent.rglob("*") if path.is_file()}
    modes = {name: path.stat().st_mode & 0o777 for name, path in found.items()}
    assert modes == {"target/bin/kubeadm": 0o755, "target/images": 0o644}
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize(
    ("up", "answer", "asked"),
    [
        (("pkgs.k8s.io", "registry.k8s.io"), True, ["pkgs.k8s.io", "registry.k8s.io"]),
        (("pkgs.k8s.io",), False, ["pkgs.k8s.io", "registry.k8s.io"]),
        ((), False, ["pkgs.k8s.io"]),
    ],
)
def test_reachable(monkeypatch: pytest.MonkeyPatch, up: Sequence[str], answer: bool, asked: list[str]) -> None:
    tried: list[str] = []

    def connect(where: tuple[str, int], timeout: float) -> socket.socket:
        assert (where[1], timeout) == (443, 3)
        tried.append(where[0])
        if where[0] not in up:
            raise TimeoutError("timed out")
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    assert packages.reachable() is answer
    assert tried == asked
