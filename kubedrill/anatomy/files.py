"""The files of a component: its unit or manifest, what its flags and its configuration name, its data and its log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubedrill.anatomy import parse
from kubedrill.anatomy.facts import ApiFacts, NodeFacts
from kubedrill.anatomy.find import Found
from kubedrill.anatomy.model import File, Flag, Source

# What flags do not name.
_FIXED = {
    "kubelet": (
        ("/var/lib/kubelet", "data"),
        ("/var/lib/kubelet/pki/kubelet-client-current.pem", "certificate and key of its client"),
        ("/var/lib/kubelet/kubeadm-flags.env", "environment"),
    ),
    "containerd": (
        ("/etc/containerd/config.toml", "configuration"),
        ("/run/containerd/containerd.sock", "socket"),
        ("/etc/cni/net.d", "configuration of pod networks"),
    ),
    "flannel": (
        ("/run/flannel/subnet.env", "lease of this node"),
        ("/etc/cni/net.d/10-flannel.conflist", "configuration of pod networks"),
    ),
}
# Fields of a configuration that name files, with a dot between levels.
_FIELDS = {
    "kubelet": (
        ("staticPodPath", "static manifests"),
        ("authentication.x509.clientCAFile", "certificate"),
        ("tlsCertFile", "certificate"),
        ("tlsPrivateKeyFile", "private key"),
        ("resolvConf", "resolver of pods"),
    ),
    "kube-proxy": (("clientConnection.kubeconfig", "kubeconfig"),),
    "containerd": (("root", "data"), ("state", "data until the next boot")),
}
_CONFIG_MAPS = {
    "kube-proxy": ("configmap kube-system kube-proxy", "kube-system/kube-proxy"),
    "coredns": ("configmap kube-system coredns", "kube-system/coredns"),
    "flannel": ("configmap kube-flannel kube-flannel-cfg", "kube-flannel/kube-flannel-cfg"),
}


def of(
    found: Found, node: NodeFacts, api: ApiFacts, flags: tuple[Flag, ...], sources: tuple[Source, ...]
) -> tuple[File, ...]:
    """The files of a component, each once, with whether they are there."""
    if node.silent or found.state == "absent":
        return ()
    pid = found.process.pid if found.process else 0
    inside = parse.paths(node.sections.get(f"{pid} inside", ""), f"/proc/{pid}/root") if found.pod else {}
    named: dict[str, str] = {}
    for path, purpose in [*_of_start(found, node), *_of_flags(flags), *_of_config(found, sources)]:
        named.setdefault(path, purpose)
    for path, purpose in _FIXED.get(found.kind.name, ()):
        named.setdefault(path, purpose)
    result = [_file(path, purpose, node.files, inside, in_pod=found.pod is not None) for path, purpose in named.items()]
    if found.kind.name in _CONFIG_MAPS:
        section, name = _CONFIG_MAPS[found.kind.name]
        answer = parse.answer(api.sections.get(section))
        there = None if answer is None or answer.status not in (200, 404) else answer.ok
        result.append(File(f"ConfigMap {name}", "configuration", "API", there))
    return (*result, *_logs(found, node))


def _file(path: str, purpose: str, on_node: dict[str, str], inside: dict[str, str], *, in_pod: bool) -> File:
    if in_pod and path in inside and inside[path] != on_node.get(path):
        return File(path, purpose, "container", True)
    return File(path, purpose, "node", path in on_node)


def _of_start(found: Found, node: NodeFacts) -> Iterator[tuple[str, str]]:
    if found.started.path:
        yield found.started.path, "unit" if found.kind.unit else "manifest"
    properties = parse.unit(node.sections.get(f"unit {found.kind.unit}", "")) if found.kind.unit else {}
    for path in properties.get("DropInPaths", "").split():
        yield path, "drop-in"
    for path in parse.environment_files(properties):
        yield path, "environment"


def _of_flags(flags: tuple[Flag, ...]) -> Iterator[tuple[str, str]]:
    for flag in flags:
        if flag.value.startswith("/"):
            for path in flag.value.split(","):
                yield path, _purpose(flag.name, path)


def _purpose(flag: str, path: str) -> str:
    if flag in ("config", "conf"):
        return "configuration"
    if flag.endswith("kubeconfig"):
        return "kubeconfig"
    if path.endswith((".key", "-key.pem")):
        return "private key"
    if path.endswith(".pub"):
        return "public key"
    if path.endswith((".crt", ".pem")) or flag.endswith(("cafile", "ca-file", "cert-file")):
        return "certificate"
    return "data" if flag == "data-dir" else f"--{flag}"


def _of_config(found: Found, sources: tuple[Source, ...]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source.name not in ("configz", "config dump"):
            continue
        for field, purpose in _FIELDS.get(found.kind.name, ()):
            value: Any = source.content
            for key in field.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, str) and value.startswith("/"):
                yield value, purpose


def _logs(found: Found, node: NodeFacts) -> Iterator[File]:
    if found.kind.unit:
        yield File(f"journalctl -u {found.kind.unit}", "log", "node", bool(node.files.get("/var/log/journal")))
    elif found.pod:
        folder = f"/var/log/pods/{found.pod.namespace}_{found.pod.name}_{found.pod.uid}/{found.kind.container}"
        yield File(folder, "log", "node", folder in node.files)
