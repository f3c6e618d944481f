"""How doctor asks other programs: by HTTP, within a deadline, and never with a secret where it does not belong."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

__all__ = ["Access", "Answer", "UnreachableError", "checked_url", "is_loopback"]

_CHUNK = 65_536
_MOST_BYTES = 256 * 1024 * 1024
_EXAMPLES = {
    "--url": "http://127.0.0.1:9464/metrics",
    "--prometheus": "http://127.0.0.1:9090",
    "--alertmanager": "http://127.0.0.1:9093",
}


class UnreachableError(Exception):
    """Nothing that could be read came from a url; the message says why.

    Args:
        message: Why.
        fix: What to do.
    """

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, whatever its status.

    Attributes:
        status: The HTTP status.
        headers: The headers.
        body: The body.
        seconds: How long it took.
    """

    status: int
    headers: Message
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token would go along, to whatever host the answer names."""

    def redirect_request(self, *_details: Any) -> None:
        """Refuse."""


class _Deadline:
    """Shuts the connections of one request down when its time is over: a server that drips its headers lets no timeout pass."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._timer.cancel()
        with self._lock:
            while self._connections:
                self._connections.pop().close()

    def connect(self, address: tuple[str, int], _timeout: Any = None, source: Any = None) -> socket.socket:
        """Do what ``socket.create_connection`` does, within what is left of the time for all addresses of a host together."""
        problem: OSError = TimeoutError()
        for *_, target in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
            left = self._end - time.monotonic()
            if left <= 0:
                break
            try:
                connection = socket.create_connection((str(target[0]), int(target[1])), left, source)
            except OSError as error:
                problem = error
                continue
            with self._lock:
                self._connections.append(connection.dup())  # TLS takes the other one away
                if self.is_over:
                    self._connections[-1].shutdown(socket.SHUT_RDWR)
            return connection
        raise problem

    def _shut(self) -> None:
        with self._lock:
            self.is_over = True
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the server has closed it
                    connection.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    """Opens connections under a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> Any:
        """Open one."""
        return self.do_open(self._connection, req)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        return _under(self._deadline, http.client.HTTPConnection(host, **options))


class _Https(urllib.request.HTTPSHandler):
    """Opens encrypted connections under a deadline."""

    def __init__(self, deadline: _Deadline, tls: ssl.SSLContext | None) -> None:
        super().__init__(context=tls)
        self._deadline = deadline
        self._tls = tls

    def https_open(self, req: urllib.request.Request) -> Any:
        """Open one."""
        return self.do_open(self._connection, req, context=self._tls)

    def _connection(self, host: str, **options: Any) -> http.client.HTTPConnection:
        return _under(self._deadline, http.client.HTTPSConnection(host, **options))


def _under(deadline: _Deadline, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
    # Here, and not in connect(): a proxy's answer and the TLS handshake, which that waits for, may drip, too.
    connection._create_connection = deadline.connect  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way in between
    return connection


@dataclass(frozen=True)
class Access:
    """With what, and how patiently, is asked.

    Attributes:
        timeout_seconds: The limit on one request, from its beginning to the end of the answer; looking up a host's address is
            the system's, which has a limit of its own.
        bearer_token: What a program's ``/metrics`` wants.
        tls: The certificates that are trusted, and the one that is shown; None for those that the system trusts.
        tls_of_stranger: The same without the one that is shown.
    """

    timeout_seconds: float = 10.0
    bearer_token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    tls_of_stranger: ssl.SSLContext | None = None

    def get(self, url: str, headers: Mapping[str, str] | None = None, *, is_stranger: bool = False) -> Answer:
        """Fetch ``url``; as a stranger, without the token and the client's certificate.

        Raises:
            UnreachableError: No whole answer came.
        """
        request = urllib.request.Request(url, headers={"User-Agent": "agentgauge-doctor", **(headers or {})})  # noqa: S310 - checked_url
        if not is_stranger and self.bearer_token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self.bearer_token}")
        deadline = _Deadline(self.timeout_seconds)
        handlers: list[Any] = [
            _NoRedirects(),
            _Http(deadline),
            _Https(deadline, self.tls_of_stranger if is_stranger else self.tls),
        ]
        if is_loopback(url):
            handlers.append(urllib.request.ProxyHandler({}))  # a proxy's loopback is another machine's
        began = time.monotonic()
        try:
            with deadline:
                try:
                    response: Any = urllib.request.build_opener(*handlers).open(request, timeout=self.timeout_seconds)
                except urllib.error.HTTPError as answer:
                    response = answer
                with response:
                    body = self._read(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = TimeoutError() if deadline.is_over else error
            raise _explained(cause, is_tls=url.startswith("https:")) from None
        if deadline.is_over:  # what was cut off looks like an end
            raise UnreachableError("the answer did not end in time", "Try a longer --timeout.")
        return Answer(response.status, response.headers, body, time.monotonic() - began)

    def json(self, url: str) -> Any:
        """Fetch ``url``, which answers JSON.

        Raises:
            UnreachableError: It did not.
        """
        answer = self.get(url, is_stranger=True)
        if answer.status != http.client.OK:
            raise UnreachableError(f"it answers with status {answer.status}")
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):  # the latter where it is lists in lists without end
            raise UnreachableError("what it answers is no JSON") from None

    @staticmethod
    def _read(response: Any) -> bytes:
        chunks = []
        left = _MOST_BYTES
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            left -= len(chunk)
            if left < 0:
                raise UnreachableError(f"the answer is longer than {_MOST_BYTES} bytes")
        return b"".join(chunks)


def checked_url(option: str, url: str) -> str:
    """Return ``url`` where it can be asked.

    Args:
        option: Which option it was given with: ``--url``, ``--prometheus`` or ``--alertmanager``.
        url: Its text.

    Raises:
        ConfigurationError: It has no scheme, no host, or a password.
    """
    example = f"{option} {_EXAMPLES[option]}"
    try:
        parts = urlsplit(url)
        host, port, has_secret = parts.hostname, parts.port, "@" in parts.netloc
    except ValueError:
        raise ConfigurationError(f"{option} {url!r}: this is no url; write one such as {example}") from None
    if has_secret:
        raise ConfigurationError(
            f"{option}: a name or password in the url is not supported; a program's token goes to --token-file"
        )
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or not url.isascii() or " " in url:
        raise ConfigurationError(f"{option} {url!r}: write the whole url, with http:// or https://, such as {example}")
    del port
    return url


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` leads to this machine alone, by its host's name."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _explained(error: Exception, *, is_tls: bool) -> UnreachableError:
    cause = error.reason if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UnreachableError(f"its certificate is not trusted: {cause.verify_message}", "Name its authority with --ca-file.")
    if isinstance(cause, ssl.SSLError):
        return UnreachableError(f"it does not speak TLS as it should: {cause.reason or cause}", "Is it http, not https?")
    if isinstance(cause, TimeoutError):
        return UnreachableError("it did not answer in time", "Is it http, not https?" if is_tls else "Try a longer --timeout.")
    if isinstance(cause, ConnectionRefusedError):
        return UnreachableError("nothing listens there")
    if isinstance(cause, ConnectionError):  # http.client's own RemoteDisconnected is one
        return UnreachableError("it closed the connection without an answer", "" if is_tls else "Is it https, not http?")
    if isinstance(cause, socket.gaierror):
        return UnreachableError("its host has no address")
    return UnreachableError(f"{type(cause).__name__}: {cause}")
