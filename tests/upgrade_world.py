"""A cluster of fakes whose nodes know what an upgrade asks of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import pytest
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import cluster, etcd_upgrade, kept, lifecycle, status, upgrade, versions
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.images import build
from kubedrill.images.build import Built
from kubedrill.images.cargo import Cargo
from kubedrill.images.oci import Image
from kubedrill.images.store import Store
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.providers.base import NetworkSpec, NodeSpec, Role
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

OLD, NEW = versions.kubernetes_minors()[-2:]
BEFORE, AFTER = versions.kubernetes_version(OLD), versions.kubernetes_version(NEW)
STORE = Store("a-store", AFTER, "3.7.3", "v1.15.0", "flannel:x", "pause:x", ())
CONFIGURATION = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ndns: {imageTag: v1.15.0}\n"
PROXY, SERVER = f"registry.k8s.io/kube-proxy:{AFTER}", f"registry.k8s.io/kube-apiserver:{AFTER}"
PLAN = """\
[upgrade/versions] Target version: v1.37.2

Components that must be upgraded manually after you have upgraded the control plane with 'kubeadm upgrade apply':
COMPONENT   NODE                  CURRENT   TARGET
kubelet     lab-control-plane-1   v1.36.5   v1.37.2

Upgrade to the latest stable version:

COMPONENT                 NODE                  CURRENT   TARGET
kube-apiserver            lab-control-plane-1   v1.36.5   v1.37.2
CoreDNS                                         v1.15.0   v1.14.6

You can now apply the upgrade by executing the following command:
"""


class Etcd:
    """The members of an external etcd: each new kubelet starts its own anew, which takes it some looks.

    Args:
        names: of their computers.
    """

    def __init__(self, names: list[str]) -> None:
        self.kubelets = dict.fromkeys(names, BEFORE)
        self.containers = dict.fromkeys(names, "0a")
        # How often a member's kubelet is still looked at before it ends the old container; then twice there is none.
        self.lingers, self.stays = 0, False
        self.down: set[str] = set()
        self._looks: dict[str, int] = {}

    def restarted(self, name: str) -> None:
        """A kubelet is another one now; never while a second member could be away."""
        assert not [one for one in self._looks if one != name], "two members at a time"
        if self.kubelets[name] != AFTER and not self.stays:
            self._looks[name] = 0
        self.kubelets[name] = AFTER

    def look(self, name: str) -> Result:
        """What a computer answers."""
        for one in list(self._looks):
            self._looks[one] += 1
            self.containers[one] = "0a" if self._looks[one] <= self.lingers else ""
            if self._looks[one] > self.lingers + 2:
                del self._looks[one]
                self.containers[one] = "0b"
        serving = [one for one, container in self.containers.items() if container and one not in self.down]
        lines = [self.containers[name], *(f"https://{one}:2379 is healthy: successfully" for one in serving)]
        return Result(0 if len(serving) == len(self.containers) else 1, "\n".join(lines), "")


class World:
    """A cluster of fakes whose nodes know kubeadm, kubectl and ctr as far as an upgrade uses them.

    Every command of `fails_at` (its number, counted from 1) fails once. In nodes of `left` an earlier kubeadm still
    runs: for so many looks at it.
    """

    def __init__(self, folder: Path, planes: int, workers: int, etcd: Literal["stacked", "external"]) -> None:
        self.provider = FakeProvider(script=self.answer)
        self.spec = ClusterSpec(control_planes=planes, workers=workers, kubernetes=OLD, etcd=etcd)
        self.etcd = Etcd([f"lab-{key}" for key in self.spec.etcd_keys()])
        metadata = {"spec": self.spec.to_json(), "api-port": "6443", "version": BEFORE, "own": "kept"}
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", metadata))
        roles: list[tuple[str, Role]] = [("load-balancer", "load-balancer")] if planes > 1 else []
        roles += [(key, "worker" if key.startswith("worker") else "control-plane") for key in self.spec.node_keys()]
        roles += [(key, "etcd") for key in self.spec.etcd_keys()]
        for number, (key, role) in enumerate(roles):
            self.provider.create_node("lab", NodeSpec(f"lab-{key}", role, f"172.28.0.{10 + number}", "an image"))
        self.kubelets = {f"lab-{key}": BEFORE for key in self.spec.node_keys()}
        self.closed: set[str] = set()
        self.unready: set[str] = set()
        self.bare = ""
        self.images: dict[str, set[str]] = {}
        self.out: list[str] = []
        self.left: dict[str, int] = {}
        self.commands, self.fails_at, self.looks = 0, 0, 0
        programs = {}
        for name in ("kubeadm", "kubelet", "kubectl"):
            programs[name] = folder / name
            programs[name].write_text(f"{name} {AFTER}")
        images = {name: Image(name, {"/program": programs["kubeadm"]}) for name in (PROXY, SERVER)}
        self.cargo = Cargo(AFTER, programs, images)
        self.place = Lab(cast(Engine, None), self.provider, frozenset())
        self.provider.events.clear()

    def answer(self, node: FakeNode, call: Call) -> Result:
        """What a node answers."""
        self.commands += 1
        if self.commands == self.fails_at:
            return Result(1, "", "it broke")
        match call.argv:
            case ("kubectl", "drain", name, *flags):
                if "--dry-run=client" in flags:
                    return Result(1, "", f"cannot delete {self.bare}") if self.bare else Result(0, "", "")
                self.closed.add(name)
            case ("kubectl", "uncordon", name):
                self.closed.discard(name)
            case ("kubectl", "--namespace", "kube-system", "get", "configmap", "kubeadm-config", *_):
                return Result(0, CONFIGURATION, "")
            case ("ctr", "--namespace", "k8s.io", "images", "list", "--quiet"):
                return Result(0, "\n".join(self.images.get(node.name, ())), "")
            case ("ctr", "--namespace", "k8s.io", "images", "pull", name):
                self.images.setdefault(node.name, set()).add(name)
            case ("kubeadm", "version", *_):
                return Result(0, f"{AFTER}\n", "")
            case ("kubeadm", "upgrade", "plan", *_):
                return Result(0, PLAN, "")
            case ("sh", "-c", "systemctl daemon-reload && systemctl restart kubelet"):
                if node.role == "etcd":
                    self.etcd.restarted(node.name)
                else:
                    self.kubelets[node.name] = AFTER
            case ("sh", "-c", etcd_upgrade.LOOK):
                return self.etcd.look(node.name)
            case ("sh", "-c", line) if "pgrep" in line:
                self.left[node.name] = self.left.get(node.name, 0) - 1
                return Result(0, "412 kubeadm upgrade apply --yes\n" if self.left[node.name] >= 0 else "", "")
            case ("curl", *_):
                return Result(0, "ok", "")
            case ("rm", "-f", path):
                node.disk.pop(path, None)
            case ("sh", "-c", line) if "set server" in line:
                name = line.partition("control-planes/")[2].split()[0]
                self.out = [one for one in self.out if one != name] + ([name] if "state drain" in line else [])
        return Result(0, "", "")

    @property
    def there(self) -> Cluster:
        """The cluster as it is recorded."""
        return cluster.attach(self.provider, "lab")

    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """What the API tells."""
        return tuple(
            NodeSnapshot(name, name not in self.unready, "", False, name in self.closed, (), "", version)
            for name, version in self.kubelets.items()
        )

    def run(self, to: str = NEW) -> Cluster:
        """Upgrade."""
        return upgrade.upgrade(self.place, self.there, to, Console())

    def run_cut_off(self) -> None:
        """Upgrade, and be cut off while `kubeadm upgrade apply` runs.

        Raises:
            AssertionError: it came to its end.
        """

        def gone(node: FakeNode, call: Call) -> Result:
            if call.argv[:3] == ("kubeadm", "upgrade", "apply"):
                raise KeyboardInterrupt
            return self.answer(node, call)

        self.provider.script = gone
        with pytest.raises(KeyboardInterrupt):
            self.run()
        self.provider.script = self.answer

    def metadata(self) -> dict[str, str]:
        """What is kept with the cluster."""
        return dict(kept.metadata(self.provider, "lab"))

    def order(self, *parts: str) -> list[str]:
        """Which commands ran, in order, by their node and the part that names them."""
        found = []
        for event in self.provider.events:
            line = " ".join(event[1:])
            if event[0] in ("run", "send"):
                found += [f"{event[1].removeprefix('lab-')}: {part}" for part in parts if part in line]
        return found


def static(name: str, node: str, known: str, *, ready: bool = True) -> PodSnapshot:
    """A static pod."""
    return PodSnapshot("kube-system", name, node, "", "Running", ready, 0, False, {}, owner=f"Node/{node}",
                       annotations={"kubernetes.io/config.hash": known})  # fmt: skip


class Api:
    """Its API."""

    world: World

    def __init__(self, _text: str, timeout: float = 0) -> None:
        self._timeout = timeout

    def nodes(self) -> tuple[NodeSnapshot, ...]:
        """All nodes."""
        return self.world.nodes()

    def pods(self, namespace: str) -> tuple[PodSnapshot, ...]:
        """Static pods: each kubelet gives them a hash of its own, and those of a new one are away at first."""
        found = []
        for name, version in self.world.kubelets.items():
            found += [static(f"{part}-{name}", name, version) for part in ("etcd", "kube-apiserver")
                      if "control-plane" in name]  # fmt: skip
        self.world.looks += 1
        return tuple(found[self.world.looks % 2 :])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[World]:
    """Makes worlds: the newest is what the API answers for."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (upgrade, status):
        monkeypatch.setattr(module, "Kube", Api)
    for module in ("upgrade", "etcd_upgrade", "run_kubeadm"):
        monkeypatch.setattr(
            f"kubedrill.{module}.until", lambda *args, **named: until(*args, **{**named, "every": 0.005})
        )
    monkeypatch.setattr(Cluster, "admin_conf", lambda _: "a kubeconfig")
    monkeypatch.setattr(lifecycle, "wait_until_whole", lambda *_: None)

    class Made(World):
        """A world, known to the API."""

        def __init__(self, planes: int = 1, workers: int = 1, etcd: Literal["stacked", "external"] = "stacked") -> None:
            super().__init__(tmp_path, planes, workers, etcd)
            Api.world = self
            monkeypatch.setattr(build, "cargo", lambda *_, **__: (Built("kubedrill/node:x", STORE), self.cargo))

    return cast(type[World], Made)


def made(
    make: type[World], planes: int, workers: int, etcd: Literal["stacked", "external"] = "stacked"
) -> World:  # fmt: skip
    """A world of that size."""
    return cast(World, make(planes, workers, etcd))  # type: ignore[call-arg, arg-type]
