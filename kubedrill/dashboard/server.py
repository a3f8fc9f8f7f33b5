"""The page and what it shows, over HTTP on 127.0.0.1: GET alone, and each change pushed as a server-sent event.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import errno
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from kubedrill.dashboard.hub import Hub
from kubedrill.errors import KubedrillError
from kubedrill.hints import hinted

ADDRESS = "127.0.0.1"
# A page that was left open behind a closed lid is found out when something is written to it.
_HEARTBEAT = 10.0
_TIMEOUT = 30
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    # Text is put into the page as text; should that ever fail, a script in a pod's name would still not run.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves a hub.

    Args:
        hub: what is shown.
        port: of 127.0.0.1; 0 for any that is free.

    Raises:
        KubedrillError: the port is taken, or none at all.
    """

    daemon_threads = True

    def __init__(self, hub: Hub, port: int = 0) -> None:
        self.hub = hub
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            raise KubedrillError(
                f"the port {port} of {ADDRESS} {'is taken' if taken else 'cannot be used'}",
                evidence=[str(error)],
                todo=["--port 0 takes any that is free", *(["or use the dashboard that is there"] if taken else [])],
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.1,), name="dashboard-server", daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that is gone is no error to print; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _TIMEOUT
    server_version = "kubedrill"
    sys_version = ""

    def __getattr__(self, name: str) -> Any:
        # BaseHTTPRequestHandler looks for do_METHOD.
        if name.startswith("do_"):
            return self._not_allowed
        raise AttributeError(name)

    def do_GET(self) -> None:
        if not self._host_is_ours():
            self._answer(HTTPStatus.FORBIDDEN, b"this page is at 127.0.0.1 and localhost alone\n")
        elif self.path in _FILES:
            name, kind = _FILES[self.path]
            content = resources.files("kubedrill.dashboard").joinpath("assets", name).read_text(encoding="utf-8")
            self._answer(HTTPStatus.OK, hinted(content).encode(), kind)
        elif self.path == "/changes":
            self._stream()
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"there is no such page\n")

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for what matters."""

    def _host_is_ours(self) -> bool:
        """Whether the browser means us: a name of somebody else's that resolves to 127.0.0.1 (DNS rebinding) is not."""
        port = self.server.server_port
        return self.headers.get("Host", "").lower() in (f"{ADDRESS}:{port}", f"localhost:{port}")

    def _not_allowed(self) -> None:
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"this page only shows\n", allow="GET")

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8", allow: str = ""
    ) -> None:  # fmt: skip
        more = {"Allow": allow} if allow else {}
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **more})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self) -> None:
        """Everything there is, then each section again when it has changed, until either side ends it."""
        self._head(HTTPStatus.OK, {"Content-Type": "text/event-stream"})
        # Back soon after the dashboard was ended and begun again.
        self.wfile.write(b"retry: 1000\n\n")
        version = 0
        while (new := self.server.hub.since(version, _HEARTBEAT)) is not None:
            version, sections = new
            self.wfile.write(framed(sections))


def framed(sections: dict[str, str]) -> bytes:
    """Sections as server-sent events; without any, a comment that shows that the connection lives."""
    events = "".join(f"event: {name}\ndata: {hinted(text)}\n\n" for name, text in sections.items())
    return (events or ": nothing new\n\n").encode()
