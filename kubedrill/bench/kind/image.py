"""Images for kind, composed where they are not there yet: its node image, and the stand-in for Envoy."""

from __future__ import annotations

import io
import json
import platform
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from kubedrill import gotoolchain, paths, shell, versions
from kubedrill.errors import BuildFailed
from kubedrill.images import address, components, node, oci, rootfs, store
from kubedrill.providers.docker_engine import Engine

COMPONENT, MODULE = "kind", "sigs.k8s.io/kind"
# The label of the image that stands in for Envoy.
STAND_IN = "kubedrill.stand-in"
# The label of what the build of the node image leaves behind.
_STAGE = "kubedrill.stage=kind-images"
# What kind's own node image lacks, as far as kubeadm and flannel do not need it: kind's nodes copy all that they have.
_NOT_KIND = ("agnhost", "metrics-server", "kubedrill.local/")
# Of our own nodes: who writes the CNI configuration, once flannel runs, and the plugin that it names.
_OWN = (
    "opt/cni/bin/kubedrill-bridge", "usr/local/sbin/kubedrill-cni",
    *(f"etc/systemd/system/kubedrill-cni{unit}" for unit in (".service", ".path", "-first.service", "-first.path")),
)  # fmt: skip
# What kind's Dockerfile makes executable (COPY --chmod=0755).
_PROGRAMS = ("usr/local/bin/", "kind/bin/")


def version() -> str:
    """The version of kind."""
    return versions.component_version(COMPONENT, MODULE)


def name(kubernetes: str, suite: rootfs.Suite, compiler: str) -> str:
    """The node image that these inputs give: its tag is their content address."""
    parts = [_folder() / part for part in ("Dockerfile", "import.sh", "kubedrill-help")]
    own = [paths.repository() / "images/files" / file for file in _OWN]
    kept = store.name(kubernetes, suite, compiler)
    plugins = components.key(components.load(node.CNI), compiler)
    texts = [file.read_text() for file in (*parts, *own)]
    inputs = address.of(kept, plugins, rootfs.key(suite), version(), json.dumps([_NOT_KIND, _PROGRAMS]), *texts)
    return f"kubedrill/kind-node:{inputs}"


def ensure(engine: Engine, kubernetes: str, suite: rootfs.Suite, compiler: str, say: Callable[[str], None]) -> str:
    """kind's node image of a Kubernetes minor, with the very programs and images of our own nodes.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        suite: what our nodes are made of.
        compiler: the answer of components.go_version.
        say: told of each thing built.

    Returns:
        Its name.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    tag = name(kubernetes, suite, compiler)
    if engine.has_image(tag):
        return tag
    began = time.monotonic()
    say("composing kind's node image")
    planned, images, binaries = store.contents(engine, kubernetes, suite, compiler, say)
    programs = [components.build(part, compiler, say) for part in node.RUNTIME]
    plugins = components.build(node.CNI, compiler, say)
    base = node.ensure_rootfs(engine, suite, say)
    with tempfile.TemporaryDirectory(dir=paths.cache(), prefix=".kind-") as folder:
        context = Path(folder) / "context.tar"
        with tarfile.open(context, "w") as tar:
            _add_files(tar, programs, plugins, binaries, planned.kubernetes)
            _add_images(tar, [image for image in images if wanted(image.name)], planned.sandbox_image, Path(folder))
        with context.open("rb") as opened:
            engine.build_image(opened, tag, {"ROOTFS": base})
    for left in engine.images(_STAGE):
        engine.remove_image(left["Id"])
    say(f"composed it in {time.monotonic() - began:.0f} s")
    return tag


def names(suite: rootfs.Suite, compiler: str) -> list[str]:
    """Of all images that this checkout makes or would make, each with its content address."""
    return [balancer_name(suite), *(name(minor, suite, compiler) for minor in versions.kubernetes_minors())]


def balancer_name(suite: rootfs.Suite) -> str:
    """The image that stands in for Envoy: its tag is the content address of what it is made of."""
    return "kubedrill/kind-balancer:" + address.of(rootfs.key(suite), address.of_tree(_folder() / "balancer"))


def ensure_balancer(engine: Engine, suite: rootfs.Suite, say: Callable[[str], None]) -> str:
    """The image that stands in for Envoy, made unless it is there.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    folder, tag = _folder() / "balancer", balancer_name(suite)
    if not engine.has_image(tag):
        say("composing the stand-in for Envoy")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for file in sorted(folder.iterdir()):
                _add(tar, file.name, file, 0o755)
        engine.build_image(buffer.getvalue(), tag, {"ROOTFS": node.ensure_rootfs(engine, suite, say)})
    return tag


def wanted(image: str) -> bool:
    """Whether an image of our store belongs to what kind's nodes have."""
    return not any(part in image for part in _NOT_KIND)


def mode(path: str) -> int:
    """The mode that kind's Dockerfile gives a file of its own, by its path in the image; a module keeps none."""
    return 0o755 if path.startswith(_PROGRAMS) else 0o644


def _folder() -> Path:
    return paths.repository() / "images" / "kind"


def _module() -> Path:
    """The folder of kind's module, fetched and verified by go.sum unless it is there.

    Raises:
        BuildFailed: it could not be fetched.
    """
    argv, env = gotoolchain.go_command()
    fetched = shell.run(
        [*argv, "mod", "download", "-json", MODULE], cwd=versions.components_dir() / COMPONENT,
        env={**env, "GOFLAGS": "", "GOWORK": "off"}, check=False,
    )  # fmt: skip
    if fetched.status != 0:
        raise BuildFailed(f"the module of kind {version()} could not be fetched", evidence=fetched.output.splitlines())
    return Path(json.loads(fetched.stdout)["Dir"])


def _add_files(
    tar: tarfile.TarFile, programs: Sequence[Path], plugins: Path, binaries: Mapping[str, Path], kubernetes: str
) -> None:
    for part in ("Dockerfile", "import.sh"):
        _add(tar, part, _folder() / part, 0o644)
    for target, folders in (("bin", programs), ("cni", [plugins])):
        for file in sorted(file for folder in folders for file in folder.iterdir()):
            _add(tar, f"{target}/{file.name}", file, 0o755)
    for program, file in binaries.items():
        _add(tar, f"kubernetes/{program}", file, 0o755)
    files = _module() / "images" / "base" / "files"
    for file in sorted(file for file in files.rglob("*") if file.is_file()):
        path = str(file.relative_to(files))
        _add(tar, f"files/{path}", file, mode(path))
    for path in _OWN:
        _add(
            tar, f"own/{path}", paths.repository() / "images/files" / path, 0o644 if path.startswith("etc/") else 0o755
        )
    _add(tar, "own/kind/bin/kubedrill-help", _folder() / "kubedrill-help", 0o755)
    _add_text(tar, "own/kind/version", kubernetes)


def _add_images(tar: tarfile.TarFile, images: Sequence[oci.Image], sandbox: str, folder: Path) -> None:
    _add_text(tar, "archives/sandbox-image", sandbox)
    for number, image in enumerate(images):
        archive = folder / "image.tar"
        oci.archive(image, platform.machine(), archive)
        _add(tar, f"archives/{number:02d}.tar", archive, 0o644)


def _add(tar: tarfile.TarFile, path: str, file: Path, permissions: int) -> None:
    with file.open("rb") as opened:
        _add_data(tar, path, opened, file.stat().st_size, permissions)


def _add_text(tar: tarfile.TarFile, path: str, text: str) -> None:
    _add_data(tar, path, io.BytesIO(text.encode()), len(text.encode()), 0o644)


def _add_data(tar: tarfile.TarFile, path: str, data: IO[bytes], size: int, permissions: int) -> None:
    # Folders that are not told of would get modes of Docker's choice, which COPY gives on to /etc and /usr.
    told = set(tar.getnames())
    for folder in reversed(PurePosixPath(path).parents):
        if str(folder) not in {".", *told}:
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, permissions
    tar.addfile(entry, data)
