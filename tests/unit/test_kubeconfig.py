"""The user's kubeconfig is never damaged, whatever happens while it is written."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedrill import kubeconfig, kubeconfig_lock
from kubedrill.errors import BrokenKubeconfig, Busy, KubedrillError
from kubedrill.wait import until

SERVER = "https://127.0.0.1:16443"
ADMIN = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0EK
    server: https://10.0.0.2:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: other
  user:
    token: wrong
- name: kubernetes-admin
  user:
    client-certificate-data: Q0VSVAo=
    client-key-data: S0VZCg==
"""
# Everything that a YAML library likes to "correct": booleans, dates, octal, trailing zeros, quotes, tags, anchors.
FOREIGN = """\
apiVersion: v1
kind: Config
x-unknown: {b: 1, a: [2, 3]}
users:
- name: zed
  user:
    token: '0123'
    username: 2024-01-02
    password: on
- name: alpha
  user: &alpha
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args: ['yes', "no", 1.10, 0o17, 0x1F, 1e3, ~, 12:30:45]
      command: aws
- name: beta
  user: *alpha
contexts:
- name: zed@prod
  context: {cluster: prod, user: zed, namespace: !custom on}
- name: alpha@prod
  context: {cluster: prod, user: alpha}
current-context: zed@prod
clusters:
- name: prod
  cluster:
    server: https://prod.example:443
    insecure-skip-tls-verify: true
    note: "caf\u00e9 \u732b"
    literal: |
      two
      lines
extensions: null
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig_lock, "PATIENCE", 0.1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "kube").mkdir()
    return tmp_path / "kube" / "config"


def read(text: str) -> dict[str, Any]:
    loaded = yaml.load(text, Loader=yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


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


def names(text: str, key: str) -> list[str]:
    return [entry["name"] for entry in read(text)[key]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


# --- merge, without, standalone: text in, text out


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


BROKEN = {
    "no yaml": "clusters: [\n",
    "tabs": "clusters:\n\t- name: a\n",
    "a list": "- a\n",
    "a word": "hello\n",
    "a number": "17",
    "clusters a mapping": "clusters: {a: 1}\n",
    "contexts a word": "contexts: hello\n",
    "users a number": "users: 5\n",
    "two documents": "kind: Config\n---\nkind: Config\n",
    "a key twice": "users: [{name: a}]\nusers: [{name: b}]\n",
    "a context twice": "current-context: a\ncurrent-context: b\n",
    "control character": "users: [{name: '\x01'}]\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_kubeconfig_is_refused_and_left_byte_for_byte(text: str, config: Path) -> None:
    config.write_text(text)
    config.chmod(0o644)
    for attempt in (
        lambda: kubeconfig.merge_into(config, "lab", ADMIN, SERVER),
        lambda: kubeconfig.remove_from(config, "lab"),
        lambda: kubeconfig.entries(config),
    ):
        with pytest.raises(BrokenKubeconfig) as caught:
            attempt()
        assert str(config) in caught.value.what
        assert caught.value.evidence
        assert caught.value.todo
        assert config.read_bytes() == text.encode()
        assert mode(config) == 0o644
        assert files(config.parent) == ["config"]


def test_bytes_that_are_no_text_are_refused(config: Path) -> None:
    config.write_bytes(b"kind: \xff\n")
    with pytest.raises(BrokenKubeconfig):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert config.read_bytes() == b"kind: \xff\n"
    assert files(config.parent) == ["config"]


def test_the_error_does_not_quote_the_file(config: Path) -> None:
    config.write_text("users: [{user: {token: s3cr3t]\n")
    with pytest.raises(BrokenKubeconfig) as caught:
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert "s3cr3t" not in str(caught.value)
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize(
    "admin",
    [
        "",
        "{",
        ADMIN.replace("user: kubernetes-admin", "user: nobody"),
        ADMIN.replace("name: kubernetes\n", "name: k\n"),
    ],
)
def test_a_useless_admin_conf_is_not_the_users_fault(admin: str, config: Path) -> None:
    config.write_text(FOREIGN)
    with pytest.raises(KubedrillError, match=r"admin\.conf") as caught:
        kubeconfig.merge_into(config, "lab", admin, SERVER)
    assert not isinstance(caught.value, BrokenKubeconfig)
    assert config.read_text() == FOREIGN


# --- path


@pytest.mark.parametrize(
    ("variable", "there", "expected"),
    [
        (None, [], "home/.kube/config"),
        ("", [], "home/.kube/config"),
        (":", [], "home/.kube/config"),
        ("{0}/a", [], "a"),
        ("{0}/a:{0}/b:{0}/c", ["b", "c"], "b"),
        ("{0}/a:{0}/b", ["a", "b"], "a"),
        ("{0}/a:{0}/b", [], "b"),
        ("{0}/a:{0}/b:", [], "b"),
        (":{0}/a::{0}/b", ["b"], "b"),
    ],
)
def test_path_is_where_kubectl_writes(
    variable: str | None, there: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).touch()
    if variable is not None:
        monkeypatch.setenv("KUBECONFIG", variable.format(tmp_path))
    assert kubeconfig.path() == tmp_path / expected


# --- files


def test_a_missing_file_is_made_private(tmp_path: Path) -> None:
    config = tmp_path / "new" / "config"
    old = os.umask(0o000)
    try:
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    finally:
        os.umask(old)
    assert mode(config) == 0o600
    assert mode(config.parent) == 0o700
    assert files(config.parent) == ["config"]
    assert kubeconfig.entries(config) == ["lab"]


def test_an_existing_file_becomes_private_and_its_folder_stays(config: Path) -> None:
    config.write_text(FOREIGN)
    config.chmod(0o644)
    config.parent.chmod(0o755)
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert mode(config) == 0o600
    assert mode(config.parent) == 0o755
    assert config.read_text() == kubeconfig.merge(FOREIGN, "lab", ADMIN, SERVER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_owner_of_the_file_stays(config: Path) -> None:
    config.write_text(FOREIGN)
    os.chown(config, 1234, 2345)
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert (config.stat().st_uid, config.stat().st_gid) == (1234, 2345)


@pytest.mark.parametrize("existing", [FOREIGN, None])
def test_a_linked_kubeconfig_stays_a_link(existing: str | None, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "kubeconfig"
    if existing is not None:
        target.parent.mkdir()
        target.write_text(existing)
    config.symlink_to("../dotfiles/kubeconfig")
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert config.is_symlink()
    assert target.read_text() == kubeconfig.merge(existing or "", "lab", ADMIN, SERVER)
    assert mode(target) == 0o600
    kubeconfig.remove_from(config, "lab")
    assert config.is_symlink()
    assert kubeconfig.entries(config) == []
    assert files(config.parent) == ["config"]
    assert files(target.parent) == ["kubeconfig"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("locked", ["kube/config.lock", "dotfiles/kubeconfig.lock"])
def test_a_linked_kubeconfig_is_locked_under_both_names(locked: str, config: Path, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    config.symlink_to(tmp_path / "dotfiles" / "kubeconfig")
    (tmp_path / locked).touch()
    with pytest.raises(Busy, match=locked):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.glob("*/*.lock"))] == [locked]


@pytest.mark.usefixtures("impatient")
def test_a_linked_folder_or_a_relative_path_is_the_same_lock(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked").symlink_to(config.parent)
    assert kubeconfig_lock.lock_of(tmp_path / "linked" / "config") == config.with_name("config.lock")
    kubeconfig.merge_into(tmp_path / "linked" / "config", "a", ADMIN, SERVER)
    monkeypatch.chdir(config.parent)
    kubeconfig.merge_into(Path("config"), "b", ADMIN, SERVER)
    assert kubeconfig.entries(config) == ["a", "b"]
    assert files(config.parent) == ["config"]


def test_remove_from_a_missing_file_makes_nothing(tmp_path: Path) -> None:
    kubeconfig.remove_from(tmp_path / "none" / "config", "lab")
    assert not (tmp_path / "none").exists()


def test_remove_from_does_not_touch_a_file_without_ours(config: Path) -> None:
    config.write_text(FOREIGN)
    config.chmod(0o640)
    before = config.stat()
    kubeconfig.remove_from(config, "lab")
    after = config.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (before.st_ino, before.st_mtime_ns, before.st_mode)


def test_entries_are_those_of_kubedrill(config: Path) -> None:
    assert kubeconfig.entries(config) == []
    config.write_text(FOREIGN)
    assert kubeconfig.entries(config) == []
    kubeconfig.merge_into(config, "b", ADMIN, SERVER)
    kubeconfig.merge_into(config, "a", ADMIN, SERVER)
    assert kubeconfig.entries(config) == ["b", "a"]
    kubeconfig.remove_from(config, "b")
    assert kubeconfig.entries(config) == ["a"]
    config.write_text("users:\n- name: kubedrill-left\n")
    assert kubeconfig.entries(config) == ["left"]


def test_a_folder_instead_of_a_file_is_refused(config: Path) -> None:
    config.mkdir()
    with pytest.raises(BrokenKubeconfig):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KubedrillError, match="cannot write") as caught:
        kubeconfig.merge_into(tmp_path / "file" / "config", "lab", ADMIN, SERVER)
    assert caught.value.todo


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(FOREIGN)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KubedrillError, match="No space left"):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert config.read_text() == FOREIGN
    assert files(config.parent) == ["config"]


# --- several at once


def in_processes(count: int, work: Callable[[int], None]) -> list[int | None]:
    """Run `work` in that many processes that begin together; their exit statuses."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(count)

    def body(number: int) -> None:
        gate.wait()
        work(number)

    processes = [context.Process(target=body, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_eight_processes_at_once_lose_nothing(config: Path) -> None:
    config.write_text(FOREIGN)
    statuses = in_processes(8, lambda number: kubeconfig.merge_into(config, f"c{number}", ADMIN, SERVER))
    assert statuses == [0] * 8
    assert sorted(kubeconfig.entries(config)) == [f"c{number}" for number in range(8)]
    for key in ("clusters", "contexts", "users"):
        found = names(config.read_text(), key)
        assert found[: len(read(FOREIGN)[key])] == names(FOREIGN, key)
        assert len(found) == len(set(found)) == len(read(FOREIGN)[key]) + 8
    assert files(config.parent) == ["config"]


def test_eight_threads_at_once_lose_nothing(config: Path) -> None:
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait(30)
        kubeconfig.merge_into(config, f"c{number}", ADMIN, SERVER)
        if number % 2:
            kubeconfig.remove_from(config, f"c{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(kubeconfig.entries(config)) == ["c0", "c2", "c4", "c6"]
    assert files(config.parent) == ["config"]


def kubectl_set_context(config: Path, name: str) -> bool:
    """What `kubectl config set-context` does to files (client-go, loader.go); False where it would fail."""
    lock = config.with_name("config.lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except FileExistsError:
        return False
    loaded = yaml.safe_load(config.read_text())
    loaded["contexts"].append({"name": name, "context": {}})
    config.write_text(yaml.safe_dump(loaded))
    lock.unlink()
    return True


def test_a_kubectl_at_the_same_time_loses_nothing(config: Path) -> None:
    config.write_text("clusters: []\ncontexts: []\nusers: []\n")
    gate = threading.Barrier(2)

    def kubectl() -> None:
        gate.wait(30)
        for number in range(20):
            until(
                lambda name=f"k{number}": kubectl_set_context(config, name),  # type: ignore[misc]
                lambda done: (done, "locked"),
                within=30,
                what="kubectl",
                every=0.001,
            )

    def kubedrill() -> None:
        gate.wait(30)
        for number in range(20):
            kubeconfig.merge_into(config, f"c{number}", ADMIN, SERVER)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(kubectl), pool.submit(kubedrill)]:
            future.result()
    expected = {f"k{number}" for number in range(20)} | {f"kubedrill-c{number}" for number in range(20)}
    assert set(names(config.read_text(), "contexts")) == expected


# --- locks


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("mark", ["", "somebody 1\n", "kubedrill elsewhere 999999999\n", "kubedrill 999999999\n"])
def test_a_foreign_lock_is_waited_for_and_never_removed(mark: str, config: Path) -> None:
    config.write_text(FOREIGN)
    lock = config.with_name("config.lock")
    lock.write_text(mark)
    lock.chmod(0)
    os.utime(lock, (lock.stat().st_atime, lock.stat().st_mtime - 90))
    with pytest.raises(Busy) as caught:
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert str(lock) in caught.value.evidence[0]
    assert "9" in caught.value.evidence[0].split("exists, it is ")[1]
    assert f"rm {lock}" in caught.value.todo[0]
    assert lock.exists()
    assert config.read_text() == FOREIGN
    assert files(config.parent) == ["config", "config.lock"]


def test_a_lock_that_is_let_go_in_time_is_no_error(config: Path) -> None:
    lock = config.with_name("config.lock")
    lock.touch()
    with ThreadPoolExecutor(1) as pool:
        merging = pool.submit(kubeconfig.merge_into, config, "lab", ADMIN, SERVER)
        with pytest.raises(TimeoutError):
            merging.result(timeout=0.2)
        assert not config.exists()
        lock.unlink()
        merging.result(timeout=10)
    assert kubeconfig.entries(config) == ["lab"]


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_living_kubedrill_is_kept(config: Path) -> None:
    lock = config.with_name("config.lock")
    lock.write_text(f"kubedrill {platform.node()} {os.getppid()}\n")
    with pytest.raises(Busy, match=str(os.getppid())):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert lock.exists()


@pytest.mark.usefixtures("impatient")
def test_another_kubedrill_that_takes_too_long_is_busy(config: Path) -> None:
    with (
        kubeconfig_lock.held(config),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Busy, match="another kubedrill"),
    ):
        pool.submit(kubeconfig.merge_into, config, "lab", ADMIN, SERVER).result()
    assert not config.exists()
    assert files(config.parent) == []


def test_the_lock_says_whose_it_is_while_it_is_held(config: Path) -> None:
    lock = config.with_name("config.lock")
    with kubeconfig_lock.held(config):
        assert lock.read_text() == f"kubedrill {platform.node()} {os.getpid()}\n"
        assert files(config.parent) == ["config.lock"]
        assert not kubectl_set_context(config, "refused")
    assert files(config.parent) == []


def test_a_lock_that_became_anothers_is_not_removed(config: Path) -> None:
    lock = config.with_name("config.lock")
    with kubeconfig_lock.held(config):
        lock.unlink()
        lock.touch()
    assert lock.exists()


def test_without_hard_links_the_lock_is_still_exclusive(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert kubeconfig.entries(config) == ["lab"]
    assert files(config.parent) == ["config"]
    monkeypatch.setattr(kubeconfig_lock, "PATIENCE", 0.1)
    config.with_name("config.lock").touch()
    with pytest.raises(Busy):
        kubeconfig.merge_into(config, "lab2", ADMIN, SERVER)


def test_a_lock_that_cannot_be_made_is_one_clear_error(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(KubedrillError, match="No space left"):
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert files(config.parent) == []


def die_with_the_lock(config: Path) -> None:
    with kubeconfig_lock.held(config):
        os.kill(os.getpid(), signal.SIGKILL)


def die_before_the_rename(config: Path) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = die  # type: ignore[assignment]  # of this process, which ends here
    kubeconfig.merge_into(config, "dead", ADMIN, SERVER)


@pytest.mark.parametrize("die", [die_with_the_lock, die_before_the_rename])
def test_a_killed_kubedrill_blocks_and_damages_nothing(die: Callable[[Path], None], config: Path) -> None:
    config.write_text(FOREIGN)
    assert in_processes(1, lambda _: die(config)) == [-signal.SIGKILL]
    assert config.with_name("config.lock").exists()
    assert config.read_text() == FOREIGN
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert config.read_text() == kubeconfig.merge(FOREIGN, "lab", ADMIN, SERVER)
    assert not config.with_name("config.lock").exists()


def test_the_lock_of_a_zombie_is_taken_over(config: Path) -> None:
    """A killed process whose parent has not asked for its status yet still has its number."""
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        config.with_name("config.lock").write_text(f"kubedrill {platform.node()} {child}\n")
        kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
        assert files(config.parent) == ["config"]
    finally:
        os.waitpid(child, 0)


def test_the_lock_of_an_earlier_process_of_our_number_is_taken_over(config: Path) -> None:
    config.with_name("config.lock").write_text(f"kubedrill {platform.node()} {os.getpid()}\n")
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert files(config.parent) == ["config"]


def test_old_temporary_files_of_killed_processes_are_removed(config: Path) -> None:
    old, young, others = (config.with_name(name) for name in (".config.kubedrill-a", ".config.kubedrill-b", ".x"))
    for path in (old, young, others):
        path.write_text("token")
    for path in (old, others):
        os.utime(path, (1.0, 1.0))
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert files(config.parent) == [young.name, others.name, "config"]
