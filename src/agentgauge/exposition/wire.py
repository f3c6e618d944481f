"""HTTP/1.1 on a socket, as far as scrapes and probes need it: one request, one response, then the connection ends."""

from __future__ import annotations

import re
import socket
import ssl
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentgauge.exposition.response import Response

__all__ = [
    "Head",
    "HeadTooLargeError",
    "MalformedHeadError",
    "Request",
    "drain",
    "parse_headers",
    "parse_request",
    "read_head",
    "send",
]

HEAD_BYTES = 16384
READ_BYTES = 4096
_DRAIN_SECONDS = 0.5
_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+) HTTP/1\.(\d)")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token (RFC 9110, 5.6.2)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class MalformedHeadError(Exception):
    """What arrived is no HTTP/1 message."""


class HeadTooLargeError(Exception):
    """The lines before the body are longer than ``HEAD_BYTES``."""


class Request(NamedTuple):
    """A request; header names in lower case, and a body only where what it asks for takes one."""

    method: str
    target: str
    headers: dict[str, str]
    can_read_chunks: bool
    body: bytes = b""


class Head:
    """The lines before the body of a message, as they come in.

    Attributes:
        rest: What came with its last bytes and is not of it.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._received = bytearray()
        self._end: re.Match[bytes] | None = None

    def add(self, chunk: bytes) -> bool:
        """Take what arrived; tells whether to stop reading, since the head is whole or too long."""
        searched = max(0, len(self._received) - 3)  # the blank line may come in two chunks
        self._received += chunk
        self._end = _END_OF_HEAD.search(bytes(self._received[searched:]))
        if self._end is not None:
            self.rest = bytes(self._received[searched + self._end.end() :])
            del self._received[searched + self._end.start() :]
        return self._end is not None or len(self._received) > HEAD_BYTES

    def text(self) -> str:
        """Give the lines up to the blank one.

        Raises:
            HeadTooLargeError: They have more than 16 KiB.
        """
        if self._end is None or len(self._received) > HEAD_BYTES:
            raise HeadTooLargeError
        return self._received.decode("latin-1")


def read_head(sock: socket.socket, deadline: float) -> str | None:
    """Read up to the blank line that ends the head of a message.

    Args:
        sock: The connection.
        deadline: When to give up, on ``time.monotonic()``.

    Returns:
        The head, or ``None`` where the peer ended the connection before.

    Raises:
        HeadTooLargeError: More than 16 KiB came without a blank line.
        TimeoutError: The deadline passed.
        OSError: The connection broke.
    """
    head = Head()
    while True:
        _limit(sock, deadline)
        chunk = sock.recv(READ_BYTES)
        if not chunk:
            return None
        if head.add(chunk):
            return head.text()


def parse_request(head: str) -> Request:
    """Take the head of a request apart.

    Raises:
        MalformedHeadError: It is not one of HTTP/1.
    """
    line, _, lines = head.partition("\n")
    match = _REQUEST_LINE.fullmatch(line.rstrip("\r"))
    if match is None:
        raise MalformedHeadError
    return Request(match[1], match[2], parse_headers(lines), can_read_chunks=match[3] != "0")


def parse_headers(lines: str) -> dict[str, str]:
    """Take header lines apart: names in lower case, values of repeated ones joined by commas (RFC 9110, 5.3).

    Raises:
        MalformedHeadError: A line has no colon, or what another reader may take for something else: a space before the colon or
            the name (RFC 9112, 5.1 and 5.2), or a CR or NUL in the value (RFC 9110, 5.5).
    """
    headers: dict[str, str] = {}
    for line in filter(None, lines.split("\n")):
        name, colon, rest = line.partition(":")
        value = rest.removesuffix("\r").strip(" \t")
        if not colon or not _NAME.fullmatch(name) or "\r" in value or "\0" in value:
            raise MalformedHeadError
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def send(sock: socket.socket, request: Request | None, response: Response, deadline: float, *extra: tuple[str, str]) -> None:
    """Send ``response`` with ``extra`` headers; ``request`` is ``None`` where it could not be read.

    Raises:
        TimeoutError: The deadline, on ``time.monotonic()``, passed.
        OSError: The connection broke.
    """
    has_length = any(name == "Content-Length" for name, _ in response.headers)
    has_body = response.status != HTTPStatus.NO_CONTENT
    is_chunked = has_body and not has_length and request is not None and request.can_read_chunks
    headers = [*response.headers, *extra, ("Date", formatdate(usegmt=True)), ("Connection", "close")]
    if is_chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    _send_all(sock, f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n{lines}\r\n".encode("latin-1"), deadline)
    if request is None or request.method != "HEAD":
        for chunk in _framed(response) if is_chunked else response.body:
            _send_all(sock, chunk, deadline)


def drain(sock: socket.socket) -> None:
    """End our side and read on for a moment: unread bytes at a close would take the response back from the peer (RST).

    Raises:
        OSError: The connection broke, or the peer keeps its side open.
    """
    deadline = time.monotonic() + _DRAIN_SECONDS
    _limit(sock, deadline)
    if isinstance(sock, ssl.SSLSocket):
        sock.unwrap()
        return
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(65536):
        _limit(sock, deadline)


def _framed(response: Response) -> Iterator[bytes]:
    for chunk in response.body:
        yield b"%x\r\n%b\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"


def _send_all(sock: socket.socket, data: bytes, deadline: float) -> None:
    _limit(sock, deadline)
    sock.sendall(data)  # its timeout is for all of it


def _limit(sock: socket.socket, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    sock.settimeout(remaining)
