"""What Docker's engine is asked for when a node, or the image of nodes, is made."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kubedrill.images import node
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
