"""A Go toolchain new enough for images/components: which ones are here, and what to do where none will do."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kubedrill import shell, versions
from kubedrill.errors import CommandFailed, MissingPrerequisite

# Since Go 1.21 a go command can fetch another toolchain as a Go module (go.dev/doc/toolchain).
FETCHES_OTHERS = (1, 21, 0)
# Since Go 1.13 any go command fetches any module and asks the checksum database for it; a toolchain is such a module.
# Debian 12 has no newer one than 1.19.
FETCHES_MODULES = (1, 13, 0)
USUAL_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go-*/bin/go", "/usr/lib/go/bin/go")

# The GOTOOLCHAIN of a command that is held to itself.
_LOCAL = "local"

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Toolchain:
    """A go command and the release that it is."""

    path: str
    version: Version


@dataclass(frozen=True)
class Choice:
    """Where Go is to come from.

    Args:
        kind: 'enough' (as it is), 'fetches' (it fetches the release that is required), 'package' (to be installed),
            or 'nothing'.
        found: the toolchain here that is used, or the newest that does not help.
        package: the package to install.
    """

    kind: Literal["enough", "fetches", "package", "nothing"]
    found: Toolchain | None = None
    package: str = ""


def required_version(components: Path | None = None) -> Version:
    """The newest release that a go.mod of images/components asks for."""
    files = sorted((components or versions.components_dir()).glob("*/go.mod"))
    lines = [re.search(r"^go (\S+)", file.read_text(), flags=re.MULTILINE) for file in files]
    return max((parse(line.group(1)) for line in lines if line), default=FETCHES_OTHERS)


def parse(text: str) -> Version:
    """The first Go release named in a text: 'go version go1.26.8 linux/amd64' and '2:1.26.8-1' give (1, 26, 8).

    A release candidate counts as older than its release. Without any the answer is (0, 0, 0).
    """
    found = re.search(r"(?<![\d.])(\d+)\.(\d+)(?:\.(\d+))?(~?(?:rc|beta)\d+)?", text)
    if not found:
        return (0, 0, 0)
    patch = -1 if found.group(4) else int(found.group(3) or 0)
    return (int(found.group(1)), int(found.group(2)), patch)


def name(version: Version) -> str:
    """(1, 26, 0) gives 'go1.26.0'."""
    return f"go{version[0]}.{version[1]}.{max(version[2], 0)}"


def installed(places: Sequence[str] = USUAL_PLACES) -> tuple[Toolchain, ...]:
    """The go commands of this machine: the one on PATH, then those in the usual places.

    Args:
        places: absolute paths; '*' stands for anything.
    """
    on_path = shutil.which("go")
    paths = [on_path] if on_path else []
    for place in places:
        paths += sorted(str(path) for path in Path("/").glob(place.lstrip("/")) if os.access(path, os.X_OK))
    found: dict[str, Toolchain] = {}
    for path in dict.fromkeys(paths):
        version = _ask(path)
        if version is not None:
            found[path] = Toolchain(path, version)
    return tuple(found.values())


def candidates() -> dict[str, Version]:
    """The releases that apt could install by package name; empty where there is no apt. Takes about a second."""
    if not shutil.which("apt-cache"):
        return {}
    listed = shell.run(["apt-cache", "search", "--names-only", r"^golang-1\.[0-9]+-go$"], check=False, timeout=60)
    return offered(["golang-go", *(line.split()[0] for line in listed.stdout.splitlines() if line.strip())])


def offered(packages: Sequence[str]) -> dict[str, Version]:
    """The releases of packages that apt could install; empty where there is no apt.

    Args:
        packages: their names.
    """
    if not shutil.which("apt-cache"):
        return {}
    # It says in the user's language what a candidate is.
    told = shell.run(["apt-cache", "policy", *packages], env={"LC_ALL": "C"}, check=False, timeout=60)
    return parse_policy(told.stdout)


def parse_policy(text: str) -> dict[str, Version]:
    """The candidates in what `apt-cache policy` prints, by package."""
    pairs = re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?:\d+:)?(\S+)", text, flags=re.MULTILINE)
    return {package: parse(version) for package, version in pairs if version != "(none)"}


def choose(
    required: Version, found: Sequence[Toolchain], offered: Mapping[str, Version], *, may_install: bool
) -> Choice:
    """Decide where Go comes from: here as it is, a package, or a go that fetches the release it needs.

    Args:
        required: the release that the components ask for.
        found: the toolchains here, the preferred first.
        offered: releases that apt could install, by package.
        may_install: whether packages can be installed; a go that fetches the rest is preferred where not.
    """
    newest = max(found, key=lambda toolchain: toolchain.version, default=None)
    enough = next((toolchain for toolchain in found if toolchain.version >= required), None)
    if enough:
        return Choice("enough", enough)
    package, version = max(offered.items(), key=lambda item: item[1], default=("", (0, 0, 0)))
    if may_install and version >= required:
        return Choice("package", newest, package)
    if newest and newest.version >= FETCHES_OTHERS:
        return Choice("fetches", newest)
    if version >= FETCHES_OTHERS:
        return Choice("package", newest, package)
    if newest and newest.version >= FETCHES_MODULES:
        return Choice("fetches", newest)
    if version >= FETCHES_MODULES:
        return Choice("package", newest, package)
    return Choice("nothing", newest)


def command_for(choice: Choice, required: Version) -> tuple[list[str], dict[str, str]]:
    """The go command of a choice and the variables to run it with.

    A toolchain that is new enough is held to itself, so that what builds is what `go version` names. One that is
    not is told which release to fetch, which needs GOPROXY and GOSUMDB to be reachable; one that is too old to be told
    fetches it as it would any module, here and now, where that was not done before.

    Raises:
        MissingPrerequisite: the choice is not a toolchain that is here.
        CommandFailed: it could not be fetched.
    """
    if choice.kind == "enough" and choice.found:
        return [choice.found.path], {"GOTOOLCHAIN": _LOCAL}
    if choice.kind == "fetches" and choice.found and choice.found.version < FETCHES_OTHERS:
        return [fetched(choice.found.path, name(required))], {"GOTOOLCHAIN": _LOCAL}
    if choice.kind == "fetches" and choice.found:
        return [choice.found.path], {"GOTOOLCHAIN": f"{name(required)}+auto"}
    raise missing(choice, required)


@functools.cache
def fetched(path: str, release: str) -> str:
    """A go command of another release, fetched by one that is older than go.dev/doc/toolchain.

    It lies in Go's own cache of modules, where a newer go command would put it, too.

    Args:
        path: the older one.
        release: 'go1.26.6'.

    Raises:
        CommandFailed: it could not be fetched.
    """
    argv = [path, "mod", "download", "-json", f"golang.org/toolchain@v0.0.1-{release}.linux-amd64"]
    told = shell.run(argv, env={"GOFLAGS": "", "GOWORK": "off"}, cwd=Path("/")).stdout
    folder = Path(json.loads(told)["Dir"])
    # Modules hold no program: the newer go command sets the same modes after it has fetched one.
    for program in [*folder.glob("bin/*"), *folder.glob("pkg/tool/**/*")]:
        if program.is_file() and not os.access(program, os.X_OK):
            program.chmod(0o755)
    return str(folder / "bin" / "go")


def missing(choice: Choice, required: Version) -> MissingPrerequisite:
    """The error for a machine without a Go that will do."""
    seen = f"{name(choice.found.version)} at {choice.found.path}" if choice.found else "no go command"
    install = [f"apt-get install {choice.package}, which `invoke setup` does"] if choice.package else []
    return MissingPrerequisite(
        f"Go {name(required).removeprefix('go')} or newer is needed to build the nodes' programs",
        evidence=[f"found: {seen}", "looked on PATH and in " + ", ".join(USUAL_PLACES)],
        todo=[
            *install,
            f"install Go 1.13 or newer (go.dev/doc/install) in /usr/local/go; it fetches {name(required)} itself",
        ],
    )


def go_command() -> tuple[list[str], dict[str, str]]:
    """The go command that builds components: (the beginning of its argv, variables to set).

    Raises:
        MissingPrerequisite: no go on this machine will do; says what was found and what to do.
    """
    required = required_version()
    return command_for(choose(required, installed(), {}, may_install=False), required)


def _ask(path: str) -> Version | None:
    try:
        return parse(answer(path))
    except (CommandFailed, MissingPrerequisite):
        return None


def answer(path: str, toolchain: str = _LOCAL) -> str:
    """What `go version` of a go command answers: 'go version go1.26.8 linux/amd64'. The same file is asked once.

    Args:
        path: the command.
        toolchain: the value of GOTOOLCHAIN.

    Raises:
        CommandFailed: it has no answer.
        MissingPrerequisite: there is no such file.
    """
    try:
        there = Path(path).stat()
    except OSError as error:
        raise MissingPrerequisite(f"there is no go command at {path}", todo=["run: invoke setup"]) from error
    return _answer(path, toolchain, there.st_ino, there.st_mtime_ns)


@functools.cache
def _answer(path: str, toolchain: str, *_of_file: int) -> str:
    # Not from a folder of somebody's: a go.mod nearby could make it name, or fetch, another release.
    limit = 30 if toolchain == _LOCAL else None
    return shell.run([path, "version"], env={"GOTOOLCHAIN": toolchain}, cwd=Path("/"), timeout=limit).stdout.strip()
