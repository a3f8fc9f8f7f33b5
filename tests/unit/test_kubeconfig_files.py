"""The user's kubeconfig as a file: broken, missing, private, a link."""

from __future__ import annotations

import os
from pathlib import Path

import kubeconfigs
import pytest
from kubeconfigs import ADMIN, FOREIGN, SERVER, files, mode

from kubedrill import kubeconfig, kubeconfig_lock
from kubedrill.errors import BrokenKubeconfig, Busy, KubedrillError

own_state, impatient, config = kubeconfigs.own_state, kubeconfigs.impatient, kubeconfigs.config  # fixtures

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


def test_the_server_of_a_cluster_is_that_of_its_own_entry(config: Path) -> None:
    config.write_text(FOREIGN)
    assert kubeconfig.server(config, "lab") == ""
    kubeconfig.merge_into(config, "lab", ADMIN, SERVER)
    assert kubeconfig.server(config, "lab") == SERVER
    assert kubeconfig.server(config, "la") == ""
    assert kubeconfig.server(config.parent / "none", "lab") == ""


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
