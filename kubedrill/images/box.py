"""The Vagrant box: a container's rootfs with a kernel and a boot loader, made without loop devices or mounts."""

from __future__ import annotations

import json
import platform
import shutil
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock

from kubedrill import host, paths, shell
from kubedrill.errors import BuildFailed, CommandFailed, MissingPrerequisite
from kubedrill.images import address, components, node, rootfs

# What the disk of a VM can grow to; a file system of that size is made at once, so that nothing grows at boot.
DISK_GIB = 20
LABEL = "kubedrill"
KERNELS = {"debian": "linux-image-{architecture}", "ubuntu": "linux-image-generic"}
_ARCHITECTURES = {"x86_64": "amd64"}
GRUB = Path("/usr/lib/grub/i386-pc")
# The boot loader fits between partition table and first partition; it has no configuration but these lines.
_FIRST_SECTOR = 2048
_SECTOR = 512
# mitigations: nobody but the user runs anything here, and under emulation they cost a lot.
# tsc: an emulated processor does not promise that its counter is constant, so that Linux would read the time from an
# emulated device; Go programs ask for it all the time (the system's share of the processor was a half, seen once).
# norandmaps: the emulator translates code for the address that it is at; where addresses are random, each start of a
# program is translated anew (50 starts of a shell: 3.3 to 5.4 s with, 0.8 to 0.9 s without; 788,000 blocks, 97,000).
# psi: what each change of process would be accounted for.
COMMAND_LINE = (
    f"root=LABEL={LABEL} ro net.ifnames=0 console=tty0 console=ttyS0 loglevel=4 systemd.show_status=no "
    "systemd.unified_cgroup_hierarchy=1 tsc=reliable norandmaps mitigations=off apparmor=0 selinux=0 audit=0 "
    "nowatchdog psi=0"
)
_MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "boot")

Say = Callable[[str], None]
Kind = Literal["libvirt", "virtualbox"]


@dataclass(frozen=True)
class Box:
    """A box that is there.

    Args:
        name: Vagrant's name for it.
        file: the box.
        key: the private key that opens a VM that was just made of it.
    """

    name: str
    file: Path
    key: Path


def packages(suite: rootfs.Suite, machine: str) -> tuple[str, ...]:
    """What a VM has besides a container's packages.

    Raises:
        MissingPrerequisite: no box is made for such machines.
    """
    architecture = _ARCHITECTURES.get(machine)
    if architecture is None:
        raise MissingPrerequisite(
            f"no box can be made on {machine}", evidence=["its boot loader is the one of a PC"], todo=["use containers"]
        )
    listed = rootfs.packages((paths.repository() / "images" / "box-packages.txt").read_text())
    return (KERNELS[suite.distribution].format(architecture=architecture), *listed)


def key(suite: rootfs.Suite, compiler: str, machine: str, kind: Kind = "libvirt") -> str:
    """The content address of the box that these inputs give."""
    images = paths.repository() / "images"
    programs = [components.key(components.load(part), compiler) for part in (*node.RUNTIME, node.CNI)]
    scripts = [(images / name).read_text() for name in ("box.sh", "box-initramfs.conf", "box-initramfs.modules")]
    trees = [address.of_tree(images / "files"), address.of_tree(images / "box")]
    settings = [COMMAND_LINE, *_MODULES, str(DISK_GIB), *([] if kind == "libvirt" else [kind])]
    return address.of(rootfs.key(suite, packages(suite, machine)), *programs, *scripts, *trees, *settings)


def names(suite: rootfs.Suite, compiler: str) -> list[str]:
    """The content addresses of the boxes, and of their rootfs; none on a machine that no box is made for."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return []
    boxes = [key(suite, compiler, machine, kind) for kind in get_args(Kind)]
    return [*boxes, rootfs.key(suite, packages(suite, machine))]


def find(suite: rootfs.Suite, compiler: str, machine: str | None = None, kind: Kind = "libvirt") -> Box | None:
    """The box that these inputs give, if it was built."""
    name = f"kubedrill-{key(suite, compiler, machine or platform.machine(), kind)}"
    folder = paths.cache() / "boxes"
    found = Box(name, folder / f"{name}.box", folder / f"{name}.key")
    return found if found.file.exists() and found.key.exists() else None


def ensure(suite: rootfs.Suite, compiler: str, say: Say, kind: Kind = "libvirt") -> Box:
    """The box, built unless it is there.

    Raises:
        MissingPrerequisite: this user or this machine cannot build one.
        BuildFailed: with the end of the output of what failed.
    """
    machine = platform.machine()
    name = f"kubedrill-{key(suite, compiler, machine, kind)}"
    folder = paths.cache() / "boxes"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        found = find(suite, compiler, machine, kind)
        if found:
            return found
        _check(kind)
        base = rootfs.build(suite, say, extra=packages(suite, machine), hooks=_initramfs_hooks())
        programs = [components.build(part, compiler, say) for part in node.RUNTIME]
        plugins = components.build(node.CNI, compiler, say)
        say("building the box")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=folder, prefix=".box-") as place:
            try:
                _build(Path(place), base, programs, plugins, kind)
            except CommandFailed as error:
                raise BuildFailed(
                    "the box could not be built", evidence=error.evidence, todo=["see images/box.sh and images/box/"]
                ) from error
            (Path(place) / "key").rename(folder / f"{name}.key")
            (Path(place) / "box").rename(folder / f"{name}.box")
        size = (folder / f"{name}.box").stat().st_size >> 20
        say(f"built the box ({size} MiB) in {time.monotonic() - began:.0f} s")
    return Box(name, folder / f"{name}.box", folder / f"{name}.key")


def boot_sectors(boot: bytes, core: bytes) -> bytes:
    """The beginning of a disk: GRUB's first sector without the place of the partition table, and its core after it.

    GRUB's boot.img looks for its core in the very next sector unless told otherwise, and the core has its own length in
    it; so nothing needs to be written into either (GRUB manual, 'BIOS installation').

    Raises:
        BuildFailed: the core does not fit before the first partition.
    """
    if len(core) > (_FIRST_SECTOR - 1) * _SECTOR:
        raise BuildFailed("the boot loader does not fit before the first partition", evidence=[f"{len(core)} bytes"])
    return boot[:440] + bytes(_SECTOR - 440) + core


def grub_script() -> str:
    """What the boot loader does: one kernel, no menu."""
    return f"set root=(hd0,msdos1)\nlinux /vmlinuz {COMMAND_LINE}\ninitrd /initrd.img\nboot\n"


def metadata(kind: Kind = "libvirt") -> str:
    """What Vagrant must know of the box."""
    if kind == "virtualbox":
        return json.dumps({"provider": kind})
    return json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIB})


def _check(kind: Kind) -> None:
    if not host.is_root():
        raise MissingPrerequisite(
            "a box can be built by root alone",
            evidence=["files of all owners are written into its file system"],
            todo=['run: sudo env "PATH=$PATH" invoke build --box'],
        )
    tools = ["grub-mkimage", "sfdisk", "mke2fs", "ssh-keygen", "VBoxManage" if kind == "virtualbox" else "qemu-img"]
    lacking = [name for name in tools if not _which(name)]
    if lacking or not (GRUB / "boot.img").exists():
        raise MissingPrerequisite(
            "this machine lacks what builds a box", evidence=lacking or [f"there is no {GRUB}/boot.img"],
            todo=["run: invoke setup --provider vagrant"],
        )  # fmt: skip


def _initramfs_hooks() -> list[str]:
    images = paths.repository() / "images"
    return [
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"',
        f"--essential-hook=upload {images / 'box-initramfs.conf'} /etc/initramfs-tools/conf.d/kubedrill",
        f"--essential-hook=upload {images / 'box-initramfs.modules'} /usr/share/initramfs-tools/modules.d/kubedrill",
    ]


def _build(place: Path, base: Path, programs: list[Path], plugins: Path, kind: Kind) -> None:
    images, root, disk = paths.repository() / "images", place / "root", place / "disk.raw"
    root.mkdir()
    unpack = ["tar", "--extract", "--file", str(base), "--directory", str(root), "--numeric-owner"]
    shell.run([*unpack, "--preserve-permissions", "--xattrs", "--xattrs-include=*"])
    for source, target in ((images / "files", ""), (images / "box", ""), *((one, "usr/local/bin") for one in programs),
                           (plugins, "opt/cni/bin")):  # fmt: skip
        (root / target).mkdir(parents=True, exist_ok=True)
        shell.run(["cp", "--recursive", "--preserve=mode", "--no-target-directory", str(source), str(root / target)])
    shell.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kubedrill box", "-f", str(place / "key")])
    shutil.copy(images / "box.sh", root / "box.sh")
    shell.run(["chroot", str(root), "/bin/sh", "/box.sh"], stdin=(place / "key.pub").read_text())
    (root / "box.sh").unlink()
    _write_disk(root, disk)
    files = _appliance(place, disk) if kind == "virtualbox" else _image(place, disk)
    disk.unlink()
    (place / "metadata.json").write_text(metadata(kind))
    with tarfile.open(place / "box", "w") as tar:
        for name in ("metadata.json", *files):
            tar.add(place / name, name)


def _image(place: Path, disk: Path) -> list[str]:
    """The disk as libvirt takes it."""
    convert = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
    shell.run([*convert, str(disk), str(place / "box.img")])
    return ["box.img"]


def _appliance(place: Path, disk: Path) -> list[str]:
    """The disk in a VM that VirtualBox exports; never run by this project's CI."""
    name = f"kubedrill-box-{uuid.uuid4().hex[:8]}"

    def manage(*words: str) -> None:
        shell.run(["VBoxManage", *words])

    manage("convertfromraw", str(disk), str(place / "box.vdi"), "--format", "VDI")
    manage("createvm", "--name", name, "--ostype", "Debian_64", "--register", "--basefolder", str(place))
    try:
        manage("modifyvm", name, "--memory", "1024", "--rtcuseutc", "on", "--nic1", "nat", "--audio-driver", "none")
        manage("storagectl", name, "--name", "SATA Controller", "--add", "sata", "--portcount", "4")
        attach = ["storageattach", name, "--storagectl", "SATA Controller", "--port", "0", "--device", "0"]
        manage(*attach, "--type", "hdd", "--medium", str(place / "box.vdi"))
        manage("export", name, "--output", str(place / "box.ovf"))
    finally:
        manage("unregistervm", name, "--delete")
    return ["box.ovf", *(file.name for file in place.glob("box-disk*.vmdk"))]


def _write_disk(root: Path, disk: Path) -> None:
    """A disk with one partition; the files go into its file system as that is made, so that nothing is mounted."""
    with disk.open("wb") as opened:
        opened.truncate(DISK_GIB << 30)
    shell.run(["sfdisk", "--quiet", str(disk)], stdin=f"label: dos\nstart={_FIRST_SECTOR}, type=83, bootable\n")
    size = (DISK_GIB << 20) - _FIRST_SECTOR * _SECTOR // 1024
    options = f"offset={_FIRST_SECTOR * _SECTOR},lazy_itable_init=1,lazy_journal_init=1"
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-i", "65536", "-m", "1", "-d", str(root), "-E", options]
    shell.run([*make, str(disk), f"{size}k"])
    script, core = root.parent / "grub.cfg", root.parent / "core.img"
    script.write_text(grub_script())
    image = ["grub-mkimage", "--directory", str(GRUB), "--format", "i386-pc", "--prefix", "(hd0,msdos1)/boot/grub"]
    shell.run([*image, "--config", str(script), "--output", str(core), *_MODULES])
    begin = boot_sectors((GRUB / "boot.img").read_bytes(), core.read_bytes())
    with disk.open("r+b") as opened:
        opened.write(begin[:440])
        opened.seek(_SECTOR)
        opened.write(begin[_SECTOR:])


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
