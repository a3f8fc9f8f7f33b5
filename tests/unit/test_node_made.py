"""What Docker's engine is asked for when a node, or the image of nodes, is made."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubedrill.errors import KubedrillError, NotFound
from kubedrill.images import node
from kubedrill.providers import docker_engine
from kubedrill.providers.docker_engine import Engine


class Api:
    """Docker's, of which a container is asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def create_container(self, image: str, **asked: Any) -> None:
        self.asked = {"image": image, **asked}

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **settings: settings


def test_a_node_gets_no_proxy_of_the_user_s(monkeypatch: Any) -> None:
    """`docker` gives each container that of ~/.docker/config.json: nodes would ask it for each other."""
    api, engine = Api(), Engine()
    monkeypatch.setattr(engine, "_connected", SimpleNamespace(api=api))
    engine.create_container("lab-worker-1", "image", host={}, network="net", address="172.28.0.101", labels={})
    assert (api.asked["image"], api.asked["use_config_proxy"]) == ("image", False)


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("Container 1f is not running", NotFound),  # made, but not started yet; or ended
        ("Container 1f is restarting, wait until the container is running", NotFound),
        ("Container 1f is paused, unpause the container before exec", KubedrillError),
    ],
)
def test_a_container_that_does_not_run_can_run_no_command(
    monkeypatch: pytest.MonkeyPatch, said: str, raised: type[KubedrillError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise docker_engine.docker.errors.APIError("409 Client Error: Conflict", explanation=said)

    engine = Engine()
    monkeypatch.setattr(engine, "_connected", SimpleNamespace(api=SimpleNamespace(exec_create=refuse)))
    with pytest.raises(KubedrillError) as caught:
        engine.execute("lab-worker-1", ["true"])
    assert type(caught.value) is raised
    assert caught.value.evidence == (said,)


def test_an_image_has_the_same_modes_whatever_the_umask_was(tmp_path: Path) -> None:
    made: dict[str, int] = {}

    class Builder:
        def build_image(self, context: bytes, tag: str, arguments: Mapping[str, str]) -> None:
            with tarfile.open(fileobj=io.BytesIO(context)) as tar:
                made.update({entry.name: entry.mode for entry in tar if not entry.issym()})

    for name, mode in {"bin/ctr": 0o700, "bin/notes": 0o600}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(mode)
    plugins = tmp_path / "cni"
    plugins.mkdir(mode=0o700)
    (tmp_path / "bin").chmod(0o700)
    node.assemble(Builder(), "tag", "base", [tmp_path / "bin"], plugins, lambda _: None)  # type: ignore[arg-type]
    wanted = {"bin": 0o755, "bin/ctr": 0o755, "bin/notes": 0o644, "cni": 0o755}
    assert {name: made[name] for name in wanted} == wanted
    assert set(made.values()) == {0o644, 0o755}
