"""Tars of files, as providers send them into nodes."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path


def tar_of(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A tar of files: {path: (content, mode)}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(content), mode, time.time()
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tar_stream(source: Path, path: str) -> Iterator[bytes]:
    """A tar of one file of this machine under another path, in pieces: it never is in memory as a whole."""
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.size = source.stat().st_size
    yield entry.tobuf()
    with source.open("rb") as opened:
        while piece := opened.read(1 << 20):
            yield piece
    # A file is filled up to whole blocks; two empty blocks end the archive.
    yield bytes(-entry.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
