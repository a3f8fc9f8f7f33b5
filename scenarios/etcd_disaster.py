"""etcd loses a member, then its majority for good: a member is replaced, a cluster restored from a snapshot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kubedrill import checks, etcd_members
from kubedrill.availability import Restored
from kubedrill.etcd_members import ETCDCTL
from kubedrill.faults import EtcdSnapshot, LoseMember, LoseQuorum
from kubedrill.faults.etcd import BUMP, SNAPSHOT, rejoin, restore
from kubedrill.faults.perform import mend
from kubedrill.network import etcd_client, etcd_peer
from kubedrill.probes.write import ledger
from kubedrill.providers.base import Node
from kubedrill.scenario import etcd, scenario, workload
from kubedrill.scenario.lab import Lab, names
from kubedrill.wait import Verdict

MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
# A member that does not answer is known to be gone after so long, and is asked before it is replaced.
GONE = 3
# A member that is new gets all data and a vote in that time; the kubelet starts it as soon as it sees its manifest.
# With an election in it: the second member of two is counted as soon as it is added, so the first has no majority and
# leads no longer until the second is there (etcd's CheckQuorum).
JOINS = GONE + 10
# The API server that reads the restored store is started anew, too.
API_SERVER = 8


@scenario(control_planes=3, workers=1)
def etcd_disaster(lab: Lab) -> None:
    """Destroy a member of etcd and replace it; then destroy two of three, and restore a snapshot that is too old.

    Nothing acknowledged before the snapshot may be missing. What came after it is lost, and told.
    """
    run(lab)


def run(lab: Lab, *, stale: bool = False) -> None:
    """The drill; in its negative control the snapshot is older than its owner believes."""
    lab.apply(workload.deployment("hello", 1), workload.service("hello", workload.NODE_PORT))
    lab.expect("hello is ready", lambda: lab.pods("hello"), lambda pods: checks.pods_running(pods, 1), within=60)
    planes = _in_order_of_joining(lab)
    lab.baseline(8)
    _member_lost(lab, planes[-1])
    one_lost = lab.span()
    restored = _quorum_lost(lab, planes, stale)
    lab.hold(3)

    lab.verify()
    check = lab.monitor.writes_check(restored)
    writes = ledger(lab.monitor.samples()["api-write"])
    gone = [write.end for write in writes if write.number in set(check.rolled_back)]
    before = max((write.end for write in writes if write.outcome == "ok" and write.end < restored.at), default=0.0)
    known = max((write.end for write in writes if (write.revision or BUMP) <= restored.revision), default=before)
    back = min((write.end for write in writes if write.outcome == "ok" and write.end > restored.at), default=lab.now())
    lab.fact("RPO: acknowledged and lost", f"{len(gone)} writes, of the {before - known:.1f} s before the disaster")
    lab.fact("RTO: from the last write to the first one after the restore", f"{back - before:.1f} s")
    lab.require("what came after the snapshot is lost, and known to be", bool(gone), f"{len(gone)} writes")
    lab.require_within("after the disaster writes are acknowledged again", before, back, 60)
    lab.require_downtime("api-read", 3, between=one_lost, when="one member lost")
    lab.require_downtime("api-write", 6, between=one_lost, when="one member lost")
    lab.require_downtime("service", 2)
    lab.require_writes(restored)
    lab.require_linearizable(restored)


def _member_lost(lab: Lab, victim: Node) -> None:
    lab.say(f"the disk of etcd on {victim.name} is lost; two of three go on")
    with lab.fault(LoseMember(victim.name), role="the member that joined last"):
        lab.expect("two members are healthy, and writes succeed",
                   lambda: (len(etcd.healthy(lab.cluster)), lab.monitor.silent_for("api-write")),
                   lambda seen: (seen[0] == 2 and seen[1] < 1, f"{seen[0]} healthy, silent for {seen[1]:.1f} s"),
                   within=60)  # fmt: skip
        lab.say("a member whose data is gone cannot come back as who it was: it is removed, and a new one added")
        lab.command(
            f"etcdctl member remove ID; etcdctl member add {victim.name} --peer-urls={etcd_peer(victim.address)}"
        )
        lab.command(f"mv /root/etcd.yaml {MANIFEST}     (on {victim.name}, whose data directory is empty)")
        lab.from_now()
        for action in rejoin(lab.cluster, victim.name):
            mend(lab.cluster, action)
        _whole(lab, JOINS)


def _quorum_lost(lab: Lab, planes: Sequence[Node], stale: bool) -> Restored:
    survivor, others = planes[0], planes[1:]
    lab.command(f"etcdctl snapshot save {SNAPSHOT}     (on {survivor.name})")
    with lab.fault(EtcdSnapshot(survivor.name)):
        saved = json.loads(_etcd(survivor, "etcdutl", f"snapshot status {SNAPSHOT} -w json"))
        revision = int(saved["revision"])
        lab.say(f"the snapshot holds revision {revision}; {saved['totalSize'] / 1e6:.1f} MB")
        lab.hold(5)
        if stale:
            status: list[dict[str, Any]] = json.loads(_etcd(survivor, "etcdctl", "endpoint status -w json"))
            revision = int(status[0]["Status"]["header"]["revision"])
            lab.say(f"its owner believes that it holds revision {revision}")
            lab.hold(2)
        with lab.fault(LoseQuorum(survivor.name, tuple(names(others))), role="two of three"):
            lab.expect("writes stop", _silent(lab, "api-write"), _at_least(3), within=30, predicted=3)
            lab.say(f"{survivor.name} has all data, but alone it is no majority: nothing can be read or written")
            lab.command(f"etcdutl snapshot restore {SNAPSHOT} --data-dir /var/lib/etcd/new --name {survivor.name} "
                        f"--initial-cluster {survivor.name}={etcd_peer(survivor.address)} --bump-revision {BUMP} "
                        "--mark-compacted")  # fmt: skip
            lab.command(f"mv /var/lib/etcd/new/member /var/lib/etcd/     (on {survivor.name}, with etcd stopped)")
            restored = Restored(revision, lab.from_now())
            for action in restore(lab.cluster, survivor.name, names(others)):
                mend(lab.cluster, action)
            lab.expect("writes succeed, with one member that is a cluster of its own", _silent(lab, "api-write"),
                       _below(1), within=90, predicted=len(others) * GONE + API_SERVER + 2)  # fmt: skip
            for node in others:
                lab.command(f"etcdctl member add {node.name} --peer-urls={etcd_peer(node.address)}")
                lab.command(f"mv /root/etcd.yaml {MANIFEST}     (on {node.name})")
                lab.from_now()
                for action in rejoin(lab.cluster, node.name):
                    mend(lab.cluster, action)
                lab.expect(f"{node.name} is a member", lambda: etcd.healthy(lab.cluster),
                           partial(_has, etcd_client(node.address)), within=60, predicted=JOINS)  # fmt: skip
            _whole(lab, JOINS)
    return restored


def _whole(lab: Lab, predicted: float) -> None:
    planes, members = lab.control_planes(), etcd_members.of(lab.cluster.nodes)
    lab.expect("all members of etcd are healthy", lambda: etcd.healthy(lab.cluster),
               lambda healthy: (len(healthy) == len(members), f"healthy: {', '.join(healthy) or 'none'}"),
               within=90, predicted=predicted)  # fmt: skip
    lanes = [name for name in lab.monitor.names() if name.startswith("cp-")]
    lab.expect("the API of every control plane answers", lambda: max(map(lab.monitor.silent_for, lanes)), _below(1),
               within=120, predicted=predicted + API_SERVER)  # fmt: skip
    lab.expect("all nodes are Ready", lab.api.nodes,
               lambda nodes: checks.nodes_ready(nodes, names([*planes, *lab.workers()])), within=120)  # fmt: skip


def _in_order_of_joining(lab: Lab) -> list[Node]:
    """The nodes with a member, each with those in its manifest that were there before it."""
    nodes = etcd_members.of(lab.cluster.nodes)
    members = {node.name: members_in(node.run(["cat", MANIFEST], show=False).stdout) for node in nodes}
    ordered = sorted(nodes, key=lambda node: len(members[node.name]))
    fits = all(members[node.name] == set(names(ordered[: number + 1])) for number, node in enumerate(ordered))
    lab.assume_true("each manifest of etcd names those that joined before, and itself", fits, ", ".join(names(ordered)))
    return ordered


def members_in(manifest: str) -> set[str]:
    """The members that a manifest of etcd names as the first cluster."""
    found = re.search(r"--initial-cluster=(\S+)", manifest)
    return {part.partition("=")[0] for part in found[1].split(",")} if found else set()


def _etcd(node: Node, program: str, arguments: str) -> str:
    line = f"{ETCDCTL} {arguments}" if program == "etcdctl" else (
        f"crictl exec $(crictl ps --quiet --name etcd) {program} {arguments}"
    )  # fmt: skip
    return node.run(["sh", "-c", line], timeout=20, show=False).stdout


def _silent(lab: Lab, lane: str) -> Callable[[], float]:
    return partial(lab.monitor.silent_for, lane)


def _has(endpoint: str, healthy: list[str]) -> Verdict:
    return endpoint in healthy, f"healthy: {', '.join(healthy) or 'none'}"


def _at_least(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet >= seconds, f"silent for {quiet:.1f} s")


def _below(seconds: float) -> Callable[[float], Verdict]:
    return lambda quiet: (quiet < seconds, f"silent for {quiet:.1f} s")
