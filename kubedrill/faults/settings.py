"""Faults of configuration: what an administrator changes, and puts back byte for byte."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from kubedrill import loadbalancer
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Map, Place, Plan, StateIs, named, node_name
from kubedrill.faults.computers import MANIFESTS, REMOVED, safe_name

_KUBECTL = ("kubectl", "--request-timeout=10s")
# Where each component that kubeadm runs says whether it is healthy, and kubeadm's name of the phase that writes its
# manifest.
_HEALTH = {
    "kube-apiserver": "6443/readyz",
    "kube-controller-manager": "10257/healthz",
    "kube-scheduler": "10259/healthz",
}
_PHASE = {name: name.removeprefix("kube-") for name in _HEALTH}


@dataclass(frozen=True)
class ChangeConfigMap:
    """A ConfigMap of which one key has another value. The undo writes the old value again.

    Args:
        namespace: the ConfigMap's.
        config_map: its name.
        key: which of its keys.
        before: the value that is there: with any other the fault is refused, and it is what the undo writes.
        after: the value to give it.
    """

    namespace: str
    config_map: str
    key: str
    before: str
    after: str

    def __post_init__(self) -> None:
        for name, what in ((self.namespace, "namespace"), (self.config_map, "ConfigMap"), (self.key, "key")):
            safe_name(name, what)

    @property
    def name(self) -> str:
        """What is done."""
        return f"change {self.config_map}"

    @property
    def subject(self) -> str:
        """To whom."""
        return f"{self.namespace}/{self.config_map}"

    def __str__(self) -> str:
        return f"change {self.key} of the ConfigMap {self.subject}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """A merge patch there, and one back."""
        read = (*_KUBECTL, "get", "configmap", "--namespace", self.namespace, self.config_map, "-o",
                f"jsonpath='{{.data.{self.key.replace('.', chr(92) + '.')}}}'")  # fmt: skip
        digest = hashlib.sha256(self.before.encode()).hexdigest()
        as_before = Command(ANY_CONTROL_PLANE, ("sh", "-c", f"{' '.join(read)} | sha256sum | grep -q ^{digest}"))
        return (
            Plan(
                before=(as_before,), inject=(self._patch(self.after),), undo=(self._patch(self.before),),
                healed=(as_before,),
            ),
        )  # fmt: skip

    def _patch(self, value: str) -> Command:
        patch = json.dumps({"data": {self.key: value}})
        where = ("configmap", "--namespace", self.namespace, self.config_map)
        return Command(ANY_CONTROL_PLANE, (*_KUBECTL, "patch", *where, "--type=merge", f"--patch={patch}"))


@dataclass(frozen=True)
class Scale:
    """A Deployment with another number of pods. The undo gives it the old one, and waits until they are available.

    Args:
        namespace: the Deployment's.
        deployment: its name.
        before: how many it has: with another number the fault is refused.
        after: how many to give it.
    """

    namespace: str
    deployment: str
    before: int
    after: int

    def __post_init__(self) -> None:
        safe_name(self.namespace, "namespace")
        safe_name(self.deployment, "Deployment")

    @property
    def name(self) -> str:
        """What is done."""
        return f"scale {self.deployment}"

    @property
    def subject(self) -> str:
        """To whom."""
        return f"{self.namespace}/{self.deployment}"

    def __str__(self) -> str:
        return f"scale the Deployment {self.subject} from {self.before} to {self.after}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """kubectl scale, there and back."""
        where = ("--namespace", self.namespace, f"deployment/{self.deployment}")
        count = f"{' '.join(_KUBECTL)} get {' '.join(where)} -o jsonpath={{.spec.replicas}}"
        as_before = Command(ANY_CONTROL_PLANE, ("sh", "-c", f'test "$({count})" = {self.before}'))
        rolled = Command(ANY_CONTROL_PLANE, ("kubectl", "rollout", "status", *where, "--timeout=50s"))
        return (
            Plan(
                before=(as_before,),
                inject=(Command(ANY_CONTROL_PLANE, (*_KUBECTL, "scale", *where, f"--replicas={self.after}")),),
                undo=(Command(ANY_CONTROL_PLANE, (*_KUBECTL, "scale", *where, f"--replicas={self.before}")),),
                healed=(as_before, rolled),
            ),
        )


@dataclass(frozen=True)
class Reconfigure:
    """A component of one control plane with what kubeadm makes of another configuration.

    As in https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-reconfigure/: the manifest is saved, and
    `kubeadm init phase control-plane` writes the new one. The undo puts the saved one back; healed is what runs with
    the flags of that manifest and is healthy.

    Args:
        node: a control plane.
        component: kube-apiserver, kube-controller-manager or kube-scheduler.
        config: kubeadm's InitConfiguration of that node and the ClusterConfiguration, YAML.
        entrance: the balancer that sends nobody new to this control plane meanwhile, or ''. Once what runs is healthy,
            the drill lets it in again (loadbalancer.set_state); the undo does so in any case.
    """

    node: Place
    component: str
    config: str
    entrance: str = ""

    def __post_init__(self) -> None:
        if self.component not in _HEALTH:
            raise ValueError(f"{self.component!r} is none of {', '.join(_HEALTH)}")

    @property
    def name(self) -> str:
        """What is done."""
        return f"reconfigure {self.component}"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"write the manifest of {self.component} on {self.node} anew"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Save, write; the undo puts back what was saved, and waits until it runs."""
        node = node_name(cluster, self.node)
        here, saved = f"{MANIFESTS}/{self.component}.yaml", saved_manifest(self.component, mark)
        config = f"{REMOVED}/kubeadm.{mark}.yaml"
        # Saved in one step: half a copy must not be put back.
        save = f"mkdir -p {REMOVED} && cp -p {here} {saved}.new && mv {saved}.new {saved}"
        back = (
            f"if test -e {saved}; then mv {saved} {here}; fi; rm -f {config} {saved}.new; "
            f"rmdir {REMOVED} 2>/dev/null || true"
        )
        phase = ("kubeadm", "init", "phase", "control-plane", _PHASE[self.component], "--config", config)
        return (
            Plan(
                before=(StateIs(node, "running"), Command(node, ("test", "-e", here))),
                inject=(
                    *self._balance(cluster, node, "drain"),
                    Command(node, ("sh", "-c", save)),
                    Command(node, ("sh", "-c", f"umask 077 && cat > {config}"), stdin=self.config),
                    Command(node, phase),
                ),
                undo=(
                    *self._balance(cluster, node, "drain"),
                    Command(node, ("sh", "-c", back)),
                    # As an action it is tried until it works; nobody is sent there before.
                    *([as_written(node, self.component)] if self.entrance else []),
                    *self._balance(cluster, node, "ready"),
                ),
                healed=(Command(node, ("test", "!", "-e", saved)), as_written(node, self.component)),
            ),
        )

    def _balance(self, cluster: Map, node: str, state: Literal["drain", "ready"]) -> list[Command]:
        if not self.entrance:
            return []
        return [Command(cluster.node(self.entrance).name, loadbalancer.set_state(node, state), until_boot=True)]


def saved_manifest(component: str, mark: str) -> str:
    """Where the manifest is kept that the undo puts back."""
    return f"{REMOVED}/{component}.{mark}.yaml"


def as_written(node: str, component: str) -> Command:
    """A check: what runs has the very flags that its manifest names, and says that it is healthy.

    Args:
        node: host name of a control plane.
        component: kube-apiserver, kube-controller-manager or kube-scheduler.
    """
    file = f"{MANIFESTS}/{component}.yaml"
    script = (
        f"wanted=$(sed -n 's/^    - \\(--.*\\)$/\\1/p' {file} | sort); "
        f"pid=$(pgrep -o -f '^{component} ') || {{ echo it does not run; exit 1; }}; "
        "flags=$(tr '\\0' '\\n' < /proc/$pid/cmdline | grep '^--' | sort); "
        '[ "$wanted" = "$flags" ] || { echo it runs with other flags than its manifest; exit 1; }; '
        f"curl --silent --show-error --fail --insecure --max-time 3 https://127.0.0.1:{_HEALTH[component]}"
    )
    return Command(node, ("sh", "-c", script))
