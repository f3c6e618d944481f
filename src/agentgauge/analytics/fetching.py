"""How a Prometheus is asked: by HTTP, within a deadline, and never with a secret where it does not belong."""

from __future__ import annotations

import http.client
import io
import ssl
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit

from agentgauge.errors import SourceError
from agentgauge.notification.deadline import Deadline, PacedReader
from agentgauge.notification.destination import describe, is_loopback, tls_context
from agentgauge.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

__all__ = ["Answer", "Fetcher", "TooLongError"]

_CHUNK = 65_536


class TooLongError(SourceError):
    """The answer is longer than anybody wants to hold."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, whatever its status.

    Attributes:
        status: The HTTP status.
        location: Where a redirect leads, empty for none.
        body: The body.
    """

    status: int
    location: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Fetcher:
    """With what, and how patiently, is asked.

    Attributes:
        headers: What goes along; may hold secrets.
        timeout_seconds: The limit on one request, from its beginning to the end of the answer.
        ca_file: The authorities that its certificate may be of; the system's for None.
        most_bytes: The longest answer that is read.
    """

    headers: Mapping[str, str] = field(repr=False)
    timeout_seconds: float
    ca_file: str | None
    most_bytes: int

    def get(self, url: str) -> Answer:
        """Fetch ``url``; redirects are not followed, since they would carry secrets to where nobody meant them to go.

        Raises:
            SourceError: No whole answer came; the message begins with what went wrong, and quotes nothing.
            TooLongError: It is too long.
        """
        deadline = Deadline(self.timeout_seconds)
        opener = urllib.request.OpenerDirector()  # without what follows redirects or raises errors that quote addresses
        host = urlsplit(url).hostname or ""
        if not is_loopback(host):
            opener.add_handler(urllib.request.ProxyHandler())
        opener.add_handler(_Handler(deadline, self.ca_file))
        standard = {"Accept": "application/json", "User-Agent": f"agentgauge/{__version__}", "Connection": "close"}
        request = urllib.request.Request(url, headers={**standard, **self.headers})  # noqa: S310 - http or https, as its maker sees to
        try:
            response = opener.open(request, timeout=deadline.timeout())
            if response is None:  # no handler knows the scheme, of a proxy perhaps
                raise SourceError("the proxy that the environment names has a scheme that is none of http and https")
            with response:
                location = response.headers.get("Location") or ""
                return Answer(int(response.status), location, self._read(response))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceError(_explained(error, is_tls=url.startswith("https:"))) from None

    def _read(self, response: Any) -> bytes:
        chunks = []
        left = self.most_bytes
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            left -= len(chunk)
            if left < 0:
                raise TooLongError(f"it answers with more than {self.most_bytes} bytes")
        if response.length:  # read1() takes a connection that was cut off for the end
            raise SourceError("its answer was cut off")
        return b"".join(chunks)


class _Handler(urllib.request.AbstractHTTPHandler):
    """Opens connections on which every wait ends at the deadline."""

    def __init__(self, deadline: Deadline, ca_file: str | None) -> None:
        super().__init__()
        self._deadline = deadline
        self._ca_file = ca_file

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        deadline = self._deadline

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                self.sock: Any = _PacedSocket(self.sock, deadline)

        return self.do_open(Connection, request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        deadline, context = self._deadline, tls_context(self._ca_file)

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                self.sock: Any = _PacedSocket(self.sock, deadline)

        return self.do_open(Connection, request, context=context)

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_  # fills in what headers lack


class _Reader(PacedReader):
    """Reads an answer, and closes the socket at its end."""

    def close(self) -> None:
        if not self.closed:
            self._sock.close()
        super().close()


class _PacedSocket:
    """A socket on which reads and writes end at the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._is_read = False

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.timeout())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        self._is_read = True
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        if not self._is_read:  # urllib closes it when the headers are there, and whoever reads the rest closes it again
            self._sock.close()


def _explained(error: Exception, *, is_tls: bool) -> str:
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}): name its authority as ca_file"
    if isinstance(cause, ssl.SSLError):
        return f"it does not speak TLS as it should ({cause.reason or 'no more is known'}): is it http, not https?"
    if isinstance(cause, TimeoutError):
        return "it did not answer in time: ask for a shorter window, or give a longer timeout_seconds"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there: is it running, and is the port right?"
    if isinstance(cause, ConnectionError):  # http.client's own RemoteDisconnected is one
        return "it closed the connection without an answer" + ("" if is_tls else ": is it https, not http?")
    if isinstance(cause, http.client.IncompleteRead):
        return "its answer was cut off"
    if isinstance(cause, http.client.HTTPException | ValueError):
        return f"it does not speak HTTP as it should ({type(cause).__name__})"
    return f"it cannot be reached ({describe(cause)})"
