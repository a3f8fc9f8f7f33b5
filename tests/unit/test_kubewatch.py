"""Watches against an API that speaks over a real socket: lists, streams, forgets, breaks off."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kubedrill import kubewatch
from kubedrill.kubewatch import Watches
from kubedrill.objects import Object

END = "end"


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


class Api(ThreadingHTTPServer):
    """Answers lists and watches of pods as a test says; everything else is empty and silent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: queue.Queue[str] = queue.Queue()
        self.streams: queue.Queue[list[object]] = queue.Queue()
        self.ended = threading.Event()
        self.statuses: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def kubeconfig(self) -> str:
        server = f"http://127.0.0.1:{self.server_port}"
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": server}}], "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        })  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        mine = path == "/api/v1/pods"
        if mine and "watch" in query and not self.server.statuses.empty():
            body = b'{"kind": "Status"}'
            self.send_response(self.server.statuses.get())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        if "watch" not in query:
            body = json.dumps({"metadata": {"resourceVersion": "10"}, "items": [pod("a", 9)] if mine else []}).encode()
            if mine:
                self.server.asked.put("list")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if not mine:
            self.server.ended.wait(20)
            return
        self.server.asked.put(f"watch from {query['resourceVersion'][0]}")
        for change in self.server.streams.get(timeout=20):
            data = change if isinstance(change, bytes) else json.dumps(change).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Heard:
    """A sink that keeps what it was told of pods."""

    def __init__(self) -> None:
        self.told: queue.Queue[str] = queue.Queue()

    def listed(self, kind: str, items: Sequence[Object]) -> None:
        """All objects."""
        if kind == "pods":
            self.told.put("all: " + " ".join(item["metadata"]["name"] for item in items))

    def changed(self, kind: str, what: str, item: Object) -> None:
        """One object."""
        self.told.put(f"{what} {item['metadata']['name']}")

    def lost(self, kind: str, why: str) -> None:
        """No answer."""
        if kind == "pods":
            self.told.put("lost")


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as made:
        yield made
        made.ended.set()
        made.shutdown()


@pytest.fixture
def heard(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setattr(kubewatch, "_PAUSE", 0.01)
    sink = Heard()
    watches = Watches(api.kubeconfig, sink)
    watches.start()
    yield sink
    api.streams.put([])
    watches.stop()


def said(source: queue.Queue[str], count: int) -> list[str]:
    return [source.get(timeout=10) for _ in range(count)]


def test_a_watch_goes_on_where_its_stream_broke(api: Api, heard: Heard) -> None:
    whole = json.dumps({"type": "ADDED", "object": pod("b", 12)}).encode()
    api.streams.put([whole[:20], whole[20:] + b"\n", {"type": "BOOKMARK", "object": pod("", 15)}, b'{"type": "ADD'])
    api.streams.put([{"type": "DELETED", "object": pod("a", 16)}])
    assert said(heard.told, 3) == ["all: a", "ADDED b", "DELETED a"]
    assert said(api.asked, 4) == ["list", "watch from 10", "watch from 15", "watch from 16"]


def test_where_the_api_has_forgotten_the_version_it_lists_anew(api: Api, heard: Heard) -> None:
    api.streams.put([{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}])
    assert said(heard.told, 2) == ["all: a", "all: a"]
    assert said(api.asked, 4) == ["list", "watch from 10", "list", "watch from 10"]


def test_a_watch_that_is_refused_is_told_and_tried_again(api: Api, heard: Heard) -> None:
    api.streams.put([{"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is gone"}}])
    assert said(heard.told, 2) == ["all: a", "lost"]
    assert said(api.asked, 3) == ["list", "watch from 10", "watch from 10"]


@pytest.mark.parametrize(("status", "told"), [(403, "lost"), (503, "lost"), (410, "all: a")])
def test_a_status_is_told_or_what_it_says_is_done(
    api: Api, monkeypatch: pytest.MonkeyPatch, status: int, told: str
) -> None:
    """403: an API server that starts does not know yet who may do what. 410: the version is forgotten."""
    monkeypatch.setattr(kubewatch, "_PAUSE", 0.01)
    api.statuses.put(status)
    sink = Heard()
    watches = Watches(api.kubeconfig, sink)
    watches.start()
    assert said(sink.told, 2) == ["all: a", told]
    assert said(api.asked, 2 if told == "lost" else 3)[-1] == "watch from 10"
    api.streams.put([])
    watches.stop()


def test_a_broken_handshake_is_told_and_tried_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """So an API server answers that starts, or a port that somebody else has meanwhile."""
    monkeypatch.setattr(kubewatch, "_PAUSE", 0.01)
    sink = Heard()
    watches = Watches(api.kubeconfig.replace("http:", "https:"), sink)
    watches.start()
    assert said(sink.told, 3) == ["lost"] * 3
    watches.stop()


def test_a_silent_stream_is_left_at_once(api: Api, heard: Heard) -> None:
    """`stop` of the fixture would take a minute if a stream on which nothing comes could not be left."""
    assert said(api.asked, 2) == ["list", "watch from 10"]


def test_silent_streams_end_and_all_begins_anew_on_reconnect(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubewatch, "_PAUSE", 0.01)
    watches = Watches(api.kubeconfig, Heard())
    watches.start()
    assert said(api.asked, 2) == ["list", "watch from 10"]
    before = threading.active_count()
    watches.reconnect()
    # Not from the version seen last: to a store that a checkpoint has put back that one is in the future.
    assert said(api.asked, 2) == ["list", "watch from 10"]
    assert threading.active_count() <= before + 8
    watches.stop()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("watch-")] == []
    api.streams.put([])
    api.streams.put([])
