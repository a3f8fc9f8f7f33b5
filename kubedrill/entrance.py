"""Move the address at which a cluster's API is reached: from its only control plane to a balancer, and back.

kubeadm asks for a controlPlaneEndpoint that stays; whoever began with one control plane has to move it before a second
one can join. Who has the old address: kubeadm's own configuration, the API server's certificate, the kubelets of
workers, kubeconfigs, kube-proxy, cluster-info and flannel.
"""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from kubedrill.kubeadm import KUBELET_KUBECONFIG, phase_config
from kubedrill.lifecycle import Steps
from kubedrill.network import API_PORT, FLANNEL_NAMESPACE, to_yaml
from kubedrill.providers.base import File, Node
from kubedrill.wait import until

CONFIG = "/etc/kubernetes/kubeadm-entrance.yaml"
# The API server reads its certificate again as soon as the file changes; with a margin for a slow machine.
_SERVES = 90
# One node after another, each in a second or two.
_ROLLED = 180


def move(planes: Sequence[Node], workers: Sequence[Node], old: str, new: str, console: Steps) -> None:
    """Let everybody in a cluster reach its API at another address. Doing it again is harmless.

    Args:
        planes: its control planes, running; the first does the work.
        workers: its workers, running.
        old: the address until now; it serves on meanwhile.
        new: the address from now on; the API answers there already, or does once certificates name it.
        console: told of each step.

    Raises:
        CommandFailed: of the step that failed.
        TimedOut: the API does not answer there with a certificate that names it.
    """
    first = planes[0]
    with console.step(f"kubeadm's configuration and the API's certificate name {new}"):
        read = ["kubectl", "--namespace", "kube-system", "get", "configmap", "kubeadm-config", "-o",
                "jsonpath={.data.ClusterConfiguration}"]  # fmt: skip
        configuration = with_endpoint(first.run(read).stdout, new)
        for node in planes:
            node.write([File(CONFIG, phase_config(configuration, node.name, node.address), 0o600)])
            # kubeadm leaves a certificate alone that is there.
            node.run(["sh", "-c", "cd /etc/kubernetes/pki && rm -f apiserver.crt apiserver.key && "
                      f"kubeadm init phase certs apiserver --config {CONFIG}"], timeout=60)  # fmt: skip
        first.run(["kubeadm", "init", "phase", "upload-config", "kubeadm", "--config", CONFIG], timeout=60)
    with console.step(f"the API answers at {new}, and proves who it is"):
        ask = ["curl", "--silent", "--show-error", "--max-time", "5", "--cacert", "/etc/kubernetes/pki/ca.crt",
               f"https://{new}:{API_PORT}/readyz"]  # fmt: skip
        until(lambda: first.run(ask, check=False, show=False), lambda said: (said.stdout == "ok", said.output.strip()),
              within=_SERVES, every=0.5, what=f"the API at {new}")  # fmt: skip
    with console.step(f"kubelets, kubeconfigs, kube-proxy and flannel go to {new}"):
        edit = f"s#https://{old}:{API_PORT}#https://{new}:{API_PORT}#"
        for node in planes:
            # A control plane's kubelet talks to its own API server.
            node.run(
                ["sh", "-c", f"cd /etc/kubernetes && sed -i '{edit}' $(ls admin.conf super-admin.conf 2>/dev/null)"]
            )
        for node in workers:
            node.run(["sh", "-c", f"sed -i '{edit}' {KUBELET_KUBECONFIG} && systemctl restart kubelet"])
        for namespace, name in (("kube-public", "cluster-info"), ("kube-system", "kube-proxy")):
            first.run(["sh", "-c", f"kubectl -n {namespace} get configmap {name} -o yaml | sed '{edit}' | "
                       "kubectl replace -f -"], timeout=60)  # fmt: skip
        first.run(["kubectl", "--namespace", "kube-system", "rollout", "restart", "daemonset", "kube-proxy"])
        first.run(["kubectl", "--namespace", FLANNEL_NAMESPACE, "set", "env", "daemonset", "kube-flannel-ds",
                   f"KUBERNETES_SERVICE_HOST={new}"])  # fmt: skip


def wait_until_left(first: Node, console: Steps) -> None:
    """Wait until kube-proxy and flannel have been started anew on every node: nobody needs the old address any more.

    One that still goes to an address where nobody is any more waits for minutes, and does nothing for a new Service.

    Args:
        first: a control plane that stays.
        console: told of the step.

    Raises:
        CommandFailed: they were not in time.
    """
    with console.step("kube-proxy and flannel of all nodes have been started anew"):
        for namespace, name in (("kube-system", "kube-proxy"), (FLANNEL_NAMESPACE, "kube-flannel-ds")):
            first.run(["kubectl", "--namespace", namespace, "rollout", "status", "daemonset", name,
                       f"--timeout={_ROLLED}s"], timeout=_ROLLED + 30)  # fmt: skip


def with_endpoint(configuration: str, address: str) -> str:
    """A ClusterConfiguration with another endpoint, which certificates name, too.

    Args:
        configuration: YAML, as the ConfigMap kubeadm-config holds it.
        address: the endpoint's.
    """
    cluster = yaml.safe_load(configuration)
    server = cluster.setdefault("apiServer", None) or {}
    cluster["controlPlaneEndpoint"] = f"{address}:{API_PORT}"
    cluster["apiServer"] = {**server, "certSANs": sorted({*(server.get("certSANs") or []), address})}
    return to_yaml([cluster])
