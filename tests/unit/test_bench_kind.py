"""kind as a peer: what it is told, the helps that it gets, its clusters, and that nothing of it is left."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
import yaml

from kubedrill import paths, shell, spec
from kubedrill.bench.kind import clusters, config, image
from kubedrill.bench.measure import Used
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, KubedrillError, MissingPrerequisite, NotFound, TimedOut
from kubedrill.images import oci
from kubedrill.kube import ClusterSnapshot, NodeSnapshot, WorkloadSnapshot
from kubedrill.providers import docker_flags
from kubedrill.shell import Result

IMAGE = config.Image("kubedrill/kind-node:1", "3.7.3", "v1.15.0", "flannel:1")
MISSING = frozenset({"SYS_RESOURCE"})
KIND = paths.repository() / "images" / "kind"


def asked(control_planes: int = 1, workers: int = 2) -> spec.ClusterSpec:
    return spec.load(None, {"name": "peer", "control_planes": control_planes, "workers": workers})


class TestConfig:
    def test_a_cluster(self) -> None:
        found = yaml.safe_load(config.cluster_config(asked(3, 1), IMAGE, 1))
        assert (found["kind"], found["apiVersion"], found["name"]) == ("Cluster", "kind.x-k8s.io/v1alpha4", "peer")
        assert [node["role"] for node in found["nodes"]] == ["control-plane"] * 3 + ["worker"]
        assert {node["image"] for node in found["nodes"]} == {IMAGE.name}
        assert found["networking"] == {
            "disableDefaultCNI": True, "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16",
            "kubeProxyMode": "iptables",
        }  # fmt: skip
        assert [yaml.safe_load(patch) for patch in found["kubeadmConfigPatches"]] == [
            {"kind": "ClusterConfiguration", "etcd": {"local": {"imageTag": "3.7.3"}}, "dns": {"imageTag": "v1.15.0"}},
            {"kind": "KubeletConfiguration", "failCgroupV1": False},
        ]

    def test_no_help_under_cgroup_v2_and_no_tags_where_they_are_kubeadms_own(self) -> None:
        own = config.Image("image", None, None, "flannel:1")
        assert yaml.safe_load(config.cluster_config(asked(), own, 2))["kubeadmConfigPatches"] == []

    @pytest.mark.parametrize(
        ("size", "names", "entrance"),
        [
            ((1, 2), ("peer-control-plane", "peer-worker", "peer-worker2"), "peer-control-plane"),
            ((3, 0), ("peer-control-plane", "peer-control-plane2", "peer-control-plane3"),
             "peer-external-load-balancer"),
        ],
    )  # fmt: skip
    def test_names_as_kind_gives_them(self, size: tuple[int, int], names: tuple[str, ...], entrance: str) -> None:
        assert config.node_names(asked(*size)) == names
        assert config.entrance(asked(*size)) == entrance

    @pytest.mark.parametrize(
        ("control_planes", "missing", "cgroup", "envoy", "words"),
        [
            (3, frozenset(), 2, True, []),
            (1, frozenset(), 2, False, []),
            (1, MISSING, 2, True, ["SYS_RESOURCE"]),
            (3, MISSING, 1, False, ["SYS_RESOURCE", "failCgroupV1", "HAProxy"]),
        ],
    )
    def test_helps(
        self, control_planes: int, missing: frozenset[str], cgroup: int, envoy: bool, words: list[str]
    ) -> None:
        found = config.helps(asked(control_planes), missing, cgroup, envoy=envoy)
        assert len(found) == len(words)
        assert all(word in help for word, help in zip(words, found, strict=True))


class TestWrapper:
    def run(self, tmp_path: Path, *words: str) -> list[str]:
        """The arguments that the real docker gets."""
        real = tmp_path / "the real docker"
        real.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 7\n")
        real.chmod(0o755)
        script = tmp_path / "docker"
        script.write_text(config.wrapper(str(real), config.flags(docker_flags.isolation(MISSING))))
        result = shell.run(["sh", str(script), *words], check=False)
        assert result.status == 7, result.output
        return result.stdout.splitlines()

    def test_a_container_gets_other_flags(self, tmp_path: Path) -> None:
        given = ["--name", "a b", "--privileged", "--tmpfs", "/run", "image:1", "--an", "*"]
        assert self.run(tmp_path, "run", *given) == [
            "run", "--name", "a b",
            "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--device-cgroup-rule", "a *:* rwm",
            "--security-opt", "systempaths=unconfined",
            "--tmpfs", "/run", "image:1", "--an", "*",
        ]  # fmt: skip

    def test_a_command_has_what_its_container_has(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "exec", "--privileged", "-i", "node", "cat") == ["exec", "-i", "node", "cat"]

    def test_anything_else_passes(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "ps", "--privileged", "") == ["ps", "--privileged", ""]

    def test_flags_are_all_that_isolation_asks_for_and_kind_does_not(self) -> None:
        """A new key there must find its way here."""
        by_kind = {"cgroupns", "security_opt"}  # --cgroupns=private, seccomp and apparmor unconfined
        here = {"cap_add", "cap_drop", "device_cgroup_rules", "MaskedPaths", "ReadonlyPaths"}
        assert set(docker_flags.isolation(MISSING)) == by_kind | here


# What kind v0.33 writes for Envoy (pkg/cluster/internal/loadbalancer/config.go), shortened.
LDS = """
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: listener_apiserver
  address:
    socket_address:
      address: "0.0.0.0"
      port_value: 6443
"""
CDS = """
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: kube_apiservers
  connect_timeout: 0.25s
  load_assignment:
    cluster_name: kube_apiservers
    endpoints:
    - lb_endpoints:
      - endpoint:
          address:
            socket_address:
              address: peer-control-plane
              port_value: 6443
      - endpoint:
          address:
            socket_address:
              address: peer-control-plane2
              port_value: 6443
"""


class TestStandIn:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "lds.yaml").write_text(LDS)
        (tmp_path / "cds.yaml").write_text(CDS)
        return tmp_path

    def test_what_kind_writes_for_envoy(self, folder: Path) -> None:
        printed = shell.run(["sh", str(KIND / "balancer/envoy"), "--print", str(folder)]).stdout
        assert "    bind :6443\n" in printed
        assert printed.endswith(
            "    server peer-control-plane peer-control-plane:6443\n"
            "    server peer-control-plane2 peer-control-plane2:6443\n"
        )

    def test_it_begins_once_kind_has_written(self, folder: Path, tmp_path: Path) -> None:
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "haproxy").write_text('#!/bin/sh\ncat "$4"\n')
        (programs / "haproxy").chmod(0o755)
        (folder / "lds.yaml").write_text("resources: []")
        threading.Timer(0.5, lambda: (folder / "lds.yaml").write_text(LDS)).start()
        envoy = ["sh", str(KIND / "balancer/envoy"), "-c", str(folder / "envoy.yaml")]
        printed = shell.run(envoy, env={"PATH": f"{programs}:{os.environ['PATH']}"}, timeout=30).stdout
        assert "    bind :6443\n" in printed
        assert "peer-control-plane2:6443" in printed


class TestImage:
    @pytest.mark.parametrize(
        ("name", "wanted"),
        [("registry.k8s.io/kube-apiserver:v1", True), ("registry.k8s.io/pause:3", True), ("x/flannel:v1", True),
         ("registry.k8s.io/e2e-test-images/agnhost:2", False), ("kubedrill.local/hello:1", False),
         ("registry.k8s.io/metrics-server/metrics-server:v0", False)],
    )  # fmt: skip
    def test_only_what_a_cluster_needs(self, name: str, wanted: bool) -> None:
        assert image.wanted(name) is wanted

    @pytest.mark.parametrize(
        ("path", "mode"),
        [("usr/local/bin/entrypoint", 0o755), ("kind/bin/undo-mount-hacks.sh", 0o755), ("kind/README.txt", 0o644),
         ("etc/containerd/config.toml", 0o644)],
    )  # fmt: skip
    def test_modes_as_in_kinds_dockerfile(self, path: str, mode: int) -> None:
        assert image.mode(path) == mode

    def test_what_the_node_image_is_built_from(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "made" / "program"
        entrypoint = tmp_path / "module/images/base/files/usr/local/bin/entrypoint"
        for path in (file, entrypoint):
            path.parent.mkdir(parents=True)
            path.write_text("x")
        images = [oci.Image("registry.k8s.io/pause:3", {"/pause": file}), oci.Image("kubedrill.local/hello:1", {})]
        planned = SimpleNamespace(kubernetes="v1.37.2", sandbox_image="registry.k8s.io/pause:3")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(image, "name", lambda *_: "kubedrill/kind-node:1")
        monkeypatch.setattr(image, "_module", lambda: tmp_path / "module")
        monkeypatch.setattr(image.store, "contents", lambda *_: (planned, images, {"kubeadm": file}))
        monkeypatch.setattr(image.components, "build", lambda *_: file.parent)
        monkeypatch.setattr(image.node, "ensure_rootfs", lambda *_: "rootfs:1")
        modes: dict[str, int] = {}

        def build_image(context: IO[bytes], tag: str, arguments: dict[str, str]) -> None:
            assert (tag, arguments) == ("kubedrill/kind-node:1", {"ROOTFS": "rootfs:1"})
            with tarfile.open(fileobj=context) as tar:
                modes.update({entry.name: entry.mode for entry in tar})
                version = tar.extractfile("own/kind/version")
                assert version is not None
                assert version.read() == b"v1.37.2"

        engine: Any = SimpleNamespace(has_image=lambda _: False, build_image=build_image)
        suite: Any = None
        assert image.ensure(engine, "1.37", suite, "go", print) == "kubedrill/kind-node:1"
        archives = [path for path in modes if path.startswith("archives/") and path.endswith(".tar")]
        assert archives == ["archives/00.tar"], "pause, and not hello"
        programs = ["bin/program", "cni/program", "kubernetes/kubeadm", "files/usr/local/bin/entrypoint"]
        own = ["own/usr/local/sbin/kubedrill-cni", "own/opt/cni/bin/kubedrill-bridge", "own/kind/bin/kubedrill-help"]
        for path in (*programs, *own, "files/usr", "own"):
            assert modes[path] == 0o755, path
        for path in ("Dockerfile", "import.sh", "own/etc/systemd/system/kubedrill-cni.path"):
            assert modes[path] == 0o644, path

    def test_envoy_is_the_one_that_this_kind_starts(self) -> None:
        """Written down here by hand: a newer kind may start another."""
        assert (image.version(), config.ENVOY) == ("v0.33.0", "docker.io/envoyproxy/envoy:v1.36.2")


@dataclass
class FakeEngine:
    """An engine with the containers of one cluster of kind."""

    there: list[str] = field(default_factory=list)
    rights_after: int = 0
    apply: Result = field(default_factory=lambda: Result(0, "", ""))
    written: dict[str, bytes] = field(default_factory=dict)
    ran: list[tuple[str, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    networks_removed: list[str] = field(default_factory=list)

    def containers(self, label: str) -> list[dict[str, Any]]:
        assert label == "io.x-k8s.kind.cluster=kubedrill-peer"
        return [{"Id": name, "Names": [f"/{name}"]} for name in self.there]

    def remove_container(self, identity: str) -> None:
        self.there.remove(identity)

    def inspect_container(self, name: str) -> dict[str, Any]:
        return {"NetworkSettings": {"Ports": {"6443/tcp": [{"HostPort": "40001"}]}}}

    def execute(self, name: str, argv: Sequence[str]) -> Result:
        self.ran.append((name, argv[0]))
        if argv[0] == "cat":
            self.rights_after -= 1
            if self.rights_after >= 0:
                raise NotFound("no such container")
            return Result(0, ADMIN, "")
        if argv[0] == "kubectl":
            return self.apply
        return Result(0, "700\n" if "du -xsm" in argv[-1] else "90\n", "")

    def put_archive(self, name: str, folder: str, data: bytes) -> None:
        self.written[name] = data

    def has_image(self, tag: str) -> bool:
        return tag in self.tags

    def image_labels(self, tag: str) -> dict[str, str]:
        return {image.STAND_IN: "envoy"} if self.tags[tag] == "balancer" else {}

    def tag_image(self, tag: str, another: str) -> None:
        self.tags[another] = tag

    def remove_image(self, tag: str) -> None:
        del self.tags[tag]

    def remove_network(self, name: str) -> None:
        self.networks_removed.append(name)


ADMIN = """
apiVersion: v1
kind: Config
current-context: admin@kubedrill-peer
clusters: [{name: kubedrill-peer, cluster: {server: "https://x:6443"}}]
contexts: [{name: admin@kubedrill-peer, context: {cluster: kubedrill-peer, user: admin}}]
users: [{name: admin, user: {}}]
"""


class FakeKube:
    """An API whose nodes are all Ready."""

    nodes: tuple[str, ...] = ()

    def __init__(self, kubeconfig: str) -> None:
        assert "https://127.0.0.1:40001" in kubeconfig

    def readyz(self) -> str:
        return "ok"

    def cluster(self) -> ClusterSnapshot:
        nodes = tuple(NodeSnapshot(name, True, "", False, False, (), "", "") for name in self.nodes)
        count = len(nodes)
        return ClusterSnapshot(nodes, WorkloadSnapshot("coredns", 2, 2), WorkloadSnapshot("flannel", count, count))


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
