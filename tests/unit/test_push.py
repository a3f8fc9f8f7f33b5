"""What an archive's image is called, and how crane is asked to push it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tars import tar_of_texts

from kubedrill.errors import InvalidSpec
from kubedrill.images import oci, push
from kubedrill.images.push import Reference
from kubedrill.shell import Result


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


class TestName:
    def test_of_this_project(self, archive: Path) -> None:
        assert str(push.name_of(archive)) == "kubedrill.test/hello:3"

    def test_of_docker_save(self, tmp_path: Path) -> None:
        assert str(push.name_of(saved_by_docker(tmp_path / "saved.tar", ["me/app:2"]))) == "docker.io/me/app:2"

    def test_what_is_none(self, tmp_path: Path) -> None:
        for name, content in {
            "text": b"hello", "empty": b"", "list": tar_of_texts({"index.json": "[1]"}),
            "no json": tar_of_texts({"index.json": "{"}), "no images": tar_of_texts({"manifest.json": "[1]"}),
        }.items():  # fmt: skip
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InvalidSpec, match="is no archive of an image"):
                push.name_of(tmp_path / name)

    @pytest.mark.parametrize("tags", [None, [], ["a:1", "a:2"]])
    def test_of_none_or_several(self, tmp_path: Path, tags: list[str] | None) -> None:
        with pytest.raises(InvalidSpec, match=f"holds {len(tags or [])} names of images"):
            push.name_of(saved_by_docker(tmp_path / "saved.tar", tags))

    def test_without_one(self, tmp_path: Path) -> None:
        (tmp_path / "oci.tar").write_bytes(tar_of_texts({"index.json": '{"manifests": [{"digest": "sha256:1"}]}'}))
        with pytest.raises(InvalidSpec, match="is no name of an image"):
            push.name_of(tmp_path / "oci.tar")


class TestCrane:
    """How it is asked; what it does with that is seen in tests/cluster, with a registry."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
        """The commands, and what lies in a folder that is pushed."""
        lines: list[list[str]] = []

        def run(argv: list[str], *, timeout: float) -> Result:
            source = Path(argv[2])
            inside = sorted(path.name for path in source.iterdir()) if source.is_dir() else []
            lines.append([*argv, *inside])
            return Result(0, "b/c\na\n" if argv[1] == "catalog" else "", "")

        monkeypatch.setattr(push.components, "go_version", lambda: "go version go1 linux/amd64")
        monkeypatch.setattr(push.components, "build", lambda name, compiler, say: tmp_path / name)
        monkeypatch.setattr(push.shell, "run", run)
        return lines

    def test_what_docker_saved_is_taken_as_it_is(self, asked: list[list[str]], tmp_path: Path) -> None:
        saved = saved_by_docker(tmp_path / "saved.tar", ["me/app:2"])
        push.push(saved, "http://172.28.0.2:5000", "docker.io/me/app", "2", str)
        assert asked == [
            [f"{tmp_path}/registry/crane", "push", str(saved), "172.28.0.2:5000/docker.io/me/app:2", "--insecure"]
        ]

    def test_an_oci_archive_is_taken_apart(self, asked: list[list[str]], archive: Path) -> None:
        push.push(archive, "http://172.28.0.2:5000", "kubedrill.test/hello", "3", str)
        (line,) = asked
        assert line[5:] == ["blobs", "index.json", "oci-layout"]
        assert not Path(line[2]).exists(), "nothing is left of it"

    def test_what_a_registry_holds(self, asked: list[list[str]], tmp_path: Path) -> None:
        assert push.catalog("http://172.28.0.2:5000", str) == ["a", "b/c"]
        assert asked == [[f"{tmp_path}/registry/crane", "catalog", "172.28.0.2:5000", "--insecure"]]
