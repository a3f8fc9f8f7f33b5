"""A machine with VMs on which libvirt, Vagrant and ssh are replaced."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kubedrill import host, paths, slowness
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers import vagrant, vagrant_node
from kubedrill.providers.base import NetworkSpec, NodeSpec, State
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
        self.importing: Callable[[str], None] = lambda _name: None
        self.booting: Callable[[str], None] = lambda _name: None
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
            made.importing(name)
            made.vms[f"kubedrill-{name}"] = "running"
            made.booting(name)
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
