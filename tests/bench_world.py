"""A machine whose clusters come and go on a clock of its own, for tests of benches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubedrill import cputime, paths, shell
from kubedrill.bench import fresh, measure
from kubedrill.bench.fresh import Fresh
from kubedrill.console import Console
from kubedrill.cputime import CpuTime
from kubedrill.errors import CommandFailed
from kubedrill.shell import Result

OK = Result(0, "", "")


@dataclass
class Place:
    """A machine: a process takes half a second to start, a node 2 s to make and 1 s to remove; the rest as `takes`.

    The cores are busy for 60 % of the time, and the host takes 1 % of it; `taken` changes that.
    """

    clock: float = 0.0
    clusters: dict[str, list[Any]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    takes: dict[str, float] = field(default_factory=dict)
    taken: float = 0.01
    stolen: float = 0.0
    broken: Callable[[str], Result | None] = lambda _: None
    silent: tuple[str, ...] = ()

    def shell(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path, **more: Any) -> Result:
        """A command on this machine."""
        before = self.clock
        self.clock += 0.5
        assert argv[0] == sys.executable
        assert cwd == paths.repository()
        if argv[1:3] == ["-m", "invoke"]:
            return OK
        assert argv[1:3] == ["-m", "kubedrill"]
        assert env is not None
        assert "kubedrill-bench-" in env["KUBECONFIG"], "a bench leaves the user's kubeconfig alone"
        assert more == {"check": False, "timeout": 3600}
        line = " ".join(argv[3:])
        self.commands.append(line)
        said = self.broken(line) or self._kubedrill(argv[3], argv[4:], line)
        self.stolen += (self.clock - before) * self.taken
        return said

    def _kubedrill(self, task: str, words: Sequence[str], line: str) -> Result:
        flags = dict(zip(words[::2], words[1::2], strict=False)) if task in ("up", "down") else {}
        if task == "up":
            roles = ["control-plane"] * int(flags["--control-planes"]) + ["worker"] * int(flags["--workers"])
            self.clusters[flags["--name"]] = [SimpleNamespace(role=role, name=role, run=self.run) for role in roles]
            self.clock += 2 * len(roles)
        elif task == "down":
            self.clock += len(self.clusters.pop(flags["--name"]))
        else:
            self.clock += self.takes.get(line, 0)
        return OK

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """A command in a node."""
        if argv[0] == "ps":
            name = argv[2]
            return Result(1, "", "") if name in self.silent else Result(0, f"{1024 * len(name)}\n", "")
        if argv[0] == "du":
            return Result(0, "40\t/var/lib/etcd/member/snap/db\n", "")
        if "disk" in self.silent:
            raise CommandFailed("du", 1, "", "a node")
        return Result(0, "19\n" if "du -xsm /var" in argv[-1] else "78\n", "")

    def down(self, _provider: object, name: str, _console: object) -> bool:
        """What `cluster.down` does."""
        self.removed.append(name)
        return bool(self.clusters.pop(name, None))

    def cpu(self) -> CpuTime:
        """What /proc/stat says: two cores."""
        total = int(200 * self.clock)
        return CpuTime(total, int(0.4 * total), int(200 * self.stolen))

    def lab(self) -> Any:
        """The lab of this machine."""
        provider = SimpleNamespace(
            nodes=lambda name: self.clusters[name], clusters=lambda: list(self.clusters), check=lambda: None
        )
        engine = SimpleNamespace(info=lambda: {"ServerVersion": "20.10.24", "Driver": "overlay2"})
        return SimpleNamespace(provider=provider, engine=engine, missing=frozenset())

    def fresh(self, folder: Path) -> Fresh:
        """Commands of kubedrill on it."""
        return Fresh(self.lab(), Console(), folder / "kubedrill-bench-test" / "kubeconfig")

    def started(self) -> list[str]:
        """The sizes that were brought up."""
        words = [line.split() for line in self.commands if line.startswith("up ")]
        return [f"{one[one.index('--control-planes') + 1]}+{one[one.index('--workers') + 1]}" for one in words]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """A machine without clusters."""
    made = Place()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(shell, "run", made.shell)
    monkeypatch.setattr(fresh.clusters, "down", made.down)
    monkeypatch.setattr(measure, "prepare", lambda *_: None)
    monkeypatch.setattr(cputime, "read", made.cpu)
    monkeypatch.setattr("time.monotonic", lambda: made.clock)
    return made
