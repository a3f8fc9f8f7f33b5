"""A kubeconfig for a user of the cluster, made on a control plane: pure."""

from __future__ import annotations


def script(user: str, *, group: str = "", kubectl: str = "kubectl") -> str:
    """The shell command that prints one, with a certificate of the cluster's CA.

    With the cluster's own configuration, kubeadm names the entrance as the server: with several control planes the
    balancer, so that the user outlives the API server beside it. Without one it would name this node alone.

    Args:
        user: the user's name.
        group: its group, where it has one.
        kubectl: with its options.
    """
    return (
        f"settings=$({kubectl} --namespace kube-system get configmap kubeadm-config "
        "--output 'jsonpath={.data.ClusterConfiguration}') && "
        "printf '%s\\n' \"$settings\" | kubeadm kubeconfig user --config=/dev/stdin "
        f"--client-name={user}{f' --org={group}' if group else ''}"
    )
