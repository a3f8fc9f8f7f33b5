"""Faults of the network between nodes, each in something of its own (a table, a rule, a qdisc) that the undo deletes.

A 'drop' in any table of nftables is final, whatever kube-proxy's and flannel's rules accept, and neither of them
rewrites what is not its own. Rules go with the node's network, so a node that is off has nothing to undo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kubedrill.faults.actions import Command, Map, Place, Plan, StateIs, named, node_name

Direction = Literal["both", "in", "out"]
# Of the qdisc: 'kd' in hexadecimal, so that the undo takes away no other one's.
_HANDLE = "6b64:"


@dataclass(frozen=True)
class Partition:
    """A node and others do not get each other's packets, those of existing connections included.

    What is dropped on the node: packets from the others' own addresses, and packets whose next hop they are. With
    flannel's vxlan backend that is all traffic of pods between them too, as it travels in packets of the nodes. With
    host-gw, packets that the others' pods send to this node's pods still arrive (the answers do not leave); there
    `both` is therefore not one wire cut, but each connection is. The host's own way to the node (the published API) is
    not cut.

    Args:
        node: the node that is cut off.
        others: from whom; the balancer may be one.
        direction: `in` drops what the others send to it, `out` what it sends to them.
    """

    node: Place
    others: tuple[Place, ...]
    direction: Direction = "both"

    def __post_init__(self) -> None:
        if not self.others:
            raise ValueError("a partition needs somebody to be cut off from")

    @property
    def name(self) -> str:
        """What is done."""
        return "partition"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        way = {"both": "", "in": " (what it receives)", "out": " (what it sends)"}[self.direction]
        return f"cut {self.node} off from {', '.join(map(str, self.others))}{way}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Two chains of a table of its own."""
        node = node_name(cluster, self.node)
        others = [cluster.node(node_name(cluster, other)) for other in self.others]
        addresses = ", ".join(sorted({other.address for other in others if other.name != node}))
        if not addresses:
            raise ValueError(f"{node} cannot be cut off from itself")
        chains = []
        if self.direction != "out":
            chains.append(_chain("arriving", "prerouting priority raw", f"ip saddr {{ {addresses} }} drop"))
        if self.direction != "in":
            rules = (f"ip daddr {{ {addresses} }} drop", f"rt ip nexthop {{ {addresses} }} drop")
            chains.append(_chain("leaving", "postrouting priority raw", *rules))
        return (_table(node, mark, chains, needs=["nftables" if self.direction == "in" else "nft_rt"]),)


@dataclass(frozen=True)
class PacketLoss:
    """A share of a node's packets is lost at random.

    With netem (where the kernel has it) those that the node sends, else those that it receives, by a rule of nftables:
    a sender is told when a rule drops its packet on the way out, but not of one that is dropped on arrival.

    Args:
        node: where.
        percent: how many of a hundred, more than 0, at most 100; hundredths count.
    """

    node: Place
    percent: float

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise ValueError(f"{self.percent} is no share of a hundred packets that can be lost")

    @property
    def name(self) -> str:
        """What is done."""
        return "packet loss"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"lose {self.percent:g} % of the packets of {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """netem, or a rule that draws a random number for each packet."""
        node = node_name(cluster, self.node)
        rule = f'iifname != "lo" numgen random mod 10000 < {round(self.percent * 100)} drop'
        if self.percent == 100:  # the draw is always less than that, which nft refuses to compare
            rule = 'iifname != "lo" drop'
        chain = _chain("arriving", "input priority raw", rule)
        return (
            self._netem(node, cluster.node(node).address),
            _table(node, mark, [chain], needs=["nft_numgen"], means="nftables, on arrival"),
        )

    def _netem(self, node: str, address: str) -> Plan:
        device = f"dev=$(ip -o -4 addr show | awk '$4 ~ /^{address.replace('.', '[.]')}[/]/ {{ print $2 }}')"
        mine = f'tc qdisc show dev "$dev" | grep -q "qdisc netem {_HANDLE}"'
        add = f'tc qdisc add dev "$dev" root handle {_HANDLE} netem loss {self.percent:g}%'
        delete = f'if {mine}; then tc qdisc del dev "$dev" root; fi'
        return Plan(
            before=(StateIs(node, "running"),),
            inject=(Command(node, ("sh", "-c", f"set -e; {device}; {add}")),),
            undo=(Command(node, ("sh", "-c", f"set -e; {device}; {delete}"), until_boot=True),),
            healed=(Command(node, ("sh", "-c", f"set -e; {device}; ! {mine}"), until_boot=True),),
            needs=((node, "netem"),),
            means="netem, on leaving",
        )


@dataclass(frozen=True)
class DropForward:
    """Nodes that do not forward: pods lose each other, while the nodes stay Ready, as their own traffic goes on.

    It is the trap of every course on Kubernetes by hand: Docker on the same computer lets FORWARD drop, and nothing
    accepts pods' packets first. With today's flannel the policy alone (iptables -P FORWARD DROP) does nothing: its
    chain FLANNEL-FWD accepts packets of the pod network, and where its rule is deleted it writes it again within a
    second (seen with 0.28). So the drop is the first rule of FORWARD, before kube-proxy's and flannel's, which look
    after rules of their own only; it has a comment and a counter, so that `iptables -L FORWARD -n -v` tells who drops.

    All that the node would pass on is dropped: between pods of different nodes, between pods of one node (where
    br_netfilter shows bridged packets to the firewall), and from pods to the world, to the API and to other Services.

    Args:
        nodes: where.
    """

    nodes: tuple[Place, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("no node is named whose forwarding should be dropped")

    @property
    def name(self) -> str:
        """What is done."""
        return "drop forwarding"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(*self.nodes)

    def __str__(self) -> str:
        return f"drop what {', '.join(map(str, self.nodes))} should forward"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """One rule, found again by its comment."""
        nodes = [node_name(cluster, node) for node in self.nodes]
        rule = f"FORWARD -m comment --comment kubedrill-{mark} -j DROP"
        gone = f'rules=$(iptables -w -S FORWARD) && ! echo "$rules" | grep -q kubedrill-{mark}'
        # As often as it is there: the undo may run twice, and after an inject of which only the end was not seen.
        delete = f"while iptables -w -C {rule} 2>/dev/null; do iptables -w -D {rule}; done"
        return (
            Plan(
                before=tuple(StateIs(node, "running") for node in nodes),
                inject=tuple(Command(node, ("iptables", "-w", "-I", *rule.split())) for node in nodes),
                undo=tuple(Command(node, ("sh", "-c", delete), until_boot=True) for node in nodes),
                healed=tuple(Command(node, ("sh", "-c", gone), until_boot=True) for node in nodes),
                needs=tuple((node, "iptables") for node in nodes),
            ),
        )


def _chain(name: str, hook: str, *rules: str) -> str:
    lines = [f"type filter hook {hook}; policy accept;", *rules]
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _table(
    node: str, mark: str, chains: Sequence[str], *, needs: Sequence[str], means: str = ""
) -> Plan:  # fmt: skip
    """A table of our own: made in one transaction, and taken away whether it is there or not."""
    table = f"inet kubedrill_{mark}"
    rules = f"table {table} {{\n{''.join(chains)}}}\n"
    gone = f'tables=$(nft list tables) && ! echo "$tables" | grep -qx "table {table}"'
    return Plan(
        before=(StateIs(node, "running"),),
        inject=(Command(node, ("nft", "-f", "-"), stdin=rules),),
        undo=(Command(node, ("nft", f"add table {table}; delete table {table}"), until_boot=True),),
        healed=(Command(node, ("sh", "-c", gone), until_boot=True),),
        needs=tuple((node, need) for need in needs),
        means=means,
    )
