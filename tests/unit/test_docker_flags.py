"""A node gets --privileged where it is to be had, and exactly what it needs instead where not."""

from __future__ import annotations

import pytest

from kubedrill.providers import docker_flags


def test_where_the_engine_lacks_nothing() -> None:
    assert docker_flags.isolation(frozenset()) == {
        "cgroupns": "private", "userns_mode": "host", "privileged": True,
    }  # fmt: skip


@pytest.mark.parametrize("missing", [{"SYS_RESOURCE"}, {"SYS_RESOURCE", "BPF", "AUDIT_READ"}])
def test_where_it_lacks_something(missing: set[str]) -> None:
    flags = docker_flags.isolation(frozenset(missing))
    assert "privileged" not in flags
    assert flags == {
        "cgroupns": "private",
        "userns_mode": "host",
        "cap_add": ["ALL"],
        "cap_drop": sorted(missing),
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "device_cgroup_rules": ["a *:* rwm"],
    }


def test_no_call_changes_the_next() -> None:
    docker_flags.isolation(frozenset({"BPF"}))["cap_drop"].append("CHOWN")
    docker_flags.isolation(frozenset())["privileged"] = False
    assert docker_flags.isolation(frozenset({"BPF"}))["cap_drop"] == ["BPF"]
    assert docker_flags.isolation(frozenset())["privileged"] is True
