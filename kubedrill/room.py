"""What a cluster takes of this machine, and the look before `up`: is there room for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from kubedrill import host, paths
from kubedrill.errors import MissingPrerequisite
from kubedrill.providers.places import VMS
from kubedrill.providers.vagrant_spec import SIZES
from kubedrill.spec import ClusterSpec

# GROUND.md: three control planes with stacked etcd use 0.4 to 0.65 GiB each; the rest are allowances that
# nobody has measured yet.
CONTROL_PLANE_MIB = 700
WORKER_MIB = 250
BALANCER_MIB = 64
ETCD_MIB = 250
HOST_MIB = 300
# With 2000 hollow nodes and as many pods kube-apiserver takes 861 MiB, some 600 more than without; kwok, etcd and the
# controller manager grow, too.
HOLLOW_MIB = 0.5
# What an emulator takes besides the memory of its VM, most of it translated code; and what the disk of a VM grows to.
VM_MIB = 300
VM_DISK_MIB = 1000
# A node's own volume is small, since its images are links into the shared store; a first build fills Go's caches.
NODE_DISK_MIB = 300
BUILD_DISK_MIB = 6000
# An allowance for each node: systemd, kubelet, containerd and the pods each hold a few instances. Nodes are all root's
# to the kernel, so they share one limit; the kernel's default of 128 carries two of them. 512 and 524288 are the usual
# advice (kind.sigs.k8s.io/docs/user/known-issues), and what `setup` raises is above it.
INOTIFY_PER_NODE = host.Inotify(64, 8192)
DOCKER_ROOT = Path("/var/lib/docker")


def needs(spec: ClusterSpec, *, built: bool = False) -> tuple[int, int]:
    """What a cluster takes: (memory in MiB, disk in MiB). There is a balancer where there are several control planes.

    Args:
        spec: the cluster asked for.
        built: whether all that nodes are made of was built before.
    """
    balancers = int(spec.control_planes > 1)
    if spec.provider == VMS:
        asked = [(spec.vm.control_plane_memory or SIZES["control-plane"][0], spec.control_planes),
                 (spec.vm.worker_memory or SIZES["worker"][0], spec.workers),
                 (SIZES["load-balancer"][0], balancers)]  # fmt: skip
        vms = spec.control_planes + spec.workers + balancers
        memory = sum((each + VM_MIB) * count for each, count in asked) + HOST_MIB
        return memory, vms * VM_DISK_MIB + (0 if built else BUILD_DISK_MIB)
    memory = spec.control_planes * CONTROL_PLANE_MIB + spec.workers * WORKER_MIB + balancers * BALANCER_MIB + HOST_MIB
    memory += len(spec.etcd_keys()) * ETCD_MIB + math.ceil(spec.hollow * HOLLOW_MIB)
    nodes = spec.computers()
    return memory, nodes * NODE_DISK_MIB + (0 if built else BUILD_DISK_MIB)


def inotify_needs(nodes: int) -> host.Inotify:
    """The inotify limits that this many nodes need."""
    return host.Inotify(INOTIFY_PER_NODE.instances * nodes, INOTIFY_PER_NODE.watches * nodes)


def preflight(
    spec: ClusterSpec,
    *,
    built: bool = False,
    beside: ClusterSpec | None = None,
    docker_root: Path = DOCKER_ROOT,
    memory: Callable[[], host.Memory] = host.memory,
    free_disk: Callable[[Path], int] = host.free_disk,
    proc: Path = host.PROC,
    root: bool | None = None,
) -> None:
    """See that this machine has room for a cluster that does not run yet; raises the inotify limits where root.

    Args:
        spec: the cluster asked for.
        built: whether all that nodes are made of was built before.
        beside: what of it runs already.
        docker_root: where the engine keeps its volumes.
        memory: reads the machine's memory.
        free_disk: reads the free MiB at a path.
        proc: where procfs is mounted.
        root: whether this process acts as root; found out without it.

    Raises:
        MissingPrerequisite: too little memory or disk, or inotify limits that are too low and not ours to raise.
    """
    need_memory, need_disk = needs(spec, built=built)
    more = ""
    if beside is not None:
        there = needs(beside, built=True)
        need_memory, need_disk, more = need_memory - there[0], need_disk - there[1], " more"
    have_memory, have_disk = memory().available, free_for_cluster(docker_root, free_disk)
    short = []
    if have_memory < need_memory:
        short.append(f"memory: {need_memory} MiB{more} are needed, {have_memory} MiB are available")
    if have_disk < need_disk:
        short.append(f"disk: {need_disk} MiB{more} are needed, {have_disk} MiB are free")
    if short:
        raise MissingPrerequisite(
            f"this machine has no room for {describe(spec)}",
            evidence=short,
            todo=[
                "ask for fewer nodes",
                "or take down clusters that are not used: invoke status; invoke down --name NAME",
                *(["or remove builds that nothing asks for: invoke prune"] if have_disk < need_disk else []),
            ],
        )
    if spec.provider == VMS:  # each has a kernel, and so limits, of its own
        return
    need = inotify_needs(spec.control_planes + spec.workers + len(spec.etcd_keys()))
    now = host.inotify_limits(proc=proc)
    if lower(now, need):
        from kubedrill import install

        wanted = host.Inotify(*map(max, need, install.INOTIFY))
        if host.is_root() if root is None else root:
            host.raise_inotify_limits(wanted, proc=proc)
            return
        raise MissingPrerequisite(
            f"the inotify limits of this machine are too low for {describe(spec)}",
            evidence=[f"needed: {limits(need)}", f"in force: {limits(now)}"],
            todo=[f"sudo {host.sysctl_command(wanted)}"],
        )


def free_for_cluster(docker_root: Path = DOCKER_ROOT, free_disk: Callable[[Path], int] = host.free_disk) -> int:
    """The free MiB for nodes (the engine's folder) and builds (the cache): of the fuller disk where they are two."""
    return min(free_disk(docker_root), free_disk(paths.cache()))


def lower(now: host.Inotify, need: host.Inotify) -> bool:
    """Whether one of the limits is lower than it need be."""
    return now.instances < need.instances or now.watches < need.watches


def limits(values: host.Inotify) -> str:
    """The limits in words."""
    return f"{values.instances} instances and {values.watches} watches"


def describe(spec: ClusterSpec) -> str:
    """The size of a cluster in words."""
    further = [f"{len(spec.etcd_keys())} of etcd"] if spec.etcd_keys() else []
    further += [f"{spec.hollow} hollow ones"] if spec.hollow else []
    return " and ".join([f"a cluster of {spec.control_planes}+{spec.workers} nodes", *further])
