"""Images out of archives, and into a registry that checks what it gets."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fakes import tar_of_texts

from kubedrill.errors import InvalidSpec, KubedrillError
from kubedrill.images import oci, push
from kubedrill.images.push import Archive, Reference


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """What the distribution specification asks of a registry to which is pushed."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuses = ""
        handler = type("Bound", (Handler,), {"place": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place: Registry

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def note(self) -> bool:
        self.place.asked.append(f"{self.command} {urlsplit(self.path).path}")
        if self.place.refuses and self.place.refuses in self.path:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.say(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
            return False
        return True

    def do_HEAD(self) -> None:
        if self.note():
            self.say(200 if self.path.rpartition("/")[2] in self.place.blobs else 404)

    def do_GET(self) -> None:
        names = sorted({path.partition("/manifests/")[0] for path in self.place.manifests})
        self.say(200, json.dumps({"repositories": names or None}).encode())

    def do_POST(self) -> None:
        if self.note():
            self.say(202, Location=f"{self.place.url}{self.path}7?_state=abc%3D")

    def do_PUT(self) -> None:
        if not self.note():
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/manifests/" in self.path:
            manifest = json.loads(body)
            parts = [manifest["config"], *manifest["layers"]]
            known = all(len(self.place.blobs.get(part["digest"], b"-")) == part["size"] for part in parts)
            right = self.headers["Content-Type"] == manifest["mediaType"]
            if known and right:
                self.place.manifests[self.path.removeprefix("/v2/")] = body
            self.say(201 if known and right else 404)
        else:
            query = parse_qs(urlsplit(self.path).query)
            right = query["_state"] == ["abc="] and query["digest"] == [digest(body)]
            if right:
                self.place.blobs[digest(body)] = body
            self.say(201 if right else 400)


@pytest.fixture
def registry() -> Iterator[Registry]:
    place = Registry()
    yield place
    place.close()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image of a program, as this project makes it."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + bytes(range(256)) * 1000)
    made = tmp_path / "image.tar"
    image = oci.Image("kubedrill.test/hello:3", {"/hello": program}, ["/hello"], base=tar_of_texts({"etc/x": "y"}))
    oci.archive(image, "x86_64", made)
    return made


def saved_by_docker(
    file: Path, tags: list[str] | None, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> Path:
    """As engines before Docker 25 save an image; its second layer is a link to the first."""
    layer, config = tar_of_texts({"a": "b"}), b'{"os": "linux"}'
    listed = [{"Config": "abc.json", "RepoTags": tags, "Layers": ["one/layer.tar", "two/layer.tar"]}]
    change(listed[0])
    with tarfile.open(file, "w") as tar:
        for name, data in (
            ("abc.json", config),
            ("one/layer.tar", layer),
            ("manifest.json", json.dumps(listed).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("two/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../one/layer.tar"
        tar.addfile(link)
    return file


class TestReference:
    @pytest.mark.parametrize(
        ("name", "full"),
        [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.29", "docker.io/library/nginx:1.29"),
            ("me/app:2", "docker.io/me/app:2"),
            ("docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ],
    )
    def test_the_full_name(self, name: str, full: str) -> None:
        assert str(Reference.of(name)) == full

    @pytest.mark.parametrize(
        "name", ["", "A/b:1", "a.b/", "a.b/c:", "a.b/../c:1", "a.b/c:1 2", "a.b/c:$(x)", "a.b/c@sha256:0", "a;b.c/d"]
    )
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(InvalidSpec, match="is no name of an image"):
            Reference.of(name)


class TestArchive:
    def test_of_this_project(self, archive: Path) -> None:
        found = Archive(archive)
        assert str(found.reference) == "kubedrill.test/hello:3"
        for name, size, stream in found.blobs():
            data = stream.read()
            assert (digest(data), len(data)) == (name, size)

    def test_of_an_older_engine(self, tmp_path: Path) -> None:
        found = Archive(saved_by_docker(tmp_path / "saved.tar", ["me/app:2"]))
        assert str(found.reference) == "docker.io/me/app:2"
        manifest = json.loads(found.manifest)
        assert [part["digest"] for part in manifest["layers"]] == [digest(tar_of_texts({"a": "b"}))] * 2
        assert {name: digest(stream.read()) for name, _, stream in found.blobs()} == {
            name: name for name in (manifest["config"]["digest"], manifest["layers"][0]["digest"])
        }

    def test_of_one_platform_of_an_index(self, archive: Path, tmp_path: Path) -> None:
        """As Docker 25 and later save what is there of an image for several platforms."""
        with tarfile.open(archive) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        index = json.loads(files["index.json"])
        here = index["manifests"][0]
        elsewhere = {**here, "digest": digest(b"elsewhere"), "platform": {"architecture": "s390x"}}
        inner = json.dumps({"manifests": [elsewhere, here]}).encode()
        outer = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(inner), "size": len(inner),
                 "annotations": here["annotations"]}  # fmt: skip
        files |= {"index.json": json.dumps({"manifests": [outer]}).encode(),
                  f"blobs/sha256/{digest(inner).removeprefix('sha256:')}": inner}  # fmt: skip
        with tarfile.open(tmp_path / "index.tar", "w") as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"./{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        assert Archive(tmp_path / "index.tar").manifest == Archive(archive).manifest

    def test_what_is_none(self, tmp_path: Path) -> None:
        for name, content in {
            "text": b"hello", "empty": b"", "other": tar_of_texts({"README": "x"}),
            "no blob": tar_of_texts({"index.json": '{"manifests": [{"digest": "sha256:1"}]}'}),
            "several": tar_of_texts({"index.json": '{"manifests": [{}, {}]}'}),
            "list": tar_of_texts({"index.json": "[]"}),
        }.items():  # fmt: skip
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InvalidSpec, match="is no archive of an image"):
                Archive(tmp_path / name)

    @pytest.mark.parametrize("tags", [None, []])
    def test_without_a_name(self, tmp_path: Path, tags: list[str] | None) -> None:
        with pytest.raises(InvalidSpec, match="is no name of an image"):
            Archive(saved_by_docker(tmp_path / "saved.tar", tags))

    def test_a_layer_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSpec, match="gone/layer"):
            Archive(saved_by_docker(tmp_path / "s.tar", ["a:1"], lambda one: one["Layers"].append("gone/layer.tar")))


class TestPush:
    def test_all_of_it_arrives(self, registry: Registry, archive: Path) -> None:
        image = Archive(archive)
        assert push.catalog(registry.url) == []
        push.push(image, registry.url, "kubedrill.test/hello", "3")
        assert registry.manifests == {"kubedrill.test/hello/manifests/3": image.manifest}
        assert registry.blobs == {name: stream.read() for name, _, stream in image.blobs()}
        assert len(registry.blobs) == 3
        assert push.catalog(registry.url) == ["kubedrill.test/hello"]

    def test_what_is_there_is_not_sent_again(self, registry: Registry, archive: Path) -> None:
        image = Archive(archive)
        push.push(image, registry.url, "hello", "3")
        registry.asked.clear()
        push.push(image, registry.url, "hello", "4")
        assert [line.split()[0] for line in registry.asked] == ["HEAD", "HEAD", "HEAD", "PUT"]

    def test_of_an_older_engine(self, registry: Registry, tmp_path: Path) -> None:
        push.push(Archive(saved_by_docker(tmp_path / "saved.tar", ["me/app:2"])), registry.url, "app", "2")
        assert list(registry.manifests) == ["app/manifests/2"]

    @pytest.mark.parametrize("where", ["/uploads/", "/manifests/"])
    def test_a_refusal_says_why(self, registry: Registry, archive: Path, where: str) -> None:
        registry.refuses = where
        with pytest.raises(KubedrillError, match="refused") as caught:
            push.push(Archive(archive), registry.url, "hello", "3")
        assert "DIGEST_INVALID" in str(caught.value)
        assert registry.manifests == {}

    def test_nobody_there(self, registry: Registry, archive: Path) -> None:
        registry.close()
        with pytest.raises(KubedrillError, match="does not take the image"):
            push.push(Archive(archive), registry.url, "hello", "3")
        with pytest.raises(KubedrillError, match="does not answer"):
            push.catalog(registry.url)
