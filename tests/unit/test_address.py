"""Equal inputs give equal names, and different ones different names."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kubedrill.images import address

PAIRS = [
    (("ab", "c"), ("a", "bc")),
    (("a", "b"), ("b", "a")),
    (("a",), ("a", "")),
    ((), ("",)),
    (("1:a",), ("a",)),
    (("a", "b"), ("a1:b",)),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_different_texts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert address.of(*one) != address.of(*other)


def test_equal_texts() -> None:
    assert address.of("é", "b") == address.of("é", "b") == address.of("é".encode(), b"b")
    assert re.fullmatch(r"[0-9a-f]{16}", address.of("x"))


def test_an_address_is_the_same_on_every_machine() -> None:
    """Python's own hash() is not; what another checkout built would not be found."""
    assert address.of("a", "b") == "facdde7abf1eac5b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    found = tmp_path / "tree"
    (found / "sub").mkdir(parents=True)
    (found / "one").write_text("1")
    (found / "sub" / "two").write_text("2")
    return found


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda folder: (folder / "one").write_text("changed"),
    "name": lambda folder: (folder / "one").rename(folder / "three"),
    "place": lambda folder: (folder / "one").rename(folder / "sub" / "one"),
    "another file": lambda folder: (folder / "sub" / "three").write_text(""),
    "a file less": lambda folder: (folder / "sub" / "two").unlink(),
    "executable": lambda folder: (folder / "one").chmod(0o755),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_tree_that_differs(folder: Path, change: str) -> None:
    before = address.of_tree(folder)
    CHANGES[change](folder)
    assert address.of_tree(folder) != before


def test_what_does_not_matter(folder: Path, tmp_path: Path) -> None:
    """Where it is, when it was made, and who else may read it: all that a checkout changes."""
    before = address.of_tree(folder)
    (folder / "one").chmod(0o600)
    os.utime(folder / "one", (1, 1))
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    assert address.of_tree(copy) == before
