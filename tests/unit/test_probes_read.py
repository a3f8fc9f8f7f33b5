"""The probes that read, against a real TLS server that misbehaves."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import probe_server
import pytest
from probe_server import MISBEHAVIOUR, PLENTY, SHORT, Handler, Server, drip, hang, kubeconfig, lane, late, sampled

from kubedrill.errors import BrokenKubeconfig
from kubedrill.history import Outcome
from kubedrill.probes.access import Access, access
from kubedrill.probes.base import Answered
from kubedrill.probes.manifest import READ
from kubedrill.probes.read import ApiRead, HttpService
from kubedrill.probes.wire import Endpoint
from kubedrill.probes.write import ApiWrite
from kubedrill.wait import until

keys, server, way = probe_server.keys, probe_server.server, probe_server.way  # fixtures


def other(handler: Handler) -> bool:
    handler.say(200, {"kind": "Secret"})
    return False


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
