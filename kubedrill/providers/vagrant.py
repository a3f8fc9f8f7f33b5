"""Nodes as virtual machines: Vagrant makes and removes them, libvirt starts and stops them, ssh runs their commands."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path

from filelock import FileLock

from kubedrill import host, libvirtd, paths, shell, slowness
from kubedrill.errors import KubedrillError, NotFound
from kubedrill.providers import vagrant_state
from kubedrill.providers.base import NetworkSpec, Node, NodeSpec
from kubedrill.providers.hypervisor import Hypervisor
from kubedrill.providers.vagrant_machines import Machines
from kubedrill.providers.vagrant_node import Observer, VagrantNode
from kubedrill.providers.vagrant_spec import FILE, SIZES, Driver, Vm, VmCluster, network_xml
from kubedrill.providers.vbox import VBox
from kubedrill.providers.virsh import Virsh
from kubedrill.wait import until

DRIVER = "vm-driver"
DRIVERS = ("auto", "kvm", "emulation", "virtualbox")
# Seconds that a box may take on its way into the pool, at most; 10 s here.
_IMPORT = 1800
_ORDER = {"load-balancer": 0, "control-plane": 1, "worker": 2}


class VagrantProvider:
    """Clusters of VMs.

    Args:
        observer: told of each command that runs in a node.
        home: the folder of all clusters' state; that of this user without it.
        virsh: libvirt.
        vbox: VirtualBox.
        kvm: tells whether KVM works.
    """

    def __init__(
        self, observer: Observer = lambda *_: None, *, home: Path | None = None, virsh: Hypervisor | None = None,
        vbox: Hypervisor | None = None, kvm: Callable[[], host.Kvm] = host.kvm,
    ) -> None:  # fmt: skip
        self._observer, self._kvm = observer, kvm
        self._libvirt, self._vbox = virsh or Virsh(), vbox or VBox()
        self._home = home or paths.state() / "vagrant"

    def check(self) -> None:
        """See that libvirt answers, and that Vagrant is there."""
        libvirtd.check()

    def clusters(self) -> Sequence[str]:
        """The names of all clusters of which anything is there."""
        return sorted(file.parent.name for file in self._home.glob(f"*/{FILE}"))

    def create_network(self, cluster: str, network: NetworkSpec) -> None:
        """Make the cluster's folder, its key and its network."""
        folder = self._home / cluster
        if vagrant_state.exists(folder):
            raise KubedrillError(f"the network of {cluster} is there already", evidence=[str(folder)])
        wanted = IPv4Network(network.subnet)
        taken = [subnet for subnet in self.used_subnets() if wanted.overlaps(IPv4Network(subnet))]
        if taken:
            raise KubedrillError(f"{network.subnet} overlaps {taken[0]}, which another cluster has")
        new = VmCluster(cluster, network.subnet, self._driver(network.metadata.get(DRIVER, "auto")), network.metadata)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run left of a cluster that never was
        folder.mkdir(parents=True, mode=0o700)
        try:
            shutil.copy(paths.repository() / "Vagrantfile", folder / "Vagrantfile")
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"kubedrill {cluster}", "-f"]
            shell.run([*key, str(folder / "id_ed25519")])
            # What is kept comes first: whoever removes the cluster finds the network by it.
            vagrant_state.save(folder, new)
            self._hypervisor(new).create_network(network_xml(new), new.network)
        except BaseException:
            shutil.rmtree(folder)
            raise

    def network(self, cluster: str) -> NetworkSpec | None:
        """The cluster's network, None where there is none."""
        if not vagrant_state.exists(self._home / cluster):
            return None
        kept = vagrant_state.load(self._home / cluster)
        return NetworkSpec(kept.subnet, kept.metadata)

    def change(self, cluster: str, metadata: Mapping[str, str]) -> None:
        """Keep other metadata with a cluster.

        Raises:
            NotFound: there is no such cluster.
        """
        folder = self._home / cluster
        if not vagrant_state.exists(folder):
            raise NotFound(f"there is no cluster {cluster}")
        with vagrant_state.changing(folder) as kept:
            kept.remember(metadata)

    def slowness(self, cluster: str) -> float:
        """How many times slower than real hardware its nodes are, as its first node was measured."""
        file = self._home / cluster / "slowness"
        return float(file.read_text()) if file.exists() else 1.0

    def used_subnets(self) -> Sequence[str]:
        """The subnets of all clusters of VMs."""
        return [vagrant_state.load(self._home / name).subnet for name in self.clusters()]

    def kept_open(self) -> contextlib.AbstractContextManager[None]:
        """Nothing to do: the connection to a VM is kept in any case."""
        return contextlib.nullcontext()

    def create_node(self, cluster: str, spec: NodeSpec) -> Node:
        """Make a VM, start it, and make it the node."""
        folder = self._home / cluster
        vm = _vm(spec)
        try:
            _refuse(spec)
            with vagrant_state.changing(folder) as kept:
                kept.add(vm)
            node = VagrantNode(folder, vm, self._hypervisor(kept.cluster), self._observer)
        except KubedrillError as error:
            raise _not_made(spec, error) from error
        try:
            self._boot(folder, vm, Path(spec.image))
            node.become(
                {"KUBEDRILL_ROLE": spec.role, "KUBEDRILL_STORE": next(iter(spec.stores), ""), **spec.environment}
            )
            self._time(folder, node)
        except KubedrillError as error:
            node.remove()
            raise _not_made(spec, error) from error
        return node

    def nodes(self, cluster: str) -> Sequence[Node]:
        """The nodes there are, running or not: balancer, control planes, workers."""
        folder = self._home / cluster
        if not vagrant_state.exists(folder):
            return []
        kept = vagrant_state.load(folder)
        vms = sorted(kept.vms, key=lambda vm: (_ORDER[vm.role], _number(vm.name)))
        return [VagrantNode(folder, vm, self._hypervisor(kept), self._observer) for vm in vms]

    def remove_cluster(self, cluster: str) -> Sequence[str]:
        """Remove VMs, their disks, the network and the folder."""
        folder = self._home / cluster
        if not vagrant_state.exists(folder):
            return []
        nodes = list(self.nodes(cluster))
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda node: node.remove(), nodes))
        removed = [f"node {node.name}" for node in nodes]
        kept = vagrant_state.load(folder)
        if self._hypervisor(kept).remove_network(kept.network) or kept.driver == "virtualbox":
            removed.append(f"network {kept.network}")
        shutil.rmtree(folder)
        return removed

    def _hypervisor(self, cluster: VmCluster) -> Hypervisor:
        return self._vbox if cluster.driver == "virtualbox" else self._libvirt

    def _driver(self, asked: str) -> Driver:
        """KVM only where a probe has run something with it."""
        if asked not in DRIVERS:
            raise KubedrillError(f"there is no driver '{asked}' for VMs", todo=[f"choose one of: {', '.join(DRIVERS)}"])
        if asked == "emulation":
            return "qemu"
        if asked == "virtualbox":
            return "virtualbox"
        found = self._kvm()
        if asked == "kvm" and not found.works:
            raise KubedrillError("KVM does not work here", evidence=[found.reason], todo=["vm: {driver: emulation}"])
        return "kvm" if found.works else "qemu"

    def _boot(self, folder: Path, vm: Vm, box: Path) -> None:
        """Let Vagrant make and start the VM.

        The first of a box brings its disk into libvirt's pool: until its VM is there, no other is made of that box.
        """
        shutil.copy(box.with_suffix(".key"), folder / "box.key")
        (folder / "box.key").chmod(0o600)
        link = folder / box.name
        if not link.exists():
            with contextlib.suppress(FileExistsError):
                link.symlink_to(box)
        kept = vagrant_state.load(folder)
        machines, hypervisor = Machines(folder, kept.vagrants_provider), self._hypervisor(kept)
        if hypervisor.has_volume(f"{vm.box}_vagrant_box_image"):
            machines.up(vm.name)
            return
        with ThreadPoolExecutor(max_workers=1) as pool:
            with FileLock(paths.state() / f"box-{vm.box}.lock"):
                up = pool.submit(machines.up, vm.name)
                until(lambda: up.done() or hypervisor.exists(vm.domain), lambda there: (there, "it is not there"),
                      within=_IMPORT, every=0.5, what=f"the VM {vm.domain}", transient=(KubedrillError,))  # fmt: skip
            up.result()

    def _time(self, folder: Path, node: Node) -> None:
        file = folder / "slowness"
        with FileLock(f"{file}.lock"):
            if not file.exists():
                file.write_text(f"{slowness.measure(node)}\n")


def _vm(spec: NodeSpec) -> Vm:
    memory, cpus = SIZES[spec.role]
    box = Path(spec.image).stem
    return Vm(spec.name, spec.role, spec.address, box, spec.memory or memory, spec.cpus or cpus, dict(spec.stores))


def _refuse(spec: NodeSpec) -> None:
    reasons = []
    if spec.publish:
        ports = ", ".join(str(port) for port, _ in spec.publish)
        reasons.append(f"ports {ports}: a VM has an address of its own, {spec.address}, which this machine reaches")
    if spec.mounts:
        reasons.append("mounts: a VM has its own file system; send files into it, or use containers")
    if reasons:
        raise KubedrillError("nodes in VMs have no published ports and no mounts", evidence=reasons)


def _not_made(spec: NodeSpec, error: KubedrillError) -> KubedrillError:
    return KubedrillError(
        f"the node {spec.name} could not be made", evidence=str(error).splitlines(), todo=["run: invoke doctor"]
    )


def _number(name: str) -> int:
    found = re.search(r"(\d+)$", name)
    return int(found.group(1)) if found else 0
