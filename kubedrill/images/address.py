"""Content addresses: equal inputs give equal names, so nothing is built twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def of(*parts: str | bytes) -> str:
    """The address (16 hexadecimal digits) of some texts, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def of_tree(folder: Path) -> str:
    """The address of a folder: names, executable bits and contents of all its files."""
    return of(*_described(sorted(path for path in folder.rglob("*") if path.is_file()), folder))


def _described(paths: Iterable[Path], folder: Path) -> Iterable[str | bytes]:
    for path in paths:
        yield str(path.relative_to(folder))
        yield "x" if path.stat().st_mode & 0o100 else "-"
        yield path.read_bytes()
