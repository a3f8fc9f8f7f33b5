"""Components are built as their folder says, and again only with cause."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kubedrill import gotoolchain, shell, versions
from kubedrill.errors import BuildFailed, CommandFailed
from kubedrill.images import components

GO = "go version go1.26.8 linux/amd64"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A component of its own, in a folder of components of its own."""
    found = tmp_path / "components" / "thing"
    (found / "cmd").mkdir(parents=True)
    (found / "go.mod").write_text("module x\n\nrequire example.test/thing v1.36.5\n")
    (found / "go.sum").write_text("example.test/thing v1.36.5 h1:x\n")
    (found / "cmd" / "main.go").write_text("package main\n")
    (found / "build.toml").write_text(
        'version-of = "example.test/thing"\nldflags = """-X a={version}\n-X b={major} -X c={minor}"""\n'
        'tags = ["netgo", "osusergo"]\ncgo = true\npackages = ["./cmd/..."]\nrename = { thing = "thingd" }\n'
    )
    monkeypatch.setattr(versions, "components_dir", lambda: found.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(gotoolchain, "go_command", lambda: (["go"], {"GOTOOLCHAIN": "local"}))
    return found


class TestLoad:
    def test_all_settings(self, folder: Path) -> None:
        found = components.load("thing")
        assert (found.version, found.packages, found.tags, found.cgo) == (
            "v1.36.5", ("./cmd/...",), ("netgo", "osusergo"), True
        )  # fmt: skip
        assert found.ldflags == "-X a=v1.36.5 -X b=1 -X c=36"
        assert found.rename == (("thing", "thingd"),)

    def test_no_settings(self, folder: Path) -> None:
        (folder / "build.toml").write_text("")
        found = components.load("thing")
        assert (found.version, found.packages, found.tags, found.cgo, found.ldflags, found.rename) == (
            "", ("tool",), (), False, "", ()
        )  # fmt: skip

    @pytest.mark.parametrize("name", sorted(path.name for path in versions.components_dir().iterdir() if path.is_dir()))
    def test_the_real_ones(self, name: str) -> None:
        """Every folder can be read, and says which version it builds."""
        found = components.load(name)
        assert "{" not in found.ldflags
        assert found.version.startswith("v") or found.packages == ("./cmd/...",)
        if found.packages == ("tool",):
            assert "tool " in (found.folder / "go.mod").read_text()


class TestCommand:
    def test_with_cgo_and_tags(self, folder: Path) -> None:
        command = components.load("thing").command(["env", "go"], Path("/out"))
        assert command[:3] == ["env", "go", "build"]
        assert command[command.index("-tags") + 1] == "netgo,osusergo"
        linker = command[command.index("-ldflags") + 1]
        assert linker == "-s -w -X a=v1.36.5 -X b=1 -X c=36 -extldflags -static"
        assert command[-3:] == ["-o", "/out/", "./cmd/..."]
        assert {"-trimpath", "-mod=readonly", "-buildvcs=false"} <= set(command)

    def test_without(self, folder: Path) -> None:
        (folder / "build.toml").write_text("")
        command = components.load("thing").command(["go"], Path("/out"))
        assert "-tags" not in command
        assert command[command.index("-ldflags") + 1] == "-s -w"
        assert command[-1] == "tool"


class TestKey:
    @pytest.mark.parametrize("file", ["go.mod", "go.sum", "build.toml", "cmd/main.go"])
    def test_it_changes_with_each_file(self, folder: Path, file: str) -> None:
        before = components.key(components.load("thing"), GO)
        (folder / file).write_text((folder / file).read_text() + "\n")
        assert components.key(components.load("thing"), GO) != before

    def test_it_changes_with_the_compiler_and_the_machine(self, folder: Path) -> None:
        keys = {
            components.key(components.load("thing"), text)
            for text in (GO, "go version go1.26.9 linux/amd64", "go version go1.26.8 linux/arm64")
        }
        assert len(keys) == 3

    def test_it_does_not_change_with_the_place(self, folder: Path) -> None:
        before = components.key(components.load("thing"), GO)
        shutil.copytree(folder, folder.parent / "copy")
        assert components.key(components.load("copy"), GO) == before


class TestBuild:
    def test_once(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        runs: list[dict[str, str]] = []

        def run(argv: list[str], *, cwd: Path, env: dict[str, str], log: Path) -> shell.Result:
            assert cwd == folder
            runs.append(env)
            (Path(argv[argv.index("-o") + 1]) / "thing").write_text("a program")
            return shell.Result(0, "", "")

        monkeypatch.setattr(shell, "run", run)
        said: list[str] = []
        built = components.build("thing", GO, said.append)
        assert components.build("thing", GO, said.append) == built
        assert [path.name for path in built.iterdir()] == ["thingd"]
        assert built.stat().st_mode & 0o777 == 0o755
        [env] = runs
        assert (env["CGO_ENABLED"], env["GOTOOLCHAIN"], env["GOFLAGS"], env["GOWORK"]) == ("1", "local", "", "off")
        assert "thing v1.36.5" in said[0]

    def test_a_failure_leaves_nothing_and_says_what_go_said(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def run(argv: list[str], **_: object) -> shell.Result:
            (Path(argv[argv.index("-o") + 1]) / "half").write_text("x")
            raise CommandFailed("go build", 1, "undefined: x", "this machine")

        monkeypatch.setattr(shell, "run", run)
        with pytest.raises(BuildFailed) as caught:
            components.build("thing", GO, lambda _: None)
        assert "undefined: x" in str(caught.value)
        assert "build-thing.log" in str(caught.value)
        kept = [path for path in (folder.parent.parent / "cache").rglob("*") if path.is_file()]
        assert [path for path in kept if path.suffix != ".lock"] == []
