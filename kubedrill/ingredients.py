"""What nodes are made of, as bring-up takes it: containers of the node image, VMs of the box."""

from __future__ import annotations

from collections.abc import Collection

from kubedrill import host, kubeadm
from kubedrill.console import Reporter
from kubedrill.images import components, rootfs
from kubedrill.images.build import Built
from kubedrill.node_specs import Made
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.virsh import Virsh


def of_containers(built: Built, missing: Collection[str]) -> Made:
    """The node image, and the image store as a volume.

    Args:
        built: both.
        missing: capabilities that the engine lacks, without CAP_.
    """
    store = built.store
    shields = "SYS_RESOURCE" not in missing
    return Made(
        image=built.node_image,
        stores={store.kubernetes: store.volume},
        flannel_image=store.flannel_image,
        machine=kubeadm.Machine(host.cgroup_version(), store.etcd_tag, store.dns_tag, shields=shields),
        nameservers=tuple(host.upstream_nameservers()),
        source=built.source,
    )


def of_vms(engine: Engine, built: Built, console: Reporter, driver: str = "auto") -> Made:
    """The box, and the image store as a disk.

    Args:
        engine: has the store as a volume.
        built: what containers are made of.
        console: told of what is built.
        driver: what runs the VMs; VirtualBox has formats of its own.
    """
    from kubedrill.images import box as boxes
    from kubedrill.images import store_disk

    virtualbox = driver == "virtualbox"
    kind: boxes.Kind = "virtualbox" if virtualbox else "libvirt"
    box = boxes.ensure(rootfs.choose(), components.go_version(), console.say, kind)
    store = built.store
    refresh = (lambda: None) if virtualbox else Virsh().refresh
    disk = store_disk.ensure(store, engine.volume_folder, refresh, console.say)
    if virtualbox:
        store_disk.for_virtualbox(disk)
    return Made(
        image=str(box.file),
        stores={store.kubernetes: str(disk)},
        flannel_image=store.flannel_image,
        machine=kubeadm.Machine(2, store.etcd_tag, store.dns_tag),  # the kernel is the box's own
        nameservers=tuple(host.upstream_nameservers()),
        source=built.source,
    )
