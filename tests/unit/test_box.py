"""The box: what its disk begins with, what it boots, and what makes it another one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kubedrill import paths, shell
from kubedrill.errors import BuildFailed, MissingPrerequisite
from kubedrill.images import box, rootfs

SUITE = rootfs.Suite("debian", "bookworm", "deb x bookworm main\n", "a test")


def test_the_boot_loader_leaves_the_partition_table_alone() -> None:
    begin = box.boot_sectors(bytes([1]) * 512, bytes([2]) * 1000)
    assert begin[:440] == bytes([1]) * 440
    assert begin[440:512] == bytes(72)
    assert begin[512:] == bytes([2]) * 1000


def test_a_boot_loader_that_is_too_big_is_refused() -> None:
    with pytest.raises(BuildFailed):
        box.boot_sectors(bytes(512), bytes(2048 * 512))


def test_it_boots_the_file_system_by_its_label_without_a_menu() -> None:
    lines = box.grub_script().splitlines()
    assert [line.split()[0] for line in lines] == ["set", "linux", "initrd", "boot"]
    assert f"root=LABEL={box.LABEL}" in lines[1]
    assert "console=ttyS0" in lines[1]


@pytest.mark.parametrize(
    ("distribution", "kernel"), [("debian", "linux-image-amd64"), ("ubuntu", "linux-image-generic")]
)
def test_it_has_a_kernel_and_a_way_in(distribution: str, kernel: str) -> None:
    found = box.packages(replace(SUITE, distribution=distribution), "x86_64")
    assert found[0] == kernel
    assert "openssh-server" in found


def test_none_is_made_where_computers_are_no_pcs() -> None:
    with pytest.raises(MissingPrerequisite, match="aarch64"):
        box.packages(SUITE, "aarch64")


def test_vagrant_is_told_what_it_is() -> None:
    assert json.loads(box.metadata()) == {"provider": "libvirt", "format": "qcow2", "virtual_size": 20}


def test_equal_inputs_give_the_same_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = "go version go1.26.8 linux/amd64"
    one = box.key(SUITE, compiler, "x86_64")
    assert one == box.key(SUITE, compiler, "x86_64")
    assert one != box.key(replace(SUITE, codename="trixie"), compiler, "x86_64")
    assert one != box.key(SUITE, "go version go1.27 linux/amd64", "x86_64")
    monkeypatch.setattr(box, "COMMAND_LINE", "other")
    assert one != box.key(SUITE, compiler, "x86_64")


def test_it_is_found_only_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache", lambda: tmp_path)
    name = f"kubedrill-{box.key(SUITE, 'go', 'x86_64')}"
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / f"{name}.box").touch()
    assert box.find(SUITE, "go", "x86_64") is None
    (tmp_path / "boxes" / f"{name}.key").touch()
    found = box.find(SUITE, "go", "x86_64")
    assert found is not None
    assert (found.name, found.file.stem) == (name, name)


@pytest.mark.parametrize("cards", [1, 2])
def test_a_second_card_has_the_address_in_its_mac_address(tmp_path: Path, cards: int) -> None:
    net, run = tmp_path / "net", tmp_path / "run"
    for number, mac in enumerate(["08:00:27:8d:c0:4d", "52:4b:ac:1c:07:0b"][-cards:]):
        (net / f"eth{number}").mkdir(parents=True)
        (net / f"eth{number}" / "address").write_text(f"{mac}\n")
    script = (paths.repository() / "images/box/usr/local/sbin/kubedrill-address").read_text()
    script = script.replace("/sys/class/net", str(net)).replace("/run/systemd/network", str(run))
    shell.run(["sh", "-c", script])
    written = {file.name: file.read_text() for file in run.glob("*")}
    if cards == 1:
        assert written == {}, "the only card has DHCP"
        return
    assert list(written) == ["05-eth1.network"]
    assert "Address=172.28.7.11/24\n" in written["05-eth1.network"]


def test_the_extra_packages_make_another_rootfs() -> None:
    assert rootfs.key(SUITE) != rootfs.key(SUITE, ("openssh-server",))
