"""Checkpoints of clusters of containers: disks as volumes, the rest of a node's files as an image.

Of a node two things last: the volume at /var (etcd, containerd, the kubelet, logs), and what the container has changed
of its image (/etc with certificates, manifests and units that were enabled). The first is copied by a helper, the
second committed as an image, from which the node is made anew when it is put back. A last volume, whose labels say
which nodes there were and how they were made, completes the checkpoint: without it there is none.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.marks import RESTORING
from kubedrill.providers import docker_flags, docker_metadata
from kubedrill.providers.base import Saved
from kubedrill.providers.docker_engine import BUILDER, Engine
from kubedrill.providers.docker_names import ADDRESS, CHECKPOINT, CLUSTER, HELPS, disk, network

# The label of the volume that completes a checkpoint.
INDEX = "kubedrill.checkpoint.index"
# Everything as it is: owners, hard links, the marks and devices by which overlayfs knows what was deleted. Other than
# `cp --archive` it fails where that cannot be.
_COPY = """\
set -eu
for from in /from/*; do
    cp --recursive --no-dereference --preserve=all --reflink=auto "$from/." "/to/${from##*/}/"
done
du --summarize --block-size=1M /to | cut -f 1
"""


class DockerCheckpoints:
    """The checkpoints of all clusters of an engine.

    Args:
        engine: Docker's engine.
        missing: capabilities that the engine lacks.
    """

    def __init__(self, engine: Engine, missing: frozenset[str]) -> None:
        self._engine = engine
        self._missing = missing

    def save(self, cluster: str, checkpoint: str) -> Saved:
        """Keep the disks of a stopped cluster."""
        nodes = [found["Names"][0].lstrip("/") for found in self._engine.containers(f"{CLUSTER}={cluster}")]
        if not nodes:
            raise NotFound(f"the cluster {cluster} has no nodes")
        if self._index(cluster, checkpoint) is not None:
            raise KubedrillError(f"there is a checkpoint '{checkpoint}' of {cluster} already; it was left as it is")
        made = {name: self._engine.inspect_container(name) for name in sorted(nodes)}
        moving = [name for name, found in made.items() if found["State"]["Running"] or found["State"]["Paused"]]
        if moving:
            raise KubedrillError(f"a checkpoint of {cluster} needs all its nodes stopped", evidence=moving)
        self.forget(cluster, checkpoint)  # what a killed run left of one
        labels = {CLUSTER: cluster, CHECKPOINT: checkpoint}
        try:
            for name in made:
                self._engine.create_volume(_copy(cluster, checkpoint, name), labels)
            with ThreadPoolExecutor(max_workers=8) as pool:
                copying = pool.submit(self._copy, cluster, _image_of(made), {
                    disk(name): _copy(cluster, checkpoint, name) for name in made
                })  # fmt: skip
                _each(pool, made, lambda name: self._engine.commit(name, _image(cluster, checkpoint, name), labels))
                size = copying.result()
            saved = Saved(checkpoint, time.time(), tuple(made), size)
            there = docker_metadata.read(self._engine, cluster)
            content = {
                "taken": saved.taken, "mebibytes": size, "metadata": dict(there.metadata) if there else {},
                "nodes": {name: _recipe(found) for name, found in made.items()},
            }  # fmt: skip
            self._engine.create_volume(
                _copy(cluster, checkpoint, ""), {**labels, INDEX: json.dumps(content, separators=(",", ":"))}
            )
        except BaseException:
            with contextlib.suppress(KubedrillError):
                self.forget(cluster, checkpoint)
            raise
        return saved

    def put_back(self, cluster: str, checkpoint: str) -> None:
        """Replace all nodes of a cluster by those of a checkpoint."""
        index = self._index(cluster, checkpoint)
        if index is None:
            known = ", ".join(one.name for one in self.saved(cluster)) or "none"
            raise NotFound(
                f"there is no checkpoint '{checkpoint}' of {cluster}", evidence=[f"checkpoints: {known}"],
                todo=[f"make one with: invoke checkpoint {checkpoint} --name {cluster}"],
            )  # fmt: skip
        recipes: Mapping[str, Any] = index["nodes"]
        self.drop_helpers(cluster)
        self._need_volumes(cluster, checkpoint, recipes)
        label = f"{CLUSTER}={cluster}"
        found = docker_metadata.read(self._engine, cluster)
        docker_metadata.change(self._engine, cluster, {**(found.metadata if found else {}), RESTORING: checkpoint})
        with ThreadPoolExecutor(max_workers=8) as pool:
            there = [found["Names"][0].lstrip("/") for found in self._engine.containers(label)]
            _each(pool, there, self._engine.remove_container)
            # Also of nodes that are gone: one of that name would find it later, with all that is in it.
            _each(pool, self._disks(cluster), self._engine.remove_volume)
            for name in recipes:
                self._engine.create_volume(disk(name), {CLUSTER: cluster})
            image = _image(cluster, checkpoint, next(iter(recipes)))
            self._copy(cluster, image, {_copy(cluster, checkpoint, name): disk(name) for name in recipes})
            _each(pool, recipes, lambda name: self._make(cluster, checkpoint, name, recipes[name]))
        docker_metadata.change(self._engine, cluster, index["metadata"])  # how many nodes there are to be; no mark
        self._sweep(cluster)

    def saved(self, cluster: str) -> Sequence[Saved]:
        """The checkpoints of a cluster, the oldest first."""
        found = []
        for volume in self._engine.volumes(f"{CLUSTER}={cluster}"):
            labels = volume["Labels"] or {}
            if INDEX in labels:
                index = json.loads(labels[INDEX])
                found.append(Saved(labels[CHECKPOINT], index["taken"], tuple(index["nodes"]), index["mebibytes"]))
        return sorted(found, key=lambda one: one.taken)

    def forget(self, cluster: str, checkpoint: str) -> bool:
        """Remove a checkpoint, or what is left of one."""
        self.drop_helpers(cluster)
        # The index first: what is left of a removal that was cut off is no checkpoint.
        index = _copy(cluster, checkpoint, "")
        volumes = self._engine.volumes(f"{CHECKPOINT}={checkpoint}")
        names = [volume["Name"] for volume in volumes if (volume["Labels"] or {}).get(CLUSTER) == cluster]
        for name in sorted(names, key=lambda name: name != index):
            self._engine.remove_volume(name)
        self._sweep(cluster)
        return bool(names)

    def drop_helpers(self, cluster: str) -> None:
        """Remove the containers in which a killed run copied disks: the engine removes no disk that one of them has."""
        for container in self._engine.containers(f"{HELPS}={cluster}"):
            self._engine.remove_container(container["Id"])

    def _sweep(self, cluster: str) -> None:
        """Remove images that belong to no checkpoint any more, but those that nodes are made of.

        The engine would remove such a one too, and then could not make a checkpoint of its nodes.
        """
        label = f"{CLUSTER}={cluster}"
        used = {found["ImageID"] for found in self._engine.containers(label)}
        whole = {one.name for one in self.saved(cluster)}
        for image in self._engine.images(label):
            named = any("<none>" not in tag for tag in image["RepoTags"] or [])
            if image["Id"] not in used and not (named and image["Labels"].get(CHECKPOINT) in whole):
                # One that another is made of is refused; it goes after that.
                with contextlib.suppress(KubedrillError):
                    self._engine.remove_image(image["Id"])

    def _disks(self, cluster: str) -> list[str]:
        """The volumes that are disks of a cluster's nodes, there or gone."""
        others = {CHECKPOINT, docker_metadata.CHANGE}
        found = self._engine.volumes(f"{CLUSTER}={cluster}")
        return [one["Name"] for one in found if not others & set(one["Labels"] or {})]

    def _index(self, cluster: str, checkpoint: str) -> Mapping[str, Any] | None:
        for volume in self._engine.volumes(f"{CHECKPOINT}={checkpoint}"):
            labels = volume["Labels"] or {}
            if labels.get(CLUSTER) == cluster and INDEX in labels:
                found: Mapping[str, Any] = json.loads(labels[INDEX])
                return found
        return None

    def _copy(self, cluster: str, image: str, volumes: Mapping[str, str]) -> int:
        """Copy volumes, {from: to}; returns the size of all, in MiB.

        Raises:
            KubedrillError: not all could be copied.
        """
        binds = [
            bind
            for number, (source, target) in enumerate(volumes.items())
            for bind in (f"{source}:/from/{number}:ro", f"{target}:/to/{number}")
        ]
        # Only who may make devices and set trusted attributes can copy overlayfs's own marks.
        host = {**docker_flags.isolation(self._missing), "binds": binds}
        labels = {BUILDER: "checkpoint", HELPS: cluster}
        result, _ = self._engine.run_once(image, ["sh", "-c", _COPY], host=host, labels=labels)
        if result.status != 0:
            raise KubedrillError("disks could not be copied", evidence=result.output.strip().splitlines()[-15:],
                                 todo=["see whether this machine's disk is full: df -h"])  # fmt: skip
        return int(result.stdout)

    def _make(self, cluster: str, checkpoint: str, name: str, recipe: Mapping[str, Any]) -> None:
        ports = [(int(port), protocol) for port, _, protocol in (one.partition("/") for one in recipe["ports"])]
        self._engine.create_container(
            name, _image(cluster, checkpoint, name), host=recipe["host"], network=network(cluster),
            address=recipe["labels"][ADDRESS], labels=recipe["labels"], environment=recipe["environment"], ports=ports,
        )  # fmt: skip

    def _need_volumes(self, cluster: str, checkpoint: str, recipes: Mapping[str, Any]) -> None:
        """See that what nodes mount is there (image stores): the engine would make empty volumes without a word."""
        there = {volume["Name"] for volume in self._engine.volumes()}
        own = {disk(name) for name in recipes}
        sources = {bind.partition(":")[0] for recipe in recipes.values() for bind in recipe["host"]["Binds"]}
        gone = sorted(one for one in sources - own if not one.startswith("/") and one not in there)
        if gone:
            raise KubedrillError(
                f"the checkpoint '{checkpoint}' of {cluster} cannot be put back: what its nodes mount is gone",
                evidence=[f"no volume {one}" for one in gone],
                todo=["run: invoke build; or, where it was made by another revision of kubedrill, its `invoke build`"],
            )  # fmt: skip


def _copy(cluster: str, checkpoint: str, node: str) -> str:
    """The volume with the copy of a node's disk; without a node the one that completes the checkpoint."""
    # Names of clusters, checkpoints and nodes have no dots: two of them never come to the same.
    return f"kubedrill-checkpoint-{cluster}.{checkpoint}{'.' if node else ''}{node.removeprefix(f'{cluster}-')}"


def _image(cluster: str, checkpoint: str, node: str) -> str:
    return f"kubedrill/checkpoint:{cluster}.{checkpoint}.{node.removeprefix(f'{cluster}-')}"


def _image_of(made: Mapping[str, Mapping[str, Any]]) -> str:
    return str(next(iter(made.values()))["Image"])


def _recipe(found: Mapping[str, Any]) -> dict[str, Any]:
    """How to make a container like this one: what `create_container` takes."""
    config = found["Config"]
    labels = {key: value for key, value in config["Labels"].items() if key != CHECKPOINT}
    return {
        "host": {key: value for key, value in found["HostConfig"].items() if value is not None},
        "environment": config["Env"],
        "labels": labels,
        "ports": sorted(config.get("ExposedPorts") or {}),
    }


def _each(pool: ThreadPoolExecutor, names: Iterable[str], do: Callable[[str], None]) -> None:
    """Do something for each name at once; an error of any is raised."""
    for done in [pool.submit(do, name) for name in names]:
        done.result()
