"""One HTTP request and its answer, within one deadline, of a bounded size."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from agentgauge.health.checks.wire import Wire
from agentgauge.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from email.message import Message

    from agentgauge.health.checks.settings import HeaderValue
    from agentgauge.health.checks.wire import Deadline

__all__ = ["HTTP_SCHEMES", "Answer", "RedirectError", "Request", "fetch"]

HTTP_SCHEMES = ("http", "https")

_CHUNK = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RedirectError(http.client.HTTPException):
    """A redirect that is not followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked.

    Attributes:
        url: Where; its user and password go as basic authentication.
        method: How.
        headers: With which headers.
        body: What is sent.
        tls: What is trusted; None for what the system trusts.
        body_limit_bytes: How much of the answer is read.
        redirects: How many are followed, with the headers to the same origin alone; none with a body.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, HeaderValue]
    body: bytes | None = None
    tls: ssl.SSLContext | None = None
    body_limit_bytes: int = 1_048_576
    redirects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came.

    Attributes:
        status: The status.
        headers: The headers.
        body: The body, or the beginning of one that is too long.
        is_cut: Whether there was more of it.
        certificate: The server's, where it has one that was checked.
    """

    status: int
    headers: Message
    body: bytes
    is_cut: bool
    certificate: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The body as text."""
        charset = self.headers.get_content_charset() or "utf-8"
        try:
            return self.body.decode(charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: It is none.
        """
        try:
            return json.loads(self.body)
        except RecursionError:  # lists in lists without end
            raise ValueError("nested too deep") from None


def fetch(request: Request, deadline: Deadline) -> Answer:
    """Ask, without a proxy, and follow as many redirects as allowed.

    Raises:
        OSError: No whole answer came in time.
        http.client.HTTPException: What came is no HTTP, or leads where it must not.
    """
    headers = {name: _line(name, value() if callable(value) else value) for name, value in request.headers.items()}
    url, origin = request.url, _origin(urlsplit(request.url))
    for left in range(request.redirects, -1, -1):
        parts = urlsplit(url)
        answer = _ask(request, parts, headers if _origin(parts) == origin else {}, deadline)
        target = answer.headers.get("Location", "")
        if left == 0 or answer.status not in _REDIRECTS or not target:
            break
        url = _redirected(parts, target)
    return answer


def _line(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.isascii():
        raise ValueError(f"the header {name} is not one line of ASCII text")  # what http.client raises shows the value
    return value


def _redirected(parts: SplitResult, target: str) -> str:
    try:
        url = urljoin(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), target)
        to = urlsplit(url)
        _origin(to)
    except ValueError:
        raise RedirectError("it redirects to what is no URL") from None
    if to.scheme not in HTTP_SCHEMES or not to.hostname or (parts.scheme == "https" and to.scheme == "http"):
        raise RedirectError("it redirects to what is not followed: another scheme, or from https to http")
    return url


def _ask(request: Request, parts: SplitResult, headers: Mapping[str, str], deadline: Deadline) -> Answer:
    is_encrypted = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if is_encrypted else 80)
    wire = Wire.to(host, port, deadline)
    try:
        certificate = wire.encrypt(host, request.tls) if is_encrypted else {}
        # The name and the port are for the header Host; port 80 of http and 443 of https are left out of it.
        connection = http.client.HTTPConnection(host, port)
        connection.default_port = 443 if is_encrypted else 80
        connection.sock = _Kept(wire)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"User-Agent": f"agentgauge/{__version__}", "Accept-Encoding": "identity", "Connection": "close"}
        sent |= _basic(parts)
        names = {name.lower() for name in headers}
        sent = {name: value for name, value in sent.items() if name.lower() not in names} | dict(headers)
        connection.request(request.method, target, request.body, sent)
        response = connection.getresponse()
        body = _read(response, request.body_limit_bytes + 1)
        is_cut = len(body) > request.body_limit_bytes
        if response.length and not is_cut:
            raise http.client.IncompleteRead(b"", response.length)  # what it shows is no part of the body
        return Answer(
            status=response.status,
            headers=response.headers,
            body=body[: request.body_limit_bytes],
            is_cut=is_cut,
            certificate=certificate,
        )
    finally:
        wire.close()


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    chunks = []
    while most > 0 and (chunk := response.read(min(_CHUNK, most))):
        chunks.append(chunk)
        most -= len(chunk)
    return b"".join(chunks)


def _basic(parts: SplitResult) -> dict[str, str]:
    if "@" not in parts.netloc:
        return {}
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


class _Kept:
    """A wire as ``http.client`` wants it, which closes it before the answer is read."""

    def __init__(self, wire: Wire) -> None:
        self.sendall = wire.sendall
        self.makefile = wire.makefile

    def close(self) -> None:
        """Leave it open: whoever made it closes it."""
