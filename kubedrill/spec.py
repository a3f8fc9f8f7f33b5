"""The cluster asked for: frozen, validated, all errors reported at once. The only reader of configuration."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubedrill import versions
from kubedrill.errors import InvalidSpec

# Static addresses come from one /24 (network.py); and a single computer runs out of cores long before.
MAX_WORKERS = 99
CONTROL_PLANE_COUNTS = (1, 3, 5)
# A node's name becomes its host name (63 characters at most, RFC 1123): NAME-control-plane-1.
MAX_NAME = 40
COMPONENTS = ("apiserver", "controllerManager", "scheduler", "etcd", "kubelet", "kubeProxy")
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ROLE = r"(control-plane|worker)(-[1-9][0-9]*)?"


def valid_name(name: str) -> str:
    """The name of a cluster, if it is a DNS label (RFC 1123) short enough to name its nodes after it.

    Raises:
        ValueError: it is not.
    """
    if not _DNS_LABEL.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"'{name}' is no name for a cluster: use up to {MAX_NAME} lower-case letters, digits and '-', "
            "with a letter or digit at both ends (a DNS label)"
        )
    return name


def _control_planes(count: int) -> int:
    if count in CONTROL_PLANE_COUNTS:
        return count
    if 0 < count < 6:
        raise ValueError(
            f"{count} control planes: etcd decides by majority, so {count} members survive no more failures "
            f"than {count - 1}, and one more can fail; use 1, 3 or 5"
        )
    raise ValueError(f"{count} control planes: use 1, 3 or 5")


def _workers(count: int) -> int:
    if 0 <= count <= MAX_WORKERS:
        return count
    raise ValueError(f"{count} workers: from 0 to {MAX_WORKERS} fit into a cluster's network")


def _kubernetes(version: str) -> str:
    known = versions.kubernetes_minors()
    minor = version.removeprefix("v")
    for candidate in known:
        if minor in (candidate, versions.kubernetes_version(candidate).removeprefix("v")):
            return candidate
    all_known = ", ".join(f"{minor} ({versions.kubernetes_version(minor)})" for minor in known)
    raise ValueError(f"Kubernetes '{version}' is not known here; known: {all_known}")


def _subnet(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is no IPv4 subnet such as 10.244.0.0/16: {error}") from None
    if not 8 <= network.prefixlen <= 22:
        raise ValueError(f"'{text}': a prefix from /8 to /22 is needed to give every node its part")
    return str(network)


def _taint(text: str) -> str:
    _, _, effect = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_./]*(=[-A-Za-z0-9_.]*)?:[A-Za-z]+", text):
        raise ValueError(f"'{text}' is no taint: write key=value:Effect")
    if effect not in TAINT_EFFECTS:
        raise ValueError(f"'{text}': the effect is one of {', '.join(TAINT_EFFECTS)}")
    return text


def _host_port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port: 1 to 65535")
    return port


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)


class PortMapping(_Frozen):
    """A port of a node that is published on 127.0.0.1 of the host."""

    node_port: Annotated[int, AfterValidator(_host_port)] = Field(alias="nodePort")
    host_port: Annotated[int, AfterValidator(_host_port)] = Field(alias="hostPort")
    protocol: Literal["tcp", "udp"] = "tcp"


class Mount(_Frozen):
    """A folder of the host that a node sees."""

    host_path: str = Field(alias="hostPath")
    node_path: str = Field(alias="nodePath")
    read_only: bool = Field(default=False, alias="readOnly")

    @model_validator(mode="after")
    def _absolute(self) -> Mount:
        for path in (self.host_path, self.node_path):
            if not path.startswith("/"):
                raise ValueError(f"'{path}': mounts need absolute paths")
        return self


class NodeSettings(_Frozen):
    """What is special about one node, or about all nodes of a role."""

    labels: dict[str, str] = Field(default_factory=dict)
    taints: tuple[Annotated[str, AfterValidator(_taint)], ...] = Field(default=(), strict=False)
    ports: tuple[PortMapping, ...] = Field(default=(), strict=False)
    mounts: tuple[Mount, ...] = Field(default=(), strict=False)

    def over(self, base: NodeSettings) -> NodeSettings:
        """These settings laid over those of the role."""
        return NodeSettings(
            labels={**base.labels, **self.labels},
            taints=(*base.taints, *self.taints),
            ports=(*base.ports, *self.ports),
            mounts=(*base.mounts, *self.mounts),
        )


class ClusterSpec(_Frozen):
    """A cluster as asked for. Keys of a configuration file are the aliases (camel case, as Kubernetes writes)."""

    name: Annotated[str, AfterValidator(valid_name)] = "lab"
    control_planes: Annotated[int, AfterValidator(_control_planes)] = Field(default=1, alias="controlPlanes")
    workers: Annotated[int, AfterValidator(_workers)] = 2
    kubernetes: Annotated[str, AfterValidator(_kubernetes)] = Field(default_factory=versions.newest_minor)
    provider: Literal["docker"] = "docker"
    pod_subnet: Annotated[str, AfterValidator(_subnet)] = Field(default="10.244.0.0/16", alias="podSubnet")
    service_subnet: Annotated[str, AfterValidator(_subnet)] = Field(default="10.96.0.0/16", alias="serviceSubnet")
    proxy_mode: Literal["iptables", "nftables"] = Field(default="iptables", alias="proxyMode")
    flannel_backend: Literal["vxlan", "host-gw"] = Field(default="vxlan", alias="flannelBackend")
    feature_gates: dict[str, bool] = Field(default_factory=dict, alias="featureGates")
    extra_args: dict[str, dict[str, str]] = Field(default_factory=dict, alias="extraArgs")
    nodes: dict[str, NodeSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> ClusterSpec:
        problems = [*self._subnet_problems(), *self._node_problems()]
        for component in self.extra_args:
            if component not in COMPONENTS:
                problems.append(f"extraArgs: no component '{component}'{nearest(component, COMPONENTS)}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _subnet_problems(self) -> list[str]:
        pods, services = (ipaddress.IPv4Network(net) for net in (self.pod_subnet, self.service_subnet))
        problems = []
        if pods.overlaps(services):
            problems.append(f"podSubnet {pods} and serviceSubnet {services} overlap")
        nodes = self.control_planes + self.workers
        if 2 ** max(0, 24 - pods.prefixlen) < nodes:
            problems.append(
                f"podSubnet {pods} has room for {2 ** (24 - pods.prefixlen)} nodes (a /24 each), not {nodes}"
            )
        return problems

    def _node_problems(self) -> list[str]:
        problems = []
        published: dict[tuple[int, str], str] = {}
        for key in self.nodes:
            if not re.fullmatch(_ROLE, key):
                problems.append(
                    f"nodes: '{key}' is neither a role (control-plane, worker) nor one node (worker-2)"
                )
            elif key not in ("control-plane", "worker") and key not in self.node_keys():
                problems.append(f"nodes: there is no '{key}' in this cluster")
        for key in self.node_keys():
            for port in self.settings(key).ports:
                other = published.setdefault((port.host_port, port.protocol), key)
                if other != key:
                    problems.append(f"nodes: {key} and {other} both publish host port {port.host_port}")
        return problems

    def node_keys(self) -> tuple[str, ...]:
        """The nodes without the cluster's name: control-plane-1, worker-1, worker-2."""
        control_planes = [f"control-plane-{number + 1}" for number in range(self.control_planes)]
        return (*control_planes, *(f"worker-{number + 1}" for number in range(self.workers)))

    def settings(self, key: str) -> NodeSettings:
        """What is special about the node control-plane-N or worker-N."""
        role = key.rpartition("-")[0]
        return self.nodes.get(key, NodeSettings()).over(self.nodes.get(role, NodeSettings()))

    def version(self) -> str:
        """The exact Kubernetes version: v1.37.2."""
        return versions.kubernetes_version(self.kubernetes)

    def to_json(self) -> str:
        """One line that `from_json` reads again."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, text: str) -> ClusterSpec:
        """The spec that `to_json` wrote.

        Raises:
            InvalidSpec: the text was written by a kubedrill that knows other keys.
        """
        return load_mapping(yaml.safe_load(text), source="the label of a running cluster")

    def differences(self, other: ClusterSpec) -> list[str]:
        """What differs, one line a key: 'workers: 2 there, 3 asked for' (`other` is what is there)."""
        mine, theirs = self.model_dump(by_alias=True), other.model_dump(by_alias=True)
        return [f"{key}: {theirs[key]} there, {mine[key]} asked for" for key in mine if mine[key] != theirs[key]]


def load(config: Path | None, flags: Mapping[str, Any]) -> ClusterSpec:
    """The spec of a YAML file with flags laid over it.

    Args:
        config: a YAML file whose keys are those of ClusterSpec; none for the defaults.
        flags: keys by alias or name; those that are None count as not given.

    Raises:
        InvalidSpec: with every reason at once.
    """
    given: dict[str, Any] = {}
    if config is not None:
        given = _read(config)
    for key, value in flags.items():
        if value is not None:
            given.pop(_alias(key), None)
            given[_alias(key)] = value
    return load_mapping(given, source=str(config) if config else "the flags")


def load_mapping(given: Mapping[str, Any], *, source: str) -> ClusterSpec:
    """A spec from keys and values.

    Raises:
        InvalidSpec: with every reason at once; `source` says where they were read.
    """
    try:
        return ClusterSpec.model_validate(dict(given))
    except ValidationError as error:
        reasons = [reason for problem in error.errors() for reason in _explain(problem)]
        raise InvalidSpec(
            f"this cluster cannot be made ({source})",
            evidence=reasons,
            todo=["nothing was made; correct it and run the command again"],
        ) from None


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """'; did you mean X?', or what is known where nothing comes close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _read(config: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(config.read_text())
    except OSError as error:
        raise InvalidSpec(f"cannot read the configuration {config}", evidence=[str(error)]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{config} is not YAML", evidence=str(error).splitlines()) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidSpec(
            f"{config} does not hold keys and values",
            evidence=[f"it is a YAML {type(content).__name__}"],
            todo=["write lines such as 'workers: 3'; README.md lists the keys"],
        )
    return content


def _alias(name: str) -> str:
    field = ClusterSpec.model_fields.get(name)
    return field.alias if field is not None and field.alias else name


def _explain(problem: Any) -> list[str]:
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return [f"unknown key '{location}'{nearest(str(problem['loc'][-1]), _known_keys(problem['loc'][:-1]))}"]
    if problem["type"] == "value_error":
        lines = str(problem["ctx"]["error"]).splitlines()
        return [f"{location}: {line}" if location else line for line in lines]
    got = problem["input"]
    return [f"{location}: {problem['msg'][0].lower()}{problem['msg'][1:]}, not {got!r}"]


def _known_keys(parents: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = ClusterSpec
    if parents and parents[0] == "nodes":
        model = NodeSettings
        if "ports" in parents:
            model = PortMapping
        elif "mounts" in parents:
            model = Mount
    return [field.alias or name for name, field in model.model_fields.items()]
