"""A real TLS server that fails, hangs, refuses and answers late when it is told to, and what asks it."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedrill import availability, shell
from kubedrill.history import Lane, Outcome
from kubedrill.probes.access import Access, access
from kubedrill.probes.base import Probe
from kubedrill.probes.manifest import READ
from kubedrill.probes.sampler import RunPace, Sampler

# Seconds for what must come, however busy the machine is; and for what must not.
PLENTY = 20.0
SHORT = 0.4


def lane(kind: str = "read", connection: str = "new", interval: float = 0.1) -> Lane:
    return Lane(kind, kind, interval, kind, connection)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server's certificate for 127.0.0.1, a client's, and one of a server elsewhere."""
    folder = tmp_path_factory.mktemp("keys")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

    def make(name: str, *arguments: str) -> None:
        shell.run(
            ["openssl", "req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}",
             *arguments], cwd=folder,
        )  # fmt: skip

    make("ca")
    leaf = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    make("server", *leaf, "-addext", "subjectAltName=IP:127.0.0.1")
    make("elsewhere", *leaf, "-addext", "subjectAltName=IP:127.0.0.9")
    make("client", *leaf)
    return folder


class Server:
    """A store of ConfigMaps with compare-and-set and watch, behind TLS with client certificates, that can misbehave."""

    def __init__(self, keys: Path, name: str = "server") -> None:
        self.before: Callable[[Handler], bool] = lambda handler: True
        self.lock = threading.Condition()
        self.maps: dict[str, dict[str, Any]] = {
            READ: {"kind": "ConfigMap", "metadata": {"name": READ, "resourceVersion": "1"}}
        }
        self.events: list[bytes] = []
        self.revision = 100
        self.requests = 0
        self.after_put: Callable[[Handler], bool] = lambda handler: True
        self.watching = True
        self.connections: set[int] = set()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(keys / f"{name}.crt", keys / f"{name}.key")
        self._tls.load_verify_locations(keys / "ca.crt")
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._http = self._listen(0)
        self.port = int(self._http.server_address[1])

    def _listen(self, port: int) -> ThreadingHTTPServer:
        handler = type("Bound", (Handler,), {"place": self})
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        server.daemon_threads = True
        server.socket = self._tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def refuse(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def accept(self) -> None:
        self._http = self._listen(self.port)

    def change(self, name: str, content: dict[str, Any]) -> dict[str, Any]:
        """Store an object and tell the watches; the lock is held."""
        self.revision += 1
        content["metadata"]["resourceVersion"] = str(self.revision)
        self.maps[name] = content
        self.events.append(json.dumps({"type": "MODIFIED", "object": content}).encode() + b"\n")
        self.lock.notify_all()
        return content


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def say(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client is gone: that is what is tested

    def goes_on(self) -> bool:
        self.place.requests += 1
        self.place.connections.add(self.client_address[1])
        return self.place.before(self)

    def do_GET(self) -> None:
        if not self.goes_on():
            return
        if "watch=1" in self.path:
            self.watch()
            return
        name = self.path.rpartition("/")[2]
        with self.place.lock:
            found = self.place.maps.get(name)
        self.say(200 if found else 404, found or {"kind": "Status", "reason": "NotFound"})

    def watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        told = 0
        while True:
            with self.place.lock:
                self.place.lock.wait_for(lambda told=told: self.place.watching and len(self.place.events) > told, 30)
                events, told = self.place.events[told:], len(self.place.events)
            for event in events:
                # In two chunks, as a proxy may cut it.
                for part in (event[:10], event[10:]):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def do_POST(self) -> None:
        self.do_PUT()

    def do_PUT(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.goes_on():
            return
        name = content["metadata"]["name"]
        with self.place.lock:
            before = self.place.maps.get(name)
            wanted = content["metadata"].get("resourceVersion")
            if wanted != (before and before["metadata"]["resourceVersion"]):
                changed = None
            else:
                changed = self.place.change(name, content)
        if changed is None:
            self.say(409, {"kind": "Status", "reason": "Conflict"})
        elif self.place.after_put(self):
            self.say(200, changed)


@pytest.fixture
def server(keys: Path) -> Iterator[Server]:
    place = Server(keys)
    yield place
    place.refuse()


def kubeconfig(keys: Path, port: int) -> str:
    def data(name: str) -> str:
        return base64.b64encode((keys / name).read_bytes()).decode()

    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data("client.crt"), "client-key-data": data("client.key")}
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "x", "user": "y"}}],
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "y", "user": user}],
        }
    )


@pytest.fixture
def way(server: Server, keys: Path) -> Access:
    return access(kubeconfig(keys, server.port))


def fail(handler: Handler) -> bool:
    handler.say(503, {"message": "no leader"})
    return False


def hang(handler: Handler) -> bool:
    threading.Event().wait(SHORT * 3)
    return False


def cut(handler: Handler) -> bool:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
    return False


def nonsense(handler: Handler) -> bool:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    return False


def drip(handler: Handler) -> bool:
    """Sends a byte now and then: a timeout for each read would never strike."""
    for byte in b"HTTP/1.1 200 OK\r\n" * 4:
        handler.wfile.write(bytes([byte]))
        threading.Event().wait(0.05)
    return False


def late(handler: Handler) -> bool:
    threading.Event().wait(0.1)
    return True


def busy(handler: Handler) -> bool:
    handler.say(429, {"message": "later"})
    return False


MISBEHAVIOUR: list[tuple[Callable[[Handler], bool], Outcome, Outcome, str]] = [
    (fail, "failed", "unknown", "503"),
    (busy, "failed", "failed", "429"),
    (hang, "unknown", "unknown", "timed out"),
    (cut, "unknown", "unknown", ""),
    (nonsense, "failed", "unknown", "not HTTP"),
    (drip, "unknown", "unknown", "timed out"),
]


def sampled(probe: Probe, seconds: float, during: Callable[[], None], timeout: float = 1.0) -> Any:
    """Sample for real while `during` runs, and some time before and after it."""
    origin = time.monotonic()
    sampler = Sampler(probe, RunPace(lambda: time.monotonic() - origin), timeout=timeout)
    sampler.start()
    threading.Event().wait(seconds)
    during()
    threading.Event().wait(seconds)
    recording = sampler.stop()
    assert recording.broken == ()
    figures = availability.figures(probe.lane, recording.samples, [], time.monotonic() - origin)
    return recording, figures, origin
