"""HTTP/1.1 over a socket with one deadline for all of a question: connecting, TLS, asking and reading the answer.

Not http.client: its timeout begins anew with each read, so that a slow answer outlasts it; it does not say whether the
question was sent; and its headers take half of the CPU that a sampler may use.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kubedrill.errors import KubedrillError
from kubedrill.probes.http1 import MOST, Answer, dechunk, parse_head


class Unanswered(KubedrillError):
    """There was no complete answer.

    Args:
        what: why.
        sent: whether any of the question may have been sent: then it may have been done.
    """

    def __init__(self, what: str, *, sent: bool) -> None:
        super().__init__(what)
        self.sent = sent


class WrongAnswer(Unanswered):
    """An answer came, and it is no HTTP."""

    def __init__(self, what: str) -> None:
        super().__init__(f"a wrong answer: {what}", sent=True)


@dataclass(frozen=True)
class Endpoint:
    """Where to connect to.

    Args:
        host: an address; a name would be resolved without a deadline.
        port: TCP port.
        tls: how to talk TLS, None for plain TCP. The server's certificate must name the host.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str, tls: ssl.SSLContext | None = None) -> Endpoint:
        """The endpoint of a URL.

        Raises:
            ValueError: it is no http or https URL, or is https without `tls`.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is no http or https URL")
        if (parts.scheme == "https") != (tls is not None):
            raise ValueError(f"'{url}': TLS settings go with https, and only with it")
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)


class Link:
    """An open connection, for one question at a time.

    Args:
        endpoint: where to connect to.
        deadline: time.monotonic() by which it must be open.

    Raises:
        Unanswered: it could not be opened; nothing was sent.
    """

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self._host = f"{endpoint.host}:{endpoint.port}"
        self.usable = True
        try:
            plain = socket.create_connection((endpoint.host, endpoint.port), timeout=_left(deadline))
        except OSError as error:
            raise Unanswered(f"connecting: {_reason(error)}", sent=False) from error
        self._socket = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.tls is not None:
                plain.settimeout(_left(deadline))
                self._socket = endpoint.tls.wrap_socket(plain, server_hostname=endpoint.host)
        except OSError as error:
            plain.close()
            raise Unanswered(f"TLS: {_reason(error)}", sent=False) from error

    def ask(
        self, method: str, path: str, deadline: float, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a question and read all of its answer.

        Args:
            method: GET, PUT and so on.
            path: with its query.
            deadline: time.monotonic() by which the answer must be complete.
            body: what to send.
            headers: in addition to Host and Content-Length.

        Raises:
            Unanswered: there is no complete answer; the connection is closed.
        """
        self.send(method, path, deadline, body, headers)
        data = bytearray()
        try:
            while (answer := self._complete(bytes(data))) is None:
                received = self.receive(deadline)
                if not received:
                    answer = self._at_end(bytes(data))
                    break
                data += received
        except ValueError as error:
            self.close()
            raise WrongAnswer(str(error)) from error
        return answer

    def send(
        self, method: str, path: str, deadline: float, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a question alone; arguments and errors are those of `ask`."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*lines, "", ""]).encode() + body
        if (left := deadline - time.monotonic()) <= 0:
            self.close()
            raise Unanswered("no time was left to ask", sent=False)
        try:
            self._socket.settimeout(left)
            self._socket.sendall(request)
        except OSError as error:
            self.close()
            raise Unanswered(f"sending: {_reason(error)}", sent=True) from error

    def receive(self, deadline: float) -> bytes:
        """What has come; nothing once the other side has closed.

        Raises:
            Unanswered: nothing came in time, or the connection broke; it is closed.
        """
        try:
            self._socket.settimeout(_left(deadline))
            return self._socket.recv(MOST)
        except OSError as error:
            self.close()
            raise Unanswered(f"no answer: {_reason(error)}", sent=True) from error

    def shutdown(self) -> None:
        """Wake another thread that receives: it sees the end."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is closed already, or the other side was faster.
            return

    def close(self) -> None:
        """Close it; harmless when it is."""
        self.usable = False
        self._socket.close()

    def _complete(self, data: bytes) -> Answer | None:
        head = parse_head(data) if data else None
        if head is None:
            return None
        if head.headers.get("transfer-encoding") == "chunked":
            body, _, complete = dechunk(data[head.body_at :])
        else:
            body = data[head.body_at :]
            length = int(head.headers.get("content-length", -1))
            complete = 0 <= length <= len(body)
            body = body[:length] if complete else body
        if complete and head.headers.get("connection") == "close":
            self.close()
        return Answer(head.status, body) if complete else None

    def _at_end(self, data: bytes) -> Answer:
        """The answer when the other side has closed: whole only if nothing said how long it would be."""
        self.close()
        head = parse_head(data) if data else None
        if head is None or {"transfer-encoding", "content-length"} & set(head.headers):
            raise Unanswered("the connection was closed before the answer was complete", sent=True)
        return Answer(head.status, data[head.body_at :])


def ask_once(
    endpoint: Endpoint, method: str, path: str, timeout: float, headers: Mapping[str, str] | None = None
) -> Answer:
    """Ask one question on a connection of its own.

    Raises:
        Unanswered: there is no complete answer within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    link = Link(endpoint, deadline)
    try:
        return link.ask(method, path, deadline, headers={**(headers or {}), "Connection": "close"})
    finally:
        link.close()


def _left(deadline: float) -> float:
    # 0 would mean "do not wait at all", which fails in another way than a time-out does.
    return max(deadline - time.monotonic(), 1e-3)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.strerror or str(error) or type(error).__name__).lower()
