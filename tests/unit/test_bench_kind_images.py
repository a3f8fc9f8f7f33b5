"""What is built for kind: its node image, and a stand-in for its load balancer."""

from __future__ import annotations

import os
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from kubedrill import paths, shell
from kubedrill.bench.kind import config, image
from kubedrill.images import oci

KIND = paths.repository() / "images" / "kind"
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

        removed: list[str] = []
        left = {"kubedrill.stage=kind-images": [{"Id": "sha256:1"}]}
        engine: Any = SimpleNamespace(
            has_image=lambda _: False, build_image=build_image, images=left.__getitem__, remove_image=removed.append
        )
        suite: Any = None
        assert image.ensure(engine, "1.37", suite, "go", print) == "kubedrill/kind-node:1"
        assert removed == ["sha256:1"], "a stage of the build, as large as the image itself"
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
