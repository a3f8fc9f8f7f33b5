"""What `invoke setup --provider vagrant` does besides: Vagrant, libvirt and QEMU from the distribution."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from kubedrill import host, libvirtd, shell
from kubedrill.errors import MissingPrerequisite
from kubedrill.install import Prerequisite

VAGRANT_HOME = Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d")
PREREQUISITES = (
    Prerequisite("vagrant", "makes and removes the VMs", programs=("vagrant",)),
    Prerequisite("vagrant-libvirt", "lets Vagrant use libvirt",
                 files=("/usr/share/rubygems-integration/*/gems/vagrant-libvirt-*",
                        # Where `vagrant plugin install` puts it.
                        f"{VAGRANT_HOME}/gems/*/gems/vagrant-libvirt-*")),
    Prerequisite("libvirt-daemon-system", "runs the VMs", programs=("libvirtd",)),
    Prerequisite("libvirt-clients", "looks after running VMs", programs=("virsh",)),
    Prerequisite("dnsmasq-base", "gives each VM its address", programs=("dnsmasq",)),
    Prerequisite("qemu-system-x86", "is the computer", programs=("qemu-system-x86_64",)),
    Prerequisite("qemu-utils", "writes the box's disk", programs=("qemu-img",)),
    Prerequisite("grub-pc-bin", "boots the box's disk", files=("/usr/lib/grub/i386-pc/boot.img",)),
    Prerequisite("grub-common", "boots the box's disk", programs=("grub-mkimage",)),
    Prerequisite("fdisk", "writes the box's partition table", programs=("sfdisk",)),
    Prerequisite("e2fsprogs", "writes file systems", programs=("mke2fs",)),
    Prerequisite("openssh-client", "commands in VMs", programs=("ssh", "ssh-keygen")),
)  # fmt: skip
# What to do where a distribution has no package of it; kubedrill takes any that is there.
OF_ITS_MAKER = (
    "install Vagrant from its maker: https://developer.hashicorp.com/vagrant/install",
    "then its plugin: apt-get install -y libvirt-dev build-essential && vagrant plugin install vagrant-libvirt",
    "then again: invoke setup --provider vagrant",
    "or take Debian 12, which has packages of both; or containers, which need neither: invoke up",
)
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=120")


def lacking(
    which: Callable[[str], object] | None = None, exists: Callable[[str], bool] | None = None
) -> tuple[Prerequisite, ...]:
    """What of PREREQUISITES this machine lacks.

    Args:
        which: finds a program.
        exists: whether a path with '*' in it matches anything.
    """
    find, there = which or _which, exists or _exists
    return tuple(
        item
        for item in PREREQUISITES
        if not all(find(program) for program in item.programs)
        or (item.files and not any(there(file) for file in item.files))
    )


def unavailable(
    *, missing: Callable[[], tuple[Prerequisite, ...]] = lacking, run: Callable[..., shell.Result] = shell.run,
    has_apt: bool | None = None,
) -> str:  # fmt: skip
    """Why there can be no VMs here: the distribution has no package of what they need (Ubuntu 24.04: Vagrant).

    Returns:
        '' where nothing is lacking, all can be installed, or apt knows none of it: then its lists are not there yet.
    """
    names = [item.package for item in missing()]
    if not names or not (host.distribution().has_apt if has_apt is None else has_apt):
        return ""
    said = run(["apt-cache", "policy", *names], check=False, env={"LC_ALL": "C"}).stdout
    known = set(re.findall(r"^(\S+):\n.*\n  Candidate: (?!\(none\))", said, re.MULTILINE))
    gone = [name for name in names if name not in known]
    return f"this machine's distribution has no package {', '.join(gone)}" if gone and known else ""


def setup(
    *,
    missing: Callable[[], tuple[Prerequisite, ...]] = lacking,
    run: Callable[..., shell.Result] = shell.run,
    start: Callable[[], str] = libvirtd.ensure,
    root: bool | None = None,
    has_apt: bool | None = None,
) -> list[str]:
    """Give this machine what VMs need. Twice is harmless.

    Returns:
        What was done, or was right already: one line each.

    Raises:
        MissingPrerequisite: the distribution has no package of it (`unavailable`), or this process may not install it
            (not root, or no apt); the to-do has what to do.
        EngineUnavailable: libvirt does not come up.
        CommandFailed: apt failed.
    """
    wanted = missing()
    lines = ["packages for VMs: nothing is lacking"]
    if wanted:
        names = [item.package for item in wanted]
        apt = host.distribution().has_apt if has_apt is None else has_apt
        allowed = apt and (host.is_root() if root is None else root)
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        if allowed:
            run([*_APT, "update"], env=env, timeout=1800)
        if why := unavailable(missing=lambda: wanted, run=run, has_apt=apt):
            raise MissingPrerequisite("there can be no VMs here", evidence=[why], todo=OF_ITS_MAKER)
        if not allowed:
            command = f"apt-get install -y --no-install-recommends {' '.join(names)}"
            raise MissingPrerequisite(
                "this machine lacks something for VMs that `invoke setup` may not add",
                evidence=[f"{item.package}: {item.why}" for item in wanted],
                todo=[f"sudo {command}" if apt else f"install, by Debian's names: {' '.join(names)}"],
            )
        run([*_APT, "install", "-y", "--no-install-recommends", *names], env=env, timeout=1800)
        lines = [f"installed {', '.join(names)}"]
    return [*lines, start()]


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SBIN)


def _exists(pattern: str) -> bool:
    return any(Path("/").glob(pattern.lstrip("/")))
