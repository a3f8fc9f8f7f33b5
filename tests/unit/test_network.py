"""Addresses never move, and a cluster's subnet overlaps nothing."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from kubedrill import network
from kubedrill.errors import KubedrillError
from kubedrill.network import POOL, Addresses
from kubedrill.spec import MAX_WORKERS, ClusterSpec

ADDRESSES = Addresses(IPv4Network("172.28.7.0/24"))


@pytest.mark.parametrize(
    ("key", "address"),
    [
        ("control-plane-1", "172.28.7.11"),
        ("control-plane-5", "172.28.7.15"),
        ("worker-1", "172.28.7.101"),
        ("worker-99", "172.28.7.199"),
    ],
)
def test_addresses_of_nodes(key: str, address: str) -> None:
    assert ADDRESSES.node(key) == address


@pytest.mark.parametrize(("control_planes", "endpoint"), [(1, "172.28.7.11"), (3, "172.28.7.2"), (5, "172.28.7.2")])
def test_the_endpoint(control_planes: int, endpoint: str) -> None:
    assert ADDRESSES.endpoint(ClusterSpec(control_planes=control_planes)) == endpoint


def test_no_two_have_the_same_address_in_the_biggest_cluster() -> None:
    keys = ClusterSpec(control_planes=5, workers=MAX_WORKERS).node_keys()
    all_of_them = [ADDRESSES.gateway, ADDRESSES.balancer, *(ADDRESSES.node(key) for key in keys)]
    assert len(set(all_of_them)) == len(all_of_them) == 2 + 5 + MAX_WORKERS
    inside = [str(address) for address in ADDRESSES.subnet.hosts()]
    assert set(all_of_them) <= set(inside)
    assert ADDRESSES.gateway == inside[0]


TAKEN = {
    "nothing": ([], "172.28.0.0/24"),
    "elsewhere": (["10.0.0.0/8", "192.168.0.0/16", "172.17.0.0/16"], "172.28.0.0/24"),
    "the first": (["172.28.0.0/24"], "172.28.1.0/24"),
    "a hole": (["172.28.0.0/24", "172.28.2.0/24"], "172.28.1.0/24"),
    "a part of the first": (["172.28.0.128/26"], "172.28.1.0/24"),
    "one address": (["172.28.0.9/32"], "172.28.1.0/24"),
    "Docker's bridges of /16": (["172.28.0.0/16", "172.29.0.0/16"], "172.30.0.0/24"),
    "all but the last": (["172.28.0.0/15", "172.30.0.0/16", "172.31.0.0/17", "172.31.128.0/18", "172.31.192.0/19",
                          "172.31.224.0/20", "172.31.240.0/21", "172.31.248.0/22", "172.31.252.0/23",
                          "172.31.254.0/24"], "172.31.255.0/24"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
def test_the_first_free_subnet(case: str) -> None:
    taken, wanted = TAKEN[case]
    assert network.free_subnet(IPv4Network(subnet) for subnet in taken) == IPv4Network(wanted)


def test_pods_and_services_in_the_pool_are_avoided_too() -> None:
    spec = ClusterSpec(pod_subnet="172.28.0.0/16", service_subnet="172.29.0.0/20")
    found = network.free_subnet([IPv4Network(spec.pod_subnet), IPv4Network(spec.service_subnet)])
    assert found == IPv4Network("172.29.16.0/24")


@pytest.mark.parametrize("taken", [[POOL], list(POOL.subnets(new_prefix=16)), [IPv4Network("172.16.0.0/12")]])
def test_when_the_pool_is_exhausted(taken: list[IPv4Network]) -> None:
    with pytest.raises(KubedrillError) as caught:
        network.free_subnet(taken)
    assert str(taken[0]) in str(caught.value)
    assert caught.value.todo


def test_a_route_to_more_than_the_pool_leaves_it_free() -> None:
    """As of a VPN to a company's 172.16.0.0/12, or of OpenVPN's redirect-gateway def1."""
    vpn = [IPv4Network(each) for each in ("0.0.0.0/1", "128.0.0.0/1", "172.16.0.0/12", "172.28.0.0/14")]
    assert network.free_subnet([], vpn) == IPv4Network("172.28.0.0/24")
    narrow = [*vpn, IPv4Network("172.28.0.0/16")]
    assert network.free_subnet([IPv4Network("172.29.0.0/24")], narrow) == IPv4Network("172.29.1.0/24")


def test_the_pool_is_private_and_is_no_network_that_docker_takes_first() -> None:
    assert POOL.is_private
    assert not any(IPv4Address(f"172.{number}.0.1") in POOL for number in range(17, 28))
