"""The image store: for each Kubernetes version one volume with unpacked images and binaries, shared by all nodes."""

from __future__ import annotations

import io
import json
import platform
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from kubedrill import gotoolchain, paths, shell, versions
from kubedrill.errors import BuildFailed
from kubedrill.images import address, bootstrap_objects, components, node, oci, rootfs
from kubedrill.providers import docker_flags
from kubedrill.providers.archive import tar_of
from kubedrill.providers.docker_engine import Engine

LABEL = "kubedrill.store"
# In a store that was finished: what is noted in the cache of who filled it, for other users of the engine.
FINISHED = "finished.json"
FLANNEL = "ghcr.io/flannel-io/flannel"
KUBERNETES = "k8s.io/kubernetes"
HELLO = "kubedrill.local/hello:1"
ADDON_MANAGER = "kubedrill.local/addon-manager:1"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
# What kube-proxy and flannel call; the folder holds iptables' matches and targets.
FIREWALL = ("iptables", "ip6tables", "iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore",
            "nft", "conntrack", "ipset", "ip", "xtables-nft-multi", "/usr/lib/*/xtables")  # fmt: skip
# What a drill calls inside a pod, with a shell to do it in.
DIAGNOSIS = ("sh", "nping", "curl", "dig", "ip", "ping", "openssl", "cat", "sleep", "grep", "/etc/ssl/certs")
NODE_BINARIES = ("kubeadm", "kubelet", "kubectl")


@dataclass(frozen=True)
class Store:
    """An image store that is ready.

    Args:
        volume: its volume.
        kubernetes: the exact Kubernetes version, v1.37.2.
        etcd_tag: the tag of registry.k8s.io/etcd in it; none for kubeadm's own choice.
        dns_tag: the tag of registry.k8s.io/coredns/coredns in it; none for kubeadm's own choice.
        flannel_image: flannel's image in it.
        sandbox_image: the pause image in it.
        images: all images in it.
    """

    volume: str
    kubernetes: str
    etcd_tag: str | None
    dns_tag: str | None
    flannel_image: str
    sandbox_image: str
    images: tuple[str, ...]


def name(kubernetes: str, suite: rootfs.Suite, compiler: str) -> str:
    """The volume that these inputs give: its end is their content address."""
    folder = paths.repository() / "images"
    keys = [components.key(components.load(part), compiler) for part in (*_parts(kubernetes), *node.RUNTIME)]
    scripts = [(folder / script).read_text() for script in ("store.sh", "collect.sh")]
    lists = json.dumps(
        [FIREWALL, DIAGNOSIS, HELLO, FLANNEL, ADDON_MANAGER, metrics_server(), bootstrap_objects.REQUEST]
    )
    inputs = address.of(rootfs.key(suite), *keys, *scripts, lists)
    return f"kubedrill-store-{versions.kubernetes_version(kubernetes)}-{inputs}"


def find(engine: Engine, volume: str) -> Store | None:
    """The store of that name, if it was finished and its volume is still the one that was filled."""
    record = _record(volume)
    if not record.exists():
        return None
    saved = json.loads(record.read_text())
    there = [found for found in engine.volumes(f"{LABEL}={saved['build']}") if found["Name"] == volume]
    if not there:
        return None
    return Store(**{**saved["store"], "images": tuple(saved["store"]["images"])})


def ensure(
    engine: Engine, kubernetes: str, suite: rootfs.Suite, compiler: str, missing: frozenset[str],
    say: Callable[[str], None],
) -> Store:  # fmt: skip
    """The image store of a Kubernetes minor, built from modules unless it is there.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        suite: what nodes are made of.
        compiler: the answer of components.go_version.
        missing: capabilities that the engine lacks.
        say: told of each thing built.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    volume = name(kubernetes, suite, compiler)
    found = find(engine, volume)
    if found:
        return found
    with FileLock(paths.cache() / f"{volume}.lock"):
        found = find(engine, volume)
        if found:
            return found
        node_image = node.ensure(engine, suite, compiler, say)
        found = adopt(engine, volume, node_image)
        if found:
            return found
        store, images, binaries = contents(engine, kubernetes, suite, compiler, say)
        objects = bootstrap_objects.of(components.build(_kubernetes_part(kubernetes), compiler, say))
        return fill(engine, store, images, binaries, node_image, missing, say, objects=objects)


def contents(
    engine: Engine, kubernetes: str, suite: rootfs.Suite, compiler: str, say: Callable[[str], None]
) -> tuple[Store, list[oci.Image], dict[str, Path]]:
    """What a store that is built from modules holds: its images, and kubeadm, kubelet and kubectl.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        suite: what nodes are made of.
        compiler: the answer of components.go_version.
        say: told of each thing built.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    built = {part: components.build(part, compiler, say) for part in _parts(kubernetes)}
    bases = {
        "firewall": collect(engine, node.ensure_rootfs(engine, suite, say), FIREWALL),
        "diagnosis": collect(engine, node.ensure_rootfs(engine, suite, say), DIAGNOSIS),
    }
    store, images = _plan(name(kubernetes, suite, compiler), kubernetes, built, bases)
    return store, images, {program: built[_kubernetes_part(kubernetes)] / program for program in NODE_BINARIES}


def fill(
    engine: Engine, store: Store, images: Sequence[oci.Image | Path], binaries: Mapping[str, Path], node_image: str,
    missing: frozenset[str], say: Callable[[str], None], pull: Sequence[str] = (), objects: str = "",
) -> Store:  # fmt: skip
    """Make the volume of a store and unpack images into it.

    Args:
        engine: Docker's engine.
        store: what it will be.
        images: images to make, or archives to take as they are.
        binaries: kubeadm, kubelet and kubectl.
        node_image: an image with containerd, which unpacks.
        missing: capabilities that the engine lacks.
        say: told of it.
        pull: names of further images, to be pulled from their registries.
        objects: what bootstrap_objects.py knows of this version, where that was asked.

    Raises:
        BuildFailed: with the end of the output.
    """
    say(f"filling the image store of Kubernetes {store.kubernetes}")
    started = time.monotonic()
    build = uuid.uuid4().hex
    engine.remove_volume(store.volume)
    engine.create_volume(store.volume, {LABEL: build})
    with tempfile.TemporaryDirectory(dir=paths.cache(), prefix=".store-") as folder:
        load = Path(folder) / "load.tar"
        texts = {
            "sandbox-image": store.sandbox_image,
            "pull": "".join(f"{image}\n" for image in pull),
            "bootstrap-objects": objects,
        }
        _pack(load, images, binaries, texts, Path(folder))
        online = docker_flags.ONLINE if pull else {}
        host = {**docker_flags.isolation(missing), **online, "binds": [f"{store.volume}:/store"]}
        with load.open("rb") as opened:
            result, _ = engine.run_once(
                node_image, ["/pull.sh" if pull else "/store.sh"], host=host, labels={"kubedrill.builder": "store"},
                archives=[("/", opened)],
            )  # fmt: skip
    if result.status != 0:
        engine.remove_volume(store.volume)
        raise BuildFailed(
            f"the image store of Kubernetes {store.kubernetes} could not be filled",
            evidence=result.output.splitlines()[-15:],
            todo=["see images/store.sh and images/pull.sh; `docker system df` tells whether disk is left"],
        )
    text = json.dumps({"build": build, "store": asdict(store)}, indent=1)
    engine.run_once(
        node_image, ["true"], host={"binds": [f"{store.volume}:/store"]}, labels={"kubedrill.builder": "record"},
        archives=[("/store", tar_of({FINISHED: (text.encode(), 0o644)}))],
    )  # fmt: skip
    _write(store.volume, text)
    say(f"filled it in {time.monotonic() - started:.0f} s")
    return store


def adopt(engine: Engine, volume: str, node_image: str) -> Store | None:
    """The store of that name which another user of this engine has finished; noted, so that `find` knows it from now.

    Args:
        engine: Docker's engine.
        volume: its name.
        node_image: an image that looks into it.
    """
    if not any(found["Name"] == volume for found in engine.volumes(LABEL)):
        return None
    read, _ = engine.run_once(
        node_image, ["cat", f"/store/{FINISHED}"], host={"binds": [f"{volume}:/store:ro"]},
        labels={"kubedrill.builder": "record"},
    )  # fmt: skip
    if read.status != 0:
        return None
    _write(volume, read.stdout)
    return find(engine, volume)


def metrics_server() -> str:
    """The name of metrics-server's image."""
    version = versions.component_version("metrics-server", "sigs.k8s.io/metrics-server")
    return f"registry.k8s.io/metrics-server/metrics-server:{version}"


def addon_manager(program: Path, kubectl: Path) -> oci.Image:
    """The image of the add-on manager: it calls the kubectl beside it.

    Args:
        program: the binary addon-manager.
        kubectl: of the cluster's own Kubernetes version.
    """
    files = {"/usr/local/bin/addon-manager": program, "/usr/local/bin/kubectl": kubectl}
    return oci.Image(ADDON_MANAGER, files, ["addon-manager"])


def _kubernetes_part(kubernetes: str) -> str:
    return f"kubernetes-{kubernetes}"


def _parts(kubernetes: str) -> tuple[str, ...]:
    return (_kubernetes_part(kubernetes), "etcd", "coredns", "flannel", "metrics-server", "kubedrill")


def _record(volume: str) -> Path:
    return paths.cache() / "stores" / f"{volume}.json"


def _write(volume: str, text: str) -> None:
    record = _record(volume)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(text)


def _plan(
    volume: str, kubernetes: str, built: Mapping[str, Path], bases: Mapping[str, bytes]
) -> tuple[Store, list[oci.Image]]:
    version = versions.kubernetes_version(kubernetes)
    programs = built[_kubernetes_part(kubernetes)]
    registry, firewall = "registry.k8s.io", bases["firewall"]
    listed = shell.run([str(programs / "kubeadm"), "config", "images", "list", "--kubernetes-version", version])
    sandbox = next(line for line in listed.stdout.split() if "/pause:" in line)
    etcd_tag = components.load("etcd").version.removeprefix("v")
    dns_tag = components.load("coredns").version
    flannel = f"{FLANNEL}:{components.load('flannel').version}"

    def program(image: str, part: str, *names: str, entrypoint: str = "", base: bytes | None = None) -> oci.Image:
        files = {f"/usr/local/bin/{name}": built[part] / name for name in names}
        return oci.Image(image, files, [entrypoint or names[0]], base)

    kube = _kubernetes_part(kubernetes)
    images = [
        *(program(f"{registry}/{name}:{version}", kube, name) for name in CONTROL_PLANE),
        program(f"{registry}/kube-proxy:{version}", kube, "kube-proxy", base=firewall),
        program(f"{registry}/etcd:{etcd_tag}", "etcd", "etcd", "etcdctl", "etcdutl"),
        oci.Image(f"{registry}/coredns/coredns:{dns_tag}", {"/coredns": built["coredns"] / "coredns"}, ["/coredns"]),
        oci.Image(flannel, {"/opt/bin/flanneld": built["flannel"] / "flanneld"}, ["/opt/bin/flanneld"], firewall),
        oci.Image(sandbox, {"/pause": built["kubedrill"] / "pause"}, ["/pause"]),
        program(f"{registry}/e2e-test-images/agnhost:{_agnhost_version(kubernetes)}", kube, "agnhost"),
        program(HELLO, "kubedrill", "hello", "probe", base=bases["diagnosis"]),
        oci.Image(
            metrics_server(), {"/metrics-server": built["metrics-server"] / "metrics-server"}, ["/metrics-server"]
        ),
        addon_manager(built["kubedrill"] / "addon-manager", programs / "kubectl"),
    ]
    names = tuple(image.name for image in images)
    return Store(volume, version, etcd_tag, dns_tag, flannel, sandbox, names), images


def _agnhost_version(kubernetes: str) -> str:
    argv, env = gotoolchain.go_command()
    folder = versions.components_dir() / _kubernetes_part(kubernetes)
    # Not `go list`: where the binaries came from a cache of CI, nothing has brought the module here yet.
    there = json.loads(shell.run([*argv, "mod", "download", "-json", KUBERNETES], cwd=folder, env=env).stdout)
    return (Path(there["Dir"]) / "test/images/agnhost/VERSION").read_text().strip()


def collect(engine: Engine, image: str, wanted: Sequence[str]) -> bytes:
    """A base for images: programs of an image with all that they need to run.

    Args:
        engine: Docker's engine.
        image: what holds them.
        wanted: programs by name, and folders by pattern.

    Returns:
        A tar.

    Raises:
        BuildFailed: with the end of the output.
    """
    script = (paths.repository() / "images" / "collect.sh").read_bytes()
    result, fetched = engine.run_once(
        image, ["/bin/sh", "/collect.sh", *wanted], host={}, labels={"kubedrill.builder": "collect"},
        archives=[("/", tar_of({"collect.sh": (script, 0o755)}))], fetch="/collected.tar",
    )  # fmt: skip
    if result.status != 0:
        raise BuildFailed(
            "a base for images could not be collected from the rootfs",
            evidence=[f"wanted: {' '.join(wanted)}", *result.output.splitlines()[-15:]],
            todo=["see images/collect.sh and images/packages.txt"],
        )
    with tarfile.open(fileobj=io.BytesIO(fetched)) as outer:
        member = outer.extractfile("collected.tar")
        assert member is not None  # the engine sends what was asked for, or fails
        return member.read()


def _pack(
    target: Path,
    images: Sequence[oci.Image | Path],
    binaries: Mapping[str, Path],
    texts: Mapping[str, str],
    folder: Path,
) -> None:
    """One tar with all that store.sh and pull.sh work on; texts that are empty are no files."""
    with tarfile.open(target, "w") as tar:
        tar.add(paths.repository() / "images" / "store.sh", "store.sh")
        tar.add(paths.repository() / "images" / "pull.sh", "pull.sh")
        for name, path in binaries.items():
            tar.add(path, f"build/bin/{name}")
        for name, text in texts.items():
            if text:
                (folder / name).write_text(text)
                tar.add(folder / name, f"build/{name}")
        for number, image in enumerate(images):
            archive = image if isinstance(image, Path) else folder / "image.tar"
            if isinstance(image, oci.Image):
                oci.archive(image, platform.machine(), archive)
            tar.add(archive, f"build/{number:02d}.tar")
