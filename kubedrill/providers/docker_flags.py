"""The flags that let a container be a computer: pure, from what the engine can give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a container needs, besides, that fetches something; others that build have no network.
ONLINE: Mapping[str, Any] = {"network_mode": "bridge"}


def isolation(missing: frozenset[str]) -> dict[str, Any]:
    """Arguments of docker's HostConfig for a node.

    Args:
        missing: capabilities that the engine itself lacks (names without CAP_, such as 'SYS_RESOURCE'), and so cannot
            give to a container. Without any, --privileged is to be had and is used.

    Returns:
        Where --privileged is not to be had, exactly what a node needs instead: every capability that there is, no
        system-call filter, unmasked /proc, all devices.
    """
    # An engine that maps its users to others (userns-remap) has neither privileges nor a host's devices to give else.
    common: dict[str, Any] = {"cgroupns": "private", "userns_mode": "host"}
    if not missing:
        return {**common, "privileged": True}
    return {
        **common,
        "cap_add": ["ALL"],
        "cap_drop": sorted(missing),
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        # What the docker command calls systempaths=unconfined.
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "device_cgroup_rules": ["a *:* rwm"],
    }
