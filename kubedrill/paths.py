"""Where things are kept on this machine (XDG base directory specification, freedesktop.org)."""

from __future__ import annotations

import os
from pathlib import Path

from kubedrill.errors import KubedrillError


def repository() -> Path:
    """The folder that holds images/, scenarios/, tasks.py and Vagrantfile: the checkout, or what a wheel has of it."""
    package = Path(__file__).resolve().parent
    return package / "shipped" if is_installed() else package.parent


def is_installed() -> bool:
    """Whether this is an installed wheel (setup.py puts `shipped` into it), and not a checkout."""
    return (Path(__file__).resolve().parent / "shipped").is_dir()


def cache() -> Path:
    """Builds that can be made again; shared by all checkouts of this user."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """Locks and logs of this user's clusters."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable, "")
    root = Path(base) if base.startswith("/") else Path.home() / fallback
    folder = root / "kubedrill"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KubedrillError(f"{folder} cannot be a folder", evidence=[str(error)],
                             todo=[f"let {variable} name a folder of yours"]) from error  # fmt: skip
    return folder
