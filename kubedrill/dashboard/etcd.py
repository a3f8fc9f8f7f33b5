"""etcd's members as each of them says: who leads, who follows, who does not answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from kubedrill import etcd_members
from kubedrill.dashboard.state import Member
from kubedrill.errors import KubedrillError
from kubedrill.etcd_members import ETCDCTL
from kubedrill.network import etcd_client
from kubedrill.providers.base import Node

_LIMIT = 10


def ask(nodes: Sequence[Node]) -> tuple[tuple[Member, ...], str]:
    """Ask all members, by one command on the first node that can run it.

    Args:
        nodes: of the cluster.

    Returns:
        (the members in the order of their nodes, why nothing is known).
    """
    holders = etcd_members.of(nodes)
    # By address, not --cluster: without a majority etcd would not even say who its members are.
    endpoints = ",".join(etcd_client(node.address) for node in holders)
    limits = "--dial-timeout=1s --command-timeout=2s"
    why = "no node with a member runs"
    off: set[str] = set()
    for node in holders:
        try:
            if node.state() != "running":
                off.add(node.name)
                continue
            line = f"{ETCDCTL} endpoint status --endpoints {endpoints} {limits} -w json"
            # Its status is 1 as soon as one does not answer; what the others say is printed all the same.
            result = node.run(["sh", "-c", line], check=False, timeout=_LIMIT, show=False)
        except KubedrillError as error:
            why = f"{node.name}: {error.what}"
            continue
        found = members(result.stdout, {node.address: node.name for node in holders})
        if found:
            return found, ""
        why = f"{node.name}: {' '.join(result.output.split())[-160:] or 'etcdctl says nothing'}"
    # That nobody could be asked says nothing of a member whose computer runs.
    return tuple(Member(node.name, "no answer" if node.name in off else "not known") for node in holders), why


def members(status: str, names: dict[str, str]) -> tuple[Member, ...]:
    """The members in `etcdctl endpoint status -w json`; none where it tells nothing.

    Args:
        status: what it printed.
        names: the nodes by their addresses; one that has not answered is a member all the same.
    """
    try:
        said: list[Any] = json.loads(status or "[]") or []
    except ValueError:
        return ()
    answers = {urlsplit(one["Endpoint"]).hostname: one["Status"] for one in said}
    if not answers:
        return ()
    return tuple(
        _member(name, answers[address]) if address in answers else Member(name, "no answer")
        for address, name in names.items()
    )


def _member(name: str, status: Any) -> Member:
    leader = int(status.get("leader", 0))
    if status.get("isLearner"):
        role = "learner"
    elif not leader:
        role = "no leader"
    else:
        role = "leads" if leader == status["header"]["member_id"] else "follows"
    problems = "; ".join(status.get("errors") or [])
    return Member(name, role, int(status.get("raftTerm", 0)), int(status.get("dbSize", 0)), problems)
