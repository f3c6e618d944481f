"""Pages that take what is sent to them, such as the alerts of an Alertmanager."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from agentgauge.errors import ConfigurationError
from agentgauge.exposition.response import PATHS, Response, plain
from agentgauge.fork_gate import process_mark

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Receiver", "Receivers"]

_AT_ONCE = 4  # of the 16 that the server answers: receivers that hang lock no scrape out
_EXAMPLE = "an object with a path such as '/api/v1/alerts' and answer(method, headers, body)"


class Receiver(Protocol):
    """Takes what is sent to one path."""

    @property
    def path(self) -> str:
        """Where it is: it begins with a slash, and is compared as a whole."""
        ...

    def answer(self, method: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        """Take one request; called in a thread of the server, by four at most at once.

        It sees to who may send, and does so before it looks at the body: a token that guards ``/metrics`` does not guard it.

        Args:
            method: ``POST``.
            headers: The request's headers by their names in lower case.
            body: What was sent, of no more bytes than the server allows.

        Returns:
            The status of the response, from 200 to 599, and a text for its body; 204 has none. The server sends it within
            ten seconds from the start of the connection, or not at all.
        """
        ...


class Receivers:
    """The receivers of one server or app.

    Args:
        receivers: Each with a path of its own.

    Raises:
        ConfigurationError: They are not what they should be, or a path is taken.
    """

    def __init__(self, receivers: object = ()) -> None:
        if not isinstance(receivers, Iterable) or isinstance(receivers, str | bytes):
            raise ConfigurationError(f"receivers={receivers!r}: give a list of them, each {_EXAMPLE}")
        self.all: tuple[Receiver, ...] = tuple(receivers)
        self._by_path: dict[str, Receiver] = {}
        for receiver in self.all:
            self._by_path[_checked_path(receiver, self._by_path)] = receiver
        self._renew()

    @property
    def paths(self) -> tuple[str, ...]:
        """Where they are."""
        return tuple(self._by_path)

    def takes_body(self, method: str, target: str) -> bool:
        """Tell whether the body of a request is to be read."""
        return method == "POST" and target.partition("?")[0] in self._by_path

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer a request for one of ``paths``.

        Raises:
            Exception: What the receiver raised, or a fault in what it returned.
        """
        if method != "POST":
            return plain(405, "only POST works here\n", ("Allow", "POST"))
        if self._mark != process_mark():
            self._renew()  # a forked child: who was at work at the fork is not at work here
        slots = self._slots
        if not slots.acquire(blocking=False):
            return plain(503, "too many requests are under way here; try again\n", ("Retry-After", "5"))
        try:
            number, text = self._by_path[path].answer(method, headers, body)
        finally:
            slots.release()
        status = HTTPStatus(number)
        if status < HTTPStatus.OK:  # the client would wait for more
            raise ValueError(f"the receiver at {path} answered {number}, which is no end")
        if status is HTTPStatus.NO_CONTENT:  # RFC 9110, 15.3.5 and 8.6: neither a body nor a Content-Length
            return Response(status, (), ())
        challenge = (("WWW-Authenticate", 'Bearer realm="agentgauge"'),) if status is HTTPStatus.UNAUTHORIZED else ()
        return plain(status, text, *challenge)

    def _renew(self) -> None:
        self._slots = threading.Semaphore(_AT_ONCE)
        self._mark = process_mark()


def _checked_path(receiver: object, taken: Mapping[str, object]) -> str:
    path = getattr(receiver, "path", None)
    if not callable(getattr(receiver, "answer", None)) or not isinstance(path, str):
        raise ConfigurationError(f"receivers: {receiver!r} is no receiver; give {_EXAMPLE}")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or set(path) & set(" ?#%"):
        raise ConfigurationError(f"receivers: path={path!r}: give one such as '/api/v1/alerts'")
    if path in PATHS or path in taken:
        raise ConfigurationError(f"receivers: {path} is taken; give the receiver another path, such as '/api/v1/alerts'")
    return path
