"""An image that kubedrill writes is a valid OCI layout, and the same files give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tars import tar_of_texts

from kubedrill.images import oci

NAME = "registry.k8s.io:443/kube-apiserver:v1.37.2"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two programs."""
    found = {}
    for path, content in {"/usr/local/bin/b": b"\x7fELF b", "/usr/local/bin/a": b"#!/bin/sh\n", "/c": b""}.items():
        source = tmp_path / path.rpartition("/")[2]
        source.write_bytes(content)
        source.chmod(0o640)
        found[path] = source
    return found


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def blob(held: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """What a descriptor points at; its digest and size must be right."""
    algorithm, _, digest = descriptor["digest"].partition(":")
    data = held[f"blobs/{algorithm}/{digest}"]
    assert algorithm == "sha256"
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) == descriptor["size"]
    return data


def parts(archive: Path) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """The index's only entry, the configuration and the layers."""
    held = read(archive)
    assert json.loads(held["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(held["index.json"])
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    [entry] = index["manifests"]
    assert entry["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    manifest = json.loads(blob(held, entry))
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, entry["mediaType"])
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    config = json.loads(blob(held, manifest["config"]))
    layers = [blob(held, layer) for layer in manifest["layers"]]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    assert len(held) == 2 + 2 + len(set(layers)), "no blob that nothing points at"
    digests = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
    assert config["rootfs"] == {"type": "layers", "diff_ids": digests}
    assert len(config["history"]) == len(layers)
    return entry, config, layers


def test_an_image_from_scratch(files: dict[str, Path], tmp_path: Path) -> None:
    oci.archive(oci.Image(NAME, files, ["/usr/local/bin/a", "--x"]), "x86_64", tmp_path / "image.tar")
    entry, config, [layer] = parts(tmp_path / "image.tar")
    assert entry["annotations"] == {
        "io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "v1.37.2"
    }  # fmt: skip
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Entrypoint"] == ["/usr/local/bin/a", "--x"]
    assert any(value.startswith("PATH=") for value in config["config"]["Env"])

    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = tar.getmembers()
        assert [(member.name, member.isdir(), member.mode) for member in members] == [
            ("c", False, 0o755),
            ("usr", True, 0o755),
            ("usr/local", True, 0o755),
            ("usr/local/bin", True, 0o755),
            ("usr/local/bin/a", False, 0o755),
            ("usr/local/bin/b", False, 0o755),
        ]
        assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
        opened = tar.extractfile("usr/local/bin/b")
        assert opened is not None
        assert opened.read() == b"\x7fELF b"


def test_an_image_over_a_base(files: dict[str, Path], tmp_path: Path) -> None:
    base = tar_of_texts({"usr/sbin/iptables": "x"})
    oci.archive(oci.Image(NAME, files, base=base), "aarch64", tmp_path / "image.tar")
    _, config, layers = parts(tmp_path / "image.tar")
    assert layers[0] == base
    assert len(layers) == 2
    assert config["architecture"] == "arm64"


@pytest.mark.parametrize(
    ("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")]
)
def test_architectures(files: dict[str, Path], tmp_path: Path, machine: str, architecture: str) -> None:
    oci.archive(oci.Image(NAME, files), machine, tmp_path / "image.tar")
    assert parts(tmp_path / "image.tar")[1]["architecture"] == architecture


def test_the_same_files_give_the_same_bytes(files: dict[str, Path], tmp_path: Path) -> None:
    """Whatever their order, owners, times and modes."""
    oci.archive(oci.Image(NAME, files), "x86_64", tmp_path / "one.tar")
    for source in files.values():
        os.utime(source, (1, 1))
        source.chmod(0o777)
    oci.archive(oci.Image(NAME, dict(reversed(files.items()))), "x86_64", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    files["/c"].write_text("changed")
    oci.archive(oci.Image(NAME, files), "x86_64", tmp_path / "three.tar")
    assert (tmp_path / "one.tar").read_bytes() != (tmp_path / "three.tar").read_bytes()
