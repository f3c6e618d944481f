"""A request as it comes in: its head, then its body, where what it asks for takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.exposition.wire import Head, HeadTooLargeError, MalformedHeadError, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.exposition.wire import Request

__all__ = ["BODY_LIMIT_BYTES", "CONTINUE", "BodyRefusedError", "Incoming", "length_of_body"]

BODY_LIMIT_BYTES = 1_048_576
"""How long a body may be unless told otherwise: some thousand alerts of Alertmanager."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LONGEST_NUMBER = 18  # digits: int() takes long ones, but for seconds


class BodyRefusedError(Exception):
    """A body that is not read; ``status`` and ``text`` answer it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def length_of_body(headers: Mapping[str, str], limit_bytes: int) -> int:
    """Tell how long a body is, before any of it is read.

    Args:
        headers: The request's headers by their names in lower case.
        limit_bytes: How long it may be.

    Raises:
        BodyRefusedError: No length is stated (411: chunks are not taken, RFC 9110, 15.5.12), or not one number (400), or it is
            too long (413), or the body is encoded (415).
    """
    length = headers.get("content-length")
    if "transfer-encoding" in headers:
        # a message with both is how one request is smuggled past a proxy in another (RFC 9112, 6.1)
        raise BodyRefusedError(411 if length is None else 400, "a body needs Content-Length, and no Transfer-Encoding")
    if length is None:
        raise BodyRefusedError(411, "a body needs Content-Length")
    if not (length.isascii() and length.isdecimal()):
        raise BodyRefusedError(400, "Content-Length is not one number")
    if len(length) > _LONGEST_NUMBER or int(length) > limit_bytes:
        raise BodyRefusedError(413, f"a body has at most {limit_bytes} bytes here")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise BodyRefusedError(415, "a body is not to be compressed")
    return int(length)


class Incoming:
    """What has arrived of one request.

    Args:
        takes_body: Tells, by the method and the target, whether the body is to be read; asked once, when the head is whole.
        limit_bytes: How long a body may be.

    Attributes:
        body_bytes: How much of the body it holds.
        wants_continue: Whether the client waits to be told that it may send the body (RFC 9110, 10.1.1).
    """

    def __init__(self, takes_body: Callable[[str, str], bool], limit_bytes: int) -> None:
        self._takes_body = takes_body
        self._limit_bytes = limit_bytes
        self._head = Head()
        self._request: Request | None = None
        self._length: int | None = None  # unknown until the head is whole
        self._body = bytearray()
        self._refusal: Exception | None = None
        self.wants_continue = False

    @property
    def body_bytes(self) -> int:
        """How much of the body it holds."""
        return len(self._body)

    def add(self, chunk: bytes) -> bool:
        """Take what arrived; tells whether to stop reading, since all is there that will be read."""
        if self._length is None:
            if not self._head.add(chunk):
                return False
            chunk = self._head.rest
            self._length = self._read_head()
            self.wants_continue = self._is_waiting() and not chunk
        self._body += chunk[: self._length - len(self._body)]
        return len(self._body) >= self._length

    def request(self) -> Request:
        """Give the request, with its body where one was read.

        Raises:
            HeadTooLargeError: The head has more than 16 KiB.
            MalformedHeadError: This is no HTTP/1 request.
            BodyRefusedError: The body is none that is read.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._request is None:
            raise MalformedHeadError
        return self._request._replace(body=bytes(self._body))

    def _read_head(self) -> int:
        try:
            self._request = request = parse_request(self._head.text())
            if self._takes_body(request.method, request.target):
                return length_of_body(request.headers, self._limit_bytes)
        except (HeadTooLargeError, MalformedHeadError, BodyRefusedError) as error:
            self._refusal = error
        return 0

    def _is_waiting(self) -> bool:
        request = self._request
        if not self._length or request is None:
            return False
        # an HTTP/1.0 client knows nothing of it, and one that follows it forwards what it was sent
        return request.can_read_chunks and request.headers.get("expect", "").lower() == "100-continue"
