"""Whether this machine can carry the cluster asked for: what `invoke doctor` tells. `up` asks `preflight` (room.py).

A finding fails only where `up` cannot work; what merely makes drills or builds impossible is a warning.
"""

from __future__ import annotations

import platform
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kubedrill import gotoolchain, host, install, shell, vm_setup
from kubedrill.errors import CommandFailed, EngineUnavailable
from kubedrill.kernel import Feature
from kubedrill.room import DOCKER_ROOT, describe, free_for_cluster, inotify_needs, limits, lower, needs, preflight
from kubedrill.spec import ClusterSpec

__all__ = [
    "EngineInfo", "Facts", "Finding", "examine", "exit_code", "inotify_needs", "judge", "look", "needs", "preflight",
]  # fmt: skip

# systemd in a node mounts, networks and makes devices.
NODE_CAPABILITIES = frozenset({"SYS_ADMIN", "NET_ADMIN", "NET_RAW", "MKNOD", "SETUID", "SETGID", "SYS_CHROOT"})
OFFICIAL = ("pkgs.k8s.io", "registry.k8s.io")
TINY_MODULE = "golang.org/x/text"

Level = Literal["ok", "warn", "fail"]
EngineInfo = Callable[[], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Finding:
    """One row of the doctor's table: what was looked at, what was found, the verdict, and what follows from it."""

    name: str
    found: str
    verdict: Level
    follows: str = ""


@dataclass(frozen=True)
class Facts:
    """What `judge` decides from; all sizes in MiB.

    Args:
        engine: what `docker info` tells; None where the engine does not answer.
        kernel: the release of this machine's.
        cgroup: the cgroup version of this machine.
        missing_capabilities: what the engine lacks; None where that cannot be known.
        inotify: the limits in force.
        memory: of this machine.
        disk: what is free for nodes and builds.
        features: of the kernel.
        kvm: whether it works.
        no_vms: why this machine can have no nodes in VMs; empty where what they need is here, or can be installed.
        go: where Go comes from.
        go_required: the release that the components ask for.
        mmdebstrap: whether it is here.
        go_proxy: why modules cannot be fetched; empty where they can, None where it was not tried.
        apt: whether the archive offers systemd; None where it was not tried.
        official: which of OFFICIAL cannot be reached; None where it was not tried.
        root: whether this process acts as root.
    """

    engine: Mapping[str, Any] | None
    kernel: str
    cgroup: int
    missing_capabilities: tuple[str, ...] | None
    inotify: host.Inotify
    memory: host.Memory
    disk: int
    features: tuple[Feature, ...]
    kvm: host.Kvm
    no_vms: str
    go: gotoolchain.Choice
    go_required: gotoolchain.Version
    mmdebstrap: bool
    go_proxy: str | None
    apt: bool | None
    official: tuple[str, ...] | None
    root: bool


def exit_code(findings: Sequence[Finding]) -> int:
    """1 where a finding says that `up` cannot work, else 0."""
    return int(any(finding.verdict == "fail" for finding in findings))


def examine(
    spec: ClusterSpec | None, *, engine_info: EngineInfo, built: bool = False, network: bool = True
) -> list[Finding]:
    """Look at this machine and judge it; takes a few seconds, and changes nothing.

    Args:
        spec: the cluster to measure it by; the default cluster without one.
        engine_info: gives what `docker info` tells; None, or EngineUnavailable, where the engine does not answer.
        built: whether all that nodes are made of was built before.
        network: whether to see if sources can be reached.
    """
    return judge(spec or ClusterSpec(), look(engine_info, network=network), built=built)


def look(engine_info: EngineInfo, *, network: bool = True) -> Facts:
    """Read all that `judge` needs from this machine."""
    try:
        info = engine_info()
    except EngineUnavailable:
        info = None
    required = gotoolchain.required_version()
    go = gotoolchain.choose(required, gotoolchain.installed(), {}, may_install=False)
    return Facts(
        engine=info,
        kernel=platform.release(),
        cgroup=host.cgroup_version(),
        missing_capabilities=host.engine_missing_capabilities(),
        inotify=host.inotify_limits(),
        memory=host.memory(),
        disk=free_for_cluster(Path((info or {}).get("DockerRootDir") or DOCKER_ROOT)),
        features=host.kernel_features(),
        kvm=host.kvm(),
        no_vms=vm_setup.unavailable(),
        go=go,
        go_required=required,
        mmdebstrap=bool(shutil.which("mmdebstrap")),
        go_proxy=_go_proxy(go) if network else None,
        apt=_apt_offers_systemd() if network else None,
        official=tuple(name for name in OFFICIAL if not _connects(name, 443)) if network else None,
        root=host.is_root(),
    )


def judge(spec: ClusterSpec, facts: Facts, *, built: bool = False) -> list[Finding]:
    """Judge the facts by the cluster asked for; pure."""
    findings = [*_engine_rows(facts), _inotify_row(spec, facts), *_room_rows(spec, facts, built)]
    findings += [*_kernel_rows(spec, facts.features), _kvm_row(facts.kvm), _vms_row(facts.no_vms)]
    return findings + _build_rows(facts, built) + _source_rows(facts)


def _engine_rows(facts: Facts) -> list[Finding]:
    cgroup = str((facts.engine or {}).get("CgroupVersion") or facts.cgroup)
    follows = "nodes are told to accept cgroup v1" if cgroup == "1" else ""
    rows = [_engine_row(facts.engine, facts.kernel), Finding("cgroup", f"version {cgroup}", "ok", follows)]
    missing = facts.missing_capabilities
    if missing is None:
        return [*rows, Finding("capabilities", "what the engine may give cannot be seen from here", "ok")]
    if not missing:
        return [*rows, Finding("capabilities", "the engine has all: privileged containers can be had", "ok")]
    found = f"the engine lacks {', '.join(missing)}"
    if needed := sorted(NODE_CAPABILITIES & set(missing)):
        follows = f"systemd in a node needs {', '.join(needed)}: run the engine with them"
        return [*rows, Finding("capabilities", found, "fail", follows)]
    return [*rows, Finding("capabilities", found, "ok", "no privileged containers; nodes are made without these")]


def _engine_row(info: Mapping[str, Any] | None, kernel: str) -> Finding:
    if info is None:
        return Finding("engine", "Docker's engine does not answer", "fail", "run: invoke setup")
    found = f"Docker {info.get('ServerVersion', '?')} on {info.get('OperatingSystem', '?')}, {info.get('Driver', '?')}"
    if info.get("Driver") == "vfs":
        return Finding("engine", found, "warn", "vfs copies each image into each node: slow, and much disk")
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        return Finding("engine", found + ", rootless", "warn", "nodes in a rootless engine were never tried")
    if info.get("KernelVersion", kernel) != kernel or "Docker Desktop" in str(info.get("OperatingSystem")):
        follows = "a VM's: `up` may work, but drills and the registry need a node's own address, which is not to be had"
        return Finding("engine", found, "warn", follows)
    return Finding("engine", found, "ok")


def _inotify_row(spec: ClusterSpec, facts: Facts) -> Finding:
    need = inotify_needs(spec.control_planes + spec.workers)
    found = f"{limits(facts.inotify)}; {describe(spec)} needs {limits(need)}"
    command = host.as_root(host.sysctl_command(host.Inotify(*map(max, need, install.INOTIFY))), root=facts.root)
    if not lower(facts.inotify, need):
        return Finding("inotify", found, "ok")
    if facts.root:
        return Finding("inotify", found, "warn", "`up` raises them, as `invoke setup` does")
    return Finding("inotify", found, "fail", f"run: {command}")


def _room_rows(spec: ClusterSpec, facts: Facts, built: bool) -> list[Finding]:
    memory, disk = needs(spec, built=built)
    have = facts.memory
    rows = (
        ("memory", memory, have.available, f"{have.available} of {have.total} MiB are available"),
        ("disk", disk, facts.disk, f"{facts.disk} MiB are free"),
    )
    return [
        Finding(name, f"{found}; {describe(spec)} needs {need}", "ok")
        if there >= need
        else Finding(name, f"{found}; {describe(spec)} needs {need}", "fail", "ask for fewer nodes, or make room")
        for name, need, there, found in rows
    ]


def _kernel_rows(spec: ClusterSpec, features: Sequence[Feature]) -> list[Finding]:
    needed = {"vxlan"} if spec.flannel_backend == "vxlan" else set()
    needed |= {"nftables"} if spec.proxy_mode == "nftables" else set()
    by_state = {
        state: [feature.name for feature in features if feature.state == state]
        for state in ("present", "absent", "unknown")
    }
    found = "; ".join(f"{state}: {', '.join(names)}" for state, names in by_state.items() if names)
    lacking = sorted(needed & set(by_state["absent"]))
    if lacking:
        follows = f"this cluster needs {', '.join(lacking)}: flannelBackend host-gw and proxyMode iptables do without"
        return [Finding("kernel", found, "fail", follows)]
    if by_state["absent"]:
        return [Finding("kernel", found, "warn", "faults that need what is absent are refused")]
    return [Finding("kernel", found, "ok")]


def _kvm_row(kvm: host.Kvm) -> Finding:
    if kvm.works:
        return Finding("KVM", kvm.reason, "ok")
    return Finding("KVM", kvm.reason, "warn", "nodes in VMs are emulated, 9 to 30 times slower; containers do without")


def _vms_row(no_vms: str) -> Finding:
    if not no_vms:
        return Finding("VMs", "what they need is here, or can be installed: invoke setup --provider vagrant", "ok")
    return Finding("VMs", no_vms, "warn", f"nodes are containers; for VMs {vm_setup.OF_ITS_MAKER[0]}, and its plugin")


def _build_rows(facts: Facts, built: bool) -> list[Finding]:
    worst: Level = "warn" if built else "fail"
    later = "nothing can be built anew; run: invoke setup" if built else "nodes cannot be built; run: invoke setup"
    name, found = gotoolchain.name(facts.go_required), facts.go.found
    seen = f"{gotoolchain.name(found.version)} at {found.path}" if found else "none"
    if facts.go.kind == "enough":
        go = Finding("Go", seen, "ok")
    elif facts.go.kind == "fetches":
        go = Finding("Go", seen, "ok", f"it fetches {name} as a module when it builds")
    else:
        go = Finding("Go", f"{seen}; {name} is needed", worst, later)
    there = Finding("mmdebstrap", "there", "ok")
    return [go, there if facts.mmdebstrap else Finding("mmdebstrap", "not there", worst, later)]


def _source_rows(facts: Facts) -> list[Finding]:
    rows = []
    if facts.go_proxy is not None:
        follows = "only modules in Go's cache can be built; see: go env GOPROXY"
        unreachable = Finding("Go modules", facts.go_proxy, "warn", follows)
        rows.append(unreachable if facts.go_proxy else Finding("Go modules", "can be fetched", "ok"))
    if facts.apt is not None:
        no = Finding("apt", "the archive offers no systemd", "warn", "run: apt-get update; a node's files come from it")
        rows.append(Finding("apt", "the archive's lists are here", "ok") if facts.apt else no)
    if facts.official:
        found = f"cannot be reached: {', '.join(facts.official)}"
        rows.append(Finding("Kubernetes sites", found, "warn", "nodes are built from Go modules instead of packages"))
    elif facts.official is not None:
        rows.append(Finding("Kubernetes sites", "can be reached", "ok"))
    return rows


def _go_proxy(go: gotoolchain.Choice) -> str:
    """Why modules cannot be fetched; empty where they can."""
    if go.found is None or go.kind not in ("enough", "fetches"):
        return "not tried: there is no Go to try it with"
    try:
        # Held to the go that is here: this look is not to fetch a whole toolchain.
        env = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
        shell.run([go.found.path, "list", "-m", f"{TINY_MODULE}@latest"], env=env, cwd=Path("/"), timeout=10)
    except CommandFailed as error:
        lines = error.output.strip().splitlines()
        return lines[-1] if lines else "no answer within 10 s"
    return ""


def _apt_offers_systemd() -> bool:
    if not shutil.which("apt-cache"):
        return False
    try:
        answer = shell.run(["apt-cache", "policy", "systemd"], check=False, timeout=20).stdout
    except CommandFailed:
        return False
    # An installed package is its own candidate; only a line with a priority and an address is an archive.
    return any("://" in line for line in answer.splitlines())


def _connects(name: str, port: int) -> bool:
    try:
        with socket.create_connection((name, port), timeout=2):
            return True
    except OSError:
        return False
