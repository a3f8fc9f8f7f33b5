"""The disk of a VM that is off, read for real: a small disk with a partition where a box has it."""

from __future__ import annotations

import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from kubedrill import shell
from kubedrill.errors import NotFound
from kubedrill.providers.offline import OFFSET, Offline
from kubedrill.shell import Result

needs_tools = pytest.mark.skipif(
    not all(shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin") for name in ("debugfs", "mke2fs", "e2fsck")),
    reason="e2fsprogs is not here",
)


def run(argv: list[str], **settings: object) -> Result:
    """All for real but qemu-img, which not every machine has: the disk of this test is raw, and only copied."""
    if argv[0] == "qemu-img":
        image = dict(part.split("=", 1) for part in argv[-2].split(","))
        assert (image["driver"], image["file.driver"]) == ("raw", "qcow2")
        whole = Path(image["file.file.filename"]).read_bytes()
        Path(argv[-1]).write_bytes(whole[int(image["offset"]) :])
        return Result(0, "", "")
    return shell.run(argv, **settings)  # type: ignore[arg-type]


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    root = tmp_path / "root"
    (root / "var/lib/odd name").mkdir(parents=True)
    (root / "var/lib/odd name/file").write_text("content")
    (root / "var/lib/secret").write_text("s")
    (root / "var/lib/secret").chmod(0o600)
    (root / "var/lib/link").symlink_to("secret")
    file_system, disk = tmp_path / "fs", tmp_path / "disk.img"
    shell.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(root), str(file_system), "8M"])
    disk.write_bytes(bytes(OFFSET) + file_system.read_bytes())
    return Offline(disk, tmp_path, "lab-worker-1", run)


@needs_tools
def test_a_tree_and_a_file_of_it(offline: Offline) -> None:
    with tarfile.open(fileobj=BytesIO(offline.tree("/var/lib"))) as tar:
        assert {"lib/odd name/file", "lib/secret", "lib/link"} <= set(tar.getnames())
        assert tar.getmember("lib/secret").mode == 0o600
    with tarfile.open(fileobj=BytesIO(offline.tree("/var/lib/odd name/file"))) as tar:
        member = tar.extractfile("file")
        assert member is not None
        assert member.read() == b"content"


@needs_tools
@pytest.mark.parametrize("path", ["/var/lib/nothing", '/var/lib/"', "/var/lib/a\nb"])
def test_what_is_not_there(offline: Offline, path: str) -> None:
    with pytest.raises(NotFound, match="lab-worker-1"):
        offline.tree(path)


@needs_tools
def test_it_is_copied_once_for_each_time_that_it_ran(offline: Offline, tmp_path: Path) -> None:
    offline.tree("/var/lib/secret")
    copy = tmp_path / "lab-worker-1.offline"
    first = copy.stat().st_mtime_ns
    offline.tree("/var/lib/secret")
    assert copy.stat().st_mtime_ns == first
    offline.forget()
    assert not copy.exists()


def test_the_lines_of_a_vm_without_a_journal(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.touch()
    (tmp_path / "lab.offline").touch()
    said = Result(0, "", "/var/log/journal: File not found by ext2_lookup\n")
    with pytest.raises(NotFound):
        Offline(disk, tmp_path, "lab", lambda *_, **__: said).journal([])
