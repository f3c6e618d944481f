"""How doctor asks other programs: by HTTP, within a deadline, and never with a secret where it does not belong."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentgauge.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

__all__ = ["Access", "Answer", "UnreachableError", "checked_url", "is_loopback"]

_CHUNK = 65_536
_MOST_BYTES = 256 * 1024 * 1024


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


@dataclass(frozen=True)
class Access:
    """With what, and how patiently, is asked.

    Attributes:
        timeout_seconds: The limit on one request, from its beginning to the end of the answer.
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
        handlers: list[Any] = [
            _NoRedirects(),
            urllib.request.HTTPSHandler(context=self.tls_of_stranger if is_stranger else self.tls),
        ]
        if is_loopback(url):
            handlers.append(urllib.request.ProxyHandler({}))  # a proxy's loopback is another machine's
        began = time.monotonic()
        try:
            try:
                response: Any = urllib.request.build_opener(*handlers).open(request, timeout=self.timeout_seconds)
            except urllib.error.HTTPError as answer:
                response = answer
            with response:
                body = self._read(response, began + self.timeout_seconds)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _explained(error, is_tls=url.startswith("https:")) from None
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
        except ValueError:
            raise UnreachableError("what it answers is no JSON") from None

    @staticmethod
    def _read(response: Any, deadline: float) -> bytes:
        chunks = []
        left = _MOST_BYTES
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            left -= len(chunk)
            if left < 0:
                raise UnreachableError(f"the answer is longer than {_MOST_BYTES} bytes")
            if time.monotonic() > deadline:
                raise UnreachableError("the answer did not end in time")
        return b"".join(chunks)


def checked_url(option: str, url: str) -> str:
    """Return ``url`` where it can be asked.

    Args:
        option: Which option it was given with.
        url: Its text.

    Raises:
        ConfigurationError: It has no scheme, no host, or a password.
    """
    try:
        parts = urlsplit(url)
        host, port, has_secret = parts.hostname, parts.port, "@" in parts.netloc
    except ValueError:
        raise ConfigurationError(f"{option} {url!r}: this is no url; write one such as http://127.0.0.1:9464/metrics") from None
    if has_secret:
        raise ConfigurationError(
            f"{option}: a name or password in the url is not supported; a program's token goes to --token-file"
        )
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or not url.isascii() or " " in url:
        raise ConfigurationError(
            f"{option} {url!r}: write the whole url, with http:// or https://, such as http://127.0.0.1:9464/metrics"
        )
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
