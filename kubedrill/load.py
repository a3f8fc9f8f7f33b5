"""Bring an image into every node, at once."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubedrill import paths
from kubedrill.errors import InvalidSpec, KubedrillError, NotFound
from kubedrill.providers.base import KUBERNETES, Node
from kubedrill.providers.docker_engine import Engine


def load(
    engine: Engine, image: str, nodes: Sequence[Node], into: Callable[[Sequence[Node], Path], object] | None = None
) -> None:
    """Import an image into the container runtime of nodes.

    Args:
        engine: where an image that is no file is looked for.
        image: a tar (OCI or Docker archive), or the name of an image of the local engine.
        nodes: the nodes; computers that are none of Kubernetes' are passed over.
        into: takes its archive to another place for them.

    Raises:
        NotFound: there is no such file or image.
        InvalidSpec: the file is no archive of an image.
        KubedrillError: a node refused it; says which nodes have it.
    """
    file = Path(image)
    if file.is_file():
        _check(file)
        (into or _into)(nodes, file)
        return
    if "/" in image and file.suffix in (".tar", ".oci"):
        raise NotFound(f"there is no file {image}")
    if not engine.has_image(image):
        raise NotFound(
            f"there is no file and no image '{image}'",
            evidence=["looked for a file, and asked Docker's engine for an image of that name"],
            todo=["see `docker images`; a name without a tag means :latest"],
        )
    with tempfile.TemporaryDirectory(dir=paths.cache(), prefix=".load-") as folder:
        saved = Path(folder) / "image.tar"
        with saved.open("wb") as sink:
            for piece in engine.export_image(image):
                sink.write(piece)
        (into or _into)(nodes, saved)


def archive(file: Path, nodes: Sequence[Node]) -> None:
    """Import an archive into the container runtime of nodes.

    Args:
        file: an OCI or Docker archive.
        nodes: the nodes; computers that are none of Kubernetes' are passed over.

    Raises:
        InvalidSpec: it is no archive of an image.
        KubedrillError: a node refused it; says which nodes have it.
    """
    _check(file)
    _into(nodes, file)


def _check(file: Path) -> None:
    try:
        with tarfile.open(file) as tar:
            names = set(tar.getnames())
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InvalidSpec(f"{file} is no archive of an image", evidence=[str(error)]) from error
    if not names & {"index.json", "manifest.json", "./index.json", "./manifest.json"}:
        raise InvalidSpec(
            f"{file} is no archive of an image",
            evidence=["it holds neither index.json (OCI) nor manifest.json (Docker)"],
            todo=["make one with: docker save IMAGE --output FILE.tar"],
        )


def _into(nodes: Sequence[Node], file: Path) -> None:
    def one(node: Node) -> str | None:
        path = f"/var/lib/kubedrill/load-{uuid.uuid4().hex}.tar"
        try:
            node.send(file, path)
            # An engine that keeps images as containerd does saves the index of all platforms, and the blobs of one.
            take = ["ctr", "--namespace", "k8s.io", "images", "import", "--local", "--platform", "linux/amd64", path]
            node.run(take, timeout=600)
        except KubedrillError as error:
            return f"{node.name}: {error}"
        finally:
            with contextlib.suppress(KubedrillError):  # it may be gone
                node.run(["rm", "-f", path], check=False, show=False)
        return None

    targets = [node for node in nodes if node.role in KUBERNETES]
    with ThreadPoolExecutor(max_workers=8) as pool:
        problems = [problem for problem in pool.map(one, targets) if problem]
    if problems:
        have = len(targets) - len(problems)
        raise KubedrillError(f"{len(problems)} nodes did not take the image, {have} have it", evidence=problems)
