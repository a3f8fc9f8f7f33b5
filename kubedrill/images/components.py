"""Programs of a node, built from checksummed Go modules into a cache that all checkouts share."""

from __future__ import annotations

import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from kubedrill import gotoolchain, paths, shell, versions
from kubedrill.errors import BuildFailed, CommandFailed
from kubedrill.images import address

Say = Callable[[str], None]


@dataclass(frozen=True)
class Component:
    """One folder of images/components: a go.mod, its go.sum and build.toml."""

    name: str
    folder: Path
    packages: tuple[str, ...]
    version: str
    ldflags: str
    tags: tuple[str, ...]
    cgo: bool
    rename: tuple[tuple[str, str], ...]

    def command(self, go: list[str], target: Path) -> list[str]:
        """The build as a command; run in the component's folder."""
        linker = f"-s -w {self.ldflags}" + (" -extldflags -static" if self.cgo else "")
        tags = ["-tags", ",".join(self.tags)] if self.tags else []
        return [*go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", *tags,
                "-ldflags", linker.strip(), "-o", f"{target}/", *self.packages]  # fmt: skip


def load(name: str) -> Component:
    """Read a component's folder."""
    folder = versions.components_dir() / name
    settings = tomllib.loads((folder / "build.toml").read_text())
    version = ""
    if "version-of" in settings:
        version = versions.required_version(folder / "go.mod", settings["version-of"])
    major, _, rest = version.removeprefix("v").partition(".")
    ldflags = settings.get("ldflags", "").format(version=version, major=major, minor=rest.partition(".")[0])
    return Component(
        name=name,
        folder=folder,
        # `tool` is Go's name for all that the go.mod lists as tools.
        packages=tuple(settings.get("packages", ["tool"])),
        version=version,
        ldflags=" ".join(ldflags.split()),
        tags=tuple(settings.get("tags", [])),
        cgo=settings.get("cgo", False),
        rename=tuple(sorted(settings.get("rename", {}).items())),
    )


def key(component: Component, go_version: str) -> str:
    """The content address of what a component builds to."""
    return address.of(address.of_tree(component.folder), go_version)


def go_version() -> str:
    """What `go version` answers with the toolchain that builds: 'go version go1.26.8 linux/amd64'.

    Raises:
        MissingPrerequisite: there is none.
        CommandFailed: it has no answer.
    """
    argv, env = gotoolchain.go_command()
    return gotoolchain.answer(argv[0], env["GOTOOLCHAIN"])


def build(name: str, compiler: str, say: Say) -> Path:
    """Build a component, unless its cache holds it.

    Args:
        name: a folder of images/components.
        compiler: the answer of `go_version`.
        say: told of what is built, and how long it took.

    Returns:
        The folder with its binaries.

    Raises:
        BuildFailed: with the end of Go's output and where all of it is.
    """
    component = load(name)
    target = paths.cache() / "components" / f"{name}-{key(component, compiler)}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.is_dir():
            return target
        say(f"building {name} {component.version}".rstrip())
        started = time.monotonic()
        workplace = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{name}-"))
        try:
            _compile(component, workplace)
            workplace.chmod(0o755)
            workplace.rename(target)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        say(f"built {name} in {time.monotonic() - started:.0f} s")
    return target


def _compile(component: Component, workplace: Path) -> None:
    argv, env = gotoolchain.go_command()
    log = paths.state() / f"build-{component.name}.log"
    command = component.command(argv, workplace)
    environment = {**env, "CGO_ENABLED": "1" if component.cgo else "0", "GOFLAGS": "", "GOWORK": "off"}
    try:
        shell.run(command, cwd=component.folder, env=environment, log=log)
    except CommandFailed as error:
        raise BuildFailed(
            f"{component.name} {component.version} could not be built".replace("  ", " "),
            evidence=error.evidence,
            todo=[
                f"all of Go's output is in {log}",
                "where a module could not be fetched: see that `go env GOPROXY` is reachable, then build again",
            ],
        ) from error
    for old, new in component.rename:
        (workplace / old).rename(workplace / new)
