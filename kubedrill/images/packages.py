"""Source 'packages': nodes from the official Kubernetes packages and images, where those can be reached.

Not exercised by this project's CI, whose machines reach none of these sites; the unit tests run its scripts against
stand-ins made after the official documentation:
https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/ and
https://github.com/containerd/containerd/blob/main/docs/getting-started.md
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from kubedrill import paths, versions
from kubedrill.errors import BuildFailed
from kubedrill.images import address, components, node, oci, rootfs, store
from kubedrill.images.cargo import Cargo
from kubedrill.providers import docker_flags
from kubedrill.providers.archive import tar_of
from kubedrill.providers.docker_engine import Engine

SITES = ("pkgs.k8s.io", "registry.k8s.io")
# fetch.sh ends with it where the repository lacks the version that is asked for.
_LACKS_VERSION = 3


def reachable() -> bool:
    """Whether the official sites accept a connection; takes 3 seconds a site at most, once their names are resolved."""
    for site in SITES:
        try:
            socket.create_connection((site, 443), timeout=3).close()
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Packages:
    """What official packages and images give for one Kubernetes minor.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        suite: what nodes are made of.
        compiler: the answer of components.go_version; None without a Go toolchain, and then without the image of hello,
            which is this project's own program.
        missing: capabilities that the engine lacks.
        say: told of each thing fetched or built.
    """

    engine: Engine
    kubernetes: str
    suite: rootfs.Suite
    compiler: str | None
    missing: frozenset[str]
    say: Callable[[str], None]

    @property
    def node_name(self) -> str:
        """The name of the node image that these inputs give."""
        folder = _images()
        dockerfile = (folder / "Dockerfile").read_text()
        inputs = address.of(rootfs.key(self.suite), _runtime_key(), dockerfile, address.of_tree(folder / "files"))
        return f"kubedrill/node:{inputs}"

    @property
    def store_name(self) -> str:
        """The volume that these inputs give: its end is their content address."""
        version = versions.kubernetes_version(self.kubernetes)
        scripts = [(_images() / script).read_text() for script in ("pull.sh", "store.sh", "collect.sh")]
        hello = components.key(components.load("kubedrill"), self.compiler) if self.compiler else "no hello"
        names = json.dumps([_flannel(), store.HELLO, store.DIAGNOSIS, store.ADDON_MANAGER, store.metrics_server()])
        # Not the node's own files: those do not change what is in a store.
        inputs = address.of(rootfs.key(self.suite), _runtime_key(), _kubernetes_key(version), hello, *scripts, names)
        return f"kubedrill-store-{version}-{inputs}"

    def ready(self) -> bool:
        """Whether all of it is there already."""
        return store.find(self.engine, self.store_name) is not None and self.engine.has_image(self.node_name)

    def node_image(self) -> str:
        """The node image, made unless it is there.

        Raises:
            BuildFailed: something could not be fetched or built; with the end of the output.
        """
        tag = self.node_name
        if not self.engine.has_image(tag):
            base = node.ensure_rootfs(self.engine, self.suite, self.say)
            fetched = self._runtime(base)
            node.assemble(self.engine, tag, base, [fetched / "bin"], fetched / "cni", self.say)
        return tag

    def image_store(self) -> store.Store:
        """The image store, filled unless it is there.

        Raises:
            BuildFailed: something could not be fetched or pulled, or pkgs.k8s.io lacks the exact version of Kubernetes.
        """
        volume = self.store_name
        found = store.find(self.engine, volume)
        if found:
            return found
        with FileLock(paths.cache() / f"{volume}.lock"):
            return store.find(self.engine, volume) or self._fill(volume)

    def _fill(self, volume: str) -> store.Store:
        version = versions.kubernetes_version(self.kubernetes)
        node_image = self.node_image()
        found = store.adopt(self.engine, volume, node_image)
        if found:
            return found
        base = node.ensure_rootfs(self.engine, self.suite, self.say)
        fetched = self._programs(base, version)
        pull = [*(fetched / "images").read_text().split(), _flannel(), store.metrics_server()]
        own = self._own_images(base, fetched / "bin" / "kubectl")
        record = store.Store(
            volume=volume,
            kubernetes=version,
            # kubeadm's own choice is what is pulled.
            etcd_tag=None,
            dns_tag=None,
            flannel_image=_flannel(),
            sandbox_image=next(image for image in pull if "/pause:" in image),
            images=(*pull, *(image.name for image in own)),
        )
        binaries = {name: fetched / "bin" / name for name in store.NODE_BINARIES}
        return store.fill(self.engine, record, own, binaries, node_image, self.missing, self.say, pull)

    def cargo(self) -> Cargo:
        """The programs as they were fetched; of the images nodes pull those that this machine does not make itself.

        Raises:
            BuildFailed: something could not be fetched or built.
        """
        stored = self.image_store()
        base = node.ensure_rootfs(self.engine, self.suite, self.say)
        fetched = self._programs(base, stored.kubernetes)
        own = {image.name: image for image in self._own_images(base, fetched / "bin" / "kubectl")}
        pulled = tuple(image for image in stored.images if image not in own)
        return Cargo(stored.kubernetes, {name: fetched / "bin" / name for name in store.NODE_BINARIES}, own, pulled)

    def names(self) -> Sequence[str]:
        """Of the node image, the store, and what is fetched for them."""
        version = versions.kubernetes_version(self.kubernetes)
        return [self.node_name, self.store_name, rootfs.key(self.suite), _runtime_key(), _kubernetes_key(version)]

    def _own_images(self, base: str, kubectl: Path) -> list[oci.Image]:
        if self.compiler is None:
            left_out = f"{store.HELLO} and {store.ADDON_MANAGER}"
            self.say(f"leaving out {left_out}: built from this project's own source, and there is no Go here")
            return []
        built = components.build("kubedrill", self.compiler, self.say)
        diagnosis = store.collect(self.engine, base, store.DIAGNOSIS)
        programs = {f"/usr/local/bin/{name}": built / name for name in ("hello", "probe")}
        return [
            oci.Image(store.HELLO, programs, ["hello"], diagnosis),
            store.addon_manager(built / "addon-manager", kubectl),
        ]

    def _runtime(self, base: str) -> Path:
        """Folders bin (containerd, its shim, ctr, crictl) and cni (the CNI plugins)."""
        minor, containerd = versions.newest_minor(), _containerd()
        return self._fetch(base, f"runtime-{_runtime_key()}", f"containerd {containerd}", "runtime", minor, containerd)

    def _programs(self, base: str, version: str) -> Path:
        """A folder bin (kubeadm, kubelet, kubectl), and a list of the images of that version."""
        name = f"kubernetes-{version}-{_kubernetes_key(version)}"
        return self._fetch(base, name, f"Kubernetes {version}", "kubernetes", self.kubernetes, version)

    def _fetch(self, base: str, name: str, what: str, *arguments: str) -> Path:
        """The folder that fetch.sh makes of some arguments, from the cache if it is there."""
        target = paths.cache() / "packages" / f"{self.suite.distribution}-{name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if target.is_dir():
                return target
            self.say(f"fetching {what}")
            started = time.monotonic()
            script = tar_of({"fetch.sh": ((_images() / "fetch.sh").read_bytes(), 0o755)})
            result, fetched = self.engine.run_once(
                base, ["/bin/sh", "/fetch.sh", "/fetched", *arguments], host=docker_flags.ONLINE,
                labels={"kubedrill.builder": "fetch"}, archives=[("/", script)], fetch="/fetched",
            )  # fmt: skip
            if result.status != 0:
                raise _failure(what, result.status, result.output.splitlines()[-15:])
            workplace = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetched-"))
            try:
                unpack(fetched, workplace)
                workplace.chmod(0o755)
                workplace.rename(target)
            finally:
                shutil.rmtree(workplace, ignore_errors=True)
            self.say(f"fetched {what} in {time.monotonic() - started:.0f} s")
        return target


def unpack(archive: bytes, target: Path) -> None:
    """Unpack the files of a folder that the engine sent; links and other things that are no files stay out.

    Args:
        archive: a tar in which everything is below one folder.
        target: where what is below that folder goes.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            _, *parts = PurePosixPath(member.name).parts
            content = tar.extractfile(member) if member.isfile() and ".." not in parts else None
            if content is None or not parts:
                continue
            path = target.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as opened:
                shutil.copyfileobj(content, opened)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _failure(what: str, status: int, evidence: list[str]) -> BuildFailed:
    modules = "or build it from Go modules: source 'modules'"
    if status == _LACKS_VERSION:
        return BuildFailed(
            f"pkgs.k8s.io has no packages of {what}",
            evidence=evidence,
            todo=["require a version that it has, in images/components/kubernetes-*/go.mod", modules],
        )
    return BuildFailed(
        f"{what} could not be fetched",
        evidence=evidence,
        todo=["see images/fetch.sh, and whether containers reach pkgs.k8s.io and github.com", modules],
    )


def _images() -> Path:
    return paths.repository() / "images"


def _containerd() -> str:
    return versions.component_version("containerd", "github.com/containerd/containerd/v2")


def _flannel() -> str:
    return f"{store.FLANNEL}:{versions.component_version('flannel', 'github.com/flannel-io/flannel')}"


def _runtime_key() -> str:
    # The newest minor's repository, whichever minor is asked for: a node image serves all of them.
    return address.of("runtime", versions.newest_minor(), _containerd(), (_images() / "fetch.sh").read_text())


def _kubernetes_key(version: str) -> str:
    return address.of("kubernetes", version, (_images() / "fetch.sh").read_text())
