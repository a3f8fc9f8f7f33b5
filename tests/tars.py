"""Archives for tests: made, and read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping


def tar_names(tree: bytes) -> list[str]:
    """The names in a tar."""
    with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
        return sorted(tar.getnames())


def tar_bytes(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of members as given, also of those that a decent program would not write."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, content in members:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def tar_of_texts(files: Mapping[str, str]) -> bytes:
    """A tar of text files."""
    return tar_bytes((tarfile.TarInfo(name), text.encode()) for name, text in files.items())
