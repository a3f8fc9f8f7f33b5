"""The cluster asked for: frozen, validated, all errors reported at once. The only reader of configuration."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from kubedrill import versions
from kubedrill.errors import InvalidSpec
from kubedrill.node_settings import Frozen, Mount, NodeSettings, PortMapping, VmSettings

# Static addresses come from one /24 (network.py); and a single computer runs out of cores long before.
MAX_WORKERS = 99
# What a subnet for pods of the private 10.0.0.0/8 has room for, a /24 each, with the real ones.
MAX_HOLLOW = 3000
# flannel's own; and where hundreds of hollow nodes are asked for, and no subnet is.
PODS, MANY_PODS = "10.244.0.0/16", "10.240.0.0/12"
CONTROL_PLANE_COUNTS = (1, 3, 5)
# External etcd: as many as bear the loss of one.
ETCD_MEMBERS = 3
_THERE = "a cluster that is there"
# A node's name becomes its host name (63 characters at most, RFC 1123): NAME-control-plane-1.
MAX_NAME = 40
COMPONENTS = ("apiserver", "controllerManager", "scheduler", "etcd", "kubelet", "kubeProxy")

ROLES = ("control-plane", "worker")

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ROLE = r"(control-plane|worker)(-[1-9][0-9]*)?"


def valid_name(name: str) -> str:
    """The name of a cluster, if it is a DNS label (RFC 1123) short enough to name its nodes after it.

    Raises:
        ValueError: it is not.
    """
    if not _DNS_LABEL.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"{name!r} is no name for a cluster: use up to {MAX_NAME} lower-case letters, digits and '-', "
            "with a letter or digit at both ends (a DNS label)"
        )
    return name


def _control_planes(count: int, info: ValidationInfo) -> int:
    if count in CONTROL_PLANE_COUNTS:
        return count
    # One that grows or shrinks has every count between.
    if info.context == _THERE and 0 < count < max(CONTROL_PLANE_COUNTS):
        return count
    if 0 < count < 6:
        raise ValueError(
            f"{count} control planes, an even number: etcd decides by majority, so {count} members bear the loss of "
            f"no more of them than {count - 1} do, and there is one more to lose; use 1, 3 or 5"
        )
    raise ValueError(f"{count} control planes: use 1, 3 or 5")


def _workers(count: int) -> int:
    if 0 <= count <= MAX_WORKERS:
        return count
    raise ValueError(f"{count} workers: from 0 to {MAX_WORKERS} fit into a cluster's network")


def _hollow(count: int) -> int:
    if 0 <= count <= MAX_HOLLOW:
        return count
    raise ValueError(f"{count} hollow nodes: from 0 to {MAX_HOLLOW} are possible")


def _count(data: Mapping[str, Any]) -> int:
    return sum(int(data.get(key, 0)) for key in ("control_planes", "workers", "hollow"))


def _kubernetes(version: str) -> str:
    known = versions.kubernetes_minors()
    minor = version.removeprefix("v")
    for candidate in known:
        if minor in (candidate, versions.kubernetes_version(candidate).removeprefix("v")):
            return candidate
    all_known = ", ".join(f"{minor} ({versions.kubernetes_version(minor)})" for minor in known)
    raise ValueError(f"Kubernetes {version!r} is not known here; known: {all_known}")


def _subnet(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no IPv4 subnet such as 10.244.0.0/16: {error}") from None
    if not 8 <= network.prefixlen <= 22:
        raise ValueError(f"{text!r}: a prefix from /8 to /22 is needed to give every node its part")
    return str(network)


class ClusterSpec(Frozen):
    """A cluster as asked for. Keys of a configuration file are the aliases (camel case, as Kubernetes writes)."""

    name: Annotated[str, AfterValidator(valid_name)] = "lab"
    control_planes: Annotated[int, AfterValidator(_control_planes)] = Field(default=1, alias="controlPlanes")
    workers: Annotated[int, AfterValidator(_workers)] = 2
    hollow: Annotated[int, AfterValidator(_hollow)] = 0
    kubernetes: Annotated[str, AfterValidator(_kubernetes)] = Field(default_factory=versions.newest_minor)
    provider: Literal["docker", "vagrant"] = "docker"
    vm: VmSettings = Field(default_factory=VmSettings)
    etcd: Literal["stacked", "external"] = "stacked"
    pod_subnet: Annotated[str, AfterValidator(_subnet)] = Field(default=PODS, alias="podSubnet")
    service_subnet: Annotated[str, AfterValidator(_subnet)] = Field(default="10.96.0.0/16", alias="serviceSubnet")
    proxy_mode: Literal["iptables", "nftables"] = Field(default="iptables", alias="proxyMode")
    flannel_backend: Literal["vxlan", "host-gw"] = Field(default="vxlan", alias="flannelBackend")
    feature_gates: dict[str, bool] = Field(default_factory=dict, alias="featureGates")
    extra_args: dict[str, dict[str, str]] = Field(default_factory=dict, alias="extraArgs")
    nodes: dict[str, NodeSettings] = Field(default_factory=dict)

    # One validator a field, not one of the whole model: that would run only when every field is right by itself,
    # and so hide its own findings. A field that was refused is absent from info.data.
    @field_validator("etcd")
    @classmethod
    def _on_containers(cls, etcd: str, info: ValidationInfo) -> str:
        if etcd == "external" and info.data.get("provider") == "vagrant":
            raise ValueError("external needs the provider docker: nodes that are VMs have etcd on control planes")
        return etcd

    @field_validator("pod_subnet")
    @classmethod
    def _room(cls, pods: str, info: ValidationInfo) -> str:
        nodes = _count(info.data)
        room = 2 ** (24 - ipaddress.IPv4Network(pods).prefixlen)
        if room < nodes:
            raise ValueError(f"{pods} has room for {room} nodes (a /24 each), not {nodes}")
        return pods

    @field_validator("service_subnet")
    @classmethod
    def _apart(cls, services: str, info: ValidationInfo) -> str:
        pods = info.data.get("pod_subnet")
        if pods and ipaddress.IPv4Network(pods).overlaps(ipaddress.IPv4Network(services)):
            raise ValueError(f"{services} and podSubnet {pods} overlap")
        return services

    @field_validator("extra_args")
    @classmethod
    def _components(cls, args: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        unknown = [component for component in args if component not in COMPONENTS]
        if unknown:
            raise ValueError("\n".join(f"no component '{word}'{nearest(word, COMPONENTS)}" for word in unknown))
        return args

    @field_validator("nodes")
    @classmethod
    def _there(cls, nodes: dict[str, NodeSettings], info: ValidationInfo) -> dict[str, NodeSettings]:
        problems = [
            f"'{key}' is neither a role (control-plane, worker) nor one node (worker-2)"
            for key in nodes
            if not re.fullmatch(_ROLE, key)
        ]
        if {"control_planes", "workers"} <= info.data.keys():
            keys = _node_keys(info.data["control_planes"], info.data["workers"])
            single = [key for key in nodes if re.fullmatch(_ROLE, key) and key not in ROLES]
            problems += [f"there is no '{key}' in this cluster" for key in single if key not in keys]
            problems += _port_problems(nodes, keys)
        if info.data.get("provider") == "vagrant":
            problems += _no_containers(nodes)
        if problems:
            raise ValueError("\n".join(problems))
        return nodes

    def node_keys(self) -> tuple[str, ...]:
        """The nodes without the cluster's name: control-plane-1, worker-1, worker-2."""
        return _node_keys(self.control_planes, self.workers)

    def etcd_keys(self) -> tuple[str, ...]:
        """The computers that have etcd to themselves: etcd-1, etcd-2, etcd-3; none where it is on control planes."""
        return tuple(f"etcd-{number + 1}" for number in range(ETCD_MEMBERS if self.etcd == "external" else 0))

    def computers(self) -> int:
        """How many computers it is made of: its nodes, those of etcd, and the balancer of several control planes."""
        return len(self.node_keys()) + len(self.etcd_keys()) + (self.control_planes > 1)

    def settings(self, key: str) -> NodeSettings:
        """What is special about the node control-plane-N or worker-N."""
        return _settings(self.nodes, key)

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
            InvalidSpec: the text is no JSON object, or was written by a kubedrill that knows other keys.
        """
        source = "the label of a running cluster"
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidSpec(f"cannot read {source}", evidence=[str(error), text]) from error
        if not isinstance(given, dict):
            raise InvalidSpec(f"cannot read {source}", evidence=[text])
        return load_mapping(given, source=source, context=_THERE)

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
        given = {_alias(key): value for key, value in _read(config).items()}
    for key, value in flags.items():
        if value is not None:
            given[_alias(key)] = value
    sources = [str(config)] if config else []
    if not config or any(value is not None for value in flags.values()):
        sources.append("the flags")
    return load_mapping(given, source=" and ".join(sources))


def load_mapping(given: Mapping[str, Any], *, source: str, context: str = "") -> ClusterSpec:
    """A spec from keys and values.

    Args:
        given: the keys of a configuration file.
        source: where they were read.
        context: _THERE for a cluster that is there, which may be on its way to another size.

    Raises:
        InvalidSpec: with every reason at once.
    """
    hollow = given.get("hollow")
    if isinstance(hollow, int) and hollow > 100:
        given = {"podSubnet": MANY_PODS, **given}
    try:
        return ClusterSpec.model_validate(dict(given), context=context)
    except ValidationError as error:
        reasons = [reason for problem in error.errors() for reason in _explain(problem)]
        raise InvalidSpec(
            f"this cluster cannot be made ({source})",
            evidence=reasons,
            todo=["nothing was made; correct it and run the command again"],
        ) from None


def _node_keys(control_planes: int, workers: int) -> tuple[str, ...]:
    counts = {"control-plane": control_planes, "worker": workers}
    return tuple(f"{role}-{number + 1}" for role in ROLES for number in range(counts[role]))


def _settings(nodes: Mapping[str, NodeSettings], key: str) -> NodeSettings:
    role = key.rpartition("-")[0]
    return nodes.get(key, NodeSettings()).over(nodes.get(role, NodeSettings()))


def _port_problems(nodes: Mapping[str, NodeSettings], keys: tuple[str, ...]) -> list[str]:
    problems = []
    published: dict[tuple[int, str], str] = {}
    for key in keys:
        for port in _settings(nodes, key).ports:
            taken = (port.host_port, port.protocol)
            if taken in published:
                who = "twice by " + key if published[taken] == key else f"by {published[taken]} and by {key}"
                problems.append(f"host port {port.host_port} is published {who}")
            published.setdefault(taken, key)
    return problems


def _no_containers(nodes: Mapping[str, NodeSettings]) -> list[str]:
    """What only containers have: reasons against it in VMs."""
    problems = []
    for key, settings in nodes.items():
        if settings.ports:
            problems.append(f"{key}: ports: a VM has an address that this machine reaches; nothing is published")
        if settings.mounts:
            problems.append(f"{key}: mounts: a VM has a file system of its own; folders of the host are not seen there")
    return problems


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """'; did you mean X?', or what is known where nothing comes close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


class _EachKeyOnce(yaml.SafeLoader):
    """YAML as its specification has it: a mapping has no key twice, of which one would win unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<" and keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' is there twice",
                                                        node.start_mark)  # fmt: skip
        return super().construct_mapping(node, deep)


def _read(config: Path) -> dict[str, Any]:
    try:
        content = yaml.load(config.read_text(), Loader=_EachKeyOnce)
    except OSError as error:
        raise InvalidSpec(f"cannot read the configuration {config}", evidence=[str(error)]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{config} is not YAML", evidence=str(error).splitlines()) from error
    if content is None:  # all keys may be left out
        return {}
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
    if location == "kubernetes" and isinstance(got, int | float):
        return [f'kubernetes: write it in quotes, else YAML takes it for a number: kubernetes: "{got}"']
    return [f"{location}: {problem['msg'][0].lower()}{problem['msg'][1:]}, not {got!r}"]


def _known_keys(parents: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = ClusterSpec
    if parents and parents[0] == "nodes":
        model = NodeSettings
        if "ports" in parents:
            model = PortMapping
        elif "mounts" in parents:
            model = Mount
    if parents and parents[0] == "vm":
        model = VmSettings
    return [field.alias or name for name, field in model.model_fields.items()]
