"""Certificates end, are renewed, and rotate; a CA that is not pinned is refused at join."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import yaml

from kubedrill import checks, kubeadm, loadbalancer
from kubedrill.faults import JoinToken, RenewCertificates, ShortKubeletCertificate, targets
from kubedrill.faults.certificates import CURRENT, JOIN, SHORT, STATIC_PODS, serving, stop, tokens_of
from kubedrill.network import API_PORT, to_yaml
from kubedrill.providers.base import File, Node
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

ENTRANCE = "load-balancer"
# Seconds that the short certificates are good for: what is to be seen needs no clock but the one on the wall.
VALID, KUBELET_VALID = 45, 40
# kubeadm dates a certificate back by five minutes; a kubelet asks for the next one after 70 to 90 % of its life
# (jitteryDuration in client-go's util/certificate), so here as soon as it has started; one time in 17 up to 4 s later.
ROTATED = 3
# A static pod's container is started again as soon as the kubelet notices; the API server is ready some 5 s later.
# Meanwhile the other two have given up, as they do when they could not renew their lease for 10 s, and were started
# again; and what ends a second time within 10 minutes is started after 10 s.
# https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
RESTART = {"etcd": 6, "kube-apiserver": 9, "kube-controller-manager": 12, "kube-scheduler": 12}
PKI = "/etc/kubernetes/pki"
HASH = "openssl pkey -pubin -outform der | openssl dgst -sha256 -r | cut -d' ' -f1"
# What a join would change: sums of all of it, and which process the kubelet is.
STATE = (
    "find /etc/kubernetes /var/lib/kubelet/config.yaml /var/lib/kubelet/pki -path /etc/kubernetes/kubedrill-removed "
    "-prune -o -type f -exec sha256sum {} + | sort -k 2; systemctl show kubelet --property MainPID"
)


@scenario(control_planes=1, workers=1, etcd="stacked")
def certificates(lab: Lab) -> None:
    """Let a control plane's certificates end, renew all of them one control plane after another, refuse a false CA."""
    run(lab)


def run(lab: Lab, *, renewed: bool = True) -> None:
    """The drill; in its negative control nobody renews what has ended."""
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    planes, worker = lab.control_planes(), lab.workers()[-1]
    several = len(planes) > 1
    settings = lab.kubectl("get", "configmap", "--namespace", "kube-system", "kubeadm-config", "-o",
                           "jsonpath={.data.ClusterConfiguration}").stdout  # fmt: skip
    lab.baseline(8)
    _pinned(lab, worker)

    victim = planes[-1]
    ends = lab.now() + VALID
    lab.command("kubeadm certs check-expiration")
    _told(lab, victim, settings)
    lab.say(f"{victim.name} gets certificates that end in {VALID} s (certificateValidityPeriod: {VALID}s in the "
            "ClusterConfiguration, v1beta4); its API server reads the new file by itself")  # fmt: skip
    lab.command(f"kubeadm certs renew all --config FILE     (on {victim.name})")
    short = _config(victim, settings, VALID)
    with lab.fault(RenewCertificates(victim.name, short, ENTRANCE if several else ""), role="a control plane"):
        lab.from_now()
        lab.command(f"curl --cacert {PKI}/ca.crt https://{victim.address}:{API_PORT}/readyz     (on {victim.name})")
        lab.expect(
            f"clients refuse the API server of {victim.name}: its certificate has expired",
            lambda: victim.run(["sh", "-c", serving(victim.address)], check=False, show=False).stderr,
            lambda said: ("expired" in said, said.partition("\n")[0] or "it answers"), within=VALID + 60,
            predicted=ends - lab.now(),
        )  # fmt: skip
        expired = lab.now()
        lab.hold(3)
        lab.command("kubeadm certs check-expiration")
        left = _told(lab, victim, settings)
        invalid = [name for name, residual in left.items() if residual <= 0]
        lab.require("kubeadm tells that every certificate has ended", len(invalid) == len(left) > 0,
                    f"{len(invalid)} of {len(left)}")  # fmt: skip
        if renewed:
            lab.change(f"renewed for a year, and the static pods of {victim.name} started again")
            lab.command(f"kubeadm certs renew all --config FILE     (on {victim.name})")
            victim.run(["kubeadm", "certs", "renew", "all", "--config", "/dev/stdin"],
                       stdin=_config(victim, settings), timeout=60)  # fmt: skip
            _restarted(lab, victim)
        _in_again(lab, victim, several)
    ended = lab.now()
    for node in planes[:-1]:
        lab.say(f"before it is too late: {node.name}, taken out of the balancer, renewed, started again, let in")
        lab.command(f"{loadbalancer.set_state(node.name, 'drain')[-1]}     (on {ENTRANCE})")
        lab.command(f"kubeadm certs renew all --config FILE     (on {node.name})")
        with lab.fault(RenewCertificates(node.name, _config(node, settings), ENTRANCE)):
            _restarted(lab, node)
            _in_again(lab, node, several)
    _rotation(lab, worker)
    lab.hold(3)

    lab.verify()
    for node in planes:
        left = _told(lab, node, settings)
        lab.require(f"{node.name}: every certificate is good for a year", min(left.values()) > 360 * 86400,
                    f"the first ends in {min(left.values()) / 86400:.0f} days")  # fmt: skip
    lab.fact("from the expiry to a control plane that is trusted again", f"{ended - expired:.1f} s")
    _felt(lab, several, (expired - 5, ended))
    lab.require_no_failure("service")
    lab.require_writes()


def _felt(lab: Lab, several: bool, between: tuple[float, float]) -> None:
    if several:
        for lane, limit in (("api-read", 2), ("api-write", 6)):
            lab.require_downtime(lane, limit)
        return
    for lane in ("api-read", "api-write"):
        lab.require_downtime(lane, 60, between=between, when="the only API server, expired and renewed")


def _pinned(lab: Lab, worker: Node) -> None:
    """Join with the hash of a CA of the same name and another key; then, for comparison, look with the right one."""
    entrance = yaml.safe_load(lab.kubectl("config", "view", "--minify", "--kubeconfig", "/etc/kubernetes/admin.conf",
                                          "-o", "json").stdout)["clusters"][0]["cluster"]["server"]  # fmt: skip
    true = _output(worker, f"openssl x509 -pubkey -noout -in {PKI}/ca.crt | {HASH}")
    false = _output(
        worker, "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=kubernetes "
        f"-keyout /dev/null 2>/dev/null | openssl x509 -pubkey -noout | {HASH}",
    )  # fmt: skip
    lab.say(f"{worker.name} is told of a CA that is not this cluster's: same name, another key")
    with lab.fault(JoinToken(worker.name)):
        secret = '(.data."token-id" | @base64d) + "." + (.data."token-secret" | @base64d)'
        token = lab.control_planes()[0].run(["sh", "-c", tokens_of("kubedrill-", secret)], show=False).stdout.split()[0]
        before, nodes = _output(worker, STATE), lab.kubectl("get", "nodes,csr", "-o", "name").stdout
        lab.command(f"kubeadm join {entrance.removeprefix('https://')} --token ... --discovery-token-ca-cert-hash "
                    f"sha256:{false[:12]}...     (on {worker.name})")  # fmt: skip
        worker.write([File(JOIN, join_file(worker.name, entrance, token, false), 0o600)])
        refused = worker.run(["kubeadm", "join", "--config", JOIN], check=False, timeout=120)
        said = refused.output.replace(token, "...").strip().splitlines()
        why = next((line for line in said if "pinned" in line), said[-1] if said else "nothing")
        lab.require("a CA that is not pinned is refused at join", refused.status != 0 and "pinned" in why, why[-160:])
        same = _output(worker, STATE) == before and lab.kubectl("get", "nodes,csr", "-o", "name").stdout == nodes
        lab.require("and nothing was changed: no file, no process, no Node, no request for a certificate", same,
                    "all as before" if same else "something differs")  # fmt: skip
        worker.write([File(JOIN, join_file(worker.name, entrance, token, true), 0o600)])
        lab.command(f"kubeadm join phase preflight ... sha256:{true[:12]}...     (this cluster's CA; only a look)")
        right = worker.run(["kubeadm", "join", "phase", "preflight", "--config", JOIN], check=False, timeout=120)
        lab.require("the pin of this cluster's CA is accepted", right.status == 0, f"status {right.status}")


def _rotation(lab: Lab, worker: Node) -> None:
    """A kubelet asks for its next certificate itself, long before the old one ends."""
    plane = lab.control_planes()[0]
    lab.say(f"the kubelet of {worker.name} gets a client certificate that ends in {KUBELET_VALID} s")
    lab.command(f"kubeadm kubeconfig user --client-name system:node:{worker.name} --org system:nodes "
                f"--validity-period {KUBELET_VALID}s     (on {plane.name})")  # fmt: skip
    lab.command(f"ln -sfn {SHORT} {CURRENT} && systemctl restart kubelet     (on {worker.name})")
    with lab.fault(ShortKubeletCertificate(worker.name)):
        made = plane.run(["kubeadm", "kubeconfig", "user", "--config", "/dev/stdin", "--client-name",
                          f"system:node:{worker.name}", "--org", "system:nodes", "--validity-period",
                          f"{KUBELET_VALID}s"], stdin=_settings(lab), show=False).stdout  # fmt: skip
        worker.write([File(SHORT, pem_of(made), 0o600)])
        worker.run(["sh", "-c", f"ln -sfn {SHORT} {CURRENT} && systemctl restart kubelet"])
        lab.from_now()
        lab.command(f"ls -l {CURRENT}; kubectl get csr")
        look = f"openssl x509 -noout -checkend 86400 -in {CURRENT} || true; readlink -f {CURRENT}"
        found = lab.expect(
            "the kubelet has got another certificate by itself", lambda: _output(worker, look),
            lambda text: ("will not expire" in text and SHORT not in text, text.replace("\n", ", ")),
            within=KUBELET_VALID + 30, predicted=ROTATED,
        )  # fmt: skip
        lab.expect("the short certificate has ended",
                   lambda: worker.run(["openssl", "x509", "-checkend", "0", "-noout", "-in", SHORT], check=False,
                                      show=False).status,
                   lambda status: (status == 1, "not yet"), within=KUBELET_VALID + 20,
                   predicted=KUBELET_VALID)  # fmt: skip
        lab.expect("its node is Ready", lab.api.nodes, lambda nodes: checks.nodes_ready(nodes, [worker.name]),
                   within=30)  # fmt: skip
        lab.require("the kubelet rotated its certificate", "kubelet-client-20" in found,
                    PurePosixPath(found.split("\n")[-1]).name)  # fmt: skip


def _restarted(lab: Lab, node: Node) -> None:
    """End the container of each static pod; a process that is new reads its certificates anew."""
    for component in STATIC_PODS:
        before = _output(node, f'crictl ps --quiet --name "^{component}$"')
        lab.command(f"{stop(f'$(crictl ps --quiet --name {component})')}     (on {node.name})")
        lab.from_now()
        if before:  # else it waits for its next start, and reads them then
            node.run(["sh", "-c", stop(before)], timeout=30)
        lab.expect(
            f"{component} of {node.name} is another container, and healthy", partial(_healthy, node, component, before),
            lambda verdict: verdict, within=90, predicted=RESTART[component],
        )  # fmt: skip


HEALTHY = {
    "etcd": "curl --silent --fail --max-time 3 http://127.0.0.1:2381/readyz",
    "kube-controller-manager": "curl --silent --fail --insecure --max-time 3 https://127.0.0.1:10257/healthz",
    "kube-scheduler": "curl --silent --fail --insecure --max-time 3 https://127.0.0.1:10259/healthz",
}


def _healthy(node: Node, component: str, before: str) -> Verdict:
    now = _output(node, f'crictl ps --quiet --name "^{component}$"')
    answer = node.run(["sh", "-c", HEALTHY.get(component) or serving(node.address)], check=False, show=False)
    return bool(now) and now != before and answer.status == 0, f"container {now[:12] or 'none'}, {answer.output[-120:]}"


def _in_again(lab: Lab, node: Node, several: bool) -> None:
    lab.from_now()
    lab.expect(
        f"the certificate of the API server of {node.name} is trusted",
        lambda: node.run(["sh", "-c", serving(node.address)], check=False, show=False),
        lambda answer: (answer.status == 0, answer.output.strip().partition("\n")[0]), within=30, predicted=1,
    )  # fmt: skip
    if several:
        lab.node(ENTRANCE).run(loadbalancer.set_state(node.name, "ready"))
        planes = names(lab.control_planes())
        lab.expect("the balancer sends to every control plane", lambda: targets.behind_balancer(lab.cluster),
                   lambda found: (len(found) == len(planes), f"{len(found)} of {len(planes)}"), within=30)  # fmt: skip


def _told(lab: Lab, node: Node, settings: str) -> Mapping[str, float]:
    """What kubeadm tells of the certificates of a control plane: {name: seconds left}."""
    text = node.run(["kubeadm", "certs", "check-expiration", "--config", "/dev/stdin", "-o", "json"],
                    stdin=_config(node, settings), show=False).stdout  # fmt: skip
    left = residuals(text)
    soon = min(left, key=lambda name: left[name])
    lab.say(f"{node.name}: {len(left)} certificates, the first to end is {soon}: {left[soon]:.0f} s left")
    return left


def residuals(text: str) -> dict[str, float]:
    """Seconds that each certificate has left, of `kubeadm certs check-expiration -o json`; CAs are not among them."""
    return {one["name"]: float(one["residualTime"]) for one in json.loads(text)["certificates"]
            if not one.get("missing")}  # fmt: skip


def join_file(node: str, server: str, token: str, pin: str) -> str:
    """A JoinConfiguration of a node that knows the CA by its hash; on a computer that has joined, so checks are off."""
    return to_yaml([
        {
            "apiVersion": kubeadm.API,
            "kind": "JoinConfiguration",
            "discovery": {"bootstrapToken": {"apiServerEndpoint": server.removeprefix("https://"), "token": token,
                                             "caCertHashes": [f"sha256:{pin}"]}},
            "nodeRegistration": {"name": node, "criSocket": kubeadm.CRI_SOCKET, "ignorePreflightErrors": ["all"]},
        }
    ])  # fmt: skip


def pem_of(kubeconfig: str) -> str:
    """The certificate and the key in a kubeconfig, one after the other, as a kubelet keeps them."""
    user: dict[str, Any] = yaml.safe_load(kubeconfig)["users"][0]["user"]
    return "".join(base64.b64decode(user[key]).decode() for key in ("client-certificate-data", "client-key-data"))


def _config(node: Node, settings: str, seconds: int | None = None) -> str:
    cluster = yaml.safe_load(settings)
    if seconds is not None:
        cluster["certificateValidityPeriod"] = f"{seconds}s"
    return kubeadm.phase_config(to_yaml([cluster]), node.name, node.address)


def _settings(lab: Lab) -> str:
    return lab.kubectl("get", "configmap", "--namespace", "kube-system", "kubeadm-config", "-o",
                       "jsonpath={.data.ClusterConfiguration}").stdout  # fmt: skip


def _output(node: Node, script: str) -> str:
    return node.run(["sh", "-c", script], show=False).stdout.strip()
