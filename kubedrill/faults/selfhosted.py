"""A control plane that is to run on itself for a while; the undo is the way back to kubeadm's static pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kubedrill import loadbalancer
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Action, Check, Command, Map, Plan
from kubedrill.kubeadm import KUBELET_KUBECONFIG
from kubedrill.selfhosting import COMPONENTS, HOME, LABEL, MANIFESTS, SHARE, TIMER, flags, node_label

_AGENT = "/usr/local/sbin/kubedrill-selfhosted"
_ALL = " ".join(COMPONENTS)


def _with_flags(component: str) -> str:
    lines = "".join(f"\\n    - {flag}" for flag in flags(component))
    there = f"{HOME}/.new/{component}"
    return f"sed 's#^    - {component}$#&{lines}#' {there}.yaml >{there}.shared\n"


# What was there, and the same with the flags that lets a second process listen beside it.
_SAVE = f"""set -e
mkdir -p -m 700 {HOME}/.new
cp -p {KUBELET_KUBECONFIG} {HOME}/.new/
for c in {_ALL}; do
    cp -p {MANIFESTS}/$c.yaml {HOME}/.new/$c.yaml
done
{"".join(_with_flags(component) for component in COMPONENTS)}mv {HOME}/.new {HOME}/as-found"""
# Beside what runs as a DaemonSet, the static pods start again; a manifest that is as it was is left alone.
_STATIC_AGAIN = f"""set -e
[ -d {HOME}/as-found ] || exit 0
systemctl disable --quiet --now {TIMER}
systemctl stop kubedrill-selfhosted.service
for c in {_ALL}; do
    cmp -s {HOME}/as-found/$c.yaml {MANIFESTS}/$c.yaml && continue
    cmp -s {HOME}/as-found/$c.shared {MANIFESTS}/$c.yaml && continue
    cp {HOME}/as-found/$c.shared {HOME}/.put && mv {HOME}/.put {MANIFESTS}/$c.yaml
done"""
# The API server, which serves last, is asked first: each look takes a dozen processes, while it needs the cores.
_LATEST_FIRST = " ".join(reversed(COMPONENTS))
_SERVES = f"""[ -d {HOME}/as-found ] || exit 0
for c in {_LATEST_FIRST}; do {_AGENT} static-serves $c || exit 1; done"""
_DELETE = f"""kubectl --namespace kube-system delete daemonset --selector {LABEL} --timeout=60s || exit 1
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kubectl --namespace kube-system wait --for=delete pod --selector {LABEL} --timeout=5s && gone=yes && break
done
[ "$gone" ] && kubectl label nodes --all {" ".join(f"{node_label(component)}-" for component in COMPONENTS)}"""
# The flag goes, one control plane after the other: its API server is away until the new one serves. The kubelet's own
# kubeconfig comes last, since it is what it asks meanwhile.
_AS_FOUND = f"""set -e
[ -d {HOME}/as-found ] || exit 0
for c in {_ALL}; do
    cmp -s {HOME}/as-found/$c.yaml {MANIFESTS}/$c.yaml && continue
    cp -p {HOME}/as-found/$c.yaml {HOME}/.put && mv {HOME}/.put {MANIFESTS}/$c.yaml
done
for c in {_LATEST_FIRST}; do
    pid=$(pgrep -o -f "^$c ") && ! tr '\\0' ' ' <"/proc/$pid/cmdline" | grep -q -e '{SHARE}'
    {_AGENT} static-serves $c
done
if ! cmp -s {HOME}/as-found/kubelet.conf {KUBELET_KUBECONFIG}; then
    cp -p {HOME}/as-found/kubelet.conf /etc/kubernetes/.kubelet.conf
    mv /etc/kubernetes/.kubelet.conf {KUBELET_KUBECONFIG}
    systemctl restart kubelet
fi
rm -rf {HOME}"""


@dataclass(frozen=True)
class SelfHosted:
    """What the pivot to a self-hosted control plane changes, saved before it and put back after it.

    The pivot itself is the drill's story: its steps are between inject and undo. The undo is the way back, from
    wherever that story ended.

    Args:
        nodes: all control planes.
        entrance: the node through which kubelets are to reach the API meanwhile: the balancer, or '' for each one's
            own API server. A kubelet whose own API server has yet to be started by it must be able to ask another one.
    """

    nodes: tuple[str, ...]
    entrance: str = ""

    @property
    def name(self) -> str:
        """What is done."""
        return "selfhosting"

    @property
    def subject(self) -> str:
        """To whom."""
        return ", ".join(self.nodes)

    def __str__(self) -> str:
        return f"let the control plane of {self.subject} run on itself"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Save, and put back."""
        names = [cluster.node(node).name for node in self.nodes]
        inject = [Command(name, ("sh", "-c", _SAVE)) for name in names]
        if self.entrance:
            server = f"https://{cluster.node(self.entrance).address}:6443"
            script = f"sed -i 's#server: .*#server: {server}#' {KUBELET_KUBECONFIG} && systemctl restart kubelet"
            inject += [Command(name, ("sh", "-c", script)) for name in names]
        undo: list[Action] = []
        for name in names:
            # Three API servers that start at once leave each other no CPU, and one that starts answers badly.
            undo += self._balance(cluster, name, "drain")
            undo += [Command(name, ("sh", "-c", script)) for script in (_STATIC_AGAIN, _SERVES)]
            undo += self._balance(cluster, name, "ready")
        undo.append(Command(ANY_CONTROL_PLANE, ("sh", "-c", _DELETE), timeout=130))
        for name in names:
            # Its API server is away for a moment: nobody new is sent to it meanwhile.
            undo += self._balance(cluster, name, "drain")
            undo.append(Command(name, ("sh", "-c", _AS_FOUND)))
            undo += self._balance(cluster, name, "ready")
        static = f"set -e; test -x {_AGENT}; test ! -e {HOME}; for c in {_ALL}; do test -e {MANIFESTS}/$c.yaml; done"
        there: list[Check] = [Command(name, ("sh", "-c", static)) for name in names]
        left = [f"kubectl --namespace kube-system get daemonset --selector {LABEL} -o name"]
        left += [f"kubectl get nodes --selector {node_label(component)} -o name" for component in COMPONENTS]
        none = "set -e; " + "; ".join(f'found=$({one}); test -z "$found"' for one in left)
        return (
            Plan(
                before=tuple(there),
                inject=tuple(inject),
                undo=tuple(undo),
                healed=(*there, Command(ANY_CONTROL_PLANE, ("sh", "-c", none))),
            ),
        )

    def _balance(self, cluster: Map, name: str, state: Literal["drain", "ready"]) -> list[Command]:
        if not self.entrance:
            return []
        # With the timer ended what told the balancer which weight each has.
        order = loadbalancer.take_in(name) if state == "ready" else loadbalancer.set_state(name, state)
        return [Command(cluster.node(self.entrance).name, order, until_boot=True)]
