"""The HTTP server: one thread that accepts, and one for each of at most 16 connections."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.errors import contain_internal_errors, report_internal_error
from agentgauge.exposition import wire
from agentgauge.exposition.listening import listen, tls_context
from agentgauge.exposition.response import Response, plain
from agentgauge.exposition.sibling import group_header

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from agentgauge.config import Config

__all__ = ["MetricsServer"]

_CONNECTIONS = 16
_REQUEST_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_GRACE_SECONDS = 0.1  # a client that is not slow has sent its request by then


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    thread: threading.Thread | None = None
    idle_since: float | None = None  # on time.monotonic(); None before its thread runs and while a response is on its way

    def has_been_idle(self, seconds: float) -> bool:
        return self.idle_since is not None and time.monotonic() - self.idle_since >= seconds


class MetricsServer:
    """Serves what ``respond`` answers on the address of ``config``, one request a connection.

    A connection has 10 s in all. Where 16 are open, the oldest that has not sent a whole request makes room for the next, so
    that slow clients cannot lock a scrape out.

    Args:
        config: Read for ``host``, ``port`` and the TLS files.
        respond: From the method, the target and the headers (names in lower case) to the response.
    """

    def __init__(self, config: Config, respond: Callable[[str, str, Mapping[str, str]], Response]) -> None:
        self._config = config
        self._respond = respond
        self._tls: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_CONNECTIONS)
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
        self._acceptor = threading.Thread(target=self._accept_all, args=(self._listener,), name="agentgauge-server", daemon=True)
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
        self._drop(lambda connection: connection.has_been_idle(0))
        _join(threads)
        self._drop(lambda _: True)
        _join(threads)
        self._wake.close()
        self._woken.close()

    def _accept_all(self, listener: socket.socket) -> None:
        # in this thread and those that it starts: where the host has the default action, a client that goes away would end it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        ready = select.poll()
        ready.register(listener, select.POLLIN)
        ready.register(self._woken, select.POLLIN)
        while not self._closing.is_set():
            with contain_internal_errors("server"):
                ready.poll()
                self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone again
            return
        except OSError:  # no descriptor is free, and none will be at once
            self._closing.wait(0.1)
            return
        if not self._take_slot():
            sock.close()
            return
        connection = _Connection(sock)
        connection.thread = threading.Thread(target=self._serve, args=(connection,), name="agentgauge-connection", daemon=True)
        with self._lock:
            self._connections.append(connection)
        try:
            connection.thread.start()
        except RuntimeError:  # no thread can be had, or the interpreter is shutting down
            self._end(connection)

    def _take_slot(self) -> bool:
        is_taken = self._slots.acquire(blocking=False)
        while not is_taken and not self._closing.is_set():
            self._drop(lambda connection: connection.has_been_idle(_GRACE_SECONDS), at_most=1)
            is_taken = self._slots.acquire(timeout=0.05)
        return is_taken

    def _serve(self, connection: _Connection) -> None:
        try:
            with contain_internal_errors("server"), contextlib.suppress(OSError):  # the client went away or was too slow
                self._exchange(connection)
        finally:
            self._end(connection)

    def _exchange(self, connection: _Connection) -> None:
        connection.idle_since = time.monotonic()
        deadline = connection.idle_since + _REQUEST_SECONDS
        if self._tls is not None:
            with self._lock:
                connection.sock = self._tls.wrap_socket(connection.sock, server_side=True, do_handshake_on_connect=False)
            wire.shake_hands(connection.sock, deadline)
        request = None
        try:
            head = wire.read_head(connection.sock, deadline)
            if head is None:
                return
            request = wire.parse_request(head)
        except wire.HeadTooLargeError:
            response = plain(431, f"a request has at most {wire.HEAD_BYTES} bytes before its body\n")
        except wire.MalformedHeadError:
            response = plain(400, "this is no HTTP/1.1 request\n")
        else:
            with self._lock:
                connection.idle_since = None
            response = self._answer(request)
        wire.send(connection.sock, request, response, deadline, group_header())
        connection.idle_since = time.monotonic()
        wire.drain(connection.sock)

    def _answer(self, request: wire.Request) -> Response:
        try:
            return self._respond(request.method, request.target, request.headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            report_internal_error("server", error)
            return plain(500, "agentgauge failed; the program's log has the traceback\n")

    def _drop(self, is_meant: Callable[[_Connection], bool], *, at_most: int = _CONNECTIONS) -> None:
        """End connections, the oldest first, by waking their threads."""
        with self._lock:
            for connection in [each for each in self._connections if is_meant(each)][:at_most]:
                with contextlib.suppress(OSError):  # it is ending by itself
                    # SSLSocket's own would first forget the TLS state that the connection's thread is using
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _end(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.remove(connection)
            connection.sock.close()
        self._slots.release()

    def _abandon(self) -> None:
        """Close, in a forked child, its copies of the parent's sockets, so that the parent's port ends with the parent."""
        self._lock = threading.Lock()
        listener, self._listener = self._listener, None
        if listener is not None:
            for sock in (listener, self._wake, self._woken, *(connection.sock for connection in self._connections)):
                sock.close()


def _join(threads: list[threading.Thread]) -> None:
    deadline = time.monotonic() + _CLOSE_SECONDS
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


_servers: weakref.WeakSet[MetricsServer] = weakref.WeakSet()


def _abandon_all() -> None:
    for server in _servers:
        server._abandon()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_abandon_all)
