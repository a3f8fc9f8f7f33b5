"""What is merged into a kubeconfig and taken out of it again: text in, text out."""

from __future__ import annotations

from typing import Any

import kubeconfigs
import pytest
import yaml
from kubeconfigs import ADMIN, FOREIGN, SERVER, names, read

from kubedrill import kubeconfig
from kubedrill.errors import KubedrillError

own_state = kubeconfigs.own_state  # a fixture


def shape(node: Any) -> Any:
    """Tags and values of a YAML tree: the types that any reader would see."""
    if isinstance(node, yaml.ScalarNode):
        return node.tag, node.value
    if isinstance(node, yaml.MappingNode):
        return {key.value: shape(value) for key, value in node.value}
    return [shape(item) for item in node.value]


def without_ours(tree: dict[str, Any]) -> dict[str, Any]:
    """All but the current context and the entries of kubedrill-lab."""
    return {
        key: [item for item in value if item["name"][1] != "kubedrill-lab"] if isinstance(value, list) else value
        for key, value in tree.items()
        if key != "current-context"
    }


@pytest.mark.parametrize("existing", ["", "\n", "# only a comment\n", "{}", "null\n", "---\n"])
def test_merge_into_nothing_gives_a_whole_kubeconfig(existing: str) -> None:
    assert read(kubeconfig.merge(existing, "lab", ADMIN, SERVER)) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubedrill-lab", "cluster": {"certificate-authority-data": "Q0EK", "server": SERVER}}],
        "contexts": [{"name": "kubedrill-lab", "context": {"cluster": "kubedrill-lab", "user": "kubedrill-lab"}}],
        "current-context": "kubedrill-lab",
        "users": [
            {
                "name": "kubedrill-lab",
                "user": {"client-certificate-data": "Q0VSVAo=", "client-key-data": "S0VZCg=="},
            }
        ],
    }


def test_standalone_is_a_merge_into_nothing() -> None:
    assert kubeconfig.standalone("lab", ADMIN, SERVER) == kubeconfig.merge("", "lab", ADMIN, SERVER)


def test_foreign_entries_keep_value_order_and_spelling() -> None:
    merged = kubeconfig.merge(FOREIGN, "lab", ADMIN, SERVER)
    before, after = read(FOREIGN), read(merged)
    assert list(after) == list(before)
    for key in ("clusters", "contexts", "users"):
        assert after[key][:-1] == before[key]
        assert after[key][-1]["name"] == "kubedrill-lab"
    for key in ("apiVersion", "kind", "x-unknown", "extensions"):
        assert after[key] == before[key]
    assert without_ours(shape(yaml.compose(merged))) == without_ours(shape(yaml.compose(FOREIGN)))
    for spelled in ("password: on", "username: 2024-01-02", "token: '0123'", "'yes'", '"no"', "1.10", "0o17", "0x1F"):
        assert spelled in FOREIGN
        assert spelled in merged
    assert "caf\u00e9 \u732b" in merged


def test_what_was_merged_comes_out_again() -> None:
    merged = kubeconfig.merge(FOREIGN, "lab", ADMIN, SERVER)
    after = read(kubeconfig.without(merged, "lab"))
    assert after == {**read(FOREIGN), "current-context": ""}


def test_no_line_is_folded() -> None:
    token = "word " * 400
    existing = f"users:\n- name: a\n  user:\n    token: {token.strip()}\n"
    merged = kubeconfig.merge(existing, "lab", ADMIN.replace("Q0EK", "Q" * 4000), SERVER)
    assert f"token: {token.strip()}\n" in merged
    assert f"certificate-authority-data: {'Q' * 4000}\n" in merged


def test_ours_have_no_aliases_and_strings_stay_strings() -> None:
    merged = kubeconfig.merge("", "on", ADMIN.replace("S0VZCg==", "'2024-01-01'").replace("Q0EK", "'0017'"), "1.5")
    assert "*" not in merged
    assert "&" not in merged
    loaded = yaml.safe_load(merged)
    assert loaded["users"][0]["user"]["client-key-data"] == "2024-01-01"
    assert loaded["clusters"][0]["cluster"] == {"certificate-authority-data": "0017", "server": "1.5"}


def test_merging_again_replaces_in_place() -> None:
    once = kubeconfig.merge(kubeconfig.merge("", "a", ADMIN, SERVER), "b", ADMIN, SERVER)
    twice = kubeconfig.merge(once, "a", ADMIN.replace("Q0EK", "TkVXCg=="), "https://127.0.0.1:2")
    for key in ("clusters", "contexts", "users"):
        assert names(twice, key) == ["kubedrill-a", "kubedrill-b"]
    assert read(twice)["clusters"][0]["cluster"] == {
        "certificate-authority-data": "TkVXCg==",
        "server": "https://127.0.0.1:2",
    }
    assert read(twice)["clusters"][1] == read(once)["clusters"][1]
    assert read(twice)["current-context"] == "kubedrill-a"
    assert kubeconfig.merge(once, "b", ADMIN, SERVER) == once


def test_entries_of_one_name_become_one_where_the_first_was() -> None:
    doubled = (
        "clusters:\n- {name: kubedrill-lab, old: 1}\n- name: prod\n- {name: kubedrill-lab, old: 2}\n- name: test\n"
    )
    merged = kubeconfig.merge(doubled, "lab", ADMIN, SERVER)
    assert names(merged, "clusters") == ["kubedrill-lab", "prod", "test"]
    assert "old" not in merged


@pytest.mark.parametrize("empty", ["clusters:", "clusters: null", "clusters: []", "kind: Config"])
def test_a_list_may_be_empty_null_or_missing(empty: str) -> None:
    merged = kubeconfig.merge(f"{empty}\nusers:\n- name: a\n", "lab", ADMIN, SERVER)
    assert names(merged, "clusters") == ["kubedrill-lab"]
    assert names(merged, "users") == ["a", "kubedrill-lab"]
    assert kubeconfig.without(f"{empty}\n", "lab") == f"{empty}\n"


def test_a_json_kubeconfig_is_one() -> None:
    merged = kubeconfig.merge('{"users": [{"name": "a", "user": {"token": "1"}}]}', "lab", ADMIN, SERVER)
    assert names(merged, "users") == ["a", "kubedrill-lab"]
    assert yaml.safe_load(merged)["users"][0]["user"]["token"] == "1"


def test_entries_that_are_no_entries_are_left_alone() -> None:
    odd = "clusters:\n- just a word\n- {cluster: {}}\n- name: [kubedrill-lab]\n-\n"
    after = read(kubeconfig.without(kubeconfig.merge(odd, "lab", ADMIN, SERVER), "lab"))
    assert after["clusters"] == read(odd)["clusters"]


@pytest.mark.parametrize(
    "existing",
    [
        "",
        FOREIGN,
        "# a comment\n\nclusters:   []   # spaces\r\n",
        "clusters: [{name: kubedrill-lab2}]\ncurrent-context: kubedrill-lab2\n",
        "clusters: [{name: lab}]\ncurrent-context: lab\n",
        "users:\n- name: x\n  user: {token: kubedrill-lab}\n",
    ],
)
def test_without_changes_no_byte_where_nothing_is_ours(existing: str) -> None:
    assert kubeconfig.without(existing, "lab") == existing


@pytest.mark.parametrize("key", ["clusters", "contexts", "users"])
def test_without_takes_a_single_entry_that_is_left(key: str) -> None:
    left = f"{key}:\n- name: a\n- name: kubedrill-lab\n- name: b\n"
    assert names(kubeconfig.without(left, "lab"), key) == ["a", "b"]


@pytest.mark.parametrize(
    ("current", "after"), [("kubedrill-lab", ""), ("zed@prod", "zed@prod"), ("kubedrill-lab2", "kubedrill-lab2")]
)
def test_current_context_is_cleared_only_if_ours(current: str, after: str) -> None:
    merged = kubeconfig.merge(FOREIGN, "lab", ADMIN, SERVER)
    chosen = merged.replace("current-context: kubedrill-lab", f"current-context: {current}")
    assert read(kubeconfig.without(chosen, "lab"))["current-context"] == after


def test_current_context_alone_is_ours_too() -> None:
    assert read(kubeconfig.without("current-context: kubedrill-lab\n", "lab")) == {"current-context": ""}


class TestAuthority:
    def test_the_certificate_of_the_ca(self) -> None:
        text = (
            "kind: Config\nclusters:\n- {name: x, cluster: {certificate-authority-data: Q0EK, server: 'https://x'}}\n"
        )
        assert kubeconfig.authority("lab", text) == "CA\n"

    @pytest.mark.parametrize(
        "text", ["", "kind: Config\nclusters: []\n", "kind: Config\nclusters:\n- {name: x, cluster: {server: y}}\n",
                 "kind: Config\nclusters:\n- {name: x, cluster: {certificate-authority-data: '%%%'}}\n", "a: [b"],
    )  # fmt: skip
    def test_a_kubeconfig_without_one_is_refused(self, text: str) -> None:
        """An empty CA would let a node join whoever answers."""
        with pytest.raises(KubedrillError, match=r"the admin.conf for lab cannot be used"):
            kubeconfig.authority("lab", text)
