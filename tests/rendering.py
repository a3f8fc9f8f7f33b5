"""What tests of rendered files share: addresses, keys, and the machines a file is rendered for."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

from kubedrill.kubeadm import Machine, Secrets
from kubedrill.network import Addresses

Golden = Callable[[str, str], None]

ADDRESSES = Addresses(IPv4Network("172.28.7.0/24"))
KEYS = Secrets("abcdef.0123456789abcdef", "c0ffee" * 10 + "beef")
V1 = Machine(cgroup=1, etcd_tag="3.7.3", dns_tag="v1.15.0")
V2 = Machine(cgroup=2, etcd_tag=None, dns_tag=None, pull=True)
