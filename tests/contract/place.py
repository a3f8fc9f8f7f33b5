"""A provider that the contract is put to, and the clusters that the tests make with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import host, network, shell
from kubedrill.capabilities import engine_missing_capabilities
from kubedrill.images import box, components, node, rootfs
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec, Provider, Role
from kubedrill.providers.docker import DockerProvider
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.vagrant import VagrantProvider
from kubedrill.wait import until

# What the fake runs on this machine: programs that look at their arguments and standard input alone.
REAL = ("sh", "printf", "sleep", "cat")


@dataclass
class Place:
    """A provider under test, with clusters whose names no other run uses.

    Args:
        kind: 'fake', 'docker' or 'vagrant'.
        provider: the provider.
        image: what its nodes are made of.
        made: the clusters made so far.
    """

    kind: str
    provider: Provider
    image: str
    made: list[str] = field(default_factory=list)

    def name(self, suffix: str) -> str:
        """The name of a cluster, which is removed at the end whatever happens."""
        name = f"contract-{os.getpid()}-{suffix}"
        self.made.append(name)
        return name

    def cluster(self, suffix: str) -> str:
        """A cluster with a network and no nodes yet."""
        name = self.name(suffix)
        self.provider.create_network(name, NetworkSpec(str(self.subnet()), {"from": "a test"}))
        return name

    def subnet(self) -> IPv4Network:
        """A free subnet, from the far end of the pool: `invoke up` takes them from the near one."""
        taken = [*map(IPv4Network, self.provider.used_subnets()), *host.host_networks()]
        candidates = reversed(list(network.POOL.subnets(new_prefix=24)))
        return next(one for one in candidates if not any(one.overlaps(other) for other in taken))

    def spec(self, cluster: str, role: Role, number: int) -> NodeSpec:
        """A node of a cluster with an address that nobody else has."""
        found = self.provider.network(cluster)
        assert found is not None
        last = {"load-balancer": 20, "control-plane": 40, "worker": 60}[role] + number
        return NodeSpec(f"{cluster}-{role}-{number}", role, str(IPv4Network(found.subnet)[last]), self.image)

    def node(self, cluster: str, number: int) -> Node:
        """A balancer (the lightest node there is) that has booted."""
        made = self.provider.create_node(cluster, self.spec(cluster, "load-balancer", number))
        booted(made)
        return made


def booted(made: Node) -> None:
    """Wait until a node can be shut down in order."""
    until(
        lambda: made.run(["systemctl", "is-active", "multi-user.target"], check=False),
        lambda found: (found.status == 0, found.output), within=240, every=0.05, what=f"the boot of {made.name}",
    )  # fmt: skip


def docker() -> tuple[Provider, str]:
    """Docker's engine, and a node image for it."""
    engine = Engine()
    image = node.ensure(engine, rootfs.choose(), components.go_version(), lambda _: None)
    return DockerProvider(engine, frozenset(engine_missing_capabilities() or ())), image


def vagrant() -> tuple[Provider, str]:
    """VMs by Vagrant and libvirt, and the box for them."""
    provider = VagrantProvider()
    provider.check()
    return provider, str(box.ensure(rootfs.choose(), components.go_version(), lambda _: None).file)


def fake() -> tuple[Provider, str]:
    """The provider in memory."""
    return FakeProvider(script=answer), "an image"


def answer(made: FakeNode, call: Call) -> shell.Result | None:
    """What a fake node answers to the commands of the contract."""
    program, *arguments = call.argv
    path = arguments[-1] if arguments else ""
    held = made.disk.get(path)
    known: dict[str, Callable[[], str]] = {
        "systemctl": lambda: "active\n",
        "hostname": lambda: f"{made.address if arguments == ['-I'] else made.name}\n",
        "sha256sum": lambda: f"{hashlib.sha256(made.disk[path].content).hexdigest()}  {path}\n",
        "stat": lambda: f"{held.mode if held else 0o755:o} root root\n",
        "logger": lambda: made.log(path) or "",
    }
    if program == "cat" and held:
        return shell.Result(0, held.text, "")
    if program == "test":
        return shell.Result(0 if held else 1, "", "")
    if program in known:
        return shell.Result(0, known[program](), "")
    if program in REAL:
        return shell.run(call.argv, stdin=call.stdin, timeout=call.timeout, check=False)
    return None
