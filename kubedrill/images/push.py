"""Bring an image from an archive into a registry, by crane (github.com/google/go-containerregistry)."""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedrill import shell
from kubedrill.errors import InvalidSpec
from kubedrill.images import components

# Of images/components: the registry itself, and crane.
COMPONENT = "registry"
_TIMEOUT = 300
# Of the distribution reference (https://pkg.go.dev/github.com/distribution/reference): path components and a tag.
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Reference:
    """The full name of an image: 'docker.io', 'library/nginx', '1.29'."""

    host: str
    path: str
    tag: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}:{self.tag}"

    @classmethod
    def of(cls, name: str) -> Reference:
        """The full name of a short one: 'nginx' is docker.io/library/nginx:latest.

        Raises:
            InvalidSpec: it is no name of an image.
        """
        first, _, rest = name.partition("/")
        is_host = bool(rest) and ("." in first or ":" in first or first == "localhost")
        host, path = (first, rest) if is_host else ("docker.io", name)
        path, colon, tag = path.partition(":")
        if host == "docker.io" and "/" not in path:
            path = f"library/{path}"
        tag = tag if colon else "latest"
        if not (is_registry(host) and _PATH.fullmatch(path) and _TAG.fullmatch(tag)):
            raise InvalidSpec(f"'{name}' is no name of an image", todo=["name it REGISTRY/PATH:TAG"])
        return cls(host, path, tag)


def is_registry(name: str) -> bool:
    """Whether images can be called after a registry of that name: 'docker.io', 'localhost:5000'."""
    return _HOST.fullmatch(name) is not None


def name_of(archive: Path) -> Reference:
    """What the image of an archive is called, in it.

    Args:
        archive: an OCI archive, or one that `docker save` wrote.

    Raises:
        InvalidSpec: it is none, or holds no image with a name, or more than one.
    """
    try:
        with tarfile.open(archive) as tar:
            listed = _read(tar, "manifest.json")
            names = [tag for image in listed or () for tag in image["RepoTags"] or ()]
            if listed is None:
                index = _read(tar, "index.json") or {"manifests": []}
                notes = [one.get("annotations") or {} for one in index["manifests"]]
                kinds = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
                names = [next((note[kind] for kind in kinds if note.get(kind)), "") for note in notes]
    except (tarfile.TarError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidSpec(f"{archive} is no archive of an image", evidence=[f"{type(error).__name__}: {error}"],
                          todo=["make one with: docker save IMAGE --output FILE.tar"]) from error  # fmt: skip
    if len(names) != 1:
        raise InvalidSpec(f"{archive} holds {len(names)} names of images; one is expected", evidence=names,
                          todo=["save one image by one name: docker save IMAGE:TAG --output FILE.tar"])  # fmt: skip
    return Reference.of(names[0])


def push(archive: Path, url: str, path: str, tag: str, say: Callable[[str], None]) -> None:
    """Bring an image into a registry; what is there already is not sent again.

    Args:
        archive: an OCI archive, or one that `docker save` wrote, with one image.
        url: http://ADDRESS:PORT of the registry.
        path: what it is called there.
        tag: and its tag.
        say: told of what is built.

    Raises:
        CommandFailed: the registry does not answer, or refuses; says what it said.
        BuildFailed: crane could not be built.
    """
    with _as_crane_reads(archive) as source:
        _crane(say, "push", str(source), f"{url.removeprefix('http://')}/{path}:{tag}")


def catalog(url: str, say: Callable[[str], None]) -> list[str]:
    """The paths of all images that a registry holds.

    Raises:
        CommandFailed: it does not answer.
        BuildFailed: crane could not be built.
    """
    return sorted(_crane(say, "catalog", url.removeprefix("http://")).split())


def program(name: str, say: Callable[[str], None]) -> Path:
    """'registry' or 'crane', built unless it is there.

    Raises:
        MissingPrerequisite: there is no Go toolchain to build it with.
        BuildFailed: it could not be built.
    """
    return components.build(COMPONENT, components.go_version(), say) / name


def _crane(say: Callable[[str], None], *words: str) -> str:
    return shell.run([str(program("crane", say)), *words, "--insecure"], timeout=_TIMEOUT).stdout


@contextlib.contextmanager
def _as_crane_reads(archive: Path) -> Iterator[Path]:
    """The archive itself where `docker save` wrote it; of an OCI archive the folder that is in it."""
    with tarfile.open(archive) as tar:
        if "manifest.json" in {name.removeprefix("./") for name in tar.getnames()}:
            yield archive
            return
        with tempfile.TemporaryDirectory(prefix="kubedrill-") as folder:
            tar.extractall(folder, filter="data")
            yield Path(folder)


def _read(tar: tarfile.TarFile, name: str) -> Any:
    """A JSON file of an archive; None where it is not there."""
    for member in tar:
        if member.name.removeprefix("./") == name and (stream := tar.extractfile(member)):
            return json.load(stream)
    return None
