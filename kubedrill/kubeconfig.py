"""The user's kubeconfig: entries of our clusters go in and come out again, and nothing else in it changes."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from yaml.nodes import MappingNode, Node

from kubedrill import kubeconfig_yaml as tree
from kubedrill.errors import BrokenKubeconfig, KubedrillError
from kubedrill.kubeconfig_lock import held, temporary_prefix

PREFIX = "kubedrill-"
# Seconds after which a temporary file was left by a process that is gone: writing one takes milliseconds.
_LEFT_OVER = 60.0


def path() -> Path:
    """The file that kubectl would write a new entry into.

    That is ~/.kube/config without $KUBECONFIG; with it, the first file of its list that exists, and the last of the
    list where none does (client-go, tools/clientcmd/config.go, PathOptions.GetDefaultFilename). Empty items of the
    list count as not written.
    """
    listed = [Path(item) for item in os.environ.get("KUBECONFIG", "").split(os.pathsep) if item]
    if not listed:
        return Path.home() / ".kube" / "config"
    return next((item for item in listed if item.exists()), listed[-1])


def merge(existing: str, cluster: str, admin: str, server: str) -> str:
    """A kubeconfig with the cluster, user and context `kubedrill-CLUSTER` in it, which becomes the current context.

    Args:
        existing: the kubeconfig as it is; may be empty.
        cluster: the name of the cluster, without the prefix.
        admin: the admin.conf that kubeadm wrote.
        server: the URL of the API as seen from this machine, which takes the place of the one in `admin`.

    Raises:
        BrokenKubeconfig: `existing` is no kubeconfig.
        KubedrillError: `admin` is none.
    """
    root = tree.parse(existing)
    name = PREFIX + cluster
    for key, entry in _entries_from(admin, name, server).items():
        before = tree.items(root, key)
        first = next((index for index, item in enumerate(before) if tree.name_of(item) == name), len(before))
        after = [item for item in before[first:] if tree.name_of(item) != name]
        tree.put(root, key, tree.sequence([*before[:first], entry, *after]))
    tree.put(root, "current-context", tree.text(name))
    return tree.write(root)


def without(existing: str, cluster: str) -> str:
    """A kubeconfig without what `merge` put in; the very same text where there is nothing of it.

    The current context is cleared if it is ours, and left alone if the user chose another one since.

    Raises:
        BrokenKubeconfig: `existing` is no kubeconfig.
    """
    root = tree.parse(existing)
    name = PREFIX + cluster
    found = False
    for key in tree.LISTS:
        items = tree.items(root, key)
        kept = [item for item in items if tree.name_of(item) != name]
        if len(kept) != len(items):
            found = True
            tree.put(root, key, tree.sequence(kept))
    if tree.scalar(tree.get(root, "current-context")) == name:
        found = True
        tree.put(root, "current-context", tree.text(""))
    return tree.write(root) if found else existing


def standalone(cluster: str, admin: str, server: str) -> str:
    """A kubeconfig with this cluster alone; arguments and errors are those of `merge`."""
    return merge("", cluster, admin, server)


def authority(cluster: str, text: str) -> str:
    """The certificate (PEM) of the CA by which the only cluster of a kubeconfig is known.

    Args:
        cluster: its name, for the error.
        text: what kubeadm wrote, or `standalone` made of it.

    Raises:
        KubedrillError: it holds none.
    """
    try:
        one = next(iter(tree.items(tree.parse(text), "clusters")), None)
        data = tree.scalar(tree.get(tree.get(one, "cluster"), "certificate-authority-data"))
        certificate = base64.b64decode(data or "", validate=True).decode()
    except (BrokenKubeconfig, ValueError) as error:
        raise _bad_admin(cluster, str(error)) from None
    if not certificate:
        raise _bad_admin(cluster, "it names no CA")
    return certificate


def merge_into(path: Path, cluster: str, admin: str, server: str) -> None:
    """Do `merge` to a file; the file is made where there is none, and its mode becomes 0600.

    Raises:
        BrokenKubeconfig: the file is no kubeconfig; it was left as it is.
        Busy: another program kept it locked.
        KubedrillError: the file cannot be written, or `admin` is no kubeconfig.
    """
    _rewrite(path, lambda text: merge(text, cluster, admin, server))


def remove_from(path: Path, cluster: str) -> None:
    """Do `without` to a file; nothing happens where there is no file, or nothing of ours in it.

    Raises:
        BrokenKubeconfig: the file is no kubeconfig; it was left as it is.
        Busy: another program kept it locked.
        KubedrillError: the file cannot be written.
    """

    def change(text: str) -> str | None:
        after = without(text, cluster)
        return after if after != text else None

    if path.exists():
        _rewrite(path, change)


def entries(path: Path) -> list[str]:
    """The clusters of kubedrill of which a file has a cluster, user or context; their names without the prefix.

    It takes no lock: kubedrill replaces the file in one step, and a reader must not make a kubectl fail.

    Raises:
        BrokenKubeconfig: the file is no kubeconfig.
    """
    with _named(path):
        root = tree.parse(_read(path))
    names = [tree.name_of(item) or "" for key in tree.LISTS for item in tree.items(root, key)]
    return list(dict.fromkeys(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)))


def server(path: Path, cluster: str) -> str:
    """The URL of the API in a file's entry of a cluster, `kubedrill-CLUSTER`; '' where it has none.

    It takes no lock, as `entries` does not.

    Raises:
        BrokenKubeconfig: the file is no kubeconfig.
    """
    with _named(path):
        root = tree.parse(_read(path))
    return tree.scalar(tree.get(_content(root, "clusters", PREFIX + cluster), "server")) or ""


def _rewrite(path: Path, change: Callable[[str], str | None]) -> None:
    real = Path(os.path.realpath(path))  # a linked kubeconfig stays a link
    try:
        for folder in (path.parent, real.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held(path):
            with _named(path):
                after = change(_read(real))
            if after is not None:
                _replace(real, after)
            for file in {path, real}:
                _sweep(file)
    except OSError as error:
        raise KubedrillError(
            f"cannot write the kubeconfig {path}",
            evidence=[str(error)],
            todo=["choose another file: export KUBECONFIG=/path/of/a/file"],
        ) from error


def _replace(real: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=temporary_prefix(real), dir=real.parent)  # its mode is 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as sink:
            if real.exists():
                owner = real.stat()
                with contextlib.suppress(PermissionError):  # only root may give a file away
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
            sink.write(text)
            sink.flush()
            os.fsync(descriptor)
        Path(name).replace(real)
    finally:
        Path(name).unlink(missing_ok=True)
    folder = os.open(real.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # a rename is on disk only when its folder is
    finally:
        os.close(folder)


def _sweep(file: Path) -> None:
    """Remove temporary files that killed processes left beside a file; they hold keys."""
    for left in file.parent.iterdir():
        if left.name.startswith(temporary_prefix(file)):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if time.time() - left.lstat().st_mtime > _LEFT_OVER:
                    left.unlink()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise BrokenKubeconfig(
            "the kubeconfig is no text file; it was left as it is",
            evidence=[str(error)],
            todo=["choose another file: export KUBECONFIG=/path/of/a/file"],
        ) from error


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say in a BrokenKubeconfig which file it is about."""
    try:
        yield
    except BrokenKubeconfig as error:
        raise BrokenKubeconfig(f"{path}: {error.what}", evidence=error.evidence, todo=error.todo) from error


def _entries_from(admin: str, name: str, server: str) -> dict[str, Node]:
    """The cluster, context and user of an admin.conf under a name of ours, one for each of tree.LISTS."""
    try:
        root = tree.parse(admin)
    except BrokenKubeconfig as error:
        raise _bad_admin(name, error.evidence[0]) from None
    current = tree.scalar(tree.get(root, "current-context"))
    context = _content(root, "contexts", current)
    cluster = _content(root, "clusters", tree.scalar(tree.get(context, "cluster")))
    user = _content(root, "users", tree.scalar(tree.get(context, "user")))
    if cluster is None or user is None:
        raise _bad_admin(name, f"its current context '{current}' names no cluster or no user that is in it")
    tree.put(cluster, "server", tree.text(server))
    ours = tree.mapping(cluster=tree.text(name), user=tree.text(name))
    return {
        "clusters": tree.mapping(cluster=cluster, name=tree.text(name)),
        "contexts": tree.mapping(context=ours, name=tree.text(name)),
        "users": tree.mapping(name=tree.text(name), user=user),
    }


def _content(root: MappingNode, key: str, name: str | None) -> MappingNode | None:
    for item in tree.items(root, key):
        content = tree.get(item, tree.LISTS[key])
        if tree.name_of(item) == name and isinstance(content, MappingNode):
            return content
    return None


def _bad_admin(name: str, why: str) -> KubedrillError:
    return KubedrillError(
        f"the admin.conf for {name} cannot be used",
        evidence=[why],
        todo=["look at /etc/kubernetes/admin.conf on the first control plane; kubeadm writes it"],
    )
