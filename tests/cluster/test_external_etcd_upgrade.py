"""A real cluster with an external etcd goes to the next version, cut off among etcd's computers and taken up again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from kubedrill import etcd_upgrade, lifecycle, status, upgrade, versions
from kubedrill.cluster import Cluster, Lab
from kubedrill.cluster import attach as found
from kubedrill.console import Console
from kubedrill.scenario import etcd

pytestmark = [pytest.mark.engine, pytest.mark.cluster, pytest.mark.slow]
OLD, NEW = versions.kubernetes_minors()[-2:]
SPEC = {"controlPlanes": 1, "workers": 1, "etcd": "external", "kubernetes": OLD}
VERSION = versions.kubernetes_version(NEW)
# The program of the process that runs, not the one that would be started next.
RUNS = "/proc/$(pgrep -x kubelet)/exe --version"


class CutOff(BaseException):
    """Whoever was at work is gone."""


class Cutting(Console):
    """A console that ends the upgrade before the second member."""

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """The one to be cut off does not begin."""
        if "-etcd-2: kubelet" in what:
            raise CutOff
        with super().step(what):
            yield


def kubelets(lab: Cluster) -> list[str]:
    """The versions of the kubelets that run on etcd's computers."""
    nodes = [node for node in lab.nodes if node.role == "etcd"]
    return [node.run(["sh", "-c", RUNS]).stdout.split()[-1] for node in nodes]


def test_an_upgrade_brings_its_kubelets_along_and_every_write_stays(lab: Cluster, place: Lab, console: Console) -> None:
    before = versions.kubernetes_version(OLD)
    plane = lab.node("control-plane-1")
    plane.run(["kubectl", "create", "configmap", "before", "--from-literal=word=kept"])
    assert kubelets(lab) == [before] * 3
    with pytest.raises(CutOff):
        upgrade.upgrade(place, lab, NEW, Cutting())
    half = found(place.provider, lab.spec.name)
    assert half.upgrading == NEW
    assert kubelets(half) == [VERSION, before, before]
    assert len(etcd.healthy(half)) == 3
    there = upgrade.upgrade(place, half, NEW, console)
    assert kubelets(there) == [VERSION] * 3
    assert len(etcd.healthy(there)) == 3
    seen = status.of(there)
    assert seen.healthy
    assert seen.kubernetes == VERSION
    word = plane.run(["kubectl", "get", "configmap", "before", "-o", "jsonpath={.data.word}"]).stdout
    assert word == "kept"
    for node in there.nodes:
        if node.role == "etcd":
            node.read_tree(etcd_upgrade.DONE.format(version=VERSION))
            assert node.run(["kubeadm", "version", "-o", "short"]).stdout.strip() == VERSION


def test_it_stops_and_starts_as_one_of_the_new_version(lab: Cluster, place: Lab, console: Console) -> None:
    there = found(place.provider, lab.spec.name)
    lifecycle.stop(there, console)
    lifecycle.whole(there, console)
    assert status.of(there).healthy
    assert kubelets(there) == [VERSION] * 3
