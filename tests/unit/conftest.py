"""Nothing of this user's own is read or written by a test in this folder, whatever it calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all these tests."""
    return tmp_path_factory.mktemp("home")


# Of a module: this folder is no package, and what is of the session would last for tests/cluster, too.
@pytest.fixture(scope="module", autouse=True)
def at_nobodys_home(nobodys_home: Path) -> Iterator[None]:
    """A home without anything in it, shared by these tests: what forgets to name a folder of its own gets that one.

    Go's caches stay where they are: it looks after them itself, and to fill them takes minutes.
    """
    mine = Path.home()
    with pytest.MonkeyPatch.context() as patch:
        for variable, folder, name in (
            ("GOCACHE", os.environ.get("XDG_CACHE_HOME") or mine / ".cache", "go-build"),
            ("GOPATH", mine, "go"),
        ):
            patch.setenv(variable, os.environ.get(variable) or str(Path(folder) / name))
        patch.setenv("HOME", str(nobodys_home))
        for variable in ("KUBECONFIG", "VAGRANT_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            patch.delenv(variable, raising=False)
        yield
