"""Faults of etcd's data: a member that is gone for good, a majority that is; and the way back from each.

https://etcd.io/docs/v3.6/op-guide/recovery/ and https://kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd/
A member whose data is gone cannot come back as who it was: it is removed, and a new one added in its place. Without a
majority nothing can be added: one member is made a cluster of its own from a snapshot, and the others join that.

The manifests stay as kubeadm wrote them. That of each control plane names the members that there were when it joined,
itself the last; so members are replaced in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubedrill import etcd_members
from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults.actions import (
    ANY_MEMBER,
    CONTROL_PLANES,
    Command,
    Map,
    Place,
    Plan,
    StateIs,
    named,
    node_name,
)
from kubedrill.faults.computers import MANIFESTS, REMOVED
from kubedrill.network import etcd_client, etcd_peer

DATA = "/var/lib/etcd"
SNAPSHOT = f"{DATA}/kubedrill-snapshot.db"
# Whoever watches has seen revisions that the restored store has not; far beyond them it cannot tell the same number
# twice, and all who watch must begin anew. https://etcd.io/docs/v3.6/op-guide/recovery/#restoring-with-revision-bump
BUMP = 1_000_000_000
_HERE, _AWAY = f"{MANIFESTS}/etcd.yaml", f"{REMOVED}/etcd.yaml"
_HEALTHY = f"[ -e {_HERE} ] && {ETCDCTL} endpoint health --command-timeout=3s"
# The kubelet ends what has no manifest; until then the process is waited for.
_STOP = (
    f"mkdir -p {REMOVED} && if [ -e {_HERE} ]; then mv {_HERE} {_AWAY}; fi && "
    "if pid=$(pgrep -x etcd); then timeout 50 tail --pid=$pid -f /dev/null; fi && ! pgrep -x etcd"
)
_DESTROY = f"{_STOP} && rm -rf {DATA}/member"
_END_API_SERVER = "for i in $(crictl ps --quiet --name '^kube-apiserver$'); do crictl stop --timeout 2 $i; done"
# A member that runs tells its status, with a leader or without.
_STATUS = "endpoint status --command-timeout=3s"
_LOST, _RESTORING = f"{DATA}/kubedrill-lost", f"{DATA}/kubedrill-restore"


@dataclass(frozen=True)
class EtcdSnapshot:
    """A snapshot of etcd in a file of a control plane, for as long as the fault lasts.

    Args:
        node: a control plane.
    """

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "etcd snapshot"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"save a snapshot of etcd on {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """etcdctl snapshot save; the undo removes the file."""
        node = node_name(cluster, self.node)
        gone = Command(node, ("test", "!", "-e", SNAPSHOT))
        return (
            Plan(
                before=(StateIs(node, "running"), _shell(node, _HEALTHY), gone),
                inject=(_shell(node, f"{ETCDCTL} snapshot save {SNAPSHOT}"),),
                undo=(_shell(node, f"rm -f {SNAPSHOT} {SNAPSHOT}.part"),),
                healed=(gone,),
            ),
        )


@dataclass(frozen=True)
class LoseMember:
    """A member of etcd whose data is destroyed. The undo puts a new one in its place.

    Args:
        node: the control plane.
    """

    node: Place

    @property
    def name(self) -> str:
        """What is done."""
        return "lose etcd member"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(self.node)

    def __str__(self) -> str:
        return f"destroy the data of etcd on {self.node}"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """The manifest away, the data removed; the undo replaces the member, unless it is healthy."""
        node = node_name(cluster, self.node)
        return (
            Plan(
                before=(StateIs(node, "running"), _shell(node, _HEALTHY)),
                inject=(_shell(node, _DESTROY),),
                undo=rejoin(cluster, node),
                healed=(_shell(node, _HEALTHY), Command(node, ("test", "!", "-e", _AWAY))),
            ),
        )


@dataclass(frozen=True)
class LoseQuorum:
    """The majority of etcd's members, destroyed. The undo restores the one that is left from the snapshot.

    Args:
        survivor: the control plane that is left, and has a snapshot (EtcdSnapshot).
        lost: the others, in the order in which they joined.
    """

    survivor: Place
    lost: tuple[Place, ...]

    @property
    def name(self) -> str:
        """What is done."""
        return "lose etcd quorum"

    @property
    def subject(self) -> str:
        """To whom."""
        return named(*self.lost)

    def __str__(self) -> str:
        return f"destroy the data of etcd on {named(*self.lost)}: {self.survivor} alone is no majority"

    def ways(self, cluster: Map, mark: str) -> tuple[Plan, ...]:
        """Destroy; the undo restores where there is no quorum, and lets the others join."""
        survivor, lost = node_name(cluster, self.survivor), [node_name(cluster, node) for node in self.lost]
        return (
            Plan(
                before=(
                    *(StateIs(node, "running") for node in (survivor, *lost)),
                    *(_shell(node, _HEALTHY) for node in (survivor, *lost)),
                    Command(survivor, ("test", "-s", SNAPSHOT)),
                ),
                inject=(_shell(survivor, f"touch {_LOST}"), *(_shell(node, _DESTROY) for node in lost)),
                undo=(
                    *restore(cluster, survivor, lost),
                    *(action for node in lost for action in rejoin(cluster, node)),
                ),
                healed=(
                    *(_shell(node, _HEALTHY) for node in (survivor, *lost)),
                    *(Command(node, ("test", "!", "-e", _AWAY)) for node in lost),
                    Command(survivor, ("test", "!", "-e", _RESTORING)),
                ),
            ),
        )


def restore(cluster: Map, survivor: str, lost: Sequence[str]) -> tuple[Command, ...]:
    """The commands that make a member a cluster of its own from its snapshot, after LoseQuorum.

    Nothing is done where it was done already, or where another member answers: that makes a majority.

    The old process is stopped in its tracks while its data is changed under it; the kubelet starts the next one. With
    it ends the API server, which remembers what is no more.

    Args:
        cluster: names and addresses.
        survivor: its host name.
        lost: those of the other members.
    """
    peer = etcd_peer(cluster.node(survivor).address)
    others = " ".join(etcd_client(cluster.node(node).address) for node in lost)
    script = f"""[ -e {_LOST} ] || {{ rm -rf {_RESTORING}; exit 0; }}
set -e
id=$(crictl ps --quiet --name '^etcd$') && test -n "$id"
if [ ! -e {_RESTORING}/ready ]; then
    for e in {others}; do
        if {ETCDCTL} --endpoints=$e {_STATUS}; then rm {_LOST}; exit 0; fi
    done
    rm -rf {_RESTORING}
    crictl exec $id etcdutl snapshot restore {SNAPSHOT} --data-dir {_RESTORING}/new --name {survivor} \
        --initial-cluster {survivor}={peer} --initial-advertise-peer-urls {peer} --bump-revision {BUMP} --mark-compacted
    touch {_RESTORING}/ready
fi
pid=$(pgrep -x etcd) && kill -STOP $pid || true
if [ -e {_RESTORING}/new/member ]; then rm -rf {DATA}/member; mv {_RESTORING}/new/member {DATA}/member; fi
[ -z "$pid" ] || kill -KILL $pid
rm {_LOST}
rm -rf {_RESTORING}
{_END_API_SERVER}"""
    # Where etcd has computers of its own, all API servers are elsewhere.
    elsewhere = (_shell(CONTROL_PLANES, _END_API_SERVER),) if etcd_members.alone(survivor) else ()
    return (_shell(survivor, script), *elsewhere)


def rejoin(cluster: Map, node: str) -> tuple[Command, ...]:
    """The commands that put a new member in the place of one whose data was destroyed; nothing where one answers.

    The manifest that was moved away stays there until the new member is healthy: whoever begins again knows by it that
    data which is there may be of a member that has been removed since.

    Args:
        cluster: names and addresses.
        node: the host name of its control plane.
    """
    address = cluster.node(node).address
    peer, client = etcd_peer(address), etcd_client(address)
    find = f"{ETCDCTL} member list | grep -F ' {peer},' | cut -d, -f1"
    replace = (
        f"if {ETCDCTL} --endpoints={client} {_STATUS}; then exit 0; fi\n"
        # Added already, by a run that was cut off: where there were one member before, it is half of the votes now, and
        # there is no majority until it starts. Any member tells without one, as far as itself knows.
        f"if {ETCDCTL} member list --consistency=s | grep -F ', unstarted, ' | grep -qF ' {peer},'; then exit 0; fi\n"
        "set -e\n"
        f"{ETCDCTL} endpoint health --command-timeout=3s\n"
        f"for id in $({find}); do {ETCDCTL} member remove $id; done\n"
        f"{ETCDCTL} member add {node} --peer-urls={peer}"
    )
    return (
        _shell(
            node, f"[ -e {_AWAY} ] || exit 0; if [ -e {_HERE} ] && {ETCDCTL} {_STATUS}; then exit 0; fi; {_DESTROY}"
        ),
        _shell(ANY_MEMBER, replace),
        _shell(
            node,
            f"if [ -e {_AWAY} ] && [ ! -e {_HERE} ]; then cp -p {_AWAY} {_AWAY}.new && mv {_AWAY}.new {_HERE}; "
            f"{_END_API_SERVER}; fi",
        ),
        # Before the next one: etcd takes one new member at a time.
        _shell(node, f"{_HEALTHY} && rm -f {_AWAY} && {{ rmdir {REMOVED} 2>/dev/null || true; }}"),
    )


def _shell(node: str, script: str) -> Command:
    return Command(node, ("sh", "-c", script), timeout=80)
