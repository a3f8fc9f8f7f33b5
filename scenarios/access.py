"""Who may do what: RBAC, node authorisation, admission, anonymous; and where a refusal is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from kubedrill import checks, kubeadm
from kubedrill.faults import PutFolder, Reconfigure
from kubedrill.faults.perform import holds
from kubedrill.faults.settings import as_written
from kubedrill.images.store import HELLO
from kubedrill.network import API_PORT, to_yaml
from kubedrill.providers.base import Node
from kubedrill.scenario import scenario, workload
from kubedrill.scenario.lab import Lab
from kubedrill.wait import Verdict

COMPONENT = "kube-apiserver"
FOLDER = "/etc/kubernetes/kubedrill-audit"
LOG, POLICY = f"{FOLDER}/audit.log", f"{FOLDER}/policy.yaml"
READER = "reader"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
# As measured by configuration-change: the old API server's grace period, the kubelet's look, the start of the new one.
RESTART = 41
# Two restarts of the only API server: its controller manager and scheduler end each time, and again while it is not
# back; before they are started once more a kubelet waits 10 s, 20 s, 40 s.
# https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
CONTROLLERS = 40 + 20
SECRETS = f"/api/v1/namespaces/{workload.NAMESPACE}/secrets"
# Who a client is, as options of curl: in the reader's pod, with a kubelet's certificate, with a token that nobody
# signed, as nobody.
AS_READER = f'--cacert {ACCOUNT}/ca.crt --header "Authorization: Bearer $(cat {ACCOUNT}/token)"'
ON_NODE = "--cacert /etc/kubernetes/pki/ca.crt"
AS_KUBELET = f"{ON_NODE} --cert /var/lib/kubelet/pki/kubelet-client-current.pem"
AS_STRANGER = f"{ON_NODE} --header 'Authorization: Bearer no.such.token'"
PATCH = "--request PATCH --header 'Content-Type: application/merge-patch+json' --data"


@dataclass(frozen=True)
class Trial:
    """A request, and what must come of it.

    Args:
        what: in words.
        client: options of curl that say who asks.
        path: what is asked for.
        status: the answer that is right.
        user: how the audit log must name who asked; '' where nobody was recognised.
        decision: what the authorizers must have said: allow, forbid; '' where they were not asked.
        options: more options of curl.
        pod: whether it is asked in the reader's pod, else on the worker.
    """

    what: str
    client: str
    path: str
    status: int
    user: str
    decision: str
    options: str = ""
    pod: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back: HTTP status, the audit log's id of the request, and the message of a refusal."""

    status: int
    audit: str
    message: str


def trials(kubelet: str, other: str) -> list[Trial]:
    """All requests of the drill.

    Args:
        kubelet: the node whose kubelet asks.
        other: another node.
    """
    reader, node = f"system:serviceaccount:{workload.NAMESPACE}:{READER}", f"system:node:{kubelet}"
    role = json.dumps({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}})
    return [
        Trial("a token may list pods of its namespace", AS_READER, f"/api/v1/namespaces/{workload.NAMESPACE}/pods", 200,
              reader, "allow", pod=True),
        Trial("it may not read Secrets there", AS_READER, SECRETS, 403, reader, "forbid", pod=True),
        Trial("nor list pods of another namespace", AS_READER, "/api/v1/namespaces/kube-system/pods", 403, reader,
              "forbid", pod=True),
        Trial("nor give itself more", AS_READER,
              f"/apis/rbac.authorization.k8s.io/v1/namespaces/{workload.NAMESPACE}/rolebindings", 403, reader,
              "forbid", "--request POST --header 'Content-Type: application/json' --data '{}'", pod=True),
        Trial("a kubelet may read the Secret of a pod of its own", AS_KUBELET, f"{SECRETS}/of-{kubelet}", 200, node,
              "allow"),
        Trial("not the Secret of a pod of another node", AS_KUBELET, f"{SECRETS}/of-{other}", 403, node, "forbid"),
        Trial("nor list Secrets", AS_KUBELET, SECRETS, 403, node, "forbid"),
        Trial("nor change another Node", AS_KUBELET, f"/api/v1/nodes/{other}/status", 403, node, "allow",
              f"{PATCH} '{{}}'"),
        Trial("nor make its own node a control plane", AS_KUBELET, f"/api/v1/nodes/{kubelet}", 403, node, "allow",
              f"{PATCH} '{role}'"),
        Trial("anybody may ask whether the API server lives", ON_NODE, "/livez", 200, "system:anonymous", "allow"),
        Trial("and nothing else: no Secrets", ON_NODE, SECRETS, 403, "system:anonymous", "forbid"),
        Trial("a token that nobody signed is not even anonymous", AS_STRANGER, "/livez", 401, "", ""),
    ]  # fmt: skip


@scenario(control_planes=1, workers=2)
def access(lab: Lab) -> None:
    """Ask for what one may not: with a token, a kubelet's certificate, nothing; each refusal is found in the audit log.

    The audit log is switched on for the first control plane, whose API server is asked directly.
    """
    run(lab)


def run(lab: Lab, *, guarded: bool = True) -> None:
    """The drill; in its negative control somebody has given all nodes a Role that reads Secrets."""
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    plane, (worker, other) = lab.control_planes()[0], lab.workers()[:2]
    lab.apply(*objects((worker.name, other.name)), *([] if guarded else [loose()]))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    lab.expect("the reader and a pod with a Secret on each worker", lambda: lab.pods(READER),
               lambda pods: checks.pods_running(pods, 3), within=60)  # fmt: skip
    settings = lab.kubectl("get", "configmap", "--namespace", "kube-system", "kubeadm-config", "-o",
                           "jsonpath={.data.ClusterConfiguration}").stdout  # fmt: skip
    lab.baseline(5)

    lab.say(f"the audit log is switched on: {POLICY} says what is logged, {LOG} gets it ({plane.name} alone)")
    lab.command(f"kubeadm init phase control-plane apiserver --config FILE     (on {plane.name})")
    entrance = "load-balancer" if len(lab.control_planes()) > 1 else ""
    config = kubeadm.phase_config(audited(settings), plane.name, plane.address)
    with (
        lab.fault(PutFolder(plane.name, FOLDER, (("policy.yaml", to_yaml([policy()])),))),
        lab.fault(Reconfigure(plane.name, COMPONENT, config, entrance), role="a control plane"),
    ):
        lab.expect(
            "its API server runs with an audit log", partial(holds, lab.cluster, as_written(plane.name, COMPONENT)),
            lambda verdict: (verdict[0], verdict[1].rpartition("exit status ")[2]), within=120, predicted=RESTART,
        )  # fmt: skip
        lab.expect("the node of the reader answers again", lambda: _ask(lab, plane, worker, _livez()),
                   lambda answer: (answer.status == 200, str(answer)), within=60)  # fmt: skip
        for trial in trials(worker.name, other.name):
            _tried(lab, plane, worker, trial)
        _granted(lab, plane, worker)
        own = f"crictl logs $(crictl ps --quiet --name '^{COMPONENT}$') 2>&1 | grep -c 'Unable to authenticate'"
        log = plane.run(["sh", "-c", own], check=False, show=False)
        lab.command(f"crictl logs $(crictl ps --quiet --name {COMPONENT}) | grep authenticate")
        lab.fact("the API server's own log tells of", f"{log.stdout.strip()} requests that it could not authenticate; "
                 "of what it forbids, nothing (that is in the audit log alone)")  # fmt: skip
    # Where it was the only API server, controller manager and scheduler gave up meanwhile, and are started anew.
    lab.apply(workload.deployment("hello", 2))
    lab.expect("controllers work: hello gets a second pod", lambda: lab.pods("hello"),
               lambda pods: checks.pods_running(pods, 2), within=120,
               predicted=5 if entrance else CONTROLLERS)  # fmt: skip
    lab.hold(3)

    lab.verify()
    lab.fact("the API of the audited control plane was away at most",
             f"{lab.figures('cp-1' if entrance else 'api-read').longest:.1f} s")  # fmt: skip
    lab.require_no_failure("service")
    lab.require_writes()


def _tried(lab: Lab, plane: Node, worker: Node, trial: Trial) -> None:
    """Ask, and look the request up in the audit log by the id that the answer carries."""
    lab.command(f"{_line(plane, trial)}     (in {f'the pod {READER}' if trial.pod else worker.name})")
    answer = lab.read(lambda: _ask(lab, plane, worker, trial))
    lab.require(f"{trial.what}: {trial.status}", answer.status == trial.status,
                f"{answer.status} {answer.message[:150]}".strip())  # fmt: skip
    lab.from_now()
    found = lab.expect("the audit log has it", lambda: _audit(plane, answer.audit),
                       lambda entry: (bool(entry), f"no entry {answer.audit}"), within=10, predicted=0.5)  # fmt: skip
    user, decision, code = told(found)
    lab.require(f"... as {trial.user or 'nobody'}, {'authorizers: ' + trial.decision if trial.decision else 'unasked'}",
                (user, decision, code) == (trial.user, trial.decision, trial.status),
                f"user {user or 'none'}, decision {decision or 'none'}, code {code}")  # fmt: skip


def _granted(lab: Lab, plane: Node, worker: Node) -> None:
    """More rights take effect at once, and so does their end."""
    trial = Trial("", AS_READER, SECRETS, 200, "", "", pod=True)
    for wanted, line in ((200, "create"), (403, "delete")):
        arguments = ["rolebinding", "more", "--namespace", workload.NAMESPACE]
        more = ["--role=secrets", f"--serviceaccount={workload.NAMESPACE}:{READER}"] if line == "create" else []
        lab.command(f"kubectl {' '.join([line, *arguments, *more])}")
        lab.kubectl(line, *arguments, *more)
        lab.from_now()
        lab.expect(f"the token's answer to the Secrets is {wanted}", lambda: _ask(lab, plane, worker, trial),
                   partial(_status, wanted), within=15, predicted=0.5)  # fmt: skip


def _status(wanted: int, answer: Answer) -> Verdict:
    return answer.status == wanted, f"{answer.status} {answer.message}"


def _livez() -> Trial:
    return Trial("", AS_READER, "/livez", 200, "", "", pod=True)


def _line(plane: Node, trial: Trial) -> str:
    options = f" {trial.options}" if trial.options else ""
    return f"curl --include --silent {trial.client}{options} https://{plane.address}:{API_PORT}{trial.path}"


def _ask(lab: Lab, plane: Node, worker: Node, trial: Trial) -> Answer:
    line = _line(plane, trial).replace("curl ", "curl --max-time 5 ", 1)
    if trial.pod:
        return answer_of(lab.in_pod(READER, line).stdout)
    return answer_of(worker.run(["sh", "-c", line]).stdout)


def answer_of(text: str) -> Answer:
    """The answer in what `curl --include` printed."""
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        content: Any = json.loads(body)
    except ValueError:
        content = None
    message = content.get("message", "") if isinstance(content, dict) else ""
    words = first.split()
    return Answer(int(words[1]) if len(words) > 1 else 0, headers.get("audit-id", ""), str(message))


def _audit(plane: Node, identity: str) -> Mapping[str, Any]:
    if not identity:  # grep finds an empty word in every line
        return {}
    lines = plane.run(["grep", "-F", identity, LOG], check=False, show=False).stdout.splitlines()
    # One who was not recognised has a ResponseStarted alone.
    entries: list[Mapping[str, Any]] = [json.loads(line) for line in lines]
    return entries[-1] if entries else {}


def told(entry: Mapping[str, Any]) -> tuple[str, str, int]:
    """Who asked, what the authorizers decided, and the status of the answer, in an entry of the audit log."""
    decision = (entry.get("annotations") or {}).get("authorization.k8s.io/decision", "")
    return (entry.get("user") or {}).get("username", ""), decision, int(entry["responseStatus"]["code"])


def policy() -> dict[str, Any]:
    """What is logged: who asked for what, and the answer; not what the cluster's own parts do all day."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:masters", "kubeadm:cluster-admins"]},
            {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler"]},
            {"level": "Metadata"},
        ],
    }


def audited(settings: str) -> str:
    """The ClusterConfiguration with an audit log of the API server."""
    flags = {"audit-policy-file": POLICY, "audit-log-path": LOG}
    cluster = yaml.safe_load(kubeadm.with_arguments(settings, "apiServer", flags))
    volume = {"name": "audit", "hostPath": FOLDER, "mountPath": FOLDER, "pathType": "Directory"}
    cluster["apiServer"]["extraVolumes"] = [*(cluster["apiServer"].get("extraVolumes") or []), volume]
    return to_yaml([cluster])


def objects(nodes: Sequence[str]) -> list[dict[str, Any]]:
    """The reader with its rights and its pod, and on each node a pod with a Secret of its own."""
    pods = [_pod(READER, nodes[0], {"serviceAccountName": READER})]
    secrets = []
    for node in nodes:
        name = f"of-{node}"
        secrets.append({**_object("v1", "Secret", name), "stringData": {"word": "none of your business"}})
        volume = [{"name": "secret", "secret": {"secretName": name}}]
        pods.append(_pod(name, node, {"volumes": volume, "automountServiceAccountToken": False}))
    return [
        _object("v1", "ServiceAccount", READER),
        _role("pods", "pods", ["get", "list"]), _role("secrets", "secrets", ["get", "list"]),
        _binding("pods", "pods", {"kind": "ServiceAccount", "name": READER, "namespace": workload.NAMESPACE}),
        *secrets, *pods,
    ]  # fmt: skip


def loose() -> dict[str, Any]:
    """What undoes node authorisation: one Role for all nodes, and each kubelet reads every Secret there."""
    group = {"kind": "Group", "name": "system:nodes", "apiGroup": "rbac.authorization.k8s.io"}
    return _binding("loose", "secrets", group)


def _pod(name: str, node: str, more: Mapping[str, Any]) -> dict[str, Any]:
    container = {"name": "hello", "image": HELLO, "imagePullPolicy": "IfNotPresent",
                 "resources": {"requests": workload.REQUESTS}}  # fmt: skip
    pod = _object("v1", "Pod", name)
    pod["metadata"]["labels"] = {"app": READER}
    return {**pod, "spec": {"nodeName": node, "terminationGracePeriodSeconds": 2, "containers": [container], **more}}


def _role(name: str, resource: str, verbs: Sequence[str]) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}]
    return {**_object("rbac.authorization.k8s.io/v1", "Role", name), "rules": rules}


def _binding(name: str, role: str, subject: Mapping[str, str]) -> dict[str, Any]:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    made = _object("rbac.authorization.k8s.io/v1", "RoleBinding", name)
    return {**made, "roleRef": reference, "subjects": [dict(subject)]}


def _object(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": workload.NAMESPACE}}
