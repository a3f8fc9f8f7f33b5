"""What figures were taken on: the machine, its engine, how busy it was, and the revision of kubedrill."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubedrill
from kubedrill import host, paths, shell
from kubedrill.errors import CommandFailed, MissingPrerequisite


def describe(engine: Mapping[str, Any], kubernetes: str, *, proc: Path = host.PROC) -> dict[str, str]:
    """The machine as words, by what they are about.

    Args:
        engine: what `docker info` tells.
        kubernetes: the exact version that is brought up.
        proc: where the kernel tells of itself.
    """
    distribution = host.distribution()
    return {
        "processor": processor((proc / "cpuinfo").read_text(errors="replace")),
        "cores": str(host.cores()),
        "memory": f"{host.memory().total} MiB",
        "system": f"{distribution.id} {distribution.codename}".strip(),
        "linux": platform.release(),
        "cgroup": f"v{host.cgroup_version()}",
        "engine": f"Docker {engine.get('ServerVersion', '?')}, {engine.get('Driver', '?')}",
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "kubernetes": kubernetes,
        "kubedrill": revision(),
    }


def processor(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo; the architecture where none is told, as on arm64."""
    found = re.search(r"^model name\s*: (.*)$", cpuinfo, flags=re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def revision() -> str:
    """The version and, in a checkout, its commit: '0.1.0, aa708e2' or '0.1.0, aa708e2 with changes'."""
    if paths.is_installed():
        return kubedrill.__version__
    git = ["git", "-C", str(paths.repository())]
    try:
        commit = shell.run([*git, "rev-parse", "--short", "HEAD"], timeout=30).stdout.strip()
        changed = shell.run([*git, "status", "--porcelain", "--untracked-files=no"], timeout=30).stdout.strip()
    except (CommandFailed, MissingPrerequisite):
        return kubedrill.__version__
    return f"{kubedrill.__version__}, {commit}{' with changes' if changed else ''}"
