"""JSON by POST over HTTP: within a deadline, to the address that was given and no other."""

from __future__ import annotations

import http.client
import io
import time
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from agentgauge.chance import CHANCE
from agentgauge.errors import ConfigurationError
from agentgauge.notification.deadline import PacedReader
from agentgauge.notification.delivery import DeliveryError
from agentgauge.notification.destination import describe, is_loopback, tls_context
from agentgauge.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from agentgauge.notification.deadline import Deadline

__all__ = ["Endpoint", "host_of", "require_url"]

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 8.0
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}  # beside all from 500 on


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where to post to.

    Attributes:
        url: The address, a secret.
        tries: How often at most.
        ca_file: The authorities that its certificate may be of; the system's for None.
    """

    url: str
    tries: int
    ca_file: str | None

    def post(self, body: bytes, make_headers: Callable[[], Mapping[str, str]], deadline: Deadline) -> None:
        """Send ``body`` until it is taken, as long as trying again may help and there is time.

        Redirects are not followed: they would carry secrets to where nobody meant them to go. What cannot be reached, and answers
        408, 425, 429 and from 500 on, are tried again after a pause that doubles, or the one that the answer asks for (RFC 9110,
        section 10.2.3).

        Args:
            body: JSON.
            make_headers: Returns further headers, anew for each try.
            deadline: When to give up.

        Raises:
            DeliveryError: It was not taken.
        """
        for tried in range(1, self.tries + 1):
            retry_after = None
            try:
                status, retry_after = self._attempt(body, make_headers(), deadline)
                if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                    return
                problem = f"HTTP {status}" + (", a redirect, is not followed" if status < HTTPStatus.BAD_REQUEST else "")
                is_passing = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            except (OSError, http.client.HTTPException) as error:
                problem, is_passing = describe(error), True
            pause = min(_FIRST_PAUSE_SECONDS * 2.0**tried, _LONGEST_PAUSE_SECONDS) * (0.5 + CHANCE.random() / 2)
            pause = max(pause, retry_after or 0.0)
            if not is_passing or tried == self.tries or pause >= deadline.left():
                raise DeliveryError(f"{problem} (try {tried} of {self.tries})", retry_after)
            time.sleep(pause)

    def _attempt(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> tuple[int, float | None]:
        """Return the status, and for how many seconds the server wants to be left alone."""
        opener = urllib.request.OpenerDirector()  # without what follows redirects or raises errors that quote addresses
        if not is_loopback(host_of(self.url)):
            opener.add_handler(urllib.request.ProxyHandler())
        opener.add_handler(_Handler(deadline, self.ca_file))
        standard = {"Content-Type": "application/json", "User-Agent": f"agentgauge/{__version__}", "Connection": "close"}
        request = urllib.request.Request(self.url, body, {**standard, **headers}, method="POST")  # noqa: S310 - as required below
        response = opener.open(request, timeout=deadline.timeout())
        if response is None:  # no handler knows the scheme, of a proxy perhaps
            raise OSError
        with response:
            return int(response.status), _seconds_of(response.headers.get("Retry-After"))


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


class _PacedSocket:
    """A socket on which reads and writes end at the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.timeout())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(PacedReader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


def require_url(setting: str, value: object) -> SplitResult:
    """Return the parts of an address to post to; no message quotes it.

    Raises:
        ConfigurationError: It is none, or bears a user's name.
    """
    hint = "(what was given is not shown)"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{setting}: give an address such as 'https://alerts.example.com/hook' {hint}")
    parts = None
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if parts is None or not is_whole:
        raise ConfigurationError(f"{setting}: give an address such as 'https://alerts.example.com/hook' {hint}")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{setting}: give it without user and password, and those as bearer_token {hint}")
    return parts


def host_of(url: str) -> str:
    """Return the host of an address that ``require_url`` let pass."""
    return urlsplit(url).hostname or ""


def _seconds_of(retry_after: str | None) -> float | None:
    """Read ``Retry-After``: seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
