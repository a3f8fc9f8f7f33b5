"""etcd on computers of its own: how it comes up, what knows it, and who is asked for it."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
import yaml
from fake_kubernetes import KEYS, FakeKubernetes
from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import (
    anatomy,
    bringup,
    etcd_config,
    etcd_members,
    external_etcd,
    first_plane,
    init_phases,
    kube,
    kubeadm,
    lifecycle,
    there,
    undertaking,
)
from kubedrill.anatomy.known import KINDS, kinds
from kubedrill.bringup import BringUp
from kubedrill.console import Console
from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults import LoseQuorum, perform, targets
from kubedrill.faults.actions import ANY_MEMBER, CONTROL_PLANES, Command
from kubedrill.faults.etcd import rejoin, restore
from kubedrill.marks import JOINED
from kubedrill.network import Addresses
from kubedrill.node_specs import Made
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec, load_mapping
from kubedrill.wait import until

MACHINE = kubeadm.Machine(cgroup=2, etcd_tag="3.7.3", dns_tag=None)
MADE = Made("kubedrill/node:x", {"v1.37.2": "a-store"}, "flannel:x", MACHINE, ())
ADDRESSES = Addresses(IPv4Network("172.28.0.0/24"))
PLANES = [f"lab-control-plane-{number}" for number in (1, 2, 3)]
MEMBERS = [f"lab-etcd-{number}" for number in (1, 2, 3)]


def spec_of(planes: int = 3, workers: int = 1) -> ClusterSpec:
    return ClusterSpec(control_planes=planes, workers=workers, etcd="external")


class World:
    """Fakes: kubeadm's phases leave files, and etcd has the members that were added and have a manifest."""

    def __init__(self) -> None:
        self.kubernetes = FakeKubernetes(answers=self.answer, static_pods=1)
        self.provider = FakeProvider(script=self.kubernetes.script)
        self.provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
        self.healthy: list[str] = []
        self.added: list[str] = []
        self.refused = 0

    def answer(self, node: FakeNode, call: Call) -> Result | None:
        """What only etcd's nodes are asked."""
        match call.argv:
            case ("kubeadm", "init", "phase", "certs", certificate, "--config", etcd_config.CONFIG):
                assert etcd_config.CONFIG in node.disk
                names = {"etcd-ca": "etcd/ca", "apiserver-etcd-client": "apiserver-etcd-client"}
                for end in ("crt", "key"):
                    path = f"/etc/kubernetes/pki/{names.get(certificate, certificate)}.{end}"
                    self.kubernetes.put(node, path, f"{certificate} {end} of {node.name}")
                assert (
                    certificate == "etcd-ca" or node.disk[external_etcd.CA_KEY].text == f"etcd-ca key of {MEMBERS[0]}"
                )
            case ("kubeadm", "init", "phase", "etcd", "local", *_):
                assert node.name == MEMBERS[0] or node.name in self.added, "a member is known before it starts"
                self.healthy.append(node.name)
            case ("kubeadm", "init", "--config", *_):
                there = {path: node.text(path) for path in (kubeadm.ETCD_CA, *kubeadm.ETCD_CLIENT)}
                first = MEMBERS[0]
                assert list(there.values()) == [
                    f"etcd-ca crt of {first}", f"apiserver-etcd-client crt of {first}",
                    f"apiserver-etcd-client key of {first}",
                ]  # fmt: skip
                assert node.disk[kubeadm.ETCD_CLIENT[1]].mode == 0o600
                assert self.healthy == MEMBERS
                return None
            case ("sh", "-c", line) if "member add" in line:
                if len(self.healthy) == 2 and not self.refused:
                    self.refused += 1
                    return Result(1, "", "Error: etcdserver: unhealthy cluster")
                self.added.append(line.partition("member add ")[2].split()[0])
            case ("sh", "-c", line) if "endpoint health --cluster" in line:
                return Result(0, "".join(f"https://{name} is healthy\n" for name in self.healthy), "")
            case ("sh", "-c", line) if "systemctl daemon-reload" in line:
                assert node.text(etcd_config.UNIT) == etcd_config.NO_API
            case ("rm", "-f", path):
                node.disk.pop(path, None)
            case _:
                return None
        return Result(0, "", "")

    def up(self, spec: ClusterSpec) -> None:
        """Bring it up, as far as it is not."""
        existing = {node.name: node for node in self.provider.nodes("lab")}
        self.provider.events.clear()
        up = BringUp(spec, ADDRESSES, self.provider, MADE, 16443, Console(), existing)
        up.run(lambda _: "a kubeconfig")

    def order(self, *parts: str) -> list[str]:
        """Which commands ran, in order."""
        lines = [" ".join(event[1:]) for event in self.provider.events if event[0] == "run"]
        return [f"{line.split()[0]}: {part}" for line in lines for part in parts if part in line]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Waiting is quick."""
    made = World()

    class Api:
        """The API."""

        def __init__(self, _text: str) -> None:
            self.readyz = made.kubernetes.readyz

        def has_config_map(self, *_: str) -> bool:
            """It has."""
            return True

        def has_namespace(self, *_: str) -> bool:
            """It has."""
            return True

        def make_priority_class(self, *_: object) -> None:
            """It takes it."""

        def has_cluster_role(self, *_: str) -> bool:
            """It has."""
            return True

        def coredns(self) -> kube.WorkloadSnapshot | None:
            """CoreDNS, if it is there."""
            return self.cluster().coredns

        def nodes(self) -> tuple[kube.NodeSnapshot, ...]:
            return tuple(self.cluster().nodes)

        def cluster(self) -> kube.ClusterSnapshot:
            """What is there."""
            return made.kubernetes.snapshot(made.provider)

    for module in (bringup, first_plane):
        monkeypatch.setattr(module, "Kube", Api)
    monkeypatch.setattr(undertaking, "until", lambda *args, **named: until(*args, **{**named, "every": 0.005}))
    monkeypatch.setattr(kube, "preload", lambda: None)
    monkeypatch.setattr(kubeadm, "new_secrets", lambda: KEYS)
    return made


class TestBringUp:
    def test_its_members_join_one_after_another_before_init(self, world: World) -> None:
        world.up(spec_of())
        assert world.provider.names() == sorted([*PLANES, *MEMBERS, "lab-load-balancer", "lab-worker-1"])
        steps = world.order(
            "certs etcd-ca", "member add", "etcd local", "certs apiserver-etcd-client", " ".join(init_phases.BEGIN)
        )
        first, second, third = MEMBERS
        assert steps == [
            f"{first}: certs etcd-ca", f"{first}: certs apiserver-etcd-client", f"{first}: etcd local",
            f"{first}: member add", f"{second}: etcd local",
            f"{first}: member add", f"{first}: member add", f"{third}: etcd local",
            f"{PLANES[0]}: {' '.join(init_phases.BEGIN)}",
        ]  # fmt: skip
        assert [external_etcd.CA_KEY in world.provider.node(name).disk for name in MEMBERS] == [True, False, False]
        assert all(JOINED in world.provider.node(name).disk for name in MEMBERS)

    def test_control_planes_wait_for_no_member_of_their_own(self, world: World) -> None:
        world.up(spec_of())
        assert {line.partition(":")[0] for line in world.order(f"{ETCDCTL} member list")} == {MEMBERS[0]}
        assert sorted(world.kubernetes.registered) == sorted([*PLANES, "lab-worker-1"])

    def test_again_nothing_is_done(self, world: World) -> None:
        world.up(spec_of())
        world.up(spec_of())
        assert world.order("kubeadm", "member add") == []

    def test_a_control_plane_that_is_missing_is_none_of_its_members(self, world: World) -> None:
        world.up(spec_of())
        world.provider.node(PLANES[2]).remove()
        world.up(spec_of())
        assert world.order("member remove") == []
        assert world.order("kubeadm join") == [f"{PLANES[2]}: kubeadm join"] * 2, "both halves of it"

    def test_with_a_single_control_plane(self, world: World) -> None:
        world.up(spec_of(1, 0))
        assert world.provider.names() == sorted([PLANES[0], *MEMBERS])


class TestConfiguration:
    def test_control_planes_are_clients(self) -> None:
        texts = kubeadm.init_config(spec_of(), ADDRESSES, MACHINE, KEYS)
        cluster = next(one for one in yaml.safe_load_all(texts) if one["kind"] == "ClusterConfiguration")
        assert cluster["etcd"] == {"external": {
            "endpoints": [f"https://172.28.0.{number}:2379" for number in (21, 22, 23)],
            "caFile": kubeadm.ETCD_CA, "certFile": kubeadm.ETCD_CLIENT[0], "keyFile": kubeadm.ETCD_CLIENT[1],
        }}  # fmt: skip

    @pytest.mark.parametrize(("key", "before"), [("etcd-1", 1), ("etcd-2", 2), ("etcd-3", 3)])
    def test_a_member_joins_those_before_it(self, key: str, before: int) -> None:
        init, cluster = yaml.safe_load_all(etcd_config.member_config(spec_of(), key, ADDRESSES, MACHINE))
        local = cluster["etcd"]["local"]
        assert init["nodeRegistration"]["name"] == f"lab-{key}"
        assert local["imageTag"] == "3.7.3"
        assert local["serverCertSANs"] == local["peerCertSANs"] == [ADDRESSES.node(key)]
        flags = {one["name"]: one["value"] for one in local["extraArgs"]}
        joins = [f"lab-etcd-{number}=https://172.28.0.2{number}:2380" for number in range(1, before + 1)]
        assert flags == (
            {"initial-cluster": ",".join(joins), "initial-cluster-state": "existing"} if before > 1 else {}
        )

    def test_its_kubelet_asks_nobody(self) -> None:
        config = yaml.safe_load(etcd_config.standalone_kubelet(spec_of(), MACHINE))
        assert config["staticPodPath"] == "/etc/kubernetes/manifests"
        assert config["authentication"]["webhook"]["enabled"] is False
        assert config["address"] == "127.0.0.1"


class TestSpec:
    def test_it_counts(self) -> None:
        spec = spec_of(3, 2)
        assert (len(spec.node_keys()), spec.etcd_keys(), spec.computers()) == (5, ("etcd-1", "etcd-2", "etcd-3"), 9)
        assert ClusterSpec().etcd_keys() == ()
        assert ClusterSpec().computers() == 3

    def test_not_in_vms(self) -> None:
        with pytest.raises(InvalidSpec, match="external needs the provider docker"):
            load_mapping({"etcd": "external", "provider": "vagrant"}, source="a test")


def cluster_of(world: World) -> object:
    """A cluster as faults and roles see it."""
    nodes = world.provider.nodes("lab")

    class Cluster:
        """Its nodes."""

        slow = 1.0

        def __init__(self) -> None:
            self.nodes = nodes

        def node(self, name: str) -> object:
            """One of them."""
            return next(node for node in nodes if node.name == name)

    return Cluster()


class TestRoles:
    def test_its_members_are_found(self, world: World) -> None:
        world.up(spec_of())
        nodes = world.provider.nodes("lab")
        assert [node.name for node in etcd_members.of(nodes)] == MEMBERS
        assert nodes[0].name == "lab-load-balancer", "the entrance is the first"
        assert [etcd_members.alone(name) for name in ("lab-etcd-1", "lab-control-plane-1", "etcd-1-worker-1")] == [
            True, False, False,
        ]  # fmt: skip

    def test_its_leader_is_asked_of_them(self, world: World) -> None:
        world.up(spec_of())
        status = '[{"Endpoint": "https://172.28.0.22:2379", "Status": {"header": {"member_id": 7}, "leader": 7}}]'
        world.provider.script = lambda node, call: Result(0, status if node.role == "etcd" else "", "")
        assert targets.etcd_leader(cluster_of(world)).node == MEMBERS[1]  # type: ignore[arg-type]

    def test_faults_are_mended_on_them_and_end_api_servers_elsewhere(self, world: World) -> None:
        world.up(spec_of())
        there_are = cluster_of(world)
        one, two, three = MEMBERS
        plan = LoseQuorum(one, (two, three)).ways(there_are, "0badcafe")[0]  # type: ignore[arg-type]
        assert [action.node for action in plan.undo if isinstance(action, Command)][:2] == [one, CONTROL_PLANES]
        assert rejoin(there_are, two)[1].node == ANY_MEMBER  # type: ignore[arg-type]
        world.provider.script = lambda *_: Result(0, "", "")
        world.provider.events.clear()
        _, elsewhere = restore(there_are, one, (two, three))  # type: ignore[arg-type]
        perform.perform(there_are, elsewhere)  # type: ignore[arg-type]
        assert [event[1] for event in world.provider.events if event[0] == "run"] == PLANES

    def test_it_goes_down_after_those_that_need_it(self) -> None:
        assert lifecycle.DOWNWARDS == ("worker", "control-plane", "etcd", "load-balancer")

    def test_what_must_run_where(self) -> None:
        by_name = {kind.name: kind for kind in kinds(external=True)}
        expected = {name for name, kind in by_name.items() if kind.expected_on("etcd")}
        assert expected == {"kubelet", "containerd", "etcd"}
        assert not by_name["etcd"].expected_on("control-plane")
        assert kinds(external=False) == KINDS
        assert next(kind for kind in KINDS if kind.name == "etcd").expected_on("control-plane")
        assert tuple(kind.name for kind in KINDS) == anatomy.NAMES


class TestGone:
    def up(self, world: World) -> ClusterSpec:
        """A cluster with what `up` keeps of it."""
        spec = spec_of(1, 1)
        world.up(spec)
        world.provider.change("lab", {"spec": spec.to_json()})
        return spec

    def test_a_computer_of_it_is_not_made_anew(self, world: World) -> None:
        spec = self.up(world)
        world.provider.node(MEMBERS[2]).remove()
        with pytest.raises(KubedrillError, match=r"lab-etcd-3(.|\n)*restore a checkpoint"):
            there.found(world.provider, spec, Console())

    def test_a_half_made_one_begins_anew(self, world: World) -> None:
        spec = self.up(world)
        for name in (MEMBERS[1], PLANES[0]):
            world.provider.node(name).disk.pop(JOINED if name in MEMBERS else "/var/lib/kubedrill/ready")
        assert there.found(world.provider, spec, Console()) == (True, {})


def test_a_node_of_it_is_one_to_make() -> None:
    from kubedrill import node_specs

    made = node_specs.node_spec(spec_of(), "etcd-2", ADDRESSES, MADE, 16443)
    assert made == NodeSpec(
        "lab-etcd-2", "etcd", "172.28.0.22", MADE.image, stores=MADE.stores, mounts=[],
        environment={"KUBEDRILL_NAMESERVERS": ""},
    )  # fmt: skip
