"""Whether a node can do what a fault needs: tried out in a throw-away network namespace of the node itself.

`invoke doctor` tells what this machine's kernel has (kernel.py). What counts for a fault is the kernel and the programs
of the very node, which in a VM are others, and what the node's rights let it do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubedrill.errors import CommandFailed, KubedrillError
from kubedrill.providers.base import Node

_POSTROUTING = "add chain inet kd c { type filter hook postrouting priority raw; }"
_NFT = "nft 'add table inet kd; {chain}; add rule inet kd c {rule}'"
TRIALS = {
    "iptables": "iptables -w -I FORWARD -m comment --comment kd -j DROP",
    "nftables": _NFT.format(chain=_POSTROUTING, rule="ip daddr 192.0.2.1 drop"),
    "nft_numgen": _NFT.format(chain=_POSTROUTING, rule="numgen random mod 10000 < 5000 drop"),
    "nft_rt": _NFT.format(chain=_POSTROUTING, rule="rt ip nexthop 192.0.2.1 drop"),
    "netem": "tc qdisc add dev lo root netem loss 1%",
    # A container shares the clock, the disk and the kernel of this machine, which are not to be broken.
    "own_machine": "! systemd-detect-virt --container || { echo is no machine of its own; false; }",
}


def lacking(find: Callable[[str], Node], needs: Sequence[tuple[str, str]]) -> list[str]:
    """What is not there of what is needed, each with the reason.

    Args:
        find: gives a node by its host name.
        needs: (node, name of TRIALS).
    """
    return [why for node, need in needs if (why := _trial(find(node), need))]


def _trial(node: Node, need: str) -> str:
    try:
        result = node.run(["unshare", "--net", "--", "sh", "-c", TRIALS[need]], check=False, timeout=60, show=False)
    except CommandFailed:
        return f"{need} on {node.name}: '{TRIALS[need]}' did not end"
    except KubedrillError as error:
        return f"{need} on {node.name}: could not be tried out: {error}"
    said = " ".join(result.output.split())[:160]
    return "" if result.status == 0 else f"{need} on {node.name}: '{TRIALS[need]}' says: {said}"
