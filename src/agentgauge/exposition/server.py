"""The HTTP server: one thread that reads requests, and one for each of at most 16 that are answered."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors
from agentgauge.exposition import wire
from agentgauge.exposition.arrivals import Arrivals
from agentgauge.exposition.incoming import BODY_LIMIT_BYTES, BodyRefusedError, Incoming
from agentgauge.exposition.listening import listen, tls_context
from agentgauge.exposition.response import Response, answer, plain
from agentgauge.exposition.sibling import group_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentgauge.config import Config
    from agentgauge.exposition.arrivals import Arrival

__all__ = ["MetricsServer"]

_CONNECTIONS = 16
_LINGERING = 64  # clients that have their answer and keep their side open; more are cut off
_REQUEST_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_DROPPED_SECONDS = 0.25  # a thread that a collector of the host holds up does not end for being dropped


@dataclass(slots=True, eq=False)
class _Connection:
    arrival: Arrival
    thread: threading.Thread | None = None
    is_answered: bool = False  # all that remains is that the client ends its side


class MetricsServer:
    """Serves what ``respond`` answers on the address of ``config``, one request a connection.

    A connection has 10 s in all. At most 16 are answered at once; those that have not sent a whole request do not count, and
    of these there are at most 128, so that slow clients cannot lock a scrape out. Bodies are read in the same way, where they
    are taken at all, and by ``Content-Length`` alone.

    Args:
        config: Read for ``host``, ``port`` and the TLS files.
        respond: From the method, the target, the headers (names in lower case) and the body to the response.
        takes_body: Tells, by the method and the target, whether a body is to be read; no body is, unless given.
        body_limit_bytes: How long a body may be.
    """

    def __init__(
        self,
        config: Config,
        respond: Callable[[str, str, Mapping[str, str], bytes], Response],
        *,
        takes_body: Callable[[str, str], bool] | None = None,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self._config = config
        self._respond = respond
        self._takes_body = takes_body
        self._body_limit_bytes = body_limit_bytes
        self._tls: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        self._arrivals: Arrivals | None = None
        self._acceptor: threading.Thread | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_CONNECTIONS)
        self._lingering = threading.Semaphore(_LINGERING)
        self._connections: list[_Connection] = []

    @property
    def address(self) -> tuple[str, int]:
        """The address and port that it listens on."""
        if self._listener is None:
            raise RuntimeError("the server listens nowhere: it is not bound, or closed")
        host, port, *_ = self._listener.getsockname()
        return host, port

    @property
    def url(self) -> str:
        """Where Prometheus finds ``/metrics``."""
        host, port = self.address
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def bind(self) -> bool:
        """Take the port, so that what can fail has failed before anything starts.

        Returns:
            ``False`` where another server of this process group has it, after a warning that says so.

        Raises:
            ConfigurationError: The address cannot be used, or a TLS file cannot.
        """
        self._tls = tls_context(self._config)
        self._listener = listen(self._config)
        if self._listener is None:
            return False
        self._wake, self._woken = socket.socketpair()
        _servers.add(self)
        return True

    def start(self) -> None:
        """Serve in daemon threads until ``close()``; ``bind()`` has taken the port."""
        if self._listener is None:
            raise RuntimeError("the server listens nowhere: it is not bound, or closed")
        self._arrivals = Arrivals(self._listener, self._woken, self._tls, _REQUEST_SECONDS, self._incoming)
        self._acceptor = threading.Thread(target=self._serve_all, args=(self._arrivals,), name="agentgauge-server", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Give the port back at once, let responses that are on their way end for up to 1 s, and end the threads."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._closing.set()
        self._wake.send(b"\0")
        if self._acceptor is not None:
            self._acceptor.join()
        listener.close()
        with self._lock:
            threads = [connection.thread for connection in self._connections if connection.thread]
        self._drop(lambda connection: connection.is_answered)
        _join(threads)
        self._drop(lambda _: True)
        _join(threads, _DROPPED_SECONDS)
        self._wake.close()
        self._woken.close()

    def _serve_all(self, arrivals: Arrivals) -> None:
        # in this thread and those that it starts: where the host has the default action, a client that goes away would end it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while not self._closing.is_set():
            with contain_internal_errors("server"):
                for arrival in arrivals.take():
                    self._serve(arrival)
        arrivals.close()

    def _serve(self, arrival: Arrival) -> None:
        connection = _Connection(arrival)
        connection.thread = threading.Thread(target=self._run, args=(connection,), name="agentgauge-connection", daemon=True)
        while not self._slots.acquire(timeout=0.05):
            if self._closing.is_set():
                arrival.sock.close()
                return
        with self._lock:
            self._connections.append(connection)
        try:
            connection.thread.start()
        except RuntimeError:  # no thread can be had, or the interpreter is shutting down
            self._slots.release()
            self._end(connection)

    def _run(self, connection: _Connection) -> None:
        try:
            with contain_internal_errors("server"), contextlib.suppress(OSError):  # the client went away or was too slow
                self._exchange(connection)
        finally:
            self._slots.release()
        if connection.is_answered and self._lingering.acquire(blocking=False):
            with contain_internal_errors("server"), contextlib.suppress(OSError):
                wire.drain(connection.arrival.sock)
            self._lingering.release()
        self._end(connection)

    def _exchange(self, connection: _Connection) -> None:
        sock, deadline = connection.arrival.sock, connection.arrival.since + _REQUEST_SECONDS
        request = None
        try:
            request = connection.arrival.incoming.request()
        except wire.HeadTooLargeError:
            response = plain(431, f"a request has at most {wire.HEAD_BYTES} bytes before its body\n")
        except wire.MalformedHeadError:
            response = plain(400, "this is no HTTP/1.1 request\n")
        except BodyRefusedError as error:
            response = plain(error.status, f"{error.text}\n")
        else:
            if self._lacks_certificate(sock):
                response = plain(403, "a client certificate is needed\n")
            else:
                response = answer(self._respond, request.method, request.target, request.headers, request.body)
        wire.send(sock, request, response, deadline, group_header())
        connection.is_answered = True

    def _incoming(self, sock: socket.socket) -> Incoming:
        def takes_body(method: str, target: str) -> bool:  # asked when the handshake is over
            return self._takes_body is not None and not self._lacks_certificate(sock) and self._takes_body(method, target)

        return Incoming(takes_body, self._body_limit_bytes)

    def _lacks_certificate(self, sock: socket.socket) -> bool:
        is_asked = self._config.tls_client_ca_file is not None
        return is_asked and isinstance(sock, ssl.SSLSocket) and sock.getpeercert(binary_form=True) is None

    def _drop(self, is_meant: Callable[[_Connection], bool]) -> None:
        """End connections by waking their threads."""
        with self._lock:
            for connection in filter(is_meant, self._connections):
                with contextlib.suppress(OSError):  # it is ending by itself
                    # SSLSocket's own would first forget the TLS state that the connection's thread is using
                    socket.socket.shutdown(connection.arrival.sock, socket.SHUT_RDWR)

    def _end(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.remove(connection)
            connection.arrival.sock.close()

    def _abandon(self) -> None:
        """Close, in a forked child, its copies of the parent's sockets, so that the parent's port ends with the parent."""
        self._lock = threading.Lock()
        listener, self._listener = self._listener, None
        if listener is not None:
            for sock in (listener, self._wake, self._woken, *(connection.arrival.sock for connection in self._connections)):
                sock.close()
            if self._arrivals is not None:
                self._arrivals.close()


def _join(threads: list[threading.Thread], seconds: float = _CLOSE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


_servers: weakref.WeakSet[MetricsServer] = weakref.WeakSet()


def _abandon_all() -> None:
    for server in _servers:
        server._abandon()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_abandon_all)
