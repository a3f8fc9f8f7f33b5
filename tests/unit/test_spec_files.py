"""A file that says which cluster, and flags over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedrill.errors import InvalidSpec
from kubedrill.spec import ClusterSpec, load


def test_a_file_with_flags_over_it(tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text("name: school\nworkers: 3\npodSubnet: 10.1.0.0/16\n")
    found = load(config, {"workers": 1, "name": None, "pod_subnet": "10.2.0.0/16", "controlPlanes": 3})
    assert (found.name, found.workers, found.pod_subnet, found.control_planes) == ("school", 1, "10.2.0.0/16", 3)


@pytest.mark.parametrize("written", ["controlPlanes", "control_planes"])
@pytest.mark.parametrize("flag", ["controlPlanes", "control_planes"])
def test_a_flag_wins_however_the_key_is_written(written: str, flag: str, tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text(f"{written}: 3\n")
    assert load(config, {}).control_planes == 3
    assert load(config, {flag: 5}).control_planes == 5


def test_defaults_without_a_file() -> None:
    assert load(None, {}) == ClusterSpec()
    assert load(None, {"workers": None}) == ClusterSpec()


def test_the_error_names_the_file_or_the_flags(tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text("workers: -1\n")
    with pytest.raises(InvalidSpec, match=str(config)):
        load(config, {})
    with pytest.raises(InvalidSpec, match=r"\(the flags\)"):
        load(None, {"workers": -1})
    with pytest.raises(InvalidSpec, match=rf"\({config}\)"):
        load(config, {"workers": None})
    with pytest.raises(InvalidSpec, match=rf"\({config} and the flags\)"):
        load(config, {"provider": "nosuch"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b\n", ["does not hold keys and values", "list"]),
        ("just words\n", ["does not hold keys and values", "str"]),
        ("workers: 1\nname: a\nworkers: 300\n", ["is not YAML", "the key 'workers' is there twice"]),
        ("nodes:\n  worker:\n    taints: []\n    taints: []\n", ["is not YAML", "'taints' is there twice", "line 3"]),
        ("1: a\n", ["does not hold keys and values"]),
        ("workers: [\n", ["is not YAML", "line 2"]),
        ("workers:\n\t- 1\n", ["is not YAML", "line 2"]),
        ("!!python/object/apply:os.getcwd []\n", ["is not YAML", "python/object"]),
    ],
)
def test_a_file_without_keys_and_values(content: str, words: list[str], tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text(content)
    with pytest.raises(InvalidSpec) as caught:
        load(config, {})
    for word in [str(config), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("content", ["", "# workers: 3\n", "---\n"])
def test_a_file_without_any_key_leaves_all_as_it_is(content: str, tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text(content)
    assert load(config, {}) == load(None, {})


def test_a_mapping_may_be_merged_and_something_of_it_replaced(tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_text("nodes:\n  worker-1: &one {labels: {a: b}}\n  worker-2: {<<: *one, labels: {c: d}}\n")
    assert load(config, {}).settings("worker-2").labels == {"c": "d"}


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    config.write_bytes(b"name: \xff\n")
    with pytest.raises(InvalidSpec, match="is not YAML"):
        load(config, {})


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="cannot read") as caught:
        load(tmp_path / name, {})
    assert str(tmp_path) in str(caught.value)
    assert caught.value.evidence


# --- nodes
