"""What the Vagrantfile loops over, and what libvirt is told of a network: pure, from cluster to text and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from kubedrill.errors import KubedrillError
from kubedrill.providers.base import Role

FILE = "cluster.json"
PREFIX = "kubedrill-"
Driver = Literal["kvm", "qemu", "virtualbox"]
# MiB and virtual processors where nothing else is asked for. kubeadm wants 2 GB and 2 processors of a control plane.
SIZES: Mapping[Role, tuple[int, int]] = {"control-plane": (3072, 2), "worker": (1536, 1), "load-balancer": (512, 1)}
# Under emulation a VM boots in one to two minutes, several at once on a busy machine in more.
BOOT_TIMEOUT = 600
# The emulator's buffer of translated code, MiB (1024 unless told otherwise; more than 2048 is not taken). Where what
# runs does not fit in, all is thrown away and translated anew: with 256 a control plane's was full 21 times in ten
# minutes of bring-up, with 1024 twice in 15 minutes. Memory is used as far as it is filled.
_BUFFERS: Mapping[Role, int] = {"control-plane": 2048, "worker": 512, "load-balancer": 64}
# Features of the processor that an emulated one is faster without. erms: Linux and Go copy and clear byte by byte with
# it, and each byte is a pass of the emulator (a pipe took 6 times longer, fresh memory in huge pages 5 times); la57:
# page tables have five levels instead of four; smap, smep, pku, pks: checks at each way into the kernel and out of it;
# mpx: more registers to save; monitor: an idle processor that waits with it does not sleep.
_COSTLY = ("erms", "la57", "smap", "smep", "pku", "pks", "mpx", "monitor")
# Vagrant's plug-in knows no such setting, but writes features as they are given, each between '<' and '/>'.
_BUFFER = "tcg><tb-cache unit='MiB'>{}</tb-cache></tcg><pae"


@dataclass(frozen=True)
class Vm:
    """One VM.

    Args:
        name: its host name.
        role: what it is for.
        address: its IPv4 address.
        box: Vagrant's name of the box it is made of.
        memory: MiB.
        cpus: virtual processors.
        stores: paths of the image stores' disks, by Kubernetes version.
    """

    name: str
    role: Role
    address: str
    box: str
    memory: int
    cpus: int
    stores: Mapping[str, str] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """libvirt's name for it."""
        return PREFIX + self.name


@dataclass(frozen=True)
class VmCluster:
    """A cluster of VMs, as it is kept.

    Args:
        name: the cluster's.
        subnet: of its network, in CIDR form.
        driver: kvm, qemu for software emulation, or virtualbox.
        metadata: strings kept with the network.
        vms: its VMs.
    """

    name: str
    subnet: str
    driver: Driver
    metadata: Mapping[str, str]
    vms: tuple[Vm, ...] = ()

    @property
    def network(self) -> str:
        """libvirt's name for its network."""
        return PREFIX + self.name

    @property
    def vagrants_provider(self) -> str:
        """Vagrant's name of what runs its VMs."""
        return "virtualbox" if self.driver == "virtualbox" else "libvirt"

    def having(self, vm: Vm) -> VmCluster:
        """With one VM more."""
        return replace(self, vms=(*self.vms, vm))

    def without(self, name: str) -> VmCluster:
        """Without the VM of that name."""
        return replace(self, vms=tuple(vm for vm in self.vms if vm.name != name))


def to_json(cluster: VmCluster, folder: Path) -> str:
    """The file that the Vagrantfile reads: what is kept, and for each VM the settings that follow from it.

    Args:
        cluster: the cluster.
        folder: of the cluster's state.
    """
    content = {
        "kept": asdict(cluster),
        "user": "root",
        "boot_timeout": BOOT_TIMEOUT,
        "machines": [_machine(cluster, vm, folder) for vm in cluster.vms],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> VmCluster:
    """The cluster again.

    Raises:
        KubedrillError: the text is no such file.
    """
    try:
        kept = json.loads(text)["kept"]
        vms = tuple(Vm(**vm) for vm in kept.pop("vms"))
        return VmCluster(**kept, vms=vms)
    except (ValueError, KeyError, TypeError) as error:
        raise KubedrillError(
            "what is kept of a cluster of VMs cannot be read", evidence=[str(error)], todo=["run: invoke down"]
        ) from error


def mac(address: str) -> str:
    """The MAC address that belongs to an IPv4 address: locally administered, and unique where the address is."""
    return "52:4b:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def bridge(cluster: str) -> str:
    """The name of the bridge on this machine; the kernel takes 15 characters."""
    return f"kd-{hashlib.sha256(cluster.encode()).hexdigest()[:10]}"


def network_xml(cluster: VmCluster) -> str:
    """libvirt's network: each MAC address has its IPv4 address, for ever; nobody else gets one, no names are served.

    https://libvirt.org/formatnetwork.html
    """
    subnet = IPv4Network(cluster.subnet)
    gateway, *addresses = subnet.hosts()
    hosts = "\n".join(f"      <host mac='{mac(str(one))}' ip='{one}'/>" for one in addresses)
    return f"""\
<network>
  <name>{cluster.network}</name>
  <title>{_plain(cluster.name)}</title>
  <forward mode='nat'/>
  <bridge name='{bridge(cluster.name)}' stp='off' delay='0'/>
  <dns enable='no'/>
  <ip address='{gateway}' netmask='{subnet.netmask}'>
    <dhcp>
{hosts}
    </dhcp>
  </ip>
</network>
"""


def _machine(cluster: VmCluster, vm: Vm, folder: Path) -> dict[str, Any]:
    common = {
        "name": vm.name,
        "box": vm.box,
        "box_url": f"file://{folder / (vm.box + '.box')}",
        "keys": [str(folder / "id_ed25519"), str(folder / "box.key")],
    }
    return {**common, **(_virtualbox(vm, folder) if cluster.driver == "virtualbox" else _libvirt(cluster, vm, folder))}


def _virtualbox(vm: Vm, folder: Path) -> dict[str, Any]:
    """Never tried by this project's CI. The first network is always Vagrant's own; the second one is the cluster's."""
    attach = ["storageattach", "ID", "--storagectl", "SATA Controller", "--device", "0", "--type", "hdd"]
    stores = [
        [*attach, "--port", str(port), "--medium", str(Path(path).with_suffix(".vdi")), "--mtype", "multiattach"]
        for port, path in enumerate(vm.stores.values(), start=1)
    ]
    console = ["--uart1", "0x3F8", "4", "--uartmode1", "file", str(folder / f"{vm.name}.console")]
    return {
        "virtualbox": {
            "settings": {"name": vm.domain, "memory": vm.memory, "cpus": vm.cpus},
            "customize": [["modifyvm", "ID", "--rtcuseutc", "on", *console], *stores],
            "network": {"ip": vm.address, "mac": mac(vm.address).replace(":", "").upper(), "auto_config": False},
        }
    }


def _libvirt(cluster: VmCluster, vm: Vm, folder: Path) -> dict[str, Any]:
    emulated = cluster.driver == "qemu"
    libvirt = {
        "uri": "qemu:///system",
        "default_prefix": PREFIX,
        "driver": cluster.driver,
        "cpu_mode": "maximum" if emulated else "host-passthrough",
        "nested": False,
        "memory": vm.memory,
        "cpus": vm.cpus,
        "features": ["acpi", "apic", _BUFFER.format(_BUFFERS[vm.role]) if emulated else "pae"],
        "graphics_type": "none",
        "video_type": "none",
        # What is synced in the VM is on the disk of this machine, so that a power cut is one.
        "disk_driver_opts": {"cache": "writeback"},
        "suspend_mode": "pause",
        # The cluster's own network is the only one, and Vagrant's way in, too.
        "management_network_name": cluster.network,
        "management_network_address": cluster.subnet,
        "management_network_mac": mac(vm.address),
        "management_network_keep": True,
    }
    # The plug-in takes no features of a processor that has no model; QEMU takes the last of several of the same option.
    arguments = ["-cpu", ",".join(["max", *(f"-{feature}" for feature in _COSTLY)])] if emulated else []
    disks = [
        {"path": Path(path).name, "size": "1G", "type": "raw", "bus": "virtio", "device": f"vd{letter}",
         "allow_existing": True, "shareable": True}
        for letter, path in zip("bcdefgh", vm.stores.values(), strict=False)
    ]  # fmt: skip
    console = str(folder / f"{vm.name}.console")
    return {"libvirt": {"settings": libvirt, "arguments": arguments, "disks": disks, "console": console}}


def _plain(text: str) -> str:
    return quoteattr(text)[1:-1]
