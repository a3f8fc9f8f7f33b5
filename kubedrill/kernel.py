"""Which features of the running kernel the faults can use, and how that was found out."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kubedrill import shell
from kubedrill.errors import CommandFailed

State = Literal["present", "absent", "unknown"]
Run = Callable[[Sequence[str]], shell.Result]


@dataclass(frozen=True)
class Feature:
    """A feature of the kernel: is it there, and how was that found."""

    name: str
    state: State
    how: str


@dataclass(frozen=True)
class _Recipe:
    """How to look for a feature.

    Args:
        option: its option in the kernel's configuration.
        module: its module.
        trace: a path below /proc/sys that is there once it is active.
        trials: commands that need it, for a throw-away network namespace; the first whose program exists is run.
    """

    option: str
    module: str
    trace: str = ""
    trials: tuple[str, ...] = ()


_RECIPES = {
    "netem": _Recipe("NET_SCH_NETEM", "sch_netem", trials=("tc qdisc add dev lo root netem delay 1ms",)),
    "tbf": _Recipe(
        "NET_SCH_TBF", "sch_tbf", trials=("tc qdisc add dev lo root tbf rate 1mbit burst 32kbit latency 400ms",)
    ),
    "xt_statistic": _Recipe(
        "NETFILTER_XT_MATCH_STATISTIC",
        "xt_statistic",
        trials=("iptables -w -A INPUT -m statistic --mode random --probability 0.5 -j ACCEPT",),
    ),
    "vxlan": _Recipe("VXLAN", "vxlan", trials=("ip link add kd0 type vxlan id 1 dstport 4789",)),
    "br_netfilter": _Recipe("BRIDGE_NETFILTER", "br_netfilter", trace="net/bridge/bridge-nf-call-iptables"),
    "nftables": _Recipe("NF_TABLES", "nf_tables", trials=("nft add table inet kd", "iptables-nft -w -N kd")),
    "ip_set": _Recipe("IP_SET", "ip_set", trials=("ipset create kd hash:ip",)),
    "dummy": _Recipe("DUMMY", "dummy", trials=("ip link add kd0 type dummy",)),
    "ipvs": _Recipe("IP_VS", "ip_vs", trace="net/ipv4/vs", trials=("ipvsadm -L -n",)),
    "wireguard": _Recipe("WIREGUARD", "wireguard", trials=("ip link add kd0 type wireguard",)),
}
FEATURES = tuple(_RECIPES)

# What iproute2, iptables and older kernels say of a thing that the kernel does not know; any other failure may have
# another cause, so that it leaves the answer open.
_UNKNOWN_TO_KERNEL = re.compile(r"Unknown device type|kind is unknown|missing kernel module|Operation not supported")


def kernel_features(
    *,
    proc: Path = Path("/proc"),
    modules: Path = Path("/lib/modules"),
    boot: Path = Path("/boot"),
    release: str | None = None,
    try_out: Run | None = None,
) -> tuple[Feature, ...]:
    """Look for every feature of FEATURES.

    Args:
        proc: where procfs is mounted.
        modules: where the folders of kernel modules are.
        boot: where the distribution keeps the configuration of its kernels.
        release: the running kernel (uname -r).
        try_out: runs a command in a throw-away network namespace, where nothing on disk tells; without it that is
            done where this user is root.

    Returns:
        One finding a feature, in the order of FEATURES.
    """
    release = release or os.uname().release
    config = _config(proc / "config.gz", boot / f"config-{release}")
    files = _Modules.read(proc, modules / release)
    trial = try_out or (_in_namespace if os.geteuid() == 0 and shutil.which("unshare") else None)
    return tuple(_find(name, recipe, proc, config, files, trial) for name, recipe in _RECIPES.items())


@dataclass(frozen=True)
class _Modules:
    """The modules that are loaded, built in, and on disk; None where this machine does not tell."""

    loaded: frozenset[str]
    builtin: frozenset[str] | None
    on_disk: frozenset[str] | None

    @classmethod
    def read(cls, proc: Path, folder: Path) -> _Modules:
        loaded = _lines(proc / "modules") or []
        builtin, on_disk = _lines(folder / "modules.builtin"), _lines(folder / "modules.dep")
        return cls(
            frozenset(line.split()[0] for line in loaded if line.strip()),
            None if builtin is None else frozenset(map(_module, builtin)),
            None if on_disk is None else frozenset(_module(line.partition(":")[0]) for line in on_disk),
        )


def _find(
    name: str, recipe: _Recipe, proc: Path, config: tuple[str, str] | None, files: _Modules, trial: Run | None
) -> Feature:
    if recipe.module in files.loaded:
        return Feature(name, "present", "its module is loaded (/proc/modules)")
    if recipe.trace and (proc / "sys" / recipe.trace).exists():
        return Feature(name, "present", f"/proc/sys/{recipe.trace} is there")
    option = f"CONFIG_{recipe.option}"
    if config is not None:
        source, text = config
        found = re.search(rf"^{option}=([ym])", text, flags=re.MULTILINE)
        if not found:
            return Feature(name, "absent", f"{option} is not set in {source}")
        if found.group(1) == "y":
            return Feature(name, "present", f"{option}=y in {source}")
    if files.builtin is not None and recipe.module in files.builtin:
        return Feature(name, "present", "built into the kernel (modules.builtin)")
    if files.on_disk is not None:
        if recipe.module in files.on_disk:
            return Feature(name, "present", "a module that can be loaded (modules.dep)")
        return Feature(name, "absent", f"there is no module {recipe.module} for this kernel (modules.dep)")
    return _by_trial(name, recipe, trial)


def _by_trial(name: str, recipe: _Recipe, trial: Run | None) -> Feature:
    if trial is None:
        return Feature(name, "unknown", "nothing on disk tells, and only root can try it out")
    line = next((line for line in recipe.trials if shutil.which(line.split()[0])), None)
    if line is None:
        return Feature(name, "unknown", "nothing on disk tells, and no program is here to try it out")
    try:
        result = trial(line.split())
    except CommandFailed:
        return Feature(name, "unknown", f"'{line}' did not end")
    if result.status == 0:
        return Feature(name, "present", f"'{line}' works in a network namespace")
    said = " ".join(result.output.split())
    state: State = "absent" if _UNKNOWN_TO_KERNEL.search(said) else "unknown"
    return Feature(name, state, f"'{line}' in a network namespace: {said[:120]}")


def _in_namespace(argv: Sequence[str]) -> shell.Result:
    # The namespace ends with the command, and with it whatever the command made.
    return shell.run(["unshare", "--net", "--", *argv], check=False, timeout=5)


def _config(*candidates: Path) -> tuple[str, str] | None:
    for path in candidates:
        try:
            text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        except (OSError, EOFError):
            continue
        return str(path), text
    return None


def _lines(path: Path) -> list[str] | None:
    try:
        return path.read_text().splitlines()
    except OSError:
        return None


def _module(path: str) -> str:
    """'kernel/net/sched/sch-netem.ko.xz' gives 'sch_netem'."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
