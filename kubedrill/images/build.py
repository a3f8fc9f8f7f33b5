"""All that a node needs, built or found: the node image and the image store of a Kubernetes version."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubedrill import versions
from kubedrill.errors import CommandFailed, KubedrillError, MissingPrerequisite
from kubedrill.images import components, node, packages, rootfs, store
from kubedrill.images.cargo import Cargo
from kubedrill.providers.docker_engine import Engine

AUTO, MODULES, PACKAGES = "auto", "modules", "packages"
SOURCES = (AUTO, MODULES, PACKAGES)


@dataclass(frozen=True)
class Built:
    """What nodes of a cluster are made of, and where that came from."""

    node_image: str
    store: store.Store
    source: str = MODULES


class Source(Protocol):
    """Where what nodes are made of comes from."""

    def ready(self) -> bool:
        """Whether all that it would give is there already; cheap to ask."""
        ...

    def node_image(self) -> str:
        """The name of the node image, made unless it is there."""
        ...

    def image_store(self) -> store.Store:
        """The image store, filled unless it is there."""
        ...

    def cargo(self) -> Cargo:
        """The same for nodes that run already."""
        ...

    def names(self) -> Sequence[str]:
        """Of all that it makes or would make, each with its content address."""
        ...


@dataclass(frozen=True)
class Modules:
    """Source 'modules': everything built from checksummed Go modules; fields as in packages.Packages."""

    engine: Engine
    kubernetes: str
    suite: rootfs.Suite
    compiler: str
    missing: frozenset[str]
    say: Callable[[str], None]

    def ready(self) -> bool:
        """Whether the node image and a finished store are there."""
        volume = store.name(self.kubernetes, self.suite, self.compiler)
        return (
            self.engine.has_image(node.name(self.suite, self.compiler)) and store.find(self.engine, volume) is not None
        )

    def node_image(self) -> str:
        """The node image, built unless it is there."""
        return node.ensure(self.engine, self.suite, self.compiler, self.say)

    def image_store(self) -> store.Store:
        """The image store, built unless it is there."""
        return store.ensure(self.engine, self.kubernetes, self.suite, self.compiler, self.missing, self.say)

    def cargo(self) -> Cargo:
        """The programs as they were built, and images to be made of them."""
        made, images, programs = store.contents(self.engine, self.kubernetes, self.suite, self.compiler, self.say)
        return Cargo(made.kubernetes, programs, {image.name: image for image in images})

    def names(self) -> Sequence[str]:
        """Of the node image, the store, and the rootfs of both."""
        made = store.name(self.kubernetes, self.suite, self.compiler)
        return [node.name(self.suite, self.compiler), made, rootfs.key(self.suite)]


@dataclass(frozen=True)
class Choice:
    """A source, and why it is that one."""

    name: str
    why: str


def choose(source: str, reachable: bool, built: Collection[str]) -> Choice:
    """Decide where nodes come from.

    Args:
        source: 'auto', 'modules' or 'packages'.
        reachable: whether the official sites answer.
        built: the sources of which all is there already.

    Raises:
        KubedrillError: there is no such source.
    """
    if source not in SOURCES:
        raise KubedrillError(
            f"there is no source '{source}' to make nodes from", todo=[f"choose one of: {', '.join(SOURCES)}"]
        )
    if source != AUTO:
        return Choice(source, "asked for")
    for name in (MODULES, PACKAGES):
        if name in built:
            return Choice(name, "built already")
    sites = " and ".join(packages.SITES)
    return Choice(PACKAGES, f"{sites} answer") if reachable else Choice(MODULES, f"{sites} do not both answer")


def is_built(engine: Engine, kubernetes: str, source: str = AUTO) -> bool:
    """Whether `ensure` would find all of it.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        source: as for `ensure`.
    """
    sources = _sources(engine, kubernetes, frozenset(), lambda _: None, compiler_or_none())
    return any(found.ready() for name, found in sources.items() if source in (AUTO, name))


def ensure(
    engine: Engine, kubernetes: str, missing: frozenset[str], say: Callable[[str], None], source: str = AUTO,
    *, reachable: Callable[[], bool] = packages.reachable,
) -> Built:  # fmt: skip
    """Build or fetch what is not there yet.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        missing: capabilities that the engine lacks.
        say: told which source it is and why, and of each thing built, and how long it took.
        source: 'modules' (Go modules and the distribution's archive), 'packages' (official packages and images, which
            needs no Go toolchain), or 'auto': what is built already, else packages where their sites answer.
        reachable: tells whether they answer; asked only where that decides.

    Raises:
        KubedrillError: there is no such source.
        MissingPrerequisite: modules without a Go toolchain.
        BuildFailed: with the end of the output of what failed.
    """
    name, chosen = _chosen(engine, kubernetes, missing, say, source, reachable)
    return Built(chosen.node_image(), chosen.image_store(), name)


def cargo(
    engine: Engine, kubernetes: str, missing: frozenset[str], say: Callable[[str], None],
    *, reachable: Callable[[], bool] = packages.reachable,
) -> tuple[Built, Cargo]:  # fmt: skip
    """Build or fetch what is not there yet of a version that nodes which run already are to get.

    Args:
        engine: Docker's engine.
        kubernetes: '1.37'.
        missing: capabilities that the engine lacks.
        say: told of each thing built.
        reachable: as for `ensure`.

    Returns:
        What new nodes are made of, and what those get that are there.

    Raises:
        BuildFailed: with the end of the output of what failed.
    """
    name, chosen = _chosen(engine, kubernetes, missing, say, AUTO, reachable)
    return Built(chosen.node_image(), chosen.image_store(), name), chosen.cargo()


def _chosen(
    engine: Engine, kubernetes: str, missing: frozenset[str], say: Callable[[str], None], source: str,
    reachable: Callable[[], bool],
) -> tuple[str, Source]:  # fmt: skip
    if source != AUTO:
        choose(source, False, ())  # an unknown name is an error before anything is looked at
    compiler = components.go_version() if source == MODULES else compiler_or_none()
    sources = _sources(engine, kubernetes, missing, say, compiler)
    built = [name for name, found in sources.items() if found.ready()] if source == AUTO else []
    choice = choose(source, source == AUTO and not built and reachable(), built)
    say(f"nodes are made from {choice.name}: {choice.why}")
    if choice.name not in sources:
        components.go_version()  # raises, with what to do about it
    return choice.name, sources[choice.name]


def _sources(
    engine: Engine, kubernetes: str, missing: frozenset[str], say: Callable[[str], None], compiler: str | None
) -> dict[str, Source]:
    """The sources that this machine can build from, by name."""
    suite = rootfs.choose()
    found: dict[str, Source] = {PACKAGES: packages.Packages(engine, kubernetes, suite, compiler, missing, say)}
    if compiler is not None:
        found[MODULES] = Modules(engine, kubernetes, suite, compiler, missing, say)
    return found


def wanted(engine: Engine, compiler: str | None) -> list[str]:
    """Names, each with its content address, of all that this checkout makes or would make on this machine.

    Args:
        engine: Docker's engine.
        compiler: the answer of `compiler_or_none`.

    Raises:
        MissingPrerequisite: there is nothing here to make nodes of.
    """
    suite, names = rootfs.choose(), list[str]()
    for minor in versions.kubernetes_minors():
        for source in _sources(engine, minor, frozenset(), lambda _: None, compiler).values():
            names += source.names()
    if compiler is not None:
        from kubedrill.images import box

        names += [components.key(components.load(each.name), compiler) for each in versions.components_dir().iterdir()]
        names += box.names(suite, compiler)
    return names


def compiler_or_none() -> str | None:
    """The answer of components.go_version; None where there is no Go toolchain."""
    try:
        return components.go_version()
    except (MissingPrerequisite, CommandFailed):
        return None
