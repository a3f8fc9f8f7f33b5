"""Real clusters, one a module: brought up by the same code that `invoke up` calls, and taken down whatever happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedrill import cluster, spec
from kubedrill.cluster import Cluster, Lab
from kubedrill.console import Console
from kubedrill.kube import Kube


@pytest.fixture(scope="session")
def console() -> Console:
    return Console()


@pytest.fixture(scope="session")
def place(console: Console) -> Lab:
    return cluster.lab(console)


@pytest.fixture(scope="module")
def user_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kubeconfig of the tests' own, so that the user's is left alone."""
    path = tmp_path_factory.mktemp("kube") / "config"
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(path)
    yield path
    if before is None:
        del os.environ["KUBECONFIG"]
    else:
        os.environ["KUBECONFIG"] = before


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, place: Lab, console: Console, user_config: Path) -> Iterator[Cluster]:
    """The cluster that a module asks for in its SPEC; with --on the one of that name, which stays."""
    if there := request.config.getoption("--on"):
        found = cluster.attach(place.provider, there)
        wanted = spec.load(None, {**request.module.SPEC, "name": there}).model_dump(by_alias=True)
        has = found.spec.model_dump(by_alias=True)
        others = [f"{key} {wanted[key]}, not {has[key]}" for key in request.module.SPEC if wanted[key] != has[key]]
        assert not others, f"{request.module.__name__} needs another cluster than {there}: {', '.join(others)}"
        yield found
        return
    asked = spec.load(None, {**request.module.SPEC, "name": f"test-{os.getpid()}"})
    try:
        yield cluster.up(place, asked, console)
    finally:
        cluster.down(place.provider, asked.name, console)


@pytest.fixture(scope="module")
def api(lab: Cluster) -> Kube:
    return Kube(lab.admin_conf(), timeout=10)
