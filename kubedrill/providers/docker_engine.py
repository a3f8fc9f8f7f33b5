"""Docker's engine, narrowed to what kubedrill asks of it. The only module that imports docker."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import docker
import docker.errors
import docker.types
import requests.exceptions

from kubedrill import engine_socket
from kubedrill.errors import BuildFailed, EngineUnavailable, KubedrillError, NotFound
from kubedrill.providers import docker_stream
from kubedrill.shell import Result

# The label of containers that only build something.
BUILDER = "kubedrill.builder"
# Long enough for the slowest single call (an image of 300 MB taken in), short enough to notice a dead engine.
_CALL_TIMEOUT = 300


class Engine:
    """A connection to Docker's engine, made at the first call."""

    def __init__(self) -> None:
        self._connected: docker.DockerClient | None = None

    @property
    def _client(self) -> docker.DockerClient:
        if self._connected is None:
            try:
                self._connected = docker.from_env(timeout=_CALL_TIMEOUT, max_pool_size=64)
                self._connected.ping()
            except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
                self._connected = None
                raise _unavailable(error) from error
        return self._connected

    @property
    def _api(self) -> Any:
        return self._client.api

    def _host_config(self, host: Mapping[str, Any]) -> Any:
        # The library knows no argument for some of the engine's own keys (MaskedPaths): those begin with a capital.
        known = {key: value for key, value in host.items() if not key[0].isupper()}
        config = self._api.create_host_config(**known)
        config.update({key: value for key, value in host.items() if key[0].isupper()})
        return config

    def ping(self) -> None:
        """See that it answers, which costs less than what `info` tells.

        Raises:
            EngineUnavailable: it does not answer.
        """
        with _translated():
            self._api.ping()

    def info(self) -> Mapping[str, Any]:
        """What `docker info` tells.

        Raises:
            EngineUnavailable: it does not answer.
        """
        with _translated():
            return dict(self._api.info())

    def has_image(self, tag: str) -> bool:
        """Whether an image of that name is there."""
        try:
            with _translated():
                self._api.inspect_image(tag)
        except NotFound:
            return False
        return True

    def import_image(self, tar: Path, tag: str) -> None:
        """Make an image of a tar of files."""
        repository, _, version = tag.rpartition(":")
        with _translated():
            self._api.import_image(src=str(tar), repository=repository, tag=version)

    def build_image(self, context: bytes | IO[bytes], tag: str, arguments: Mapping[str, str]) -> None:
        """Build an image from a context (a tar with a Dockerfile, or an open file that holds one).

        Raises:
            BuildFailed: with the end of the build's output.
        """
        lines: list[str] = []
        with _translated():
            stream = self._api.build(
                fileobj=io.BytesIO(context) if isinstance(context, bytes) else context, custom_context=True, tag=tag,
                rm=True, forcerm=True, decode=True, buildargs=dict(arguments), network_mode="none",
            )  # fmt: skip
            for message in stream:
                lines += re.sub(r"\x1b\[[0-9;]*m", "", str(message.get("stream", ""))).splitlines()
                if "error" in message:
                    raise BuildFailed(
                        f"the image {tag} could not be built",
                        evidence=[*lines[-15:], message["error"]],
                        todo=["see images/Dockerfile and images/files/"],
                    )

    def tag_image(self, tag: str, another: str) -> None:
        """Give an image another name."""
        repository, _, version = another.rpartition(":")
        with _translated():
            self._api.tag(tag, repository, version)

    def remove_image(self, tag: str) -> None:
        """Remove an image, or one of its names; harmless when it is gone."""
        with _translated(), contextlib.suppress(docker.errors.NotFound):
            self._api.remove_image(tag, force=True)

    def images(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """The images that carry a label ('key' or 'key=value'); all without one."""
        with _translated():
            return list(self._api.images(filters={"label": label} if label else None))

    def commit(self, name: str, tag: str, labels: Mapping[str, str]) -> None:
        """Make an image of a container's own files: what it has changed of its image, without volumes."""
        repository, _, version = tag.rpartition(":")
        changes = [f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()]
        with _translated():
            self._api.commit(name, repository=repository, tag=version, changes=changes)

    def export_image(self, tag: str) -> Iterator[bytes]:
        """The image as an archive that containerd can import, in pieces."""
        with _translated():
            yield from self._client.images.get(tag).save(named=True)

    def image_labels(self, tag: str) -> Mapping[str, str]:
        """The labels of an image."""
        with _translated():
            return dict(self._api.inspect_image(tag)["Config"].get("Labels") or {})

    def networks(self, label: str) -> Sequence[Mapping[str, Any]]:
        """The networks that carry a label ('key' or 'key=value')."""
        with _translated():
            return list(self._api.networks(filters={"label": label}))

    def has_network(self, name: str) -> bool:
        """Whether there is a network of that name."""
        with _translated():
            return any(network["Name"] == name for network in self._api.networks())

    def all_subnets(self) -> Sequence[str]:
        """Every IPv4 subnet that any network of the engine has."""
        with _translated():
            networks = self._api.networks()
        pools = [pool for network in networks for pool in network.get("IPAM", {}).get("Config") or []]
        return [pool["Subnet"] for pool in pools if ":" not in pool.get("Subnet", ":")]

    def create_network(self, name: str, subnet: str, gateway: str, labels: Mapping[str, str]) -> None:
        """Make a bridge network with a subnet of its own."""
        pool = docker.types.IPAMPool(subnet=subnet, gateway=gateway)
        with _translated():
            self._api.create_network(
                name, driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]), labels=dict(labels),
                check_duplicate=True,
            )  # fmt: skip

    def remove_network(self, identity: str) -> None:
        """Remove a network; harmless when it is gone."""
        with _translated(), contextlib.suppress(docker.errors.NotFound):
            self._api.remove_network(identity)

    def volumes(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """The volumes that carry a label ('key' or 'key=value'); all without one."""
        with _translated():
            return list(self._api.volumes(filters={"label": label} if label else None)["Volumes"] or [])

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume."""
        with _translated():
            self._api.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        """Remove a volume; harmless when it is gone.

        Raises:
            KubedrillError: a container uses it.
        """
        with _translated(), contextlib.suppress(docker.errors.NotFound):
            self._api.remove_volume(name, force=True)

    def volume_folder(self, name: str) -> Path:
        """The folder of a volume, on the machine of the engine.

        Raises:
            NotFound: there is no such volume.
        """
        with _translated():
            return Path(self._api.inspect_volume(name)["Mountpoint"])

    def containers(self, label: str = "") -> Sequence[Mapping[str, Any]]:
        """All containers, running or not, that carry a label ('key' or 'key=value'); all without one."""
        with _translated():
            return list(self._api.containers(all=True, filters={"label": label} if label else None))

    def create_container(
        self, name: str, image: str, *, host: Mapping[str, Any], network: str, address: str, **settings: Any
    ) -> None:
        """Make a container with a static address; it does not run yet.

        Args:
            name: its name; its host name too.
            image: what it is made of.
            host: arguments of docker's HostConfig.
            network: the network it is on.
            address: its IPv4 address there.
            settings: further arguments of docker's create_container (environment, labels, ports, volumes).
        """
        endpoint = self._api.create_endpoint_config(ipv4_address=address)
        with _translated():
            self._api.create_container(
                image, name=name, hostname=name, tty=True, host_config=self._host_config(host),
                networking_config=self._api.create_networking_config({network: endpoint}),
                # A proxy that ~/.docker/config.json has for containers would get what nodes say to each other.
                use_config_proxy=False, **settings,
            )  # fmt: skip

    def run_once(
        self, image: str, argv: Sequence[str], *, host: Mapping[str, Any],
        labels: Mapping[str, str], archives: Sequence[tuple[str, bytes | IO[bytes]]] = (), fetch: str = "",
    ) -> tuple[Result, bytes]:  # fmt: skip
        """Run a container to its end and remove it.

        Args:
            image: what it is made of; its entrypoint is not used.
            argv: the program and its arguments.
            host: arguments of docker's HostConfig; without a network_mode it has no network.
            labels: its labels.
            archives: tars unpacked into it before it starts: (folder, tar or open file).
            fetch: a path to take out of it at its end.

        Returns:
            Status and output, and a tar of the path to fetch.
        """
        with _translated():
            made = self._api.create_container(
                image, entrypoint=[argv[0]], command=list(argv[1:]), labels=dict(labels),
                host_config=self._host_config({"network_mode": "none", **host}),
            )["Id"]  # fmt: skip
            try:
                for folder, data in archives:
                    self._api.put_archive(made, folder, data)
                self._api.start(made)
                status = self._api.wait(made, timeout=1800)["StatusCode"]
                out = self._api.logs(made, stdout=True, stderr=False).decode(errors="replace")
                err = self._api.logs(made, stdout=False, stderr=True).decode(errors="replace")
                fetched = b""
                if fetch and status == 0:
                    fetched = b"".join(self._api.get_archive(made, fetch)[0])
            finally:
                self._api.remove_container(made, force=True, v=True)
        return Result(int(status), out, err), fetched

    def remove_builders(self) -> None:
        """Remove the containers that a killed build left."""
        for container in self.containers(BUILDER):
            self.remove_container(container["Id"])

    def inspect_container(self, name: str) -> Mapping[str, Any]:
        """All that the engine knows of a container.

        Raises:
            NotFound: it is gone.
        """
        with _translated():
            return dict(self._api.inspect_container(name))

    def act(self, action: str, name: str, **arguments: Any) -> None:
        """Do something with a container: start, stop, kill, pause, unpause, restart.

        Raises:
            NotFound: it is gone.
            KubedrillError: the engine refuses.
        """
        with _translated():
            getattr(self._api, action)(name, **arguments)

    def remove_container(self, name: str) -> None:
        """End and remove a container with its anonymous volumes; harmless when it is gone."""
        with _translated(), contextlib.suppress(docker.errors.NotFound):
            self._api.remove_container(name, force=True, v=True)

    def execute(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Result:
        """Run a command in a running container and wait for its end.

        Raises:
            NotFound: the container is gone or does not run.
        """
        with _stopped_is_not_found(), _translated():
            made = self._api.exec_create(name, list(argv), environment=dict(environment or {}))["Id"]
            # Not exec_start: it reads past what came in the same packet as the answer's head, and so loses the first
            # frames on a busy machine. A plain request's body has them.
            url = f"{self._api.base_url}/v{self._api.api_version}/exec/{made}/start"
            answer = self._api.post(url, json={"Detach": False, "Tty": False})
            if not answer.ok:
                docker.errors.create_api_error_from_http_exception(requests.exceptions.HTTPError(response=answer))
            out, err = docker_stream.split(answer.content)
            status = self._api.exec_inspect(made)["ExitCode"]
        code = docker_stream.KILLED if status is None else int(status)
        return Result(code, out.decode(errors="replace"), err.decode(errors="replace"))

    def open_stream(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> socket.socket | None:
        """Start a command in a running container; what is sent goes to its standard input, its output comes in frames.

        Returns:
            The connection; None where the engine is not reached by a socket of this machine, or refuses.
        """
        path = engine_socket.socket_path()
        if path is None:
            return None
        try:
            with _translated():
                made = self._api.exec_create(name, list(argv), stdin=True, environment=dict(environment))["Id"]
        except KubedrillError:
            return None
        body = json.dumps({"Detach": False, "Tty": False})
        return engine_socket.take_over(path, f"/v{self._api.api_version}/exec/{made}/start", body, _CALL_TIMEOUT)

    def put_archive(self, name: str, folder: str, data: bytes | Iterator[bytes]) -> None:
        """Unpack a tar in a container, running or not."""
        with _translated():
            self._api.put_archive(name, folder, data)

    def get_archive(self, name: str, path: str) -> bytes:
        """A tar of a path in a container, running or not.

        Raises:
            NotFound: there is no such path.
        """
        with _translated():
            stream, _ = self._api.get_archive(name, path)
            return b"".join(stream)

    def logs(self, name: str) -> str:
        """What the container's first process printed."""
        with _translated():
            return str(self._api.logs(name).decode(errors="replace"))


@contextlib.contextmanager
def _stopped_is_not_found() -> Iterator[None]:
    try:
        yield
    except KubedrillError as error:
        if any("is not running" in line or "is restarting" in line for line in error.evidence):
            raise NotFound(error.what, evidence=error.evidence, todo=error.todo) from error
        raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Docker's errors as ours."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise NotFound(_explanation(error)) from error
    except docker.errors.APIError as error:
        raise KubedrillError("Docker's engine refused", evidence=[_explanation(error)]) from error
    except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
        raise _unavailable(error) from error


def _explanation(error: Any) -> str:
    text = str(error.explanation or error)
    with contextlib.suppress(ValueError):
        text = str(json.loads(text)["message"])
    return text.strip()


def _unavailable(error: Exception) -> EngineUnavailable:
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return EngineUnavailable(
            "Docker's engine belongs to another user",
            evidence=[text],
            todo=["join its group (sudo usermod -aG docker $USER, then log in again), or become root"],
        )
    where = os.environ.get("DOCKER_HOST", "")
    return EngineUnavailable(
        "Docker's engine does not answer",
        evidence=[text, *([f"DOCKER_HOST={where}"] if where else [])],
        todo=["run: invoke setup", "where Docker is installed: systemctl start docker"],
    )
