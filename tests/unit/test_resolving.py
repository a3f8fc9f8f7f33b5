"""Whether names lead where they should: every CoreDNS is asked, and one that remembers is noticed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubedrill.errors import CommandFailed
from kubedrill.kube import PodSnapshot
from kubedrill.scenario import resolving
from kubedrill.shell import Result

NOW, BEFORE = "10.96.108.220", "10.96.101.45"
HELLO = PodSnapshot("drill", "hello-1", "worker-1", "10.244.1.2", "Running", True, 0, False, {})
DNS = [replace(HELLO, namespace="kube-system", name=f"coredns-{n}", ip=f"10.244.1.{n}") for n in (3, 4)]


class Kubectl:
    """kubectl in a cluster whose CoreDNS say what a test says."""

    def __init__(self, **says: str) -> None:
        self.says = {ip.replace("_", "."): said for ip, said in says.items()}
        self.lines: list[str] = []

    def __call__(self, *arguments: str) -> Result:
        """Answer."""
        self.lines.append(" ".join(arguments))
        if "exec" not in arguments:
            return Result(0, NOW, "")
        at = next(word.removeprefix("@") for word in arguments if word.startswith("@")).removeprefix("10.244.1.")
        if not self.says[f"at{at}"]:
            raise CommandFailed("dig", 9, "no servers could be reached", "hello-1")
        return Result(0, f"{self.says[f'at{at}']}\n", "")


def test_all_agree() -> None:
    kubectl = Kubectl(at3=NOW, at4=NOW)
    assert resolving.right(resolving.ask(kubectl, "drill", [HELLO], DNS)) == (True, "2 agree")
    assert sum("exec --namespace drill hello-1 -- dig" in line for line in kubectl.lines) == 2
    assert all(line.endswith(" hello.drill.svc.cluster.local.") for line in kubectl.lines if "dig" in line)


def test_one_that_remembers_the_last_drill_is_noticed() -> None:
    told = resolving.ask(Kubectl(at3=NOW, at4=BEFORE), "drill", [HELLO], DNS)
    assert resolving.right(told) == (False, f"hello is {NOW}; coredns-4 says {BEFORE}")


def test_one_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(CommandFailed):
        resolving.ask(Kubectl(at3=NOW, at4=""), "drill", [HELLO], DNS)


def test_a_coredns_that_is_on_its_way_out_is_not_asked() -> None:
    pods = [DNS[0], replace(DNS[1], deleting=True)]
    assert resolving.right(resolving.ask(Kubectl(at3=NOW), "drill", [HELLO], pods)) == (True, "1 agree")


@pytest.mark.parametrize("asking", [[], [replace(HELLO, ready=False)], [replace(HELLO, deleting=True)]])
def test_without_a_pod_of_the_service_nobody_is_asked(asking: list[PodSnapshot]) -> None:
    kubectl = Kubectl()
    assert resolving.right(resolving.ask(kubectl, "drill", asking, DNS))[0]
    assert kubectl.lines == []
