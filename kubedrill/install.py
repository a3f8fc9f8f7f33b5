"""What `invoke setup` does: see what this machine lacks, plan it, and do it or say which commands would."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from kubedrill import dockerd, engine_socket, gotoolchain, host, shell
from kubedrill.dockerd import ensure_engine
from kubedrill.engine_socket import engine_answers
from kubedrill.errors import MissingPrerequisite

__all__ = [
    "INOTIFY", "PREREQUISITES", "Machine", "Prerequisite", "Step", "engine_answers", "ensure_engine",
    "lacking", "look", "plan", "setup",
]  # fmt: skip

# Twice the 512 instances and just the 524288 watches of the usual advice for many nodes on one machine
# (kind.sigs.k8s.io/docs/user/known-issues): containers share these limits, and a drill may add nodes.
INOTIFY = host.Inotify(1024, 524288)
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_APT = ("DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120")
_APT_SECONDS = 1800


@dataclass(frozen=True)
class Prerequisite:
    """A package of Debian and Ubuntu that is needed.

    Args:
        package: its name.
        why: what it is for.
        programs: it is there when all of these are on PATH.
        files: it is there when one of these exists ('*' stands for anything).
    """

    package: str
    why: str
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


_CLIENT = "docker-cli"
PREREQUISITES = (
    Prerequisite("docker.io", "nodes are containers of its engine", programs=("dockerd",)),
    # Debian 13 has it apart from the engine.
    Prerequisite(_CLIENT, "`invoke shell` and the commands shown to learners use it", programs=("docker",)),
    Prerequisite("mmdebstrap", "makes the files of a node from the distribution's archive", programs=("mmdebstrap",)),
    Prerequisite("uidmap", "lets mmdebstrap work for a user who is not root", programs=("newuidmap",)),
    Prerequisite("git", "Go fetches some modules with it where no module proxy serves them", programs=("git",)),
    Prerequisite("gcc", "flannel is built with cgo", programs=("gcc",)),
    Prerequisite("libc6-dev", "flannel is linked statically", files=("/usr/lib/*/libc.a", "/usr/lib/libc.a")),
    Prerequisite("iptables", "the engine publishes ports with it; faults use it", programs=("iptables",)),
    Prerequisite("e2fsprogs", "makes the image store's disk for VMs", programs=("mke2fs",)),
    Prerequisite("curl", "the commands shown to learners use it", programs=("curl",)),
    Prerequisite("iproute2", "kernel features are tried out with ip and tc", programs=("ip", "tc")),
    Prerequisite("ca-certificates", "modules and archives are fetched by TLS",
                 files=("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")),
)  # fmt: skip

Engine = Literal["answers", "forbidden", "silent", "remote"]


@dataclass(frozen=True)
class Machine:
    """What `plan` decides from.

    Args:
        distribution: which one it is.
        root: whether this process acts as root.
        systemd: whether systemd is process 1.
        packages: packages that are lacking.
        engine: whether Docker's engine answers, may not be asked, is silent, or is a remote one that is silent.
        go: where Go comes from.
        inotify: the limits in force.
        load_bridge_filter: whether br_netfilter is a module that waits to be loaded.
        lists_fresh: whether apt's lists were updated just now.
    """

    distribution: host.Distribution
    root: bool
    systemd: bool
    packages: tuple[str, ...]
    engine: Engine
    go: gotoolchain.Choice
    inotify: host.Inotify
    load_bridge_filter: bool = False
    lists_fresh: bool = False


@dataclass(frozen=True)
class Step:
    """One thing to do: what, why, and the command that a person would type as root."""

    kind: Literal["update", "install", "inotify", "bridge", "engine", "group"]
    why: str
    argv: tuple[str, ...]

    def line(self, *, root: bool) -> str:
        """The command to paste."""
        return host.as_root(" ".join(self.argv), root=root)


def lacking(
    *,
    engine: Engine,
    unprivileged: bool,
    which: Callable[[str], object] | None = None,
    exists: Callable[[str], bool] | None = None,
    offers: Callable[[str], bool] | None = None,
) -> tuple[str, ...]:
    """The packages of PREREQUISITES that this machine lacks.

    Args:
        engine: the state of the engine; docker.io is needed only where none is there.
        unprivileged: whether kubedrill will be used by somebody other than root.
        which: finds a program.
        exists: whether a path with '*' in it matches anything.
        offers: whether apt could install a package.
    """
    find, there, to_be_had = which or _which, exists or _exists, offers or _offers
    found = []
    for item in PREREQUISITES:
        if item.package == "docker.io" and engine != "silent":
            continue
        if item.package == "uidmap" and not unprivileged:
            continue
        complete = all(find(program) for program in item.programs)
        if item.package == _CLIENT and not complete and not to_be_had(item.package):
            continue
        if not complete or (item.files and not any(there(file) for file in item.files)):
            found.append(item.package)
    return tuple(found)


def look(answers: Callable[[], bool] = engine_answers) -> Machine:
    """Find out what this machine has and lacks."""
    root = host.is_root()
    engine = _engine(answers)
    found = gotoolchain.installed()
    required = gotoolchain.required_version()
    enough = any(toolchain.version >= required for toolchain in found)
    offered = {} if enough else gotoolchain.candidates()
    return Machine(
        distribution=host.distribution(),
        root=root,
        systemd=host.systemd_runs(),
        packages=lacking(engine=engine, unprivileged=not root or "SUDO_UID" in os.environ),
        engine=engine,
        go=gotoolchain.choose(required, found, offered, may_install=root),
        inotify=host.inotify_limits(),
        load_bridge_filter=_bridge_filter_waits(),
    )


def plan(machine: Machine, required: gotoolchain.Version | None = None) -> tuple[Step, ...]:
    """The steps that give this machine what it lacks, in order; none where it lacks nothing.

    Args:
        machine: what it has and lacks.
        required: the Go release that is required; that of images/components without it.

    Raises:
        MissingPrerequisite: no Go will do, and no package could give one.
    """
    steps = []
    lists_may_help = machine.distribution.has_apt and not machine.lists_fresh
    if machine.go.kind == "nothing" and not lists_may_help:
        raise gotoolchain.missing(machine.go, required or gotoolchain.required_version())
    packages = [*machine.packages, *([machine.go.package] if machine.go.kind == "package" else [])]
    if (packages or machine.go.kind == "nothing") and not machine.lists_fresh:
        steps.append(Step("update", "apt must know what the archive holds", (*_APT, "update")))
    if packages:
        reasons = {item.package: item.why for item in PREREQUISITES}
        why = "; ".join(f"{package}: {reasons.get(package, 'builds the programs of a node')}" for package in packages)
        steps.append(Step("install", why, (*_APT, "install", "-y", "--no-install-recommends", *packages)))
    if machine.inotify.instances < INOTIFY.instances or machine.inotify.watches < INOTIFY.watches:
        wanted = host.Inotify(*map(max, machine.inotify, INOTIFY))
        steps.append(Step("inotify", "all nodes share these limits", tuple(host.sysctl_command(wanted).split())))
    if machine.load_bridge_filter:
        steps.append(Step("bridge", "kube-proxy must see what crosses a bridge", ("modprobe", "br_netfilter")))
    if machine.engine == "silent":
        start = tuple(dockerd.start_command(machine.systemd).split())
        steps.append(Step("engine", "nodes are its containers", start))
    if machine.engine == "forbidden":
        why = "this user may not use Docker's engine (log in again afterwards)"
        steps.append(Step("group", why, ("usermod", "-aG", "docker", "$USER")))
    return tuple(steps)


def setup(
    answers: Callable[[], bool] = engine_answers,
    *,
    look: Callable[[Callable[[], bool]], Machine] = look,
    run: Callable[..., shell.Result] = shell.run,
    start_engine: Callable[[Callable[[], bool]], str] = ensure_engine,
) -> list[str]:
    """Give this machine what it lacks. Twice is harmless.

    Args:
        answers: asks Docker's engine.
        look: finds out what is lacking.
        run: runs a command.
        start_engine: makes the engine answer.

    Returns:
        What was done, or was right already: one line each.

    Raises:
        MissingPrerequisite: this process may not do it (not root, or no apt); the to-do has the exact commands.
        EngineUnavailable: the engine does not come up.
        CommandFailed: apt failed.
    """
    machine = look(answers)
    steps = plan(machine)
    _refuse(machine, steps)
    done: list[str] = []
    if steps and steps[0].kind == "update":
        _apt(run, steps[0])
        done.append("updated apt's lists")
        machine = replace(look(answers), lists_fresh=True)
        steps = plan(machine)
    for step in steps:
        done.append(_perform(step, answers, run, start_engine))
    return done + _right_already(machine, steps)


def _refuse(machine: Machine, steps: Sequence[Step]) -> None:
    """Raise where this process may not do the steps."""
    foreign = [step for step in steps if step.kind in ("update", "install")] if not machine.distribution.has_apt else []
    if machine.engine == "remote":
        start_elsewhere = "start the engine that DOCKER_HOST names, or unset DOCKER_HOST"
        raise MissingPrerequisite("the engine that DOCKER_HOST names does not answer", todo=[start_elsewhere])
    if not steps or (machine.root and not foreign):
        return
    lines = [step.line(root=machine.root) for step in steps if step not in foreign]
    if foreign:
        names = ", ".join([*machine.packages, *([machine.go.package] if machine.go.package else [])])
        lines.insert(0, f"install with this distribution's package manager (Debian's names): {names}")
    reason = f"'{machine.distribution.id or 'unknown'}' has no apt" if foreign else "this user is not root"
    raise MissingPrerequisite(
        "this machine lacks something that `invoke setup` may not add",
        evidence=[reason, *(f"{step.kind}: {step.why}" for step in steps)],
        todo=lines,
    )


def _perform(
    step: Step,
    answers: Callable[[], bool],
    run: Callable[..., shell.Result],
    start_engine: Callable[[Callable[[], bool]], str],
) -> str:
    if step.kind == "engine":
        return start_engine(answers)
    if step.kind == "inotify":
        host.raise_inotify_limits(INOTIFY)
        return f"raised the inotify limits to at least {INOTIFY.instances} and {INOTIFY.watches}, until the next boot"
    if step.kind == "bridge":
        loaded = run(list(step.argv), check=False, timeout=30).status == 0
        return "loaded br_netfilter" if loaded else "br_netfilter could not be loaded: see invoke doctor"
    _apt(run, step)
    packages = step.argv[step.argv.index("--no-install-recommends") + 1 :]
    return f"installed {', '.join(packages)}"


def _apt(run: Callable[..., shell.Result], step: Step) -> None:
    variable, _, value = step.argv[0].partition("=")
    run(list(step.argv[1:]), env={variable: value}, timeout=_APT_SECONDS)


def _right_already(machine: Machine, steps: Sequence[Step]) -> list[str]:
    kinds = {step.kind for step in steps}
    found = machine.go.found
    lines = []
    if "install" not in kinds:
        lines.append("packages: nothing is lacking")
    if found and machine.go.kind != "package":
        more = "" if machine.go.kind == "enough" else ", which fetches the release that is needed when it builds"
        lines.append(f"Go: {gotoolchain.name(found.version)} at {found.path}{more}")
    if "inotify" not in kinds:
        lines.append(f"inotify: {machine.inotify.instances} instances, {machine.inotify.watches} watches")
    if "engine" not in kinds:
        lines.append("engine: answers")
    return lines


def _engine(answers: Callable[[], bool]) -> Engine:
    if answers():
        return "answers"
    path = engine_socket.socket_path()
    if path is None:
        return "remote"
    return "forbidden" if engine_socket.ask(path) == "forbidden" else "silent"


def _bridge_filter_waits() -> bool:
    active = (host.PROC / "sys/net/bridge/bridge-nf-call-iptables").exists()
    if active or not _which("modprobe"):
        return False
    found = next(feature for feature in host.kernel_features() if feature.name == "br_netfilter")
    return found.state == "present"


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=_SYSTEM_PATH)


def _offers(package: str) -> bool:
    return package in gotoolchain.offered([package])


def _exists(pattern: str) -> bool:
    return any(Path("/").glob(pattern.lstrip("/")))
