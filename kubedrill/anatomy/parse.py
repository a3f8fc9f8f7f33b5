"""What node.sh and api.sh print, taken apart: text in, data out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from kubedrill.anatomy import redact
from kubedrill.anatomy.model import Flag, Gate

_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f_-]{27}|[0-9a-f]{32})")
_CONTAINER = re.compile(r"[0-9a-f]{64}")
_UNIT = re.compile(r"/([^/]+)\.service")
_GATE = re.compile(r'^(?:kubernetes|etcd_server)_feature_enabled\{name="(\w+)",stage="(\w*)"\} ([01])', re.MULTILINE)
_DEFAULT = re.compile(r"(?:^|[\s:])(\w+)=true\|false \(\w+ - default=(true|false)\)")
_STATUS = re.compile(r"^(\d{3}) (https?://\S*) ?(.*)$")


@dataclass(frozen=True)
class Process:
    """A process on a node: `pod`, `container` and `unit` are what its cgroup says it belongs to."""

    pid: int
    program: str
    pod: str
    container: str
    unit: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a URL answered; status 0 where nothing did."""

    status: int
    url: str
    body: str
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for."""
        return self.status == 200

    @property
    def short(self) -> str:
        """One line of it: what is wrong, where it says so."""
        if self.status == 0:
            return self.error.partition(" after ")[0] or "no answer"
        lines = [line.strip() for line in self.body.splitlines() if line.strip()]
        body = as_json(self.body)
        if isinstance(body, dict):
            known = [f"{key}: {json.dumps(body[key])}" for key in ("healthy", "health") if key in body]
            lines = [str(body["message"])] if "message" in body else known or lines
        # livez and readyz have a line for each of their checks.
        lines = [line for line in lines if line.startswith("[-]")] or lines
        line = redact.scrub(lines[0])[:90] if lines else ""
        return line if self.ok else f"{self.status} {line}".strip()


def sections(text: str, mark: str) -> dict[str, str]:
    """The parts of a script's output by their names.

    Args:
        text: the output.
        mark: the word that begins the line before each part.
    """
    found = {}
    for part in f"\n{text}".split(f"\n{mark} ")[1:]:
        name, _, body = part.partition("\n")
        found[name] = body.strip("\n")
    return found


def answer(section: str | None) -> Answer | None:
    """What curl got, with the line of its status at the end."""
    if section is None:
        return None
    body, _, last = section.strip("\n").rpartition("\n")
    found = _STATUS.match(last)
    if not found:
        return Answer(0, "", "", "no answer")
    return Answer(int(found.group(1)), found.group(2), body.strip("\n"), found.group(3).strip())


def data(section: str | None) -> Any:
    """The JSON of an answer; None where it is none or did not come."""
    got = answer(section)
    return as_json(got.body) if got is not None and got.ok else None


def as_json(text: str) -> Any:
    """JSON, or None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def processes(section: str) -> tuple[Process, ...]:
    """The processes, the oldest first."""
    found = []
    for line in section.splitlines():
        words = line.split()
        if len(words) != 4:
            continue
        pid, program, group, encoded = words
        argv = base64.b64decode(encoded).decode(errors="replace").split("\0")
        pod = _POD.search(group)
        container = _CONTAINER.findall(group)
        unit = None if pod else _UNIT.search(group)
        found.append(
            Process(
                int(pid), program, pod.group(1).replace("_", "-") if pod else "", container[-1] if container else "",
                unit.group(1) if unit else "", tuple(word for word in argv if word),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda process: process.pid))


def flags(words: Sequence[str]) -> tuple[Flag, ...]:
    """The flags of a command line, without its program: --name=value, --name value, -name value, --name."""
    found: list[Flag] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        found.append(Flag(name, redact.value(name, value)))
    return tuple(found)


def unit(section: str) -> dict[str, str]:
    """What systemctl show printed; a property that is there twice has both values, a line each."""
    found: dict[str, str] = {}
    for line in section.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def environment_files(properties: Mapping[str, str]) -> tuple[str, ...]:
    """The paths of a unit's EnvironmentFiles."""
    lines = properties.get("EnvironmentFiles", "").splitlines()
    return tuple(line.partition(" (")[0] for line in lines if line)


def paths(section: str, prefix: str = "") -> dict[str, str]:
    """{path: device:inode} of what is there.

    Args:
        section: lines of both.
        prefix: taken off each path.
    """
    pairs = (line.split(" ", 1) for line in section.splitlines() if " " in line)
    return {path.removeprefix(prefix): inode for inode, path in pairs}


def manifests(section: str) -> dict[str, dict[str, Any]]:
    """{path: the Pod} of the static manifests; a file that is no Pod is left out."""
    found = {}
    for line in section.splitlines():
        entry = as_json(line)
        try:
            pod = yaml.safe_load(entry["text"]) if entry else None
        except yaml.YAMLError:
            continue
        if isinstance(pod, dict) and pod.get("kind") == "Pod":
            found[str(entry["path"])] = pod
    return found


def gate_defaults(section: str) -> dict[str, bool]:
    """{gate: default} from a program's --help."""
    found: dict[str, bool] = {}
    for name, default in _DEFAULT.findall(section):
        # A line may go on with the default under another --min-compatibility-version; the first is the one that holds.
        found.setdefault(name, default == "true")
    return found


def gates_set(found: Iterable[Flag], config: Any) -> dict[str, str]:
    """{gate: what sets it}: the flag --feature-gates, or featureGates of the configuration."""
    named: dict[str, str] = {}
    if isinstance(config, dict):
        named |= dict.fromkeys(config.get("featureGates") or {}, "featureGates of its configuration")
    for flag in found:
        if flag.name == "feature-gates":
            words = [pair.partition("=")[0].rpartition(":")[2].strip() for pair in flag.value.split(",")]
            named |= dict.fromkeys(filter(None, words), "--feature-gates")
    return named


def gates(metrics: str, defaults: Mapping[str, bool], named: Mapping[str, str]) -> tuple[Gate, ...]:
    """The gates of a component.

    Args:
        metrics: lines of kubernetes_feature_enabled (etcd: etcd_server_feature_enabled).
        defaults: of the same program.
        named: what sets a gate.
    """
    return tuple(
        Gate(name, stage, on == "1", defaults.get(name), named.get(name, ""))
        for name, stage, on in sorted(_GATE.findall(metrics))
    )


def label(metrics: str, metric: str, name: str) -> str:
    """The value of a label of a metric; empty where there is none."""
    found = re.search(rf'^{metric}\{{[^}}]*\b{name}="([^"]*)"', metrics, re.MULTILINE)
    return found.group(1) if found else ""
