"""Which versions there are. Each is written once, in images/components/NAME/go.mod."""

from __future__ import annotations

import re
from pathlib import Path

from kubedrill.errors import KubedrillError
from kubedrill.paths import repository

_PREFIX = "kubernetes-"


def components_dir() -> Path:
    """The folder with one go.mod a component."""
    return repository() / "images" / "components"


def kubernetes_minors() -> tuple[str, ...]:
    """The Kubernetes minors that can be asked for, oldest first: ('1.36', '1.37')."""
    found = [path.name.removeprefix(_PREFIX) for path in components_dir().glob(f"{_PREFIX}*")]
    return tuple(sorted(found, key=lambda minor: [int(part) for part in minor.split(".")]))


def newest_minor() -> str:
    """The Kubernetes minor used where none is asked for."""
    return kubernetes_minors()[-1]


def kubernetes_version(minor: str) -> str:
    """The patch version of a minor: '1.37' gives 'v1.37.2'."""
    return required_version(components_dir() / f"{_PREFIX}{minor}" / "go.mod", "k8s.io/kubernetes")


def component_version(component: str, module: str) -> str:
    """The version of a module that a component's go.mod requires."""
    return required_version(components_dir() / component / "go.mod", module)


def required_version(go_mod: Path, module: str) -> str:
    """The version of `module` in a go.mod.

    Raises:
        KubedrillError: the file does not require it.
    """
    pattern = rf"^(?:require)?\s*{re.escape(module)} (v\S+)"
    found = re.search(pattern, go_mod.read_text(), flags=re.MULTILINE)
    if not found:
        raise KubedrillError(f"{go_mod} does not require {module}", todo=["restore the file: git checkout images"])
    return found.group(1)


def minor_of(version: str) -> str:
    """'v1.37.2' gives '1.37'."""
    major, minor, *_ = version.removeprefix("v").split(".")
    return f"{major}.{minor}"
