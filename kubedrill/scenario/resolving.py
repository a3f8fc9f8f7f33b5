"""Whether names inside the cluster lead where they should now, asked of every CoreDNS by itself.

A CoreDNS that lost the API for a while goes on with what it knew; it asks again after up to a minute (client-go's
reflector waits 30 s at most, and up to twice that at random). So a drill that begins soon after one that took the API
away may find its Service under the address of the last one's: half of the requests of `images` once went there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubedrill.kube import PodSnapshot
from kubedrill.shell import Result
from kubedrill.wait import Verdict

SERVICE = "hello"


@dataclass(frozen=True)
class Told:
    """What is so, and what each CoreDNS says.

    Args:
        address: the Service's.
        answers: {pod of CoreDNS: what it says}.
    """

    address: str
    answers: Mapping[str, str]


def ask(
    kubectl: Callable[..., Result], namespace: str, asking: Sequence[PodSnapshot], dns: Sequence[PodSnapshot]
) -> Told:
    """Ask each CoreDNS for the address of the Service `hello`, from one of its pods; without such a pod nobody is.

    Args:
        kubectl: runs it.
        namespace: where the Service and its pods are.
        asking: its pods.
        dns: the pods of CoreDNS.

    Raises:
        CommandFailed: the API, a pod or a CoreDNS did not answer.
    """
    ready = [pod for pod in asking if pod.ready and not pod.deleting]
    if not ready:
        return Told("", {})
    read = ("get", "service", SERVICE, "--namespace", namespace, "-o", "jsonpath={.spec.clusterIP}")
    name, inside = f"{SERVICE}.{namespace}.svc.cluster.local.", ("exec", "--namespace", namespace, ready[0].name, "--")
    answers = {
        pod.name: kubectl(*inside, "dig", "+short", "+time=2", "+tries=1", f"@{pod.ip}", name).stdout.strip()
        for pod in dns
        if pod.ready and not pod.deleting
    }
    return Told(kubectl(*read).stdout.strip(), answers)


def right(told: Told) -> Verdict:
    """Whether every CoreDNS says what is so."""
    wrong = [f"{pod} says {said or 'nothing'}" for pod, said in told.answers.items() if said != told.address]
    return not wrong, f"{SERVICE} is {told.address}; {', '.join(wrong)}" if wrong else f"{len(told.answers)} agree"
