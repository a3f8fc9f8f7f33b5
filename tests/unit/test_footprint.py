"""What nodes and programs hold, as they tell it."""

from __future__ import annotations

from fake_node import Call, FakeNode
from fake_provider import FakeProvider

from kubedrill import footprint
from kubedrill.providers.base import NetworkSpec, NodeSpec
from kubedrill.shell import Result


def node(**said: Result) -> FakeNode:
    def answer(_node: FakeNode, call: Call) -> Result:
        return said[call.argv[0] if call.argv[0] in said else "sh"]

    provider = FakeProvider(script=answer)
    provider.create_network("lab", NetworkSpec("172.28.0.0/24", {}))
    provider.create_node("lab", NodeSpec("lab-control-plane-1", "control-plane", "172.28.0.11", "an image"))
    return provider.node("lab-control-plane-1")


def test_a_program_with_two_processes() -> None:
    assert footprint.program(node(ps=Result(0, "  524288\n 1024\n", "")), "etcd") == 513


def test_a_program_that_does_not_run() -> None:
    assert footprint.program(node(ps=Result(1, "", "")), "etcd") is None


def test_the_data_of_etcd() -> None:
    assert footprint.etcd_data(node(du=Result(0, "93\t/var/lib/etcd/member/snap/db\n", ""))) == 93
    assert footprint.etcd_data(node(du=Result(1, "", "du: cannot access"))) is None


def test_a_node() -> None:
    there = node(sh=Result(0, "78\n", ""))
    assert (footprint.memory(there), footprint.disk(there)) == (78, 78)
