"""An upgrade: what is refused, the order of its steps, and that one which was cut off anywhere is taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import cluster, kept, kubeadm, lifecycle, loadbalancer, scaling, shell, status, there, upgrade, versions
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.images import build
from kubedrill.images.build import Built
from kubedrill.images.cargo import Cargo
from kubedrill.images.oci import Image
from kubedrill.images.store import Store
from kubedrill.kube import NodeSnapshot, PodSnapshot
from kubedrill.marks import UPGRADING
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


class World:
    """A cluster of fakes whose nodes know kubeadm, kubectl and ctr as far as an upgrade uses them.

    Every command of `fails_at` (its number, counted from 1) fails once.
    """

    def __init__(self, folder: Path, planes: int, workers: int) -> None:
        self.provider = FakeProvider(script=self.answer)
        self.spec = ClusterSpec(control_planes=planes, workers=workers, kubernetes=OLD)
        metadata = {"spec": self.spec.to_json(), "api-port": "6443", "version": BEFORE, "own": "kept"}
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", metadata))
        roles: list[tuple[str, Role]] = [("load-balancer", "load-balancer")] if planes > 1 else []
        roles += [(key, "worker" if key.startswith("worker") else "control-plane") for key in self.spec.node_keys()]
        for number, (key, role) in enumerate(roles):
            self.provider.create_node("lab", NodeSpec(f"lab-{key}", role, f"172.28.0.{10 + number}", "an image"))
        self.kubelets = {f"lab-{key}": BEFORE for key in self.spec.node_keys()}
        self.closed: set[str] = set()
        self.unready: set[str] = set()
        self.bare = ""
        self.images: dict[str, set[str]] = {}
        self.out: list[str] = []
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
                self.kubelets[node.name] = AFTER
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
    monkeypatch.setattr(upgrade, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(Cluster, "admin_conf", lambda _: "a kubeconfig")
    monkeypatch.setattr(lifecycle, "wait_until_whole", lambda *_: None)

    class Made(World):
        """A world, known to the API."""

        def __init__(self, planes: int = 1, workers: int = 1) -> None:
            super().__init__(tmp_path, planes, workers)
            Api.world = self
            monkeypatch.setattr(build, "cargo", lambda *_, **__: (Built("kubedrill/node:x", STORE), self.cargo))

    return cast(type[World], Made)


def made(make: type[World], planes: int, workers: int) -> World:
    """A world of that size."""
    return cast(World, make(planes, workers))  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize(("there", "to", "minor"), [("v1.36.5", "1.37", "1.37"), ("v1.36.4", "1.36", "1.36"),
                                                    ("v1.36.5", f"v{AFTER.removeprefix('v')}", "1.37")])  # fmt: skip
def test_the_next_minor_is_aimed_at(there: str, to: str, minor: str) -> None:
    assert upgrade.aim(there, to) == minor


@pytest.mark.parametrize(
    ("there", "to", "why"),
    [
        ("v1.36.5", "1.38", r"more than one minor version(.|\n)*first: invoke upgrade --to 1.37"),
        ("v1.35.1", "1.37", r"more than one minor version(.|\n)*first: invoke upgrade --to 1.36"),
        ("v1.37.2", "1.36", "no way back to 1.36"),
        ("v1.37.2", "1.38", "not known here"),
        ("v1.36.5", "1.37.99", "not known here"),
        ("v1.36.5", "newest", "no Kubernetes version"),
    ],
)
def test_others_are_refused(there: str, to: str, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        upgrade.aim(there, to)


class TestRefused:
    """Before anything is changed."""

    @pytest.mark.parametrize(
        ("what", "to", "why"),
        [
            ("", "1.38", "more than one minor version"),
            ("", "1.35", "no way back"),
            ("stopped", NEW, "invoke start"),
            ("unready", NEW, "not ready for an upgrade"),
            ("bare", NEW, "a-bare-pod"),
        ],
    )
    def test_it_changes_nothing(self, make: type[World], what: str, to: str, why: str) -> None:
        world = made(make, 1, 2)
        if what == "stopped":
            world.provider.node("lab-worker-1").stop()
        if what == "unready":
            world.unready = {"lab-worker-2"}
        if what == "bare":
            world.bare = "a-bare-pod"
        before = world.metadata()
        world.provider.events.clear()
        with pytest.raises(KubedrillError, match=why):
            world.run(to)
        assert world.metadata() == before
        assert [event for event in world.provider.events if event[0] in ("write", "send")] == []
        assert world.order("kubeadm", "kubectl drain") == (["control-plane-1: kubectl drain"] if what == "bare" else [])

    def test_what_is_there_already(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        assert world.run(OLD).spec == world.spec
        assert world.provider.events == []


class TestOrder:
    PARTS = ("kubeadm upgrade plan", "kubeadm upgrade apply", "kubeadm upgrade node", "state drain", "state ready",
             "kubectl drain lab-control-plane-1 --ignore-daemonsets --delete-emptydir-data --timeout",
             "restart kubelet", "kubectl uncordon", "rollout status daemonset kube-proxy")  # fmt: skip

    def test_one_control_plane_and_a_worker(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        upgraded = world.run()
        first, worker = "control-plane-1", "worker-1"
        assert world.order("kubeadm upgrade", "restart kubelet", "kubectl drain", "kubectl uncordon",
                           "rollout status daemonset kube-proxy", "/usr/bin/.kubelet-", "mv -f /usr/bin/.kubeadm-",
                           "create poddisruptionbudget", "delete poddisruptionbudget") == [
            f"{first}: kubectl drain", f"{first}: kubectl drain",  # whether they could be
            f"{first}: mv -f /usr/bin/.kubeadm-", f"{worker}: mv -f /usr/bin/.kubeadm-",
            f"{first}: create poddisruptionbudget",
            f"{first}: kubeadm upgrade", f"{first}: kubeadm upgrade", f"{first}: rollout status daemonset kube-proxy",
            f"{first}: kubectl drain", f"{first}: /usr/bin/.kubelet-", f"{first}: /usr/bin/.kubelet-",
            f"{first}: restart kubelet", f"{first}: kubectl uncordon",
            f"{worker}: kubeadm upgrade",
            f"{first}: kubectl drain", f"{worker}: /usr/bin/.kubelet-", f"{worker}: /usr/bin/.kubelet-",
            f"{worker}: restart kubelet", f"{first}: kubectl uncordon",
            f"{first}: delete poddisruptionbudget",
        ]  # fmt: skip
        assert upgraded.spec.kubernetes == NEW
        assert world.metadata() == {
            "spec": upgraded.spec.to_json(),
            "api-port": "6443",
            "version": AFTER,
            "own": "kept",
        }

    def test_control_planes_are_out_of_the_balancer_one_after_another(self, make: type[World]) -> None:
        world = made(make, 3, 1)
        world.run()
        order = world.order("state drain", "state ready", "upgrade apply", "upgrade node", "rollout status daemonset")
        balancer = "load-balancer"
        ready, out = f"{balancer}: state ready", f"{balancer}: state drain"
        assert order == [
            ready, ready, ready,
            out, "control-plane-1: upgrade apply", ready,
            out, "control-plane-2: upgrade node", ready,
            out, "control-plane-3: upgrade node", "control-plane-1: rollout status daemonset", ready,
            "worker-1: upgrade node",
        ]  # fmt: skip

    def test_the_only_node_is_not_drained(self, make: type[World]) -> None:
        world = made(make, 1, 0)
        world.run()
        assert world.order("kubectl drain", "poddisruptionbudget", "restart kubelet") == [
            "control-plane-1: restart kubelet"
        ]

    def test_images_go_where_they_are_needed_and_lacking(self, make: type[World]) -> None:
        world = made(make, 1, 2)
        world.images = {"lab-worker-2": {PROXY}}
        world.run()
        assert world.order("images import") == ["control-plane-1: images import"] * 2 + ["worker-1: images import"]

    def test_images_that_are_not_made_here_are_pulled(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        world.cargo = replace(world.cargo, images={}, pulled=(PROXY, SERVER))
        world.run()
        assert world.images == {"lab-control-plane-1": {PROXY, SERVER}, "lab-worker-1": {PROXY}}

    def test_pods_may_stay(self, make: type[World]) -> None:
        world = made(make, 1, 1)
        upgrade.upgrade(world.place, world.there, NEW, Console(), stay="app!=probe")
        assert len(world.order("--pod-selector=app!=probe")) == 4

    def test_a_node_that_was_cordoned_stays_so(self, make: type[World]) -> None:
        world = made(make, 1, 2)
        world.closed = {"lab-worker-1"}
        world.run()
        assert world.closed == {"lab-worker-1"}
        assert world.order("kubectl uncordon lab-worker-1") == []


class TestCutOff:
    def test_anywhere_it_is_taken_up_again(self, make: type[World]) -> None:
        whole = made(make, 3, 1)
        whole.run()
        last = 0
        for number in range(1, whole.commands + 1):
            world = made(make, 3, 1)
            world.fails_at = number
            try:
                world.run()
                continue  # what failed was asked again
            except KubedrillError:
                last = number
            half = world.metadata()
            assert half["version"] == BEFORE
            again = UPGRADING in half
            assert world.there.upgrading == (NEW if again else "")
            applied = len(world.order("kubeadm upgrade apply"))
            world.run()
            assert set(world.kubelets.values()) == {AFTER}, number
            assert world.closed == set(), number
            assert world.out == [], f"{number}: a control plane is left out of the balancer"
            assert world.there.upgrading == ""
            assert world.metadata()["version"] == AFTER
            assert len(world.order("kubeadm upgrade apply")) <= applied + 1
            assert all(upgrade.CORDONED not in world.provider.node(name).disk for name in world.kubelets)
        assert last > 40, "most commands cut it off"

    def test_what_is_done_is_not_done_twice(self, make: type[World]) -> None:
        world = made(make, 3, 1)

        def gone(_node: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            upgrade.upgrade(world.place, world.there, NEW, Console(), done=gone)
        assert world.order("kubeadm upgrade apply", "kubeadm upgrade node") == [
            "control-plane-1: kubeadm upgrade apply"
        ]
        world.provider.events.clear()
        done: list[str] = []
        upgrade.upgrade(world.place, world.there, NEW, Console(), done=lambda node: done.append(node.name))
        assert world.order("kubeadm upgrade apply", "restart kubelet", "lab-control-plane-1 --ignore") == [
            "control-plane-1: lab-control-plane-1 --ignore",  # whether it could be drained
            "control-plane-2: restart kubelet", "control-plane-3: restart kubelet", "worker-1: restart kubelet",
        ]  # fmt: skip
        assert done == list(world.kubelets)

    def test_half_of_it_is_known(self, make: type[World]) -> None:
        world = made(make, 1, 2)
        kept.change(world.provider, "lab", {**world.metadata(), UPGRADING: NEW})
        seen = status.of(world.there)
        assert not seen.healthy
        assert f"on its way to {NEW} (go on: invoke upgrade --to {NEW} --name lab)" in seen.kubernetes
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            scaling.add(world.place, world.there, Console())
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            scaling.remove(world.provider, world.there, world.provider.node("lab-worker-2"), Console())
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            world.run(OLD)

    def test_up_makes_no_node_of_another_version(self, make: type[World], monkeypatch: pytest.MonkeyPatch) -> None:
        world = made(make, 1, 1)
        for name in world.kubelets:
            world.provider.node(name).write([])
        kept.change(world.provider, "lab", {**world.metadata(), UPGRADING: NEW})
        found = (False, {"lab-control-plane-1": world.provider.node("lab-control-plane-1")})
        monkeypatch.setattr(there, "found", lambda *_: found)
        monkeypatch.setattr(cluster, "what_of", lambda *_, **__: None)
        with pytest.raises(KubedrillError, match="invoke upgrade --to"):
            cluster.up(world.place, world.spec, Console(), merge=False)


@pytest.mark.parametrize(
    ("now", "passed", "settled"),
    [
        ({"a": "old", "b": "old"}, 5, False),
        ({"a": "old", "b": "old"}, 11, True),
        ({"a": "new", "b": "old"}, 60, False),
        ({"a": "new", "b": "new"}, 1, True),
        ({"a": "new", "b": "new, away"}, 60, False),
        ({"a": "new"}, 60, False),
    ],
)
def test_a_new_kubelet_starts_all_static_pods_anew_or_none(now: dict[str, str], passed: float, settled: bool) -> None:
    pods = [static(name, "lab", known.split(",")[0], ready="away" not in known) for name, known in now.items()]
    others = [static("a", "other", "old"), replace(static("c", "lab", "x"), owner="DaemonSet/c")]
    assert upgrade.settled([*pods, *others], "lab", {"a": "old", "b": "old"}, passed)[0] is settled


def test_what_kubeadm_plans() -> None:
    assert upgrade.planned(PLAN) == [
        "COMPONENT   NODE                  CURRENT   TARGET",
        "kubelet     lab-control-plane-1   v1.36.5   v1.37.2",
        "COMPONENT                 NODE                  CURRENT   TARGET",
        "kube-apiserver            lab-control-plane-1   v1.36.5   v1.37.2",
        "CoreDNS                                         v1.15.0   v1.14.6",
    ]
    assert upgrade.planned("nothing of that kind") == []


class TestConfiguration:
    def test_with_a_coredns_of_its_own(self) -> None:
        assert kubeadm.own_dns(CONFIGURATION)
        config = yaml.safe_load(kubeadm.upgrade_config(AFTER, own_dns=True, plane=True))
        assert config["kind"] == "UpgradeConfiguration"
        assert config["plan"]["kubernetesVersion"] == config["apply"]["kubernetesVersion"] == AFTER
        for part in ("apply", "node"):
            assert config[part]["skipPhases"] == ["addon/coredns"]
            assert config[part]["patches"] == {"directory": kubeadm.PATCHES}
            assert config[part]["imagePullPolicy"] == "Never"
            assert "CoreDNSMigration" in config[part]["ignorePreflightErrors"]

    def test_with_kubeadm_s_coredns_on_a_worker(self) -> None:
        assert not kubeadm.own_dns("kind: ClusterConfiguration\ndns: {}\n")
        config = yaml.safe_load(kubeadm.upgrade_config(AFTER, own_dns=False, plane=False))
        assert "skipPhases" not in config["node"]
        assert "patches" not in config["node"]
        assert "CoreDNSMigration" not in config["plan"]["ignorePreflightErrors"]


def test_what_was_installed_stays_at_the_next_boot(tmp_path: Path) -> None:
    """kubedrill-store's loop, run for real in a folder that stands for the node."""
    script = Path("images/files/usr/local/sbin/kubedrill-store")
    text = (versions.components_dir().parent.parent / script).read_text()
    loop = text[text.index("for binary in") : text.index("done\n") + len("done\n")].replace("/usr/bin", f"{tmp_path}")
    store = tmp_path / "store" / "bin"
    store.mkdir(parents=True)
    for program in ("kubeadm", "kubelet", "kubectl"):
        (store / program).write_text("old")
    (tmp_path / "kubeadm").write_text("new")
    (tmp_path / "kubelet").symlink_to("an-older-store")
    shell.run(["sh", "-euc", f"store={store.parent}\n{loop}"])
    assert {name: (tmp_path / name).read_text() for name in ("kubeadm", "kubelet", "kubectl")} == {
        "kubeadm": "new", "kubelet": "old", "kubectl": "old",
    }  # fmt: skip


def test_cargo_makes_an_archive_once(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    images = {name: Image(name, {"/program": tmp_path / "program"}) for name in ("a:1", "b:1")}
    cargo = Cargo(AFTER, {}, images, ("c:1",))
    assert cargo.names() == ("a:1", "b:1", "c:1")
    first: Sequence[Path] = [cargo.archive(name, tmp_path) for name in ("a:1", "b:1")]
    assert len(set(first)) == 2
    (tmp_path / "program").unlink()
    assert cargo.archive("a:1", tmp_path) == first[0]


def test_the_balancer_s_words() -> None:
    assert loadbalancer.set_state("lab-control-plane-1", "drain")[-1].endswith(f"socat -t 5 - {loadbalancer.SOCKET}")
