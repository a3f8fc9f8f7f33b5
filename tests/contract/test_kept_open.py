"""The contract of commands and files once more, with the ways into containers kept open; and what follows from that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from place import Place, booted, docker
from test_provider import TestFiles, TestRun  # noqa: F401 (collected here again, with the fixtures below)

from kubedrill.errors import NotFound
from kubedrill.providers.base import File, Node
from kubedrill.wait import until

# Those that are kept in a container.
SHELLS = ["pgrep", "--full", "--exact", "bash --norc --noprofile"]


pytestmark = pytest.mark.engine


def docker_place() -> Iterator[Place]:
    """Docker's engine. The connection to a VM is kept in any case, so that the other suite tests it."""
    made = Place("docker", *docker())
    yield made
    for cluster in made.made:
        made.provider.remove_cluster(cluster)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A provider under test."""
    yield from docker_place()


@pytest.fixture(scope="module")
def steady(place: Place, home: str) -> Iterator[Node]:
    """A node with ways into it that are kept open."""
    made = place.node(home, 1)
    with place.provider.kept_open():
        made.run(["true"])
        assert made.run(SHELLS).stdout, "these tests would be those of plain commands"
        yield made


@pytest.fixture(scope="module")
def apart() -> Iterator[Place]:
    """The same engine, with ways of its own: those of the steady node are kept all the time."""
    yield from docker_place()


@pytest.fixture(scope="module")
def elsewhere(apart: Place) -> str:
    """A cluster there."""
    return apart.cluster("apart")


@pytest.fixture
def subject(apart: Place, elsewhere: str) -> Iterator[Node]:
    """A node that goes up and down."""
    made = apart.node(elsewhere, 1)
    yield made
    made.remove()


def test_nothing_of_a_command_reaches_the_next_one(steady: Node) -> None:
    steady.run(["true"], stdin="echo this was not read\n" * 50_000)
    steady.run(["sh", "-c", "printf 'no end of line'; printf 'nor here' >&2; exit 9"], check=False)
    result = steady.run(["cat"], stdin="mine")
    assert (result.status, result.stdout, result.stderr) == (0, "mine", "")


def test_many_at_once_do_not_mix(steady: Node) -> None:
    def ask(number: int) -> tuple[str, str]:
        found = steady.run(["sh", "-c", f"cat; echo {number} >&2"], stdin=f"{number}\n" * 5000)
        return found.stdout, found.stderr

    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(ask, range(40)))
    assert answers == [(f"{number}\n" * 5000, f"{number}\n") for number in range(40)]


def test_they_are_shared_while_they_are_kept_and_gone_afterwards(subject: Node, apart: Place) -> None:
    with apart.provider.kept_open():
        subject.run(["true"])  # it runs: from now on it may have shells
        for _ in range(3):
            subject.write([File("/etc/contract-shared", "x")])
            assert len(subject.run(SHELLS).stdout.split()) == 1
        with apart.provider.kept_open():
            subject.run(["true"])
        assert len(subject.run(SHELLS).stdout.split()) == 1, "who kept them first keeps them still"
    until(
        lambda: subject.run(SHELLS, check=False), lambda found: (found.status == 1, found.output),
        within=20, every=0.1, what="the end of the shells",
    )  # fmt: skip


def test_a_node_that_dies_under_a_command_ends_it(subject: Node, apart: Place) -> None:
    with apart.provider.kept_open(), ThreadPoolExecutor(max_workers=1) as pool:
        subject.run(["true"])
        assert subject.run(SHELLS).stdout
        running = pool.submit(subject.run, ["sh", "-c", "echo begun >/run/begun; exec sleep 60"], check=False)
        until(
            lambda: subject.run(["test", "-e", "/run/begun"], check=False), lambda found: (found.status == 0, "no"),
            within=20, every=0.1, what="its beginning",
        )  # fmt: skip
        subject.kill()
        assert running.result(timeout=20).status == 137


def test_a_node_that_was_off_has_new_ones(subject: Node, apart: Place) -> None:
    with apart.provider.kept_open():
        subject.run(["true"])
        subject.run(["true"])
        subject.stop()
        with pytest.raises(NotFound):
            subject.run(["true"])
        subject.start()
        booted(subject)
        assert subject.run(SHELLS).stdout
        assert subject.run(["cat"], stdin="again").stdout == "again"


def test_where_there_is_no_room_for_standard_input_nothing_is_run(subject: Node, apart: Place) -> None:
    """What is not taken over as input must not be taken for commands."""
    full = "\n".join(["touch /etc/contract-misread"] * 200_000)
    with apart.provider.kept_open():
        subject.run(["true"])
        used = int(subject.run(["df", "--output=used", "--block-size=1K", "/run"]).stdout.split()[-1])
        subject.run(["mount", "-o", f"remount,size={used + 64}k", "/run"])
        result = subject.run(["sh", "-c", "touch /etc/contract-ran"], stdin=full, check=False)
        assert result.status != 0
        for file in ("/etc/contract-misread", "/etc/contract-ran"):
            assert subject.run(["test", "-e", file], check=False).status == 1
