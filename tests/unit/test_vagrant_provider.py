"""VMs, with libvirt, Vagrant and ssh replaced: what is asked of whom, and what is left where something fails."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedrill import host, paths, slowness
from kubedrill.errors import CommandFailed, KubedrillError, NotFound
from kubedrill.providers import vagrant, vagrant_node
from kubedrill.providers.base import File, NetworkSpec, NodeSpec, State
from kubedrill.providers.hypervisor import Verb
from kubedrill.providers.ssh import Unreachable
from kubedrill.providers.vagrant import VagrantProvider
from kubedrill.providers.vagrant_node import VagrantNode
from kubedrill.shell import Result

SUBNET = "172.31.9.0/24"


class World:
    """This machine: its VMs by domain, its networks, and what ssh said."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "vagrant"
        self.vms: dict[str, State] = {}
        self.networks: dict[str, bool] = {}
        self.said: list[str] = []
        self.answers: dict[str, Result] = {}
        self.reachable = True
        self.up_fails = False
        self.written: dict[str, str] = {}
        self.volume = False
        self.kvm = host.Kvm(False, "no svm and no vmx")
        box = folder / "kubedrill-abc.box"
        box.touch()
        box.with_suffix(".key").write_text("a key")
        self.box = str(box)

    def provider(self) -> VagrantProvider:
        return VagrantProvider(home=self.home, virsh=FakeVirsh(self), vbox=FakeVirsh(self), kvm=lambda: self.kvm)

    def cluster(self, name: str = "lab", subnet: str = SUBNET, **metadata: str) -> VagrantProvider:
        made = self.provider()
        made.create_network(name, NetworkSpec(subnet, metadata))
        return made

    def spec(self, number: int = 1, **more: Any) -> NodeSpec:
        name = f"lab-worker-{number}"
        return NodeSpec(name, "worker", f"172.31.9.{100 + number}", self.box, {"v1.37.2": "/pool/store.img"}, **more)

    def node(self) -> VagrantNode:
        node = self.cluster().create_node("lab", self.spec())
        assert isinstance(node, VagrantNode)
        return node


class FakeVirsh:
    """libvirt of that world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def state(self, domain: str) -> State:
        if domain not in self.world.vms:
            raise NotFound(f"there is no VM {domain}")
        return self.world.vms[domain]

    def exists(self, domain: str) -> bool:
        return domain in self.world.vms

    def act(self, what: Verb, domain: str) -> None:
        fits: dict[Verb, State] = {"start": "stopped", "destroy": "running", "suspend": "running", "resume": "paused"}
        state = self.state(domain)
        if state != fits[what] and not (what == "destroy" and state == "paused"):
            raise KubedrillError(f"libvirt refuses: {what} {domain}: it is {state}")
        after: dict[Verb, State] = {"start": "running", "destroy": "stopped", "suspend": "paused", "resume": "running"}
        self.world.vms[domain] = after[what]

    def disk(self, domain: str) -> Path:
        self.state(domain)
        return self.world.home / "disk.img"

    def remove(self, domain: str) -> None:
        self.world.vms.pop(domain, None)

    def create_network(self, xml: str, name: str) -> None:
        if "172.31.66." in xml:
            raise KubedrillError("Network is already in use by interface eth0")
        self.world.networks[name] = True

    def start_network(self, name: str) -> None:
        self.world.networks[name] = True

    def remove_network(self, name: str) -> bool:
        return self.world.networks.pop(name, None) is not None

    def has_volume(self, beginning: str) -> bool:
        return self.world.volume


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)

    class FakeMachines:
        """Vagrant of that world."""

        def __init__(self, folder: Path, provider: str) -> None:
            made.said.append(f"Vagrant with {provider}")

        def up(self, name: str) -> None:
            made.vms[f"kubedrill-{name}"] = "running"
            if made.up_fails:
                raise KubedrillError("Vagrant could not do it")

        def destroy(self, name: str) -> None:
            made.said.append(f"destroy {name}")
            made.vms.pop(f"kubedrill-{name}", None)

    class FakeSsh:
        """ssh of that world."""

        def __init__(self, address: str, keys: Sequence[Path], known: Path) -> None:
            self.address = address

        def command(self, argv: Sequence[str], environment: Mapping[str, str] | None = None, **_: Any) -> Result:
            if not made.reachable:
                raise Unreachable("it does not answer", evidence=["No route to host"])
            made.said.append(" ".join(argv))
            if argv[-1] == "poweroff":
                made.vms["kubedrill-lab-worker-1"] = "stopped"
            program = argv[3] if argv[0] == "timeout" else argv[0]
            return made.answers.get(program, Result(0, "", ""))

        def copy_in(self, source: Path, argv: Sequence[str], timeout: float | None = None) -> Result:
            if argv[-1].startswith("tar"):
                with tarfile.open(source) as tar:
                    for member in tar:
                        opened = tar.extractfile(member)
                        assert opened is not None
                        made.written[f"/{member.name}"] = f"{member.mode:o} {opened.read().decode()}"
            else:
                made.said.append(argv[-1])
            return made.answers.get("copy", Result(0, "", ""))

        def copy_out(self, argv: Sequence[str], sink: Path, timeout: float | None = None) -> Result:
            made.said.append(" ".join(argv))
            sink.write_bytes(b"a tar")
            return made.answers.get("tar", Result(0, "", ""))

        def forget(self) -> None:
            made.said.append(f"forget {self.address}")

        def terminal(self, argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
            return ["ssh", self.address, *argv, *environment]

    monkeypatch.setattr(vagrant, "Machines", FakeMachines)
    monkeypatch.setattr(vagrant_node, "Machines", FakeMachines)
    monkeypatch.setattr(vagrant_node, "Ssh", FakeSsh)
    monkeypatch.setattr(slowness, "measure", lambda _: 17.0)
    monkeypatch.setattr(paths, "state", lambda: tmp_path)
    (tmp_path / "locks").mkdir()
    return made


class TestNetwork:
    def test_what_is_kept_with_it_comes_back(self, world: World) -> None:
        provider = world.cluster(spec="{}")
        assert provider.network("lab") == NetworkSpec(SUBNET, {"spec": "{}"})
        assert list(provider.clusters()) == ["lab"]
        assert world.networks == {"kubedrill-lab": True}
        # By hand: cd there && vagrant status
        assert (world.home / "lab" / "Vagrantfile").read_text() == (paths.repository() / "Vagrantfile").read_text()
        assert (world.home / "lab" / "id_ed25519").stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("subnet", [SUBNET, "172.31.9.128/25"])
    def test_a_subnet_that_is_taken(self, world: World, subnet: str) -> None:
        with pytest.raises(KubedrillError, match="overlaps"):
            world.cluster().create_network("other", NetworkSpec(subnet, {}))
        assert list(world.provider().clusters()) == ["lab"]

    def test_one_that_libvirt_refuses_leaves_nothing(self, world: World) -> None:
        with pytest.raises(KubedrillError, match="in use"):
            world.cluster(subnet="172.31.66.0/24")
        assert list(world.provider().clusters()) == []
        assert not (world.home / "lab").exists()

    @pytest.mark.parametrize(
        ("asked", "works", "expected"),
        [
            ("auto", False, "qemu"),
            ("auto", True, "kvm"),
            ("emulation", True, "qemu"),
            ("kvm", True, "kvm"),
            ("virtualbox", False, "virtualbox"),
        ],
    )
    def test_kvm_only_where_it_works(self, world: World, asked: str, works: bool, expected: str) -> None:
        world.kvm = host.Kvm(works, "seen")
        world.cluster(**{vagrant.DRIVER: asked})
        assert f'"driver": "{expected}"' in (world.home / "lab" / "cluster.json").read_text()

    @pytest.mark.parametrize(("asked", "why"), [("kvm", "no svm"), ("xen", "auto, kvm, emulation, virtualbox")])
    def test_a_driver_that_cannot_be(self, world: World, asked: str, why: str) -> None:
        with pytest.raises(KubedrillError) as caught:
            world.cluster(**{vagrant.DRIVER: asked})
        assert why in str(caught.value)
        assert list(world.provider().clusters()) == []


class TestCreation:
    def test_a_vm_becomes_a_node(self, world: World) -> None:
        node = world.cluster().create_node(
            "lab", world.spec(environment={"KUBEDRILL_NAMESERVERS": "192.0.2.1 192.0.2.2"})
        )
        assert (node.name, node.role, node.address, node.state()) == (
            "lab-worker-1",
            "worker",
            "172.31.9.101",
            "running",
        )
        settings = world.written["/etc/kubedrill/environment"]
        assert "KUBEDRILL_NAMESERVERS='192.0.2.1 192.0.2.2'\n" in settings
        assert "KUBEDRILL_STORE=v1.37.2\n" in settings
        public = (world.home / "lab" / "id_ed25519.pub").read_text()
        assert world.written["/root/.ssh/authorized_keys"] == f"600 {public}", "the box's key opens it no longer"
        assert world.said[-1].endswith("kubedrill-become lab-worker-1 worker")
        assert [one.name for one in world.provider().nodes("lab")] == ["lab-worker-1"]

    def test_the_first_one_is_timed_and_no_other(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = world.cluster()
        assert provider.slowness("lab") == 1.0
        provider.create_node("lab", world.spec(1))
        assert provider.slowness("lab") == 17.0
        monkeypatch.setattr(slowness, "measure", lambda _: pytest.fail("timed again"))
        provider.create_node("lab", world.spec(2))

    @pytest.mark.parametrize(("driver", "expected"), [("emulation", "libvirt"), ("virtualbox", "virtualbox")])
    def test_vagrant_is_told_what_runs_it(self, world: World, driver: str, expected: str) -> None:
        world.cluster(**{vagrant.DRIVER: driver}).create_node("lab", world.spec())
        assert f"Vagrant with {expected}" in world.said

    def test_one_that_vagrant_cannot_make_leaves_nothing(self, world: World) -> None:
        provider = world.cluster()
        world.up_fails = True
        with pytest.raises(KubedrillError, match="lab-worker-1 could not be made"):
            provider.create_node("lab", world.spec())
        assert world.vms == {}
        assert list(provider.nodes("lab")) == []

    def test_nor_does_one_that_does_not_become_a_node(self, world: World) -> None:
        provider = world.cluster()
        world.answers["kubedrill-become"] = Result(1, "", "no such disk")
        with pytest.raises(KubedrillError, match="no such disk"):
            provider.create_node("lab", world.spec())
        assert world.vms == {}

    @pytest.mark.parametrize(
        ("more", "why"),
        [({"publish": {(6443, "tcp"): 1}}, "ports 6443"), ({"mounts": [("/srv", "/srv", True)]}, "mounts")],
    )
    def test_what_only_containers_have_is_refused_with_the_reason(
        self, world: World, more: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(KubedrillError) as caught:
            world.cluster().create_node("lab", world.spec(**more))
        assert why in str(caught.value)
        assert world.vms == {}

    def test_sizes_are_the_roles_or_what_was_asked_for(self, world: World) -> None:
        provider = world.cluster()
        provider.create_node("lab", world.spec(1))
        provider.create_node("lab", world.spec(2, memory=900, cpus=3))
        found = {vm.name: (vm.memory, vm.cpus) for vm in vagrant.vagrant_state.load(world.home / "lab").vms}
        assert found == {"lab-worker-1": (1536, 1), "lab-worker-2": (900, 3)}


class TestCommands:
    def test_a_status_is_an_error_with_a_line_to_paste(self, world: World) -> None:
        node = world.node()
        world.answers["false"] = Result(3, "out", "err")
        with pytest.raises(CommandFailed) as caught:
            node.run(["false", "a b"])
        assert caught.value.status == 3
        assert "vagrant ssh lab-worker-1 -c" in caught.value.command
        assert node.run(["false"], check=False).status == 3

    def test_a_limit_is_kept_in_the_vm(self, world: World) -> None:
        world.node().run(["sleep", "9"], timeout=2.5)
        assert world.said[-1] == "timeout --kill-after=5 2.5 sleep 9"

    def test_one_that_is_off_is_not_asked(self, world: World) -> None:
        node = world.node()
        node.kill()
        before = list(world.said)
        for ask in (lambda: node.run(["true"]), lambda: node.write([File("/x", "x")])):
            with pytest.raises(NotFound, match="does not run"):
                ask()
        assert world.said == before

    def test_one_that_runs_but_does_not_answer(self, world: World) -> None:
        node = world.node()
        world.reachable = False
        with pytest.raises(NotFound, match="runs but does not answer"):
            node.run(["true"])

    def test_one_that_is_paused_is_not_asked(self, world: World) -> None:
        node = world.node()
        node.pause()
        with pytest.raises(KubedrillError, match="paused"):
            node.run(["true"])
        with pytest.raises(KubedrillError, match="paused"):
            node.start()
        node.resume()
        assert "rtc0" in world.said[-1], "its clock stood still meanwhile"

    @pytest.mark.parametrize(
        ("result", "expected"),
        [
            (Result(0, "", ""), b"a tar"),
            (Result(1, "", "tar: journal: file changed as we read it\n"), b"a tar"),
            (Result(2, "", "tar: nothing: Cannot stat: No such file or directory\n"), NotFound),
            (Result(2, "", "tar: Write error\n"), CommandFailed),
        ],
    )
    def test_reading_a_tree(self, world: World, result: Result, expected: bytes | type[Exception]) -> None:
        node = world.node()
        world.answers["tar"] = result
        if isinstance(expected, bytes):
            assert node.read_tree("/var/log/pods") == expected
            assert world.said[-1] == "tar --create --file=- --directory /var/log -- pods"
            return
        with pytest.raises(expected):
            node.read_tree("/var/log/pods")

    def test_a_file_that_does_not_arrive_is_an_error(self, world: World, tmp_path: Path) -> None:
        node = world.node()
        (tmp_path / "source").touch()
        node.send(tmp_path / "source", "/var/lib/a b/file")
        assert "mkdir -p '/var/lib/a b' && cat >'/var/lib/a b/file'" in world.said[-1]
        world.answers["copy"] = Result(1, "", "No space left on device")
        with pytest.raises(CommandFailed, match="1"):
            node.send(tmp_path / "source", "/var/lib/file")

    def test_the_terminal_of_a_control_plane_knows_the_kubeconfig(self, world: World) -> None:
        provider = world.cluster()
        leader = provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.31.9.11", world.box))
        assert "KUBECONFIG" in leader.shell_argv(["bash"])


class TestStates:
    def test_down_in_order_and_up_again(self, world: World) -> None:
        node = world.node()
        node.stop()
        node.stop()
        assert node.state() == "stopped"
        assert "systemctl --no-block poweroff" in world.said
        world.networks["kubedrill-lab"] = False
        node.start()
        node.start()
        assert node.state() == "running"
        assert world.networks["kubedrill-lab"], "after a boot of this machine no network is active"

    def test_one_that_cannot_be_told_to_stop_is_switched_off(self, world: World) -> None:
        node = world.node()
        world.reachable = False
        node.stop()
        assert node.state() == "stopped"

    def test_a_start_waits_for_ssh(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        node = world.node()
        node.kill()
        monkeypatch.setattr(vagrant_node, "BOOT_TIMEOUT", 0.05)
        world.reachable = False
        with pytest.raises(KubedrillError, match="the boot of lab-worker-1"):
            node.start()

    def test_a_stopped_node_is_read_from_its_disk(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        node = world.node()
        node.kill()

        class FakeOffline:
            def __init__(self, disk: Path, folder: Path, name: str) -> None:
                self.name = name

            def tree(self, path: str) -> bytes:
                return f"{self.name}:{path}".encode()

            def journal(self, options: list[str]) -> str:
                return f"journal of {self.name}"

        monkeypatch.setattr(vagrant_node, "Offline", FakeOffline)
        assert node.read_tree("/etc") == b"lab-worker-1:/etc"
        assert node.journal() == "journal of lab-worker-1"

    def test_the_journal_of_a_running_node_is_on_its_disk_first(self, world: World) -> None:
        world.node().journal()
        assert "journalctl --sync" in world.said[-1]

    @pytest.mark.parametrize("state", ["running", "paused", "stopped"])
    def test_removal_whatever_the_state(self, world: World, state: State) -> None:
        node = world.node()
        world.vms["kubedrill-lab-worker-1"] = state
        (world.home / "lab" / "lab-worker-1.console").touch()
        node.remove()
        node.remove()
        assert world.vms == {}
        assert not (world.home / "lab" / "lab-worker-1.console").exists()
        with pytest.raises(NotFound):
            node.state()


def test_a_cluster_goes_with_all_that_it_has(world: World) -> None:
    provider = world.cluster()
    for number in (1, 2):
        provider.create_node("lab", world.spec(number))
    said = provider.remove_cluster("lab")
    assert list(said) == ["node lab-worker-1", "node lab-worker-2", "network kubedrill-lab"]
    assert (world.vms, world.networks, list(provider.clusters())) == ({}, {}, [])
    assert not (world.home / "lab").exists()
    assert list(provider.remove_cluster("lab")) == []


def test_nodes_come_in_the_order_of_roles_and_numbers(world: World) -> None:
    provider = world.cluster()
    for number in (10, 2):
        provider.create_node("lab", world.spec(number))
    provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.31.9.11", world.box))
    assert [node.name for node in provider.nodes("lab")] == ["lab-control-plane-1", "lab-worker-2", "lab-worker-10"]


def test_a_tar_has_what_is_written(world: World) -> None:
    world.node().write([File("/etc/x", "é", 0o640)])
    assert world.written["/etc/x"] == "640 é"
