"""The dashboard over HTTP: who may ask, what, and that changes are pushed."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from kubedrill import hints
from kubedrill.dashboard.hub import Hub
from kubedrill.dashboard.server import Server, framed
from kubedrill.errors import KubedrillError


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def server(hub: Hub) -> Iterator[Server]:
    with Server(hub) as made:
        made.start()
        yield made
        hub.close()
        made.shutdown()


def ask(server: Server, method: str, path: str, host: str = "") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    return connection.getresponse()


def event(stream: http.client.HTTPResponse) -> tuple[str, object]:
    """The next event of a stream."""
    name = ""
    while line := stream.readline().decode().strip() or " ":
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


@pytest.mark.parametrize("path", ["/", "/style.css", "/page.js", "/draw.js"])
def test_each_file_is_served_and_may_ask_nobody_else(server: Server, path: str) -> None:
    answer = ask(server, "GET", path)
    assert answer.status == 200
    assert len(answer.read()) > 500
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(("called", "name"), [("", "invoke"), ("yes", "kubedrill")])
def test_what_to_do_names_the_program_that_was_called(
    server: Server, hub: Hub, monkeypatch: pytest.MonkeyPatch, called: str, name: str
) -> None:
    monkeypatch.setenv(hints.VARIABLE, called)
    hub.publish("drill", {"reason": "refused\n  -> run: invoke heal"})
    assert f"<code>{name} scenario NAME</code>" in ask(server, "GET", "/").read().decode()
    script = ask(server, "GET", "/page.js").read().decode()
    assert f"Mend it with: {name} heal" in script
    assert f"Begin it again with: {name} dashboard" in script
    assert event(ask(server, "GET", "/changes")) == ("drill", {"reason": f"refused\n  -> run: {name} heal"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"])
def test_only_get_is_allowed(server: Server, method: str) -> None:
    answer = ask(server, method, "/")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/", "/changes"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:80"])
def test_a_host_that_is_not_ours_is_refused(server: Server, path: str, host: str) -> None:
    assert ask(server, "GET", path, host).status == 403


def test_localhost_is_ours_and_other_paths_are_not_there(server: Server) -> None:
    assert ask(server, "GET", "/", f"localhost:{server.server_port}").status == 200
    assert ask(server, "GET", "/../server.py").status == 404


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_changes_are_pushed_and_what_is_the_same_is_not(server: Server, hub: Hub) -> None:
    hub.publish("nodes", ["a"])
    hub.publish("pods", ["\n<p>"])
    stream = ask(server, "GET", "/changes")
    assert stream.headers["Content-Type"] == "text/event-stream"
    assert [event(stream), event(stream)] == [("nodes", ["a"]), ("pods", ["\n<p>"])]
    hub.publish("nodes", ["a"])
    hub.publish("pods", ["b"])
    assert event(stream) == ("pods", ["b"])


def test_a_stream_ends_with_the_dashboard(server: Server, hub: Hub) -> None:
    stream = ask(server, "GET", "/changes")
    hub.close()
    assert stream.read() == b"retry: 1000\n\n"


def test_nothing_new_still_shows_that_the_connection_lives() -> None:
    assert framed({}) == b": nothing new\n\n"
    assert framed({"pods": '["x"]', "nodes": "[]"}) == b'event: pods\ndata: ["x"]\n\nevent: nodes\ndata: []\n\n'


def test_a_port_that_is_taken_is_said_so(server: Server, hub: Hub) -> None:
    with pytest.raises(KubedrillError, match=f"the port {server.server_port} of 127.0.0.1 is taken"):
        Server(hub, server.server_port)


def test_who_waits_is_woken_by_a_change(hub: Hub) -> None:
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(hub.since(0, 5)))
    waiting.start()
    hub.publish("nodes", [])
    waiting.join(5)
    assert got == [(1, {"nodes": "[]"})]
    assert hub.since(1, 0) == (1, {})
