"""Faults of certificates: a control plane's renewed with another period, a kubelet's that ends soon, a token to join.

No clock is touched: what ends soon is issued so. https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
(certificateValidityPeriod), https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kubedrill import loadbalancer
from kubedrill.faults.actions import ANY_CONTROL_PLANE, Command, Map, Place, Plan, StateIs, named, node_name
from kubedrill.faults.computers import REMOVED

KUBELET_PKI = "/var/lib/kubelet/pki"
CURRENT = f"{KUBELET_PKI}/kubelet-client-current.pem"
SHORT = f"{KUBELET_PKI}/kubelet-client-short.pem"
JOIN = f"{REMOVED}/join.yaml"
# In this order: an API server that starts needs its etcd.
STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_HOME = "/etc/kubernetes"
# What `kubeadm certs renew all` writes; the kubelet's own kubeconfig is not among it.
_CONFIGS = "admin.conf super-admin.conf controller-manager.conf scheduler.conf"
# Seconds: a day and some hours.
_SOON = 100000
# Succeeds while every certificate is good for longer.
_LONG = f"""long() {{
    for f in {_HOME}/pki/*.crt {_HOME}/pki/etcd/*.crt; do
        openssl x509 -checkend {_SOON} -noout -in "$f" >/dev/null || return 1
    done
    for c in {_CONFIGS}; do
        [ -e {_HOME}/$c ] || continue
        sed -n 's/^ *client-certificate-data: //p' {_HOME}/$c | base64 -d |
            openssl x509 -checkend {_SOON} -noout >/dev/null || return 1
    done
}}"""


@dataclass(frozen=True)
class RenewCertificates:
    """All certificates of a control plane, renewed by kubeadm with a configuration of one's own.

    The undo leaves certificates alone that are good for more than a day: renewed ones are as good as those before. Any
    that ends sooner brings back all that were saved, and the static pods are started anew with them.

    Args:
        node: a control plane.
        config: kubeadm's InitConfiguration of that node and the ClusterConfiguration, YAML.
        entrance: the balancer that sends nobody new to this control plane meanwhile, or ''. The drill lets it in again
            (loadbalancer.set_state) once it serves; the undo does so in any case.
    """

    node: Place
    config: str
    entrance: str = ""

    @property
    def name(self) -> str:
        """What is done."""
        return "renew certificates"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"renew the certificates of {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Save, renew; the undo puts back what was saved where what is there ends soon."""
        node = node_name(cluster, self.node)
        saved, back = f"{REMOVED}/certificates.{mark}.tar", f"{REMOVED}/certificates.{mark}.back"
        save = (
            f"umask 077; mkdir -p {REMOVED} && cd {_HOME} && "
            f"tar -cpf {saved}.new pki $(ls {_CONFIGS} 2>/dev/null) && mv {saved}.new {saved}"
        )
        # An undo that was interrupted while it put files back goes on with that, whatever the files look like by then.
        undo = (
            f"{_LONG}\nset -e\n"
            f"if [ -e {saved} ] && {{ [ -e {back} ] || ! long; }}; then\n"
            f"    touch {back}\n    tar -C {_HOME} -xpf {saved}\n    {restart()}\nfi\n"
            f"rm -f {saved} {saved}.new {back}\nrmdir {REMOVED} 2>/dev/null || true"
        )
        long = Command(node, ("sh", "-c", f"{_LONG}\nlong"))
        serves = Command(node, ("sh", "-c", serving(cluster.node(node).address)))
        renew = ("kubeadm", "certs", "renew", "all", "--config", "/dev/stdin")
        return (
            Plan(
                before=(StateIs(node, "running"), long),
                inject=(
                    *self._balance(cluster, node, "drain"),
                    Command(node, ("sh", "-c", save)),
                    Command(node, renew, stdin=self.config),
                ),
                undo=(
                    Command(node, ("sh", "-c", undo), timeout=120),
                    # As an action it is tried until it works; nobody is sent there before.
                    *([serves] if self.entrance else []),
                    *self._balance(cluster, node, "ready"),
                ),
                healed=(Command(node, ("test", "!", "-e", saved)), long, serves),
            ),
        )

    def _balance(self, cluster: Map, node: str, state: Literal["drain", "ready"]) -> list[Command]:
        if not self.entrance:
            return []
        return [Command(cluster.node(self.entrance).name, loadbalancer.set_state(node, state), until_boot=True)]


@dataclass(frozen=True)
class ShortKubeletCertificate:
    """A kubelet whose client certificate may be replaced by one that ends soon.

    The drill writes that one to SHORT, points CURRENT at it, and starts the kubelet again; the key is nothing that a
    journal should hold. The undo leaves a certificate alone that the kubelet itself has got since; else it brings back
    the one that was there.

    Args:
        node: where.
    """

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "short kubelet certificate"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"replace the client certificate of the kubelet of {self.node} by one that ends soon"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Note which one is there; the undo points at it again unless there is a newer one."""
        node = node_name(cluster, self.node)
        noted = f"{REMOVED}/kubelet-client.{mark}"
        long = f"openssl x509 -checkend {_SOON} -noout -in {CURRENT}"
        note = f"mkdir -p {REMOVED} && readlink -f {CURRENT} >{noted}.new && mv {noted}.new {noted}"
        undo = (
            f"set -e\nif [ -e {noted} ] && ! {long}; then\n"
            f'    ln -sfn "$(cat {noted})" {CURRENT}\n    systemctl restart kubelet\nfi\n'
            f"rm -f {noted} {noted}.new {SHORT}\nrmdir {REMOVED} 2>/dev/null || true"
        )
        good = Command(node, ("sh", "-c", long))
        return (
            Plan(
                before=(StateIs(node, "running"), good),
                inject=(Command(node, ("sh", "-c", note)),),
                undo=(Command(node, ("sh", "-c", undo)),),
                healed=(good, Command(node, ("systemctl", "is-active", "kubelet"))),
            ),
        )


@dataclass(frozen=True)
class JoinToken:
    """A token that lets a computer join, for some minutes; found again by its description, and never printed.

    The undo deletes it, and what a drill wrote with it on the node that tries to join (JOIN).

    Args:
        node: who tries to join with it.
    """

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "join token"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"make a token that lets {self.node} join for ten minutes"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """kubeadm token create, and the deletion of its Secret."""
        node = node_name(cluster, self.node)
        found = f"set -e; names=$({tokens_of(f'kubedrill-{mark}', '.metadata.name')})"
        delete = f"{found}; for n in $names; do kubectl --namespace kube-system delete secret $n --timeout=30s; done"
        create = f"kubeadm token create --ttl 10m --description kubedrill-{mark} >/dev/null"
        return (
            Plan(
                before=(StateIs(node, "running"), Command(node, ("test", "!", "-e", JOIN))),
                inject=(Command(ANY_CONTROL_PLANE, ("sh", "-c", create)),),
                undo=(
                    Command(node, ("sh", "-c", f"rm -f {JOIN}; rmdir {REMOVED} 2>/dev/null || true")),
                    Command(ANY_CONTROL_PLANE, ("sh", "-c", delete)),
                ),
                healed=(Command(ANY_CONTROL_PLANE, ("sh", "-c", f'{found}; test -z "$names"')),),
            ),
        )


def tokens_of(description: str, wanted: str) -> str:
    """The command, on a control plane, that tells something of the tokens with a description.

    Args:
        description: what it begins with.
        wanted: of each token's Secret, as jq takes it: '.metadata.name'.
    """
    return (
        "kubectl --request-timeout=10s --namespace kube-system get secrets "
        "--field-selector type=bootstrap.kubernetes.io/token -o json | jq -r '.items[] | "
        f'select((.data.description // "" | @base64d) | startswith("{description}")) | {wanted}\''
    )


def restart() -> str:
    """The command, on a control plane, that ends the containers of its static pods; the kubelet starts them again."""
    ends = f'for i in $(crictl ps --quiet --name "^$c\\$"); do {stop("$i")}; done'
    return f"for c in {' '.join(STATIC_PODS)}; do {ends}; done"


def stop(container: str) -> str:
    """The command that ends a container: 5 s after it was asked to, it is killed."""
    return f"crictl stop --timeout 5 {container}"


def serving(address: str) -> str:
    """The command, on a control plane, that succeeds where its API server is ready and its certificate holds.

    Args:
        address: the control plane's.
    """
    return f"curl --silent --show-error --fail --max-time 3 --cacert {_HOME}/pki/ca.crt https://{address}:6443/readyz"
