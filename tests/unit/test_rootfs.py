"""Which distribution nodes are made of, and which apt sources they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubedrill import shell
from kubedrill.errors import MissingPrerequisite
from kubedrill.images import rootfs

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'
UBUNTU = 'ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME="noble"\n'
DEB822 = """\
# written by the installer
Types: deb
URIs: http://debian.test/debian
Suites: bookworm bookworm-updates
# a comment inside
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://debian.test/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
# deb http://debian.test/debian bookworm contrib
deb http://debian.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://debian.test/debian bookworm-updates main
deb-src http://debian.test/debian bookworm main
deb http://debian.test/debian bullseye main
"""
OTHER_SUITE = "Types: deb\nURIs: http://pg.test\nSuites: bookworm-pgdg\nComponents: main\n"
SAME_SUITE = """\
Types: deb
URIs: http://vendor.test/debian
Suites: bookworm
Components: stable
Signed-By: /etc/apt/keyrings/vendor.asc
"""
SAME_SUITE_LINE = "deb [signed-by=/etc/apt/keyrings/vendor.asc] http://vendor.test/debian bookworm stable\n"


def etc_of(folder: Path, release: str, sources: dict[str, str]) -> Path:
    etc = folder / "etc"
    for name, text in {"os-release": release, **{f"apt/{name}": text for name, text in sources.items()}}.items():
        file = etc / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return etc


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Give or take the keyring of Ubuntu's archive."""

    def there(yes: bool) -> None:
        file = tmp_path / "ubuntu.gpg"
        if yes:
            file.touch()
        monkeypatch.setattr(rootfs, "UBUNTU_KEYRINGS", (str(file),))

    return there


def never_asked() -> bool:
    raise AssertionError("the archive was asked for without a need")


class TestChoice:
    def test_ubuntu_where_it_can_be_reached_and_verified(self, tmp_path: Path, keyring: Callable[[bool], None]) -> None:
        keyring(True)
        etc = etc_of(tmp_path, DEBIAN, {"sources.list": ONE_LINE})
        suite = rootfs.choose(etc=etc, ubuntu_answers=lambda: True)
        assert (suite.distribution, suite.codename) == ("ubuntu", "noble")
        lines = suite.sources.splitlines()
        assert [line.split()[3] for line in lines] == ["noble", "noble-updates", "noble-security"]
        assert all(f"[signed-by={tmp_path / 'ubuntu.gpg'}]" in line for line in lines)

    def test_debian_where_ubuntu_is_out_of_reach(self, tmp_path: Path, keyring: Callable[[bool], None]) -> None:
        keyring(True)
        etc = etc_of(tmp_path, DEBIAN, {"sources.list.d/debian.sources": DEB822})
        suite = rootfs.choose(etc=etc, ubuntu_answers=lambda: False)
        assert (suite.distribution, suite.codename) == ("debian", "bookworm")
        assert "does not answer" in suite.why
        assert "http://debian.test/debian" in suite.sources

    def test_debian_where_ubuntu_cannot_be_verified(self, tmp_path: Path, keyring: Callable[[bool], None]) -> None:
        keyring(False)
        etc = etc_of(tmp_path, DEBIAN, {"sources.list": ONE_LINE})
        suite = rootfs.choose(etc=etc, ubuntu_answers=never_asked)
        assert suite.distribution == "debian"
        assert "no keyring" in suite.why

    def test_on_ubuntu_its_own_release(self, tmp_path: Path, keyring: Callable[[bool], None]) -> None:
        keyring(True)
        etc = etc_of(tmp_path, UBUNTU, {"sources.list": "deb http://ubuntu.test/ubuntu noble main universe\n"})
        suite = rootfs.choose(etc=etc, ubuntu_answers=never_asked)
        assert (suite.distribution, suite.codename) == ("ubuntu", "noble")
        assert suite.sources == "deb http://ubuntu.test/ubuntu noble main universe\n"

    @pytest.mark.parametrize("release", ["ID=fedora\nVERSION_ID=42\n", "", "ID=debian\n"])
    def test_elsewhere_only_ubuntu_will_do(self, tmp_path: Path, keyring: Callable[[bool], None], release: str) -> None:
        etc = etc_of(tmp_path, release, {})
        keyring(True)
        assert rootfs.choose(etc=etc, ubuntu_answers=lambda: True).distribution == "ubuntu"
        with pytest.raises(MissingPrerequisite) as caught:
            rootfs.choose(etc=etc, ubuntu_answers=lambda: False)
        assert caught.value.todo

    def test_a_machine_without_os_release(self, tmp_path: Path, keyring: Callable[[bool], None]) -> None:
        keyring(False)
        with pytest.raises(MissingPrerequisite, match="no distribution") as caught:
            rootfs.choose(etc=tmp_path, ubuntu_answers=never_asked)
        assert "unknown" in str(caught.value)


class TestSources:
    def test_deb822(self, tmp_path: Path) -> None:
        etc = etc_of(tmp_path, DEBIAN, {"sources.list.d/debian.sources": DEB822})
        first, second = rootfs.own_sources(etc, "bookworm").split("\n\n")
        assert "Suites: bookworm bookworm-updates\nComponents: main\n" in first, "a comment must not end a stanza"
        assert "Suites: bookworm-security" in second
        assert "#" not in first + second

    def test_one_line(self, tmp_path: Path) -> None:
        etc = etc_of(tmp_path, DEBIAN, {"sources.list": ONE_LINE})
        assert rootfs.own_sources(etc, "bookworm").splitlines() == [
            "deb http://debian.test/debian bookworm main",
            "deb [arch=amd64 signed-by=/k.gpg] http://debian.test/debian bookworm-updates main",
        ]

    def test_lines_in_the_folder(self, tmp_path: Path) -> None:
        etc = etc_of(tmp_path, DEBIAN, {"sources.list.d/own.list": ONE_LINE, "sources.list": "# moved\n"})
        assert len(rootfs.own_sources(etc, "bookworm").splitlines()) == 2

    def test_never_both_forms(self, tmp_path: Path) -> None:
        etc = etc_of(tmp_path, DEBIAN, {"sources.list.d/debian.sources": DEB822, "sources.list": ONE_LINE})
        found = rootfs.own_sources(etc, "bookworm")
        assert "Types: deb" in found
        assert "\ndeb " not in found

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("vendor.sources", OTHER_SUITE),
            ("vendor.sources", SAME_SUITE),
            ("vendor.list", SAME_SUITE_LINE),
            ("vendor.list", "deb http://node.test nodistro main\n"),
        ],
    )
    @pytest.mark.parametrize("own", ["debian.sources", "debian.list"])
    def test_other_peoples_sources_are_left_out(self, tmp_path: Path, own: str, name: str, text: str) -> None:
        ours = DEB822 if own.endswith(".sources") else ONE_LINE
        alone = rootfs.own_sources(etc_of(tmp_path / "alone", DEBIAN, {f"sources.list.d/{own}": ours}), "bookworm")
        etc = etc_of(tmp_path, DEBIAN, {f"sources.list.d/{own}": ours, f"sources.list.d/{name}": text})
        assert rootfs.own_sources(etc, "bookworm") == alone

    @pytest.mark.parametrize("sources", [{}, {"sources.list": "deb http://debian.test/debian trixie main\n"}])
    def test_none(self, tmp_path: Path, sources: dict[str, str]) -> None:
        with pytest.raises(MissingPrerequisite) as caught:
            rootfs.own_sources(etc_of(tmp_path, DEBIAN, sources), "bookworm")
        assert "bookworm" in str(caught.value)
        assert str(tmp_path) in str(caught.value)


class TestRecipe:
    def test_packages(self) -> None:
        assert rootfs.packages("# what\n\nsystemd\n  curl  # diagnosis\n#jq\n") == ["systemd", "curl"]

    def test_the_real_list(self) -> None:
        found = rootfs.packages(rootfs.recipe().read_text())
        assert len(set(found)) == len(found)
        assert {"systemd", "iptables", "conntrack", "haproxy", "runc"} <= set(found)
        assert all(name == name.strip().lower() and " " not in name for name in found)

    def test_the_key_follows_what_is_asked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        debian = rootfs.Suite("debian", "bookworm", "here", "why")
        before = rootfs.key(debian)
        assert rootfs.key(rootfs.Suite("debian", "bookworm", "a mirror", "another reason")) == before
        assert rootfs.key(rootfs.Suite("debian", "trixie", "here", "why")) != before
        assert rootfs.key(rootfs.Suite("ubuntu", "bookworm", "here", "why")) != before
        other = tmp_path / "packages.txt"
        other.write_text(f"# a comment changes nothing\n{rootfs.recipe().read_text()}")
        monkeypatch.setattr(rootfs, "recipe", lambda: other)
        assert rootfs.key(debian) == before
        other.write_text(other.read_text() + "cowsay\n")
        assert rootfs.key(debian) != before

    def test_what_is_in_the_cache_is_not_made_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        runs: list[list[str]] = []

        def run(argv: list[str], **_: object) -> shell.Result:
            runs.append(argv)
            Path(argv[-2]).write_text("a tar")
            return shell.Result(0, "", "")

        monkeypatch.setattr(shell, "run", run)
        suite = rootfs.Suite("debian", "bookworm", DEB822, "why")
        said: list[str] = []
        first = rootfs.build(suite, said.append)
        assert rootfs.build(suite, said.append) == first
        assert first.read_text() == "a tar"
        [argv] = runs
        assert argv[0] == "mmdebstrap"
        assert argv[-3] == "bookworm"
        assert argv[-1].endswith("node.sources"), "the name tells apt the form"
        assert any("systemd" in word and word.startswith("--include=") for word in argv)
        assert "(why)" in said[0]
