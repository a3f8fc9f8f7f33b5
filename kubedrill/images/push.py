"""Bring an image from an archive into a registry (github.com/opencontainers/distribution-spec, spec.md, Push)."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from kubedrill.errors import InvalidSpec, KubedrillError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_TIMEOUT = 120.0
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
        if not (_HOST.fullmatch(host) and _PATH.fullmatch(path) and _TAG.fullmatch(tag)):
            raise InvalidSpec(f"'{name}' is no name of an image", todo=["name it REGISTRY/PATH:TAG"])
        return cls(host, path, tag)


class Archive:
    """An image in an OCI archive, or in one that `docker save` wrote.

    Args:
        file: the archive.

    Raises:
        InvalidSpec: it is none, or holds no image with a name, or more than one.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            with tarfile.open(file) as tar:
                self._members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
                self.reference, self.manifest, self._blobs = self._oci(tar) or self._docker(tar)
        except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
            raise InvalidSpec(f"{file} is no archive of an image", evidence=[f"{type(error).__name__}: {error}"],
                              todo=["make one with: docker save IMAGE --output FILE.tar"]) from error  # fmt: skip

    def blobs(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Each blob that the manifest needs: its digest, its size, and a stream of it."""
        with tarfile.open(self._file) as tar:
            for digest, member in self._blobs.items():
                stream = tar.extractfile(member)
                if stream is not None:
                    yield digest, member.size, stream

    def _oci(self, tar: tarfile.TarFile) -> tuple[Reference, bytes, dict[str, tarfile.TarInfo]] | None:
        if "index.json" not in self._members:
            return None
        index = json.loads(self._read(tar, "index.json"))
        one = _only(index["manifests"], "images")
        notes = one.get("annotations") or {}
        name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
        if one.get("mediaType") in _INDEXES:
            listed = json.loads(self._read(tar, _blob(one["digest"])))["manifests"]
            one = _only([each for each in listed if _blob(each["digest"]) in self._members], "platforms")
        data = self._read(tar, _blob(one["digest"]))
        manifest = json.loads(data)
        digests = [part["digest"] for part in (manifest["config"], *manifest["layers"])]
        return Reference.of(name), data, {digest: self._members[_blob(digest)] for digest in digests}

    def _docker(self, tar: tarfile.TarFile) -> tuple[Reference, bytes, dict[str, tarfile.TarInfo]]:
        one = _only(json.loads(self._read(tar, "manifest.json")), "images")
        blobs = {}
        parts = []
        for path in (one["Config"], *one["Layers"]):
            member = self._linked(tar, path)
            stream = tar.extractfile(member)
            if stream is None:
                raise KeyError(path)
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"  # type: ignore[arg-type]
            blobs[digest] = member
            parts.append({"mediaType": OCI_LAYER, "digest": digest, "size": member.size})
        config, *layers = parts
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {**config, "mediaType": OCI_CONFIG},
                    "layers": layers}  # fmt: skip
        tags = one.get("RepoTags") or [""]
        return Reference.of(tags[0]), json.dumps(manifest, sort_keys=True).encode(), blobs

    def _linked(self, tar: tarfile.TarFile, path: str) -> tarfile.TarInfo:
        """A member; older engines write a layer that occurs twice as a link to the first."""
        member = tar.getmember(path)
        if member.issym():
            return self._members[str((Path("/") / Path(path).parent / member.linkname).resolve()).removeprefix("/")]
        return member

    def _read(self, tar: tarfile.TarFile, name: str) -> bytes:
        stream = tar.extractfile(self._members[name])
        return stream.read() if stream is not None else b""


def push(archive: Archive, url: str, path: str, tag: str) -> None:
    """Bring an image into a registry; what is there already is not sent again.

    Args:
        archive: the image.
        url: http://ADDRESS:PORT of the registry.
        path: what it is called there.
        tag: and its tag.

    Raises:
        KubedrillError: the registry does not answer, or refuses; says what it said.
    """
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=_TIMEOUT)
    try:
        for digest, size, stream in archive.blobs():
            if _ask(connection, "HEAD", f"/v2/{path}/blobs/{digest}", (200, 404))[0] == 200:
                continue
            _, headers = _ask(connection, "POST", f"/v2/{path}/blobs/uploads/", (202,))
            target = urlsplit(headers["location"])
            query = f"{target.query}&" if target.query else ""
            _ask(connection, "PUT", f"{target.path}?{query}digest={digest}", (201,), stream,
                 {"Content-Length": str(size), "Content-Type": "application/octet-stream"})  # fmt: skip
        kind = json.loads(archive.manifest).get("mediaType", OCI_MANIFEST)
        _ask(connection, "PUT", f"/v2/{path}/manifests/{tag}", (201,), archive.manifest, {"Content-Type": kind})
    except (OSError, http.client.HTTPException) as error:
        raise KubedrillError(f"the registry at {url} does not take the image",
                             evidence=[f"{type(error).__name__}: {error}"]) from error  # fmt: skip
    finally:
        connection.close()


def catalog(url: str) -> list[str]:
    """The paths of all images that a registry holds.

    Raises:
        KubedrillError: it does not answer.
    """
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=10)
    try:
        connection.request("GET", "/v2/_catalog")
        found = json.loads(connection.getresponse().read())
        return sorted(found["repositories"] or [])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise KubedrillError(f"the registry at {url} does not answer",
                             evidence=[f"{type(error).__name__}: {error}"]) from error  # fmt: skip
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, expected: tuple[int, ...],
    body: IO[bytes] | bytes | None = None, headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str]]:  # fmt: skip
    connection.request(method, path, body, dict(headers or {}))
    answer = connection.getresponse()
    said = answer.read()
    if answer.status not in expected:
        raise KubedrillError(
            f"the registry at {connection.host}:{connection.port} refused {method} {path.partition('?')[0]}",
            evidence=[f"status {answer.status}: {' '.join(said.decode(errors='replace').split())[:200]}"],
        )
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}


def _only(found: list[Any], what: str) -> Any:
    if len(found) != 1:
        raise ValueError(f"it holds {len(found)} {what}; one is expected")
    return found[0]


def _blob(digest: str) -> str:
    kind, _, value = digest.partition(":")
    return f"blobs/{kind}/{value}"
