"""Where journals of faults are, for those who need not read them: what is in them takes a while to be known."""

from __future__ import annotations

import shutil
from pathlib import Path

from kubedrill import paths
from kubedrill.spec import valid_name


def of(cluster: str) -> Path:
    """The folder of a cluster's journal.

    Raises:
        ValueError: no cluster can have that name.
    """
    return paths.state() / "journal" / valid_name(cluster)


def clusters() -> list[str]:
    """The clusters of this user that anything was left of, gone ones included."""
    return sorted(folder.name for folder in (paths.state() / "journal").glob("*") if any(folder.iterdir()))


def forget(cluster: str) -> bool:
    """Remove the journal of a cluster that is gone: nothing is left that could be undone.

    Returns:
        Whether there was anything in it.

    Raises:
        ValueError: no cluster can have that name.
    """
    folder = of(cluster)
    if not folder.exists():
        return False
    shutil.rmtree(folder)
    return True
