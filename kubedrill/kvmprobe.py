"""Whether KVM runs a program at the processor's speed: run as `python -m kubedrill.kvmprobe`, in a process of its own.

/dev/kvm says little: on a machine without svm or vmx the file can be there, a virtual processor can be made and real
mode works, because KVM interprets each instruction in software; a stock kernel then does not boot. So two programs are
run: one in real mode, and one in 64-bit mode that adds with SSE2. Every x86-64 processor has SSE2, and KVM's
interpreter does not know it: only hardware runs the second.

Numbers and layouts are those of the kernel's Documentation/virt/kvm/api.rst and arch/x86/include/uapi/asm/kvm.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import struct
import sys
from pathlib import Path

DEVICE = Path("/dev/kvm")
API_VERSION = 12

_GET_API_VERSION = 0xAE00
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_GET_REGS = 0x8090AE81
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_EXITS = {2: "IO", 5: "HLT", 6: "MMIO", 8: "SHUTDOWN", 9: "FAIL_ENTRY", 17: "INTERNAL_ERROR"}
_HLT = 5

_MEMORY = 0x10000
_CODE = 0x1000
_TABLES = (0x2000, 0x3000, 0x4000)  # one page table of each level; the last maps 2 MiB at once
_ANSWER = 42
_REAL_MODE = bytes.fromhex("b82a00 f4")  # mov ax,42; hlt
# mov eax,21; movd xmm0,eax; paddd xmm0,xmm0; movd eax,xmm0; hlt
_LONG_MODE = bytes.fromhex("b815000000 660f6ec0 660ffec0 660f7ec0 f4")


def main() -> int:
    """Print the reason; the exit status is 0 where KVM works."""
    works, reason = probe()
    sys.stdout.write(f"{reason}\n")
    return 0 if works else 1


def probe(device: Path = DEVICE) -> tuple[bool, str]:
    """Run both programs.

    Returns:
        Whether KVM works, and why not or how it was seen.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return False, f"only x86-64 can be probed, this is {platform.machine()}"
    try:
        kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return False, f"{device} cannot be opened: {error.strerror}"
    try:
        version = fcntl.ioctl(kvm, _GET_API_VERSION, 0)
        if version != API_VERSION:
            return False, f"KVM's API is version {version}, not {API_VERSION}"
        for mode, code in (("real mode", _REAL_MODE), ("64-bit mode", _LONG_MODE)):
            ending, answer = _run(kvm, code, long_mode=code is _LONG_MODE)
            if ending != _HLT or answer != _ANSWER:
                name = _EXITS.get(ending, str(ending))
                return False, (
                    f"{device} is there, but a program in {mode} ended with KVM_EXIT_{name} instead of its answer: "
                    "the processor's virtualization cannot be had here"
                )
    except OSError as error:
        return False, f"KVM refuses to make or run a virtual processor: {error.strerror}"
    finally:
        os.close(kvm)
    return True, "a virtual processor ran programs in real mode and in 64-bit mode"


def _run(kvm: int, code: bytes, *, long_mode: bool) -> tuple[int, int]:
    """Run code on a new virtual processor until it exits: (the exit's reason, the register rax)."""
    vm = fcntl.ioctl(kvm, _CREATE_VM, 0)
    vcpu = -1
    try:
        memory = mmap.mmap(-1, _MEMORY)
        memory[_CODE : _CODE + len(code)] = code
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, struct.pack("IIQQQ", 0, 0, 0, _MEMORY, address))
        vcpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
        shared = mmap.mmap(vcpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))
        special = bytearray(312)
        fcntl.ioctl(vcpu, _GET_SREGS, special)
        if long_mode:
            _enter_long_mode(memory, special)
        else:
            struct.pack_into("<QIH", special, 0, 0, 0xFFFF, 0)  # code begins at address 0, not at the BIOS
        fcntl.ioctl(vcpu, _SET_SREGS, bytes(special))
        # rsp is the seventh register, rip the seventeenth; bit 1 of rflags is always set.
        fcntl.ioctl(vcpu, _SET_REGS, struct.pack("18Q", *[0] * 6, 0x8000, *[0] * 9, _CODE, 2))
        fcntl.ioctl(vcpu, _RUN, 0)
        registers = bytearray(144)
        fcntl.ioctl(vcpu, _GET_REGS, registers)
        return struct.unpack_from("I", shared, 8)[0], struct.unpack_from("Q", registers)[0]
    finally:
        for descriptor in (vcpu, vm):
            if descriptor >= 0:
                os.close(descriptor)


def _enter_long_mode(memory: mmap.mmap, special: bytearray) -> None:
    """Page tables that map the first 2 MiB, and the registers that switch them and 64-bit code on."""
    top, middle, bottom = _TABLES
    for table, entry in ((top, middle | 3), (middle, bottom | 3), (bottom, 0x83)):
        memory[table : table + 8] = struct.pack("<Q", entry)
    # struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding
    layout = "<QIH10B"
    struct.pack_into(layout, special, 0, 0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
    for segment in range(1, 6):
        struct.pack_into(layout, special, 24 * segment, 0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)
    # After 8 segments and 2 tables: cr0 (PG, WP, NE, ET, MP, PE), cr2, cr3, cr4 (PAE, OSFXSR, OSXMMEXCPT), cr8, and
    # efer (LME, LMA).
    struct.pack_into("<6Q", special, 8 * 24 + 2 * 16, 0x80010033, 0, top, 0x620, 0, 0x500)


if __name__ == "__main__":
    raise SystemExit(main())
