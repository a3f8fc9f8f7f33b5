"""A checkpoint of containers that is put back: cut off anywhere it is known as half done, and can be done again."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from kubedrill.errors import KubedrillError
from kubedrill.marks import RESTORING
from kubedrill.providers import docker_metadata
from kubedrill.providers.docker_checkpoint import DockerCheckpoints
from kubedrill.providers.docker_engine import Engine
from kubedrill.providers.docker_names import ADDRESS, CLUSTER, META, ROLE, disk
from kubedrill.shell import Result

NODES = ("lab-control-plane-1", "lab-worker-1")
BEFORE = {"spec": "two nodes", "api-port": "6443"}


class Killed(BaseException):
    """Whoever was at work is gone."""


class FakeEngine:
    """An engine in memory, whose work ends for good at a change (its number, counted from 1) where it is told so."""

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.disks: dict[str, dict[str, str]] = {}
        self.changes, self.ends_at = 0, 0
        self._lock = threading.Lock()

    def _change(self) -> None:
        with self._lock:
            self.changes += 1
            if self.ends_at and self.changes >= self.ends_at:
                raise Killed

    def networks(self, label: str) -> Sequence[Mapping[str, Any]]:
        """The cluster's."""
        labels = {META + key: value for key, value in BEFORE.items()}
        return [{"Labels": labels, "IPAM": {"Config": [{"Subnet": "172.28.0.0/24"}]}}]

    def volumes(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """Those with a label."""
        return [{"Name": name, "Labels": labels} for name, labels in list(self.disks.items()) if _has(labels, label)]

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make one."""
        self._change()
        self.disks[name] = dict(labels)

    def remove_volume(self, name: str) -> None:
        """Remove one."""
        self._change()
        self.disks.pop(name, None)

    def containers(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """Those with a label."""
        return [
            {"Names": [f"/{name}"], "Id": name, "ImageID": one["image"]}
            for name, one in list(self.there.items()) if _has(one["labels"], label)
        ]  # fmt: skip

    def create_container(self, name: str, image: str, **settings: Any) -> None:
        """Make one."""
        self._change()
        self.there[name] = {"image": image, **settings}

    def remove_container(self, name: str) -> None:
        """Remove one."""
        self._change()
        self.there.pop(name, None)

    def inspect_container(self, name: str) -> Mapping[str, Any]:
        """One that stands still."""
        one = self.there[name]
        config = {"Labels": one["labels"], "Env": [], "ExposedPorts": {}}
        return {"State": {"Running": False, "Paused": False}, "Image": one["image"], "Config": config,
                "HostConfig": {"Binds": [f"{disk(name)}:/var"]}}  # fmt: skip

    def images(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """None that could be removed."""
        return []

    def commit(self, *_: Any) -> None:
        """An image of a container."""

    def run_once(self, *_: Any, **__: Any) -> tuple[Result, bytes]:
        """Disks are copied."""
        self._change()
        return Result(0, "1\n", ""), b""


def _has(labels: Mapping[str, str], label: str) -> bool:
    key, _, value = label.partition("=")
    return not label or (labels.get(key) == value if value else key in labels)


def kept() -> tuple[FakeEngine, DockerCheckpoints]:
    """An engine with a cluster that has a checkpoint, and is larger since."""
    engine = FakeEngine()
    for number, name in enumerate((*NODES, "lab-worker-2")):
        if name not in NODES:
            made = DockerCheckpoints(cast(Engine, engine), frozenset())
            made.save("lab", "clean")
            docker_metadata.change(cast(Engine, engine), "lab", {**BEFORE, "spec": "three nodes"})
        labels = {CLUSTER: "lab", ROLE: "worker", ADDRESS: f"172.28.0.{number}"}
        engine.create_volume(disk(name), {CLUSTER: "lab"})
        engine.create_container(name, "an image", labels=labels)
    engine.changes = 0
    return engine, made


def metadata(engine: FakeEngine) -> dict[str, str]:
    """What is kept with the cluster."""
    found = docker_metadata.read(cast(Engine, engine), "lab")
    assert found is not None
    return dict(found.metadata)


def test_it_brings_back_nodes_and_what_was_kept() -> None:
    engine, checkpoints = kept()
    checkpoints.put_back("lab", "clean")
    assert sorted(engine.there) == sorted(NODES)
    assert metadata(engine) == BEFORE


def test_cut_off_anywhere_it_is_known_and_done_again() -> None:
    whole, checkpoints = kept()
    checkpoints.put_back("lab", "clean")
    known = 0
    for number in range(1, whole.changes + 1):
        engine, checkpoints = kept()
        before = dict(engine.there)
        engine.ends_at = number
        with pytest.raises(Killed):
            checkpoints.put_back("lab", "clean")
        engine.ends_at = 0
        half = metadata(engine)
        if half.get(RESTORING) == "clean":
            known += 1
            assert half["spec"] == "three nodes"
        else:
            # Nothing has happened yet, or all of it.
            assert engine.there == before or (sorted(engine.there) == sorted(NODES) and half == BEFORE), number
        checkpoints.put_back("lab", "clean")
        assert (engine.there, metadata(engine)) == (whole.there, BEFORE), number
        assert len(engine.disks) == len(whole.disks)
    assert known > 5, "most moments are in between"


def test_one_that_is_refused_leaves_no_mark() -> None:
    engine, checkpoints = kept()
    name = next(name for name, labels in engine.disks.items() if "kubedrill.checkpoint.index" in labels)
    labels = engine.disks[name]
    index = labels["kubedrill.checkpoint.index"].replace(f"{disk(NODES[0])}:/var", "a-store-that-is-gone:/store")
    engine.disks[name] = {**labels, "kubedrill.checkpoint.index": index}
    with pytest.raises(KubedrillError, match="no volume a-store-that-is-gone"):
        checkpoints.put_back("lab", "clean")
    assert metadata(engine)["spec"] == "three nodes"
    assert RESTORING not in metadata(engine)
