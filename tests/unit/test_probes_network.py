"""The probes against a real TLS server that fails, hangs, refuses and answers late when it is told to."""

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

from kubedrill import availability, linearizability, porcupine, shell
from kubedrill.errors import BrokenKubeconfig, KubedrillError
from kubedrill.history import Lane, Outcome
from kubedrill.probes import write
from kubedrill.probes.access import Access, access
from kubedrill.probes.base import Answered, Probe
from kubedrill.probes.manifest import READ
from kubedrill.probes.operations import Operations, numbers_of
from kubedrill.probes.read import ApiRead, HttpService
from kubedrill.probes.sampler import RunPace, Sampler
from kubedrill.probes.watch import Watch
from kubedrill.probes.wire import Endpoint
from kubedrill.probes.write import ApiWrite
from kubedrill.wait import until

# Seconds for what must come, however busy the machine is; and for what must not.
PLENTY = 20.0
SHORT = 0.4


def lane(kind: str = "read", connection: str = "new", interval: float = 0.1) -> Lane:
    return Lane(kind, kind, interval, kind, connection)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
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


def other(handler: Handler) -> bool:
    handler.say(200, {"kind": "Secret"})
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


@pytest.mark.parametrize("connection", ["new", "kept"])
@pytest.mark.parametrize(("how", "expected", "_", "why"), [*MISBEHAVIOUR, (other, "failed", "failed", "wrong answer")])
def test_reads_are_classified(
    server: Server,
    way: Access,
    how: Callable[[Handler], bool],
    expected: Outcome,
    _: Outcome,
    why: str,
    connection: str,
) -> None:
    probe = ApiRead(lane(connection=connection), way.endpoint())
    assert probe.ask(PLENTY) == ("ok", "")
    server.before = how
    began = time.monotonic()
    outcome, detail = probe.ask(SHORT if how in (hang, drip) else PLENTY)
    assert (outcome, why in detail) == (expected, True), detail
    assert time.monotonic() - began < PLENTY
    server.before = late
    assert probe.ask(PLENTY) == ("ok", "")
    probe.close()


def test_a_refused_connection_is_failed_and_certain(server: Server, way: Access) -> None:
    server.refuse()
    outcome, detail = ApiRead(lane(), way.endpoint()).ask(PLENTY)
    assert (outcome, "refused" in detail) == ("failed", True)
    outcome, detail = ApiWrite(lane("write"), way.endpoint(), "r").ask(PLENTY)
    assert (outcome, "refused" in detail) == ("failed", True)
    server.accept()
    assert ApiRead(lane(), way.endpoint()).ask(PLENTY) == ("ok", "")


@pytest.mark.parametrize(("connection", "count"), [("new", 3), ("kept", 1)])
def test_connections_are_new_or_kept(server: Server, way: Access, connection: str, count: int) -> None:
    probe = ApiRead(lane(connection=connection), way.endpoint())
    assert [probe.ask(PLENTY)[0] for _ in range(3)] == ["ok"] * 3
    assert len(server.connections) == count
    probe.close()


def test_a_question_waits_for_the_kept_connection_and_its_time_runs(server: Server, way: Access) -> None:
    probe = ApiRead(lane(connection="kept"), way.endpoint())
    release, entered = threading.Event(), threading.Event()

    def hold(handler: Handler) -> bool:
        entered.set()
        return release.wait(PLENTY)

    server.before = hold
    first: list[Answered] = []
    thread = threading.Thread(target=lambda: first.append(probe.ask(PLENTY)))
    thread.start()
    assert entered.wait(PLENTY)
    outcome, detail = probe.ask(0.05)
    assert (outcome, "busy" in detail) == ("failed", True)
    release.set()
    thread.join(PLENTY)
    assert first == [("ok", "")]
    probe.close()


def test_a_server_that_is_not_who_it_says_is_refused(keys: Path) -> None:
    place = Server(keys, "elsewhere")
    outcome, detail = ApiRead(lane(), access(kubeconfig(keys, place.port)).endpoint()).ask(PLENTY)
    place.refuse()
    assert outcome == "failed"
    assert "127.0.0.1" in detail
    assert place.requests == 0


@pytest.mark.parametrize("key", ["client-key-data", "certificate-authority-data", "server", "current-context"])
def test_a_kubeconfig_that_lacks_something_is_an_error_without_its_secrets(keys: Path, key: str) -> None:
    text = kubeconfig(keys, 1)
    for broken in (text.replace(key, "gone"), text.replace("LS0t", "AAAA")):
        with pytest.raises(BrokenKubeconfig) as raised:
            access(broken)
        assert "LS0t" not in str(raised.value)


@pytest.mark.parametrize(("how", "_", "expected", "why"), MISBEHAVIOUR)
def test_writes_are_classified(
    server: Server, way: Access, how: Callable[[Handler], bool], _: Outcome, expected: Outcome, why: str
) -> None:
    """Two lists: the first write to each creates it, the third finds its list known and is one PUT."""
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    first = [probe.ask(PLENTY) for _ in range(4)]
    assert first == [("ok", f"#{n} @{100 + n}") for n in (1, 2, 3, 4)]
    server.before = how
    outcome, detail = probe.ask(SHORT if how in (hang, drip) else PLENTY)
    assert (outcome, why in detail, detail[:2]) == (expected, True, "#5"), detail
    server.before = late
    assert probe.ask(PLENTY)[0] == "ok"
    assert set(numbers_of(server.maps["probe-r-02"])) | {6} >= {2, 6}
    assert 5 not in {n for numbers in probe.read_back().values() for n in numbers}


def test_a_write_whose_answer_is_lost_is_unknown_and_resolved_by_a_read(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    asked = [probe.ask(PLENTY) for _ in range(4)]
    server.after_put = cut
    asked.append(probe.ask(PLENTY))
    server.after_put = lambda handler: True
    asked += [probe.ask(PLENTY) for _ in range(8)]
    assert [outcome for outcome, _ in asked] == ["ok"] * 4 + ["unknown"] + ["ok"] * 8
    assert sorted(n for numbers in probe.read_back().values() for n in numbers) == list(range(1, 14))


def test_a_write_that_lands_late_meets_a_conflict_which_a_read_resolves(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    for _ in range(4):
        probe.ask(PLENTY)
    name = "probe-r-01"  # of 1, 5, ...: four lists
    with server.lock:
        content = json.loads(json.dumps(server.maps[name]))
        server.change(name, content)
    assert probe.ask(PLENTY)[0] == "ok"
    assert probe.read_back()[name] == (1, 5)


def test_a_second_run_of_the_same_name_is_an_error_not_a_success(server: Server, way: Access) -> None:
    assert ApiWrite(lane("write"), way.endpoint(), "r").ask(PLENTY)[0] == "ok"
    with pytest.raises(KubedrillError, match="before this run wrote it"):
        ApiWrite(lane("write"), way.endpoint(), "r").ask(PLENTY)


def test_a_first_write_whose_answer_is_lost_is_taken_up(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write", interval=10), way.endpoint(), "r")
    server.after_put = cut
    assert probe.ask(PLENTY)[0] == "unknown"
    server.after_put = lambda handler: True
    assert [probe.ask(PLENTY)[0] for _ in range(4)] == ["ok"] * 4
    assert probe.read_back()["probe-r-01"] == (1, 5)


class TestHistory:
    """What probes put on record, as Porcupine judges it."""

    @pytest.fixture
    def record(self) -> Operations:
        return Operations(time.monotonic)

    def probes(self, way: Access, record: Operations) -> tuple[ApiWrite, ApiRead]:
        writer = ApiWrite(lane("write", interval=10), way.endpoint(), "r", history=record)
        return writer, ApiRead(lane(), way.endpoint(), writer.lists(), record)

    def test_each_question_that_was_answered_is_in_it(
        self, server: Server, way: Access, record: Operations, tmp_path: Path
    ) -> None:
        writer, reader = self.probes(way, record)
        assert writer.lists() == ("probe-r-00", "probe-r-01", "probe-r-02", "probe-r-03")
        assert reader.ask(PLENTY) == ("ok", "")  # it is not there yet
        for _ in range(5):
            assert writer.ask(PLENTY)[0] == "ok"
        assert [reader.ask(PLENTY) for _ in range(4)] == [("ok", "")] * 4
        writer.read_back()
        found = [one for one in record.all() if one.key == "probe-r-01"]
        one, two = linearizability.value((1,)), linearizability.value((1, 5))
        assert [(op.client, op.kind, op.before, op.after, op.seen, op.revision) for op in found] == [
            ("write", "read", "", "", "", None), ("write", "cas", "", one, "", 101),
            ("write", "cas", one, two, "", 105), ("read", "read", "", "", two, 105),
            ("write", "read", "", "", two, 105),
        ]  # fmt: skip
        assert all(op.outcome == "ok" and op.start <= op.end for op in found)
        assert porcupine.check(record.all(), None, tmp_path, lambda _: None).result == "linearizable"

    def test_what_had_no_answer_may_have_been_done(
        self, server: Server, way: Access, record: Operations, tmp_path: Path
    ) -> None:
        writer, reader = self.probes(way, record)
        for _ in range(4):
            writer.ask(PLENTY)
        server.after_put = cut
        assert writer.ask(PLENTY)[0] == "unknown"
        server.after_put, server.before = lambda handler: True, fail
        assert (writer.ask(PLENTY)[0], reader.ask(PLENTY)[0]) == ("unknown", "failed")
        server.before = lambda handler: True
        server.refuse()
        assert (writer.ask(PLENTY)[0], reader.ask(PLENTY)[0]) == ("failed", "failed")
        server.accept()
        assert [writer.ask(PLENTY)[0] for _ in range(4)] == ["ok"] * 4
        writer.read_back()
        writes = [op for op in record.all() if op.kind == "cas"]
        assert [op.outcome for op in writes] == ["ok"] * 4 + ["unknown"] * 2 + ["ok"] * 4
        assert porcupine.check(record.all(), None, tmp_path, lambda _: None).result == "linearizable"

    def test_a_conflict_is_not_certain(self, server: Server, way: Access, record: Operations, tmp_path: Path) -> None:
        """A server between asks twice: the second time there is a conflict with the first, which is then found."""
        writer, _ = self.probes(way, record)
        for _ in range(4):
            writer.ask(PLENTY)

        def twice(handler: Handler) -> bool:
            server.after_put = lambda handler: True
            handler.say(409, {"kind": "Status", "reason": "Conflict"})
            return False

        server.after_put = twice
        assert writer.ask(PLENTY)[0] == "ok"
        assert [op.outcome for op in record.all() if op.kind == "cas"] == ["ok"] * 4 + ["unknown"]
        assert porcupine.check(record.all(), None, tmp_path, lambda _: None).result == "linearizable"

    def test_a_store_that_answers_from_its_past_is_found_out(
        self, server: Server, way: Access, record: Operations, tmp_path: Path
    ) -> None:
        """The writes are all there in the end: only a read can tell."""
        writer, reader = self.probes(way, record)
        for _ in range(4):
            writer.ask(PLENTY)
        past = dict(server.maps)
        for _ in range(4):
            writer.ask(PLENTY)
        now, server.maps = server.maps, past
        assert [reader.ask(PLENTY)[0] for _ in range(4)] == ["ok"] * 4
        server.maps = now
        assert sorted(n for numbers in writer.read_back().values() for n in numbers) == list(range(1, 9))
        judged = porcupine.check(record.all(), None, tmp_path, lambda _: None)
        assert judged.result == "not linearizable"
        assert f"a read that saw '{linearizability.value((4,))}' (read," in judged.measured

    @pytest.mark.parametrize(
        "said",
        [
            {"kind": "Status", "reason": "Forbidden"}, {"kind": "ConfigMap"}, ["ConfigMap"], "404 page not found",
            {"kind": "Secret", "metadata": {"resourceVersion": "7"}},
        ],
    )  # fmt: skip
    def test_only_an_api_can_say_that_there_is_nothing(
        self, server: Server, way: Access, record: Operations, said: object
    ) -> None:
        def answer(handler: Handler) -> bool:
            handler.say(404, said)
            return False

        writer, reader = self.probes(way, record)
        server.before = answer
        assert (reader.ask(PLENTY)[0], writer.ask(PLENTY)[0]) == ("failed", "failed")
        assert record.all() == ()


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


def test_a_hang_of_three_seconds_is_a_downtime_of_three_seconds(server: Server, way: Access) -> None:
    """What the server itself says of the hang is the truth; the machine's own lateness is measured, not guessed."""
    release = threading.Event()
    times = []

    def during() -> None:
        server.before = lambda handler: release.wait(PLENTY)
        times.append(time.monotonic())
        release.wait(3)
        times.append(time.monotonic())
        release.set()

    recording, figures, origin = sampled(ApiRead(lane(), way.endpoint()), 1, during)
    began, ended = (moment - origin for moment in times)
    # An answer takes as long as this machine lets it; a window is overstated by that (availability.py).
    slowest = max(sample.end - sample.start for sample in recording.samples if sample.outcome == "ok")
    assert len(figures.windows) == 1
    start, end = figures.windows[0]
    assert figures.unknown >= 10
    # Asked before it, and caught by it: as early as one question's time. After it: an interval late, and stalls.
    assert began - 0.2 - figures.stalled - slowest <= start <= began + 0.1 + figures.stalled
    assert ended <= end <= ended + 0.5 + figures.stalled + slowest


def test_lost_writes_are_found_from_the_samples_alone(server: Server, way: Access, tmp_path: Path) -> None:
    probe = ApiWrite(lane("write", interval=0.05), way.endpoint(), "r", timeout=2)
    recording, _, _ = sampled(probe, 0.7, lambda: None, timeout=2)
    ledger = write.ledger(recording.samples)
    found = probe.read_back()
    write.save_found(found, tmp_path / "found.json")
    assert availability.lost_writes(ledger, write.load_found(tmp_path / "found.json")).intact
    last = max(item.number for item in ledger if item.outcome == "ok")
    forgotten = {name: [n for n in numbers if n != last] for name, numbers in found.items()}
    assert availability.lost_writes(ledger, forgotten).lost == (last,)


def test_writes_that_cannot_be_read_back_are_an_error(server: Server, way: Access) -> None:
    probe = ApiWrite(lane("write"), way.endpoint(), "r")
    server.before = fail
    with pytest.raises(KubedrillError, match="read back"):
        probe.read_back()


def test_other_samples_are_no_ledger() -> None:
    with pytest.raises(ValueError, match="hello"):
        write.ledger([availability.Sample(0, 1, "ok", "hello-1")])


def test_a_watch_is_alive_while_it_tells_of_writes_and_not_when_it_is_silent(server: Server, way: Access) -> None:
    writer = ApiWrite(lane("write"), way.endpoint(), "r")
    probe = Watch(lane("watch"), way.endpoint(), "r", writer.newest, silence=0.5, recent=PLENTY)
    assert probe.ask(SHORT)[0] == "unknown"  # nothing was written yet
    assert writer.ask(PLENTY)[0] == "ok"
    outcome, detail = probe.ask(PLENTY)
    assert outcome == "ok"
    assert "write 1 seen after" in detail
    server.watching = False
    assert writer.ask(PLENTY)[0] == "ok"
    outcome, detail = probe.ask(SHORT)
    assert outcome == "failed"
    assert "write 2 not seen" in detail
    server.watching = True
    with server.lock:
        server.lock.notify_all()
    assert writer.ask(PLENTY)[0] == "ok"
    assert probe.ask(PLENTY)[0] == "ok"
    assert probe.own_cpu() > 0
    probe.close()
    with pytest.raises(KubedrillError, match="has died"):
        probe.ask(SHORT)


def test_a_watch_is_opened_anew(server: Server, way: Access) -> None:
    writer = ApiWrite(lane("write"), way.endpoint(), "r")
    probe = Watch(lane("watch"), way.endpoint(), "r", writer.newest, recent=PLENTY)
    server.refuse()
    server.accept()
    server.before = cut
    threading.Event().wait(SHORT)
    server.before = lambda handler: True
    assert writer.ask(PLENTY)[0] == "ok"
    assert probe.ask(PLENTY)[0] == "ok"
    probe.close()


def test_old_acknowledgements_prove_nothing(server: Server, way: Access) -> None:
    writer = ApiWrite(lane("write"), way.endpoint(), "r")
    probe = Watch(lane("watch"), way.endpoint(), "r", writer.newest, recent=0)
    assert writer.ask(PLENTY)[0] == "ok"
    assert probe.ask(PLENTY)[0] == "unknown"
    probe.close()


class Hello(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = {"/": b'{"pod": "hello-1"}', "/list": b"[]", "/text": b"hello"}.get(self.path, b"")
        self.send_response(200 if body else 500)
        self.end_headers()
        self.wfile.write(body)


def test_services_are_asked_in_turn_and_tell_their_pod() -> None:
    place = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=place.serve_forever, args=(0.02,), daemon=True).start()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{place.server_address[1]}"
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        probe = HttpService(lane("service"), [url, nobody, f"{url}/list", f"{url}/text", f"{url}/broken"])
        answers = [probe.ask(PLENTY) for _ in range(6)]
    place.shutdown()
    place.server_close()
    assert answers[0] == answers[5] == ("ok", "hello-1")
    assert [outcome for outcome, _ in answers[1:5]] == ["failed"] * 4
    for (_, detail), why in zip(answers[1:5], ("refused", "wrong answer", "wrong answer", "500"), strict=True):
        assert why in detail
        assert detail.startswith("127.0.0.1: ")


def test_a_host_that_takes_no_connection_is_failed_after_the_timeout() -> None:
    """A full queue of a socket that nobody accepts from: as an address that drops all packets."""
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler.connect(full.getsockname())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        outcome, detail = ApiRead(lane(), Endpoint(*full.getsockname(), tls)).ask(SHORT)
    assert (outcome, detail) == ("failed", "connecting: timed out")


def test_a_probe_reaches_what_until_waits_for(server: Server, way: Access) -> None:
    probe = ApiRead(lane(), way.endpoint(f"https://127.0.0.1:{server.port}"), (READ,))
    assert until(lambda: probe.ask(PLENTY), lambda answer: (answer[0] == "ok", answer[1]), within=PLENTY, what="it")
