"""Clusters of kind: made, measured, and removed whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedrill import checks, host, kube, kubeconfig, network, paths, shell, spec
from kubedrill.bench.figures import Used
from kubedrill.bench.kind import config, image
from kubedrill.cluster import Lab
from kubedrill.console import Console
from kubedrill.errors import CommandFailed, KubedrillError, MissingPrerequisite, NotFound
from kubedrill.footprint import DISK, MEMORY
from kubedrill.images import build, components, rootfs
from kubedrill.kube import Kube
from kubedrill.locks import only_one
from kubedrill.providers import docker_flags
from kubedrill.providers.archive import tar_of
from kubedrill.providers.docker_engine import Engine
from kubedrill.shell import Result
from kubedrill.spec import ClusterSpec
from kubedrill.wait import until

# The name of its cluster, and of the network that this alone is on: kind's own ('kind') may be in use.
NAME = "kubedrill-peer"
# Limits, not expectations.
_CREATE = 900
_DELETE = 300
_READY = 300
_PULL = 300
_RIGHTS = "/etc/kubernetes/super-admin.conf"
_MANIFEST = "/kind/flannel.yaml"


@dataclass(frozen=True)
class Kind:
    """kind on this machine, ready to be run.

    Args:
        engine: Docker's engine.
        program: kind itself.
        folder: where its kubeconfig, its configuration and, where it needs one, its `docker` are.
        image: what its nodes are made of.
        missing: capabilities that the engine lacks.
        envoy: whether Envoy's own image is to be had.
    """

    engine: Engine
    program: Path
    folder: Path
    image: config.Image
    missing: frozenset[str]
    envoy: bool

    def helps(self, control_planes: int) -> list[str]:
        """What it cannot do here by itself, in words."""
        return config.helps(_spec(control_planes, 0), self.missing, host.cgroup_version(), envoy=self.envoy)

    def up(self, control_planes: int, workers: int) -> None:
        """A running cluster: all nodes Ready, flannel running, CoreDNS available.

        Raises:
            KubedrillError: kind failed, or the cluster did not become ready; nothing of it is left but its logs.
        """
        asked = _spec(control_planes, workers)
        file = self.folder / "cluster.yaml"
        file.write_text(config.cluster_config(asked, self.image, host.cgroup_version()))
        create = ("create", "cluster", "--config", str(file), "--retain", "--wait", "0s")
        with ThreadPoolExecutor(1, thread_name_prefix="kind") as pool:
            creating = pool.submit(self._run, *create, within=_CREATE)
            try:
                api = self._network(asked, creating)
                creating.result()
                # As closely as `up` looks.
                until(
                    api.cluster, checks.cluster_ready(config.node_names(asked)), within=_READY, every=0.1,
                    what="a cluster of kind that is ready", transient=(kube.ApiUnavailable,),
                )  # fmt: skip
            except KubedrillError as error:
                logs = self._logs()
                self.remove()
                raise KubedrillError(
                    "kind did not bring its cluster up", evidence=str(error).splitlines(),
                    todo=[f"its nodes' logs are in {logs}"],
                ) from error  # fmt: skip
            except BaseException:
                # kind, which is still at work, ends for want of its nodes.
                self.remove()
                raise

    def used(self) -> Used:
        """What its nodes hold: memory of all, and /var of those that have one of their own (the balancer has none)."""
        names = [container["Names"][0].lstrip("/") for container in self._containers()]
        nodes = [name for name in names if not name.endswith(config.BALANCER)]
        return Used(sum(self._number(name, MEMORY) for name in names), sum(self._number(name, DISK) for name in nodes))

    def down(self) -> None:
        """Remove the cluster as its users do.

        Raises:
            CommandFailed: kind failed.
        """
        self._run("delete", "cluster", within=_DELETE)

    def remove(self) -> None:
        """Remove its containers with their volumes, whatever state they are in."""
        for container in self._containers():
            self.engine.remove_container(container["Id"])

    def _containers(self) -> Sequence[Mapping[str, Any]]:
        return self.engine.containers(f"{config.LABEL}={NAME}")

    def _run(self, *words: str, within: float) -> Result:
        environment = {
            "PATH": f"{self.folder}:{os.environ.get('PATH', os.defpath)}",
            "KIND_EXPERIMENTAL_PROVIDER": "docker",
            "KIND_EXPERIMENTAL_DOCKER_NETWORK": NAME,
            # The engine that we ask, and not what the user's `docker context` names.
            "DOCKER_CONTEXT": "default",
        }
        argv = [str(self.program), *words, "--name", NAME]
        if words[0] != "export":
            argv += ["--kubeconfig", str(self.folder / "kubeconfig")]
        return shell.run(argv, env=environment, timeout=within)

    def _network(self, asked: ClusterSpec, creating: Future[Result]) -> Kube:
        """Apply flannel as soon as the API answers, as our own bring-up does."""
        first = config.node_names(asked)[0]

        def read() -> Result:
            if creating.done():
                creating.result()
            return self.engine.execute(first, ["cat", _RIGHTS])

        admin = until(
            read, lambda result: (result.status == 0, f"{_RIGHTS} is not there yet"), within=_CREATE, every=0.2,
            what=f"kubeadm on {first}", transient=(NotFound,),
        ).stdout  # fmt: skip
        ports = self.engine.inspect_container(config.entrance(asked))["NetworkSettings"]["Ports"]
        port = ports[f"{network.API_PORT}/tcp"][0]["HostPort"]
        api = Kube(kubeconfig.standalone(NAME, admin, f"https://127.0.0.1:{port}"))

        def ready() -> str:
            if creating.done():
                creating.result()
            return api.readyz()

        until(
            ready, lambda answer: (answer == "ok", answer), within=_CREATE, every=0.2, what=f"the API of {first}",
            transient=(kube.ApiUnavailable,),
        )  # fmt: skip
        manifest = network.flannel_manifest(asked, self.image.flannel, config.entrance(asked))
        self.engine.put_archive(first, "/", tar_of({_MANIFEST: (manifest.encode(), 0o644)}))
        argv = ["kubectl", "--kubeconfig", _RIGHTS, "apply", "-f", _MANIFEST]
        applied = self.engine.execute(first, argv)
        if applied.status != 0:
            raise CommandFailed(shell.pasteable(argv), applied.status, applied.output, first)
        return api

    def _number(self, name: str, argv: tuple[str, ...]) -> float:
        found = self.engine.execute(name, list(argv))
        if found.status != 0:
            raise CommandFailed(shell.pasteable(argv), found.status, found.output, name)
        return float(found.stdout)

    def _logs(self) -> Path:
        folder = paths.state() / "logs" / f"{NAME}-{time.strftime('%Y%m%d-%H%M%S')}"
        with contextlib.suppress(KubedrillError):
            self._run("export", "logs", str(folder), within=_DELETE)
        return folder


@contextlib.contextmanager
def here(place: Lab, kubernetes: str, console: Console, *, several: bool) -> Iterator[Kind]:
    """kind on this machine; at the end nothing of it is left but its images.

    Args:
        place: the lab.
        kubernetes: '1.37'.
        console: told of what is built.
        several: whether there will be clusters with several control planes.

    Raises:
        MissingPrerequisite: there is no `docker` program, or no Go toolchain.
        BuildFailed: with the end of the output of what failed.
        Busy: another run is at work.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise MissingPrerequisite(
            "kind needs the program `docker`", evidence=[f"PATH={os.environ.get('PATH', '')}"],
            todo=["install it: the package docker-cli, or docker.io on Debian 12"],
        )  # fmt: skip
    engine, suite, compiler = place.engine, rootfs.choose(), components.go_version()
    store = build.ensure(engine, kubernetes, place.missing, console.say, source=build.MODULES).store
    program = components.build(image.COMPONENT, compiler, console.say) / "kind"
    name = image.ensure(engine, kubernetes, suite, compiler, console.say)
    made = config.Image(name, store.etcd_tag, store.dns_tag, store.flannel_image)
    with only_one(NAME), tempfile.TemporaryDirectory(prefix="kubedrill-kind-") as temporary:
        folder = Path(temporary)
        if place.missing:
            wrapper = folder / "docker"
            wrapper.write_text(config.wrapper(docker, config.flags(docker_flags.isolation(place.missing))))
            wrapper.chmod(0o755)
        envoy = not several or has_envoy(engine, docker)
        kind = Kind(engine, program, folder, made, place.missing, envoy)
        kind.remove()  # what a killed run left
        try:
            if not envoy:
                engine.tag_image(image.ensure_balancer(engine, suite, console.say), config.ENVOY)
            yield kind
        finally:
            kind.remove()
            engine.remove_network(NAME)
            if is_stand_in(engine):
                engine.remove_image(config.ENVOY)


def has_envoy(engine: Engine, docker: str) -> bool:
    """Whether Envoy's own image is here, or can be pulled."""
    if engine.has_image(config.ENVOY) and not is_stand_in(engine):
        return True
    try:
        return shell.run([docker, "pull", "--quiet", config.ENVOY], check=False, timeout=_PULL).status == 0
    except CommandFailed:  # the time ran out
        return False


def is_stand_in(engine: Engine) -> bool:
    """Whether what has the name of Envoy's image is our stand-in for it."""
    return engine.has_image(config.ENVOY) and image.STAND_IN in engine.image_labels(config.ENVOY)


def _spec(control_planes: int, workers: int) -> ClusterSpec:
    return spec.load(None, {"name": NAME, "control_planes": control_planes, "workers": workers})
