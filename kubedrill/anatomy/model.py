"""What is told of a component. These are the fields of `invoke components --json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["running", "down", "absent", "unknown"]


@dataclass(frozen=True)
class Start:
    """How a component is started.

    Args:
        kind: systemd unit, static pod, DaemonSet, Deployment, or another owner; empty where nothing tells.
        name: of that unit, pod, DaemonSet or Deployment.
        path: the unit file or the manifest; empty where there is none on the node.
        told_by: what says so.
    """

    kind: str
    name: str
    path: str = ""
    told_by: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip() or "not known"


@dataclass(frozen=True)
class Flag:
    """A flag that the component was given, without dashes; secrets are replaced."""

    name: str
    value: str


@dataclass(frozen=True)
class File:
    """A file or folder that the component uses.

    Args:
        path: where it is.
        purpose: unit, drop-in, environment, manifest, configuration, kubeconfig, certificate, private key, data, log,
            or the flag that names it.
        place: node; container, where it is mounted into it and not at that path of the node; or API (a ConfigMap).
        exists: whether it is there; None where nobody could look.
    """

    path: str
    purpose: str
    place: Literal["node", "container", "API"]
    exists: bool | None


@dataclass(frozen=True)
class Gate:
    """A feature gate.

    Args:
        name: its name.
        stage: ALPHA, BETA, DEPRECATED, or empty for GA.
        on: whether it is on, as the component's metrics tell.
        default: what the program itself names as its default; None where it names none (GA gates; etcd).
        set_by: the flag or field that sets it; empty where nothing does.
    """

    name: str
    stage: str
    on: bool
    default: bool | None
    set_by: str

    @property
    def differs(self) -> bool:
        """Whether it is known not to be as by default."""
        return self.default is not None and self.on != self.default


@dataclass(frozen=True)
class Check:
    """A health page: `source` is what was asked, `answer` what it said in short."""

    name: str
    source: str
    ok: bool
    answer: str


@dataclass(frozen=True)
class Source:
    """Something that tells what is effective.

    Args:
        name: configz, flagz, statusz, Corefile and so on.
        source: a URL, a file or a command: where it was read.
        answered: whether it told anything.
        note: why not, or what to know of it.
        content: what it told, as data or text; None where it did not.
    """

    name: str
    source: str
    answered: bool
    note: str = ""
    content: Any = None


@dataclass(frozen=True)
class Component:
    """A component on one node; where several pods of it run there, one of them.

    Args:
        name: kubelet, containerd, kube-apiserver, kube-controller-manager, kube-scheduler, etcd, kube-proxy, flannel or
            coredns.
        node: the node's name.
        state: running; down (it should run); absent (it need not be there); unknown (the node tells nothing).
        healthy: None where it need not be there.
        why: what is wrong, or why it is not there.
        started: how it is started.
        version: of the running program.
        version_from: what told it.
        pid: on the node; None where it does not run.
        pod: namespace/name; empty where it is in none.
        image: of its container.
        flags: what it was given.
        flags_from: where they were read.
        files: what it uses.
        gates: its feature gates.
        gates_from: where they were read, or why they could not be.
        checks: its health pages.
        sources: what tells its effective configuration.
    """

    name: str
    node: str
    state: State
    healthy: bool | None
    why: str
    started: Start
    version: str = ""
    version_from: str = ""
    pid: int | None = None
    pod: str = ""
    image: str = ""
    flags: tuple[Flag, ...] = ()
    flags_from: str = ""
    files: tuple[File, ...] = ()
    gates: tuple[Gate, ...] = ()
    gates_from: str = ""
    checks: tuple[Check, ...] = ()
    sources: tuple[Source, ...] = ()

    def flag(self, name: str) -> str | None:
        """The value of a flag; None where it was not given."""
        return next((flag.value for flag in self.flags if flag.name == name), None)

    def source(self, name: str) -> Source | None:
        """What was read under that name."""
        return next((source for source in self.sources if source.name == name), None)
