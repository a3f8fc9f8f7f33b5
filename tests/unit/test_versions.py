"""Versions come from the go.mod files and from nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kubedrill import versions
from kubedrill.errors import KubedrillError

GO_MOD = """\
module kubedrill/components/example

go 1.26.0

require k8s.io/single v0.1.0

require (
	k8s.io/api-extra v9.9.9
	k8s.io/api v0.37.2 // indirect
	example.com/pre v1.12.1-0.20260720052920-cd9e7ad1ae09
	exampleXcom/dot v6.6.6
)

replace k8s.io/replaced => k8s.io/replaced v7.7.7

replace (
	k8s.io/other => k8s.io/other v8.8.8
)
"""


@pytest.fixture
def components(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for minor, patch in (("1.9", "v1.9.11"), ("1.10", "v1.10.3"), ("1.8", "v1.8.0")):
        folder = tmp_path / f"kubernetes-{minor}"
        folder.mkdir()
        (folder / "go.mod").write_text(f"module x\n\nrequire k8s.io/kubernetes {patch}\n")
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "go.mod").write_text("module y\n\nrequire (\n\tgo.etcd.io/etcd/server/v3 v3.9.1\n)\n")
    monkeypatch.setattr(versions, "components_dir", lambda: tmp_path)
    return tmp_path


@pytest.mark.usefixtures("components")
def test_minors_are_the_folders_in_the_order_of_numbers() -> None:
    assert versions.kubernetes_minors() == ("1.8", "1.9", "1.10")
    assert versions.newest_minor() == "1.10"


@pytest.mark.usefixtures("components")
def test_a_version_is_the_one_in_go_mod() -> None:
    assert versions.kubernetes_version("1.9") == "v1.9.11"
    assert versions.component_version("etcd", "go.etcd.io/etcd/server/v3") == "v3.9.1"


def test_a_change_of_go_mod_is_seen_at_once(components: Path) -> None:
    (components / "kubernetes-1.9" / "go.mod").write_text("require k8s.io/kubernetes v1.9.12\n")
    assert versions.kubernetes_version("1.9") == "v1.9.12"


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("k8s.io/single", "v0.1.0"),
        ("k8s.io/api", "v0.37.2"),
        ("k8s.io/api-extra", "v9.9.9"),
        ("example.com/pre", "v1.12.1-0.20260720052920-cd9e7ad1ae09"),
    ],
)
def test_required_version(module: str, version: str, tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(GO_MOD)
    assert versions.required_version(tmp_path / "go.mod", module) == version


@pytest.mark.parametrize(
    "module", ["k8s.io/none", "k8s.io/ap", "8s.io/api", "k8s.io/replaced", "k8s.io/other", "example.com/dot", "go"]
)
def test_a_module_that_is_not_required_is_an_error_with_the_file(module: str, tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(GO_MOD)
    with pytest.raises(KubedrillError, match=re.escape(f"{tmp_path / 'go.mod'} does not require {module}")) as caught:
        versions.required_version(tmp_path / "go.mod", module)
    assert caught.value.todo


@pytest.mark.parametrize(
    ("version", "minor"), [("v1.37.2", "1.37"), ("1.37.2", "1.37"), ("v1.37", "1.37"), ("v1.37.0-rc.1", "1.37")]
)
def test_minor_of(version: str, minor: str) -> None:
    assert versions.minor_of(version) == minor


def test_the_real_files_agree_with_their_folders() -> None:
    minors = versions.kubernetes_minors()
    assert minors
    for minor in minors:
        assert versions.minor_of(versions.kubernetes_version(minor)) == minor
