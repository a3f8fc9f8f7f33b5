"""Where Go comes from: what is here, what apt offers, and what an older one fetches."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedrill import gotoolchain
from kubedrill.errors import CommandFailed, MissingPrerequisite
from kubedrill.gotoolchain import Choice, Toolchain

NEED = (1, 26, 6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27rc1 linux/amd64", (1, 27, -1)),
        ("2:1.19~1", (1, 19, 0)),
        ("1.24.4-1~bpo12+1", (1, 24, 4)),
        ("1.26.0", (1, 26, 0)),
        ("(none)", (0, 0, 0)),
    ],
)
def test_go_versions(text: str, expected: gotoolchain.Version) -> None:
    assert gotoolchain.parse(text) == expected


def test_the_required_go_is_the_newest_that_a_component_asks_for(tmp_path: Path) -> None:
    for name, line in (("a", "go 1.26.0"), ("b", "go 1.26.6"), ("c", "go 1.9")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "go.mod").write_text(f"module x\n\n{line}\n\nrequire y v1.99.0\n")
    assert gotoolchain.required_version(tmp_path) == (1, 26, 6)


def go(minor: int, path: str = "/go") -> Toolchain:
    return Toolchain(path, (1, minor, 0))


@pytest.mark.parametrize(
    ("found", "offered", "may_install", "kind", "package"),
    [
        ([go(27)], {}, True, "enough", ""),
        ([go(19, "/old"), go(27)], {}, True, "enough", ""),
        ([go(22)], {"golang-go": (1, 27, 0)}, True, "package", "golang-go"),
        ([go(22)], {"golang-go": (1, 27, 0)}, False, "fetches", ""),
        ([go(22)], {"golang-go": (1, 19, 0)}, True, "fetches", ""),
        ([go(19)], {"golang-go": (1, 19, 0), "golang-1.24-go": (1, 24, 4)}, True, "package", "golang-1.24-go"),
        ([go(19)], {"golang-go": (1, 19, 0)}, True, "fetches", ""),
        ([], {"golang-go": (1, 19, 0)}, True, "package", "golang-go"),
        ([go(12)], {"golang-go": (1, 11, 0)}, True, "nothing", ""),
        ([], {}, True, "nothing", ""),
    ],
)
def test_where_go_comes_from(
    found: list[Toolchain], offered: dict[str, gotoolchain.Version], may_install: bool, kind: str, package: str
) -> None:
    choice = gotoolchain.choose(NEED, found, offered, may_install=may_install)
    assert (choice.kind, choice.package) == (kind, package)


def test_a_go_command_is_asked_once_and_again_where_it_became_another(tmp_path: Path) -> None:
    program, asked = tmp_path / "go", tmp_path / "asked"

    def install_go(release: str) -> None:
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\necho $GOTOOLCHAIN $PWD >>{asked}\necho go version go{release} linux/amd64\n")
        program.chmod(0o755)

    install_go("1.25.1")
    for _ in range(2):
        assert gotoolchain.answer(str(program)) == "go version go1.25.1 linux/amd64"
    found = gotoolchain.installed([str(program)])
    assert Toolchain(str(program), (1, 25, 1)) in found
    assert asked.read_text() == "local /\n"
    assert gotoolchain.answer(str(program), "go1.26.6+auto") == "go version go1.25.1 linux/amd64"
    assert asked.read_text() == "local /\ngo1.26.6+auto /\n"
    install_go("1.26.8")
    assert gotoolchain.answer(str(program)) == "go version go1.26.8 linux/amd64"
    program.unlink()
    assert all(toolchain.path != str(program) for toolchain in gotoolchain.installed([str(program)]))


def test_the_go_command() -> None:
    assert gotoolchain.command_for(Choice("enough", go(27)), NEED) == (["/go"], {"GOTOOLCHAIN": "local"})
    assert gotoolchain.command_for(Choice("fetches", go(22)), NEED) == (["/go"], {"GOTOOLCHAIN": "go1.26.6+auto"})
    with pytest.raises(MissingPrerequisite, match=r"Go 1\.26\.6"):
        gotoolchain.command_for(Choice("nothing", go(12)), NEED)


def test_a_go_that_is_older_than_toolchains_fetches_one_as_a_module(tmp_path: Path) -> None:
    program, modules = tmp_path / "go", tmp_path / "toolchain@v0.0.1-go1.26.6.linux-amd64"
    tools = modules / "pkg" / "tool" / "linux_amd64"
    tools.mkdir(parents=True)
    (modules / "bin").mkdir()
    for file in (modules / "bin" / "go", tools / "compile", modules / "VERSION"):
        file.write_text("")
        file.chmod(0o444)
    program.write_text(f"""#!/bin/sh
[ "$*" = "mod download -json golang.org/toolchain@v0.0.1-go1.26.6.linux-amd64" ] && echo '{{"Dir": "{modules}"}}'
""")
    program.chmod(0o755)
    chosen = Choice("fetches", go(19, str(program)))
    wanted = ([str(modules / "bin" / "go")], {"GOTOOLCHAIN": "local"})
    assert gotoolchain.command_for(chosen, NEED) == wanted
    modes = {file.name: file.stat().st_mode & 0o777 for file in modules.rglob("*") if file.is_file()}
    assert modes == {"go": 0o755, "compile": 0o755, "VERSION": 0o444}


def test_a_toolchain_that_cannot_be_fetched_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "go"
    program.write_text("#!/bin/sh\necho no such host >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(CommandFailed, match="toolchain"):
        gotoolchain.command_for(Choice("fetches", go(19, str(program))), NEED)


def test_candidates_of_apt() -> None:
    text = (
        "golang-go:\n  Installed: (none)\n  Candidate: 2:1.19~1\n  Version table:\n     2:1.19~1 500\n"
        "golang-1.24-go:\n  Installed: (none)\n  Candidate: 1.24.4-1~bpo12+1\n"
        "golang-1.15-go:\n  Installed: (none)\n  Candidate: (none)\n"
    )
    assert gotoolchain.parse_policy(text) == {"golang-go": (1, 19, 0), "golang-1.24-go": (1, 24, 4)}


def test_apt_is_asked_in_a_language_that_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In others it has no word 'Candidate'."""
    apt = tmp_path / "apt-cache"
    apt.write_text("""#!/bin/sh
[ "$LC_ALL" = C ] || { echo 'golang-go:'; echo '  Installationskandidat: 2:1.24~2'; exit; }
[ "$1" = policy ] && printf 'golang-go:\\n  Installed: (none)\\n  Candidate: 2:1.24~2\\n'
""")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert gotoolchain.candidates() == {"golang-go": (1, 24, 0)}
