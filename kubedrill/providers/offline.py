"""What is on the disk of a VM that does not run, read without mounting anything."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from kubedrill import shell
from kubedrill.errors import KubedrillError, NotFound

# Where the only partition of a box begins (images/box.py).
OFFSET = 2048 * 512
# What debugfs(8) says where there is no such file.
_NO_FILE = "File not found by ext2_lookup"


class Offline:
    """The disk of a VM that is off.

    Args:
        disk: its file, in the format that its name ends with; qcow2 where that tells none.
        folder: gets a copy of its file system, made anew only where the disk is newer.
        name: of the VM.
        run: runs a command.
    """

    def __init__(self, disk: Path, folder: Path, name: str, run: Callable[..., shell.Result] = shell.run) -> None:
        self._disk, self._copy, self._name, self._run = disk, folder / f"{name}.offline", name, run

    def tree(self, path: str) -> bytes:
        """A tar of a file or folder, named after the last part of the path.

        Raises:
            NotFound: there is no such path.
            KubedrillError: the disk cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="kubedrill-") as place:
            self._dump(path, Path(place))
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                tar.add(Path(place) / PurePosixPath(path).name, PurePosixPath(path).name)
            return buffer.getvalue()

    def journal(self, options: list[str]) -> str:
        """The journal of its services, as journalctl of this machine reads it.

        Raises:
            NotFound: it has none.
        """
        with tempfile.TemporaryDirectory(prefix="kubedrill-") as place:
            self._dump("/var/log/journal", Path(place))
            return self._run(["journalctl", f"--directory={place}/journal", *options], check=False, timeout=120).stdout

    def forget(self) -> None:
        """Remove the copy."""
        self._copy.unlink(missing_ok=True)

    def _dump(self, path: str, place: Path) -> None:
        source = self._file_system()
        # debugfs knows quotes, but no way to write one inside of them.
        if '"' in path or "\n" in path:
            raise NotFound(f"{self._name} has no {path}")
        said = self._run(["debugfs", "-R", f'rdump "{path}" "{place}"', str(source)], check=False, timeout=300)
        if not (place / PurePosixPath(path).name).exists():
            if _NO_FILE in said.stderr:
                raise NotFound(f"{self._name} has no {path}")
            raise KubedrillError(f"the disk of {self._name} cannot be read", evidence=said.output.splitlines()[-5:])

    def _file_system(self) -> Path:
        """A copy of the file system, as a computer that boots would find it: with its journal replayed."""
        if self._copy.exists() and self._copy.stat().st_mtime > self._disk.stat().st_mtime:
            return self._copy
        kind = self._disk.suffix.lstrip(".") if self._disk.suffix in (".vmdk", ".vdi") else "qcow2"
        image = f"driver=raw,offset={OFFSET},file.driver={kind},file.file.driver=file,file.file.filename={self._disk}"
        self._run(["qemu-img", "convert", "--image-opts", "-O", "raw", image, str(self._copy)], timeout=600)
        self._run(["e2fsck", "-p", "-E", "journal_only", str(self._copy)], check=False, timeout=300)
        return self._copy
