"""From what was found to what is told: a Component with its flags, gates, health and what is effective."""

from __future__ import annotations

import tomllib
from typing import Any

from kubedrill.anatomy import files, parse, redact
from kubedrill.anatomy.facts import ApiFacts, NodeFacts
from kubedrill.anatomy.find import Found
from kubedrill.anatomy.model import Check, Component, Flag, Gate, Source

_WRAPPED = ("kubeletconfig", "kubeproxy.config.k8s.io", "kubecontrollermanager.config.k8s.io", "componentconfig")
_BY_FLAG = "what flags say, without a configuration file; configz has what holds"
_CERTIFICATE = " with the client certificate of admin.conf"


def component(found: Found, node: NodeFacts, api: ApiFacts) -> Component:
    """Everything about one component."""
    kind, process, pod = found.kind, found.process, found.pod
    flags, flags_from = _flags(found)
    part = _Parts(found, node, api)
    sources = part.sources()
    gates, gates_from = part.gates(flags, sources)
    checks = part.checks()
    version, version_from = part.version(sources)
    failing = [f"{check.name}: {check.answer}" for check in checks if not check.ok][:1]
    healthy = None if found.state == "absent" else found.state == "running" and not failing
    return Component(
        name=kind.name, node=node.name, state=found.state, healthy=healthy, why=found.why or "; ".join(failing),
        started=found.started, version=version, version_from=version_from, pid=process.pid if process else None,
        pod=f"{pod.namespace}/{pod.name}" if pod else "", image=found.image, flags=flags, flags_from=flags_from,
        files=files.of(found, node, api, flags, sources), gates=gates, gates_from=gates_from, checks=checks,
        sources=sources,
    )  # fmt: skip


def _flags(found: Found) -> tuple[tuple[Flag, ...], str]:
    if found.process:
        return parse.flags(found.process.argv[1:]), f"/proc/{found.process.pid}/cmdline"
    for container in ((found.manifest or {}).get("spec") or {}).get("containers") or []:
        if container.get("name") == found.kind.container:
            words = [*(container.get("command") or []), *(container.get("args") or [])]
            return parse.flags([str(word) for word in words[1:]]), found.started.path
    return (), ""


class _Parts:
    """What the sections of the node and the API hold for one component."""

    def __init__(self, found: Found, node: NodeFacts, api: ApiFacts) -> None:
        self._found, self._node, self._api = found, node, api
        self._kubelet = found.kind.name == "kubelet"
        self._pid = found.process.pid if found.process else 0

    def sources(self) -> tuple[Source, ...]:
        """What tells its effective configuration."""
        if self._found.state == "absent":
            return ()
        return tuple([self._page(name) for name in self._found.kind.pages if self._pid] + self._own())

    def checks(self) -> tuple[Check, ...]:
        """Its health, as it tells it itself."""
        if not self._pid:
            return ()
        found = []
        for name in self._found.kind.health:
            answer = parse.answer(self._node.sections.get(f"{self._pid} {name}"))
            if answer is None:
                found.append(Check(name, "", False, "was not asked"))
            else:
                found.append(Check(name, answer.url, answer.ok, answer.short))
        if self._found.kind.name == "containerd":
            served = "Server:" in self._text("version")
            found.append(Check("ctr version", "ctr version", served, "the server answers" if served else "no answer"))
        if self._found.kind.name == "flannel":
            lease = "FLANNEL_SUBNET=" in self._node.sections.get("text /run/flannel/subnet.env", "")
            words = "has the lease of this node" if lease else "holds no lease"
            found.append(Check("subnet.env", "/run/flannel/subnet.env", lease, words))
        return tuple(found)

    def gates(self, flags: tuple[Flag, ...], sources: tuple[Source, ...]) -> tuple[tuple[Gate, ...], str]:
        """Its feature gates, and where they were read."""
        if not self._pid or self._found.kind.name in ("containerd", "flannel", "coredns"):
            return (), ""
        metrics = parse.answer(self._section("metrics"))
        if metrics is None or not metrics.ok:
            return (), f"metrics: {metrics.short if metrics else self._api.silent or 'were not asked'}"
        config = next((source.content for source in sources if source.name == "configz"), None)
        # Under another version's behaviour the defaults are that version's, and --help does not tell them.
        other = {flag.name for flag in flags} & {"emulated-version", "min-compatibility-version"}
        defaults = {} if other else parse.gate_defaults(self._node.sections.get(f"{self._pid} help", ""))
        named = parse.gates_set(flags, config)
        return parse.gates(metrics.body, defaults, named), _place(metrics.url)

    def version(self, sources: tuple[Source, ...]) -> tuple[str, str]:
        """The version of the running program, and what told it."""
        metrics = parse.answer(self._section("metrics"))
        if metrics is not None and metrics.ok:
            for metric, label in (
                ("kubernetes_build_info", "git_version"),
                ("coredns_build_info", "version"),
                ("etcd_server_version", "server_version"),
            ):
                value = parse.label(metrics.body, metric, label)
                if value:
                    return f"v{value.removeprefix('v')}", f"metric {metric}"
        status = next((source.content for source in sources if source.name == "statusz" and source.answered), None)
        if isinstance(status, dict) and status.get("binaryVersion"):
            return f"v{status['binaryVersion']}", "statusz"
        lines = self._text("version").splitlines()
        if self._found.kind.name == "containerd" and "Server:" in lines:
            told = [line.split()[-1] for line in lines[lines.index("Server:") :] if "Version:" in line]
            return (told[0], "ctr version") if told else ("", "")
        if self._found.kind.name in ("flannel", "kubelet") and lines:
            return lines[0].split()[-1], f"{self._found.kind.program} --version"
        tag = self._found.image.rpartition(":")[2] if ":" in self._found.image else ""
        return (tag, "tag of its image") if tag else ("", "")

    def _page(self, name: str) -> Source:
        section = self._section(name)
        answer = parse.answer(section)
        if answer is None:
            return Source(name, "", False, self._api.silent or "was not asked")
        content = redact.tree(parse.data(section))
        if content is None:
            note = "answers with text for people only" if answer.ok else answer.short
            return Source(name, _place(answer.url), False, note)
        if isinstance(content, dict):
            wrapped = [key for key in content if key in _WRAPPED]
            content = content[wrapped[0]] if wrapped else content.get("flags", content)
        note = _BY_FLAG if name == "flagz" and "configz" in self._found.kind.pages else ""
        return Source(name, _place(answer.url), True, note, content)

    def _own(self) -> list[Source]:
        """What only this component has."""
        match self._found.kind.name:
            case "coredns":
                return [self._config_map("Corefile", "kube-system", "coredns", "Corefile")]
            case "flannel":
                lease = self._node.sections.get("text /run/flannel/subnet.env", "")
                note = "" if lease else "is not there"
                return [
                    self._config_map("net-conf.json", "kube-flannel", "kube-flannel-cfg", "net-conf.json"),
                    Source("subnet.env", "/run/flannel/subnet.env", bool(lease), note, lease or None),
                ]
            case "etcd" if self._pid:
                status = redact.tree(parse.as_json(self._text("etcdctl")))
                note = "" if status else "etcdctl told nothing"
                return [Source("endpoint status", "etcdctl endpoint status", bool(status), note, status)]
            case "containerd" if self._pid:
                try:
                    dump: dict[str, Any] | None = redact.tree(tomllib.loads(self._text("dump"))) or None
                except tomllib.TOMLDecodeError:
                    dump = None
                note = "" if dump else "told nothing"
                return [Source("config dump", "containerd config dump", bool(dump), note, dump)]
        return []

    def _config_map(self, name: str, namespace: str, config_map: str, key: str) -> Source:
        place = f"ConfigMap {namespace}/{config_map}"
        section = self._api.sections.get(f"configmap {namespace} {config_map}")
        content = parse.data(section)
        if isinstance(content, dict) and key in content:
            return Source(name, place, True, "", redact.scrub(content[key].strip("\n")))
        mounted = self._text("corefile") if name == "Corefile" else ""
        if mounted:
            return Source(name, f"/proc/{self._pid}/root/etc/coredns/Corefile", True, "", redact.scrub(mounted))
        answer = parse.answer(section)
        return Source(name, place, False, answer.short if answer else self._api.silent or "was not asked")

    def _section(self, name: str) -> str | None:
        # The kubelet's pages ask for a client that may read nodes/proxy, which no worker has: the API is asked.
        if self._kubelet:
            return self._api.sections.get(f"kubelet {self._node.name} {name}")
        return self._node.sections.get(f"{self._pid} {name}")

    def _text(self, name: str) -> str:
        return self._node.sections.get(f"{self._pid} {name}", "") if self._pid else ""


def _place(url: str) -> str:
    """How a person reads the same."""
    _, found, path = url.partition("/api/v1/nodes/")
    if found:
        return f"kubectl get --raw {found}{path}"
    return f"{url}{_CERTIFICATE if url.startswith('https') else ''}"
