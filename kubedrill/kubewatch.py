"""Watches of a cluster's API: what is there, then each change as it comes, for as long as it takes.

A list gives all objects and a version; the watch goes on from that version. A stream that ends, or breaks, is resumed
from the last version seen, so nothing is missed; where the API has forgotten that version (410 Gone) it is listed anew.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

The connections are the client's, its class `Watch` is not used: that one takes an ERROR without `raw_object` for a bug
of its own, lists nothing, and makes a model of each object, which costs many times the CPU of reading it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from kubedrill import kube
from kubedrill.kube import ApiUnavailable, translated
from kubedrill.objects import Object

KINDS = {
    "nodes": "/api/v1/nodes", "pods": "/api/v1/pods", "leases": "/apis/coordination.k8s.io/v1/leases",
    "events": "/api/v1/events",
}  # fmt: skip
# Seconds after which the API server ends a stream by itself, and in which something must come: a connection whose other
# end died without a word is found out by that.
_STREAM = 50
_SILENCE = 60
_CONNECT = 2
_LIST = 10
_PAUSE = 0.5


class Sink(Protocol):
    """Who is told; from several threads."""

    def listed(self, kind: str, items: Sequence[Object]) -> None:
        """All objects of a kind, as they are now."""
        ...

    def changed(self, kind: str, what: str, item: Object) -> None:
        """One object was ADDED, MODIFIED or DELETED."""
        ...

    def lost(self, kind: str, why: str) -> None:
        """The API does not answer; it is asked again and again."""
        ...


class Gone(Exception):
    """The API no longer knows the version that the watch is to go on from."""


class Watches:
    """Watches nodes, pods, leases and events, each in a thread of its own.

    Args:
        kubeconfig: a kubeconfig as text; its current context is used.
        sink: is told.
    """

    def __init__(self, kubeconfig: str, sink: Sink) -> None:
        self._connection = kube.connection(kubeconfig)
        self._stop = threading.Event()
        self._watches = [_Watch(kind, path, self._connection, sink, self._stop) for kind, path in KINDS.items()]
        # Daemons, so that a program that forgets to stop them can still end.
        self._threads = [
            threading.Thread(target=watch.run, name=f"watch-{watch.kind}", daemon=True) for watch in self._watches
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def reconnect(self) -> None:
        """Begin anew over new connections: the API was away, and an old one may lead nowhere, and say nothing."""
        for watch in self._watches:
            watch.interrupt()

    def stop(self) -> None:
        """End, at once."""
        self._stop.set()
        self.reconnect()
        for thread in self._threads:
            # One that is connecting right now cannot be interrupted; it ends by itself.
            thread.join(_CONNECT + 0.5)
        self._connection.close()


class _Watch:
    def __init__(self, kind: str, path: str, connection: Any, sink: Sink, stop: threading.Event) -> None:
        self.kind = kind
        self._path, self._connection, self._sink, self._stop = path, connection, sink, stop
        self._lock = threading.Lock()
        self._response: Any = None
        self._interrupted = 0

    def run(self) -> None:
        """List and follow until stopped."""
        version, connected = "", 0
        while not self._stop.is_set():
            try:
                if connected != self._interrupted:
                    # What was away may be back with an older store (a checkpoint, a snapshot), which knows nothing of
                    # the version seen last, and would say nothing until it is as far.
                    version, connected = "", self._interrupted
                version = version or self._list()
                version = self._follow(version, connected)
            except Gone:
                version = ""
            except ApiUnavailable as error:
                if not self._stop.is_set():
                    self._sink.lost(self.kind, "; ".join([error.what, *error.evidence])[:300])
            # Not wait.until: nothing is waited for, and `stop` ends it.
            self._stop.wait(_PAUSE)

    def interrupt(self) -> None:
        """Break the present stream, if there is one."""
        with self._lock:
            self._interrupted += 1
            if self._response is not None:
                # What has just ended by itself need not be.
                with contextlib.suppress(RuntimeError, ValueError, OSError):
                    self._response.shutdown()

    def _list(self) -> str:
        with translated():
            content = json.loads(_good(self._ask()).data)
        self._sink.listed(self.kind, content["items"])
        return str(content["metadata"]["resourceVersion"])

    def _follow(self, version: str, connected: int) -> str:
        """Tell of each change until the stream ends, however it does; gives the version to go on from."""
        with translated():
            answer = _good(self._ask(watch="true", resourceVersion=version, allowWatchBookmarks="true",
                                     timeoutSeconds=str(_STREAM)))  # fmt: skip
            # The answer begins at once; what it tells may be long in coming.
            answer.connection.sock.settimeout(_SILENCE)
        with self._lock:
            if self._interrupted != connected or self._stop.is_set():  # while it was being opened
                answer.close()
                return version
            self._response = answer
        try:
            for change in self._changes(answer):
                item = change["object"]
                if change["type"] == "ERROR":
                    if item.get("code") == 410:
                        raise Gone
                    raise ApiUnavailable(f"the watch ended: {item.get('message', 'no reason given')}")
                version = str(item["metadata"]["resourceVersion"])
                if change["type"] != "BOOKMARK":
                    self._sink.changed(self.kind, change["type"], item)
        finally:
            with self._lock:
                self._response = None
            answer.close()
        return version

    def _ask(self, **query: str) -> Any:
        """An answer, of which only the beginning has come."""
        import urllib3

        return self._connection.rest_client.pool_manager.request(
            "GET", f"{self._connection.configuration.host}{self._path}", fields=query or None,
            timeout=urllib3.Timeout(connect=_CONNECT, read=_LIST), preload_content=False, retries=False,
        )  # fmt: skip

    def _changes(self, answer: Any) -> Iterator[dict[str, Any]]:
        import urllib3.exceptions

        left = b""
        try:
            for piece in answer.stream(None, decode_content=True):
                *lines, left = (left + piece).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            # Whatever broke it, and wherever in a line: it is resumed from the last version. If the API is gone, the
            # next request says so.
            return


def _good(answer: Any) -> Any:
    if answer.status == 410:
        raise Gone
    if answer.status != 200:
        raise ApiUnavailable(f"the API answered {answer.status}", evidence=[answer.data.decode(errors="replace")[:300]])
    return answer
