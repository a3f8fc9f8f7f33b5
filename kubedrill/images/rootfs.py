"""The files of a computer with systemd, made by mmdebstrap: the same for containers and for the Vagrant box."""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from kubedrill import paths, shell
from kubedrill.errors import BuildFailed, CommandFailed, MissingPrerequisite
from kubedrill.images import address

# Ubuntu's newest long-term release whose systemd (255) still accepts cgroup v1.
UBUNTU_SUITE = "noble"
UBUNTU_ARCHIVE = "archive.ubuntu.com"
UBUNTU_KEYRINGS = ("/usr/share/keyrings/ubuntu-archive-keyring.gpg",)


@dataclass(frozen=True)
class Suite:
    """Which distribution a rootfs is made of, and the apt sources that it comes from."""

    distribution: str
    codename: str
    sources: str
    why: str


def recipe() -> Path:
    """The list of packages."""
    return paths.repository() / "images" / "packages.txt"


def packages(text: str) -> list[str]:
    """The packages of a list in which '#' begins a comment."""
    return [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]


def choose(*, etc: Path = Path("/etc"), ubuntu_answers: Callable[[], bool] | None = None) -> Suite:
    """Ubuntu where its archive can be reached and verified, else the distribution of this machine.

    Args:
        etc: where os-release and apt/ are.
        ubuntu_answers: whether Ubuntu's archive can be reached.

    Raises:
        MissingPrerequisite: this machine is neither Debian nor Ubuntu, and Ubuntu's archive is out of reach.
    """
    release = _os_release((etc / "os-release").read_text()) if (etc / "os-release").exists() else {}
    own, codename = release.get("ID", ""), release.get("VERSION_CODENAME", "")
    if own == "ubuntu" and codename:
        return Suite("ubuntu", codename, own_sources(etc, codename), "this machine's own apt sources")
    keyring = next((path for path in UBUNTU_KEYRINGS if Path(path).exists()), None)
    if keyring and (ubuntu_answers or _ubuntu_answers)():
        source = f"deb [signed-by={keyring}] http://{UBUNTU_ARCHIVE}/ubuntu {{}} main universe"
        lines = [
            source.format(suite) for suite in (UBUNTU_SUITE, f"{UBUNTU_SUITE}-updates", f"{UBUNTU_SUITE}-security")
        ]
        return Suite("ubuntu", UBUNTU_SUITE, "\n".join(lines) + "\n", "Ubuntu's archive answers")
    if own == "debian" and codename:
        why = (
            "Ubuntu's archive does not answer"
            if keyring
            else "there is no keyring here to verify Ubuntu's archive with"
        )
        return Suite("debian", codename, own_sources(etc, codename), f"this machine's own apt sources; {why}")
    raise MissingPrerequisite(
        "no distribution to make nodes of",
        evidence=[f"this machine is '{own or 'unknown'}', and Ubuntu's archive does not answer or cannot be verified"],
        todo=["install Ubuntu's archive keyring (package ubuntu-keyring or ubuntu-archive-keyring) and mmdebstrap"],
    )


def own_sources(etc: Path, codename: str) -> str:
    """The apt sources of this machine that belong to its distribution, in deb822 or one-line form (never both).

    Raises:
        MissingPrerequisite: none are configured.
    """
    folder = etc / "apt" / "sources.list.d"
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    stanzas: list[str] = []
    for file in sorted(folder.glob("*.sources")):
        # A comment may stand inside a stanza; only an empty line ends one.
        text = "\n".join(line for line in file.read_text().splitlines() if not line.startswith("#"))
        for stanza in re.split(r"\n\s*\n", text):
            found = re.search(r"^Suites:\s*(.*)$", stanza, flags=re.MULTILINE)
            components = re.search(r"^Components:\s*(.*)$", stanza, flags=re.MULTILINE)
            # Vendors use the distribution's suites, too, but seldom its component.
            ours = components is not None and "main" in components.group(1).split()
            if found and ours and set(found.group(1).split()) & suites:
                stanzas.append(stanza.strip())
    if stanzas:
        return "\n\n".join(stanzas) + "\n"
    lines = []
    for file in [etc / "apt" / "sources.list", *sorted(folder.glob("*.list"))]:
        for line in file.read_text().splitlines() if file.exists() else []:
            words = re.sub(r"\[.*?\]", "", line).split()
            if len(words) > 2 and words[0] == "deb" and words[2] in suites and "main" in words[3:]:
                lines.append(line)
    if not lines:
        raise MissingPrerequisite(
            f"this machine has no apt sources for {codename}",
            evidence=[f"looked in {etc}/apt/sources.list and {folder}"],
            todo=["configure the distribution's archive for apt"],
        )
    return "\n".join(lines) + "\n"


def key(suite: Suite, extra: Sequence[str] = ()) -> str:
    """The content address of a rootfs: what is asked for, not what the archive holds on the day."""
    return address.of(suite.distribution, suite.codename, *packages(recipe().read_text()), *extra)


def build(suite: Suite, say: Callable[[str], None], *, extra: Sequence[str] = (), hooks: Sequence[str] = ()) -> Path:
    """Make the rootfs, unless the cache holds it.

    Args:
        suite: which distribution.
        say: told of it.
        extra: packages besides those of the recipe.
        hooks: further arguments of mmdebstrap.

    Returns:
        A tar of all its files.

    Raises:
        BuildFailed: with the end of mmdebstrap's output.
    """
    target = paths.cache() / "rootfs" / f"{suite.distribution}-{suite.codename}-{key(suite, extra)}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.exists():
            return target
        say(f"making the rootfs from {suite.distribution} {suite.codename} ({suite.why})")
        started = time.monotonic()
        _bootstrap(suite, target, [*packages(recipe().read_text()), *extra], hooks)
        say(f"made the rootfs in {time.monotonic() - started:.0f} s")
    return target


def _bootstrap(suite: Suite, target: Path, wanted: Sequence[str], hooks: Sequence[str]) -> None:
    log = paths.state() / "build-rootfs.log"
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".rootfs-") as folder:
        deb822 = "Suites:" in suite.sources
        sources = Path(folder) / ("node.sources" if deb822 else "node.list")
        sources.write_text(suite.sources)
        unfinished = Path(folder) / "rootfs.tar"
        try:
            shell.run(
                ["mmdebstrap", "--variant=minbase", f"--include={','.join(wanted)}", *hooks,
                 "--aptopt=Acquire::Languages none", "--dpkgopt=path-exclude=/usr/share/doc/*",
                 "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
                 suite.codename, str(unfinished), str(sources)],
                log=log,
            )  # fmt: skip
        except CommandFailed as error:
            raise BuildFailed(
                f"the rootfs could not be made from {suite.distribution} {suite.codename}",
                evidence=error.evidence,
                todo=[
                    f"all of mmdebstrap's output is in {log}",
                    "see that `apt-get update` works, then build again",
                ],
            ) from error
        unfinished.rename(target)


def _os_release(text: str) -> Mapping[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value.strip().strip('"') for name, _, value in pairs}


def _ubuntu_answers() -> bool:
    try:
        with socket.create_connection((UBUNTU_ARCHIVE, 80), timeout=3):
            return True
    except OSError:
        return False
