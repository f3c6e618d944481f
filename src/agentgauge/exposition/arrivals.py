"""Connections that have not sent a whole request yet: one thread reads them all, so that a slow client costs no thread."""

from __future__ import annotations

import select
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentgauge.exposition.incoming import CONTINUE
from agentgauge.exposition.wire import READ_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from agentgauge.exposition.incoming import Incoming

__all__ = ["Arrival", "Arrivals"]

_WAITING = 128  # descriptors that slow clients can take
_WAITING_BODIES_BYTES = 16_777_216  # that they can take, together
_GRACE_SECONDS = 0.1  # a client that is not slow has sent its request by then
_BREATH_SECONDS = 0.1  # until a descriptor may be free again


@dataclass(slots=True, eq=False)
class Arrival:
    """A connection whose request is read; ``since`` is on ``time.monotonic()``."""

    sock: socket.socket
    since: float
    is_shaken: bool  # its TLS handshake is over, or not needed
    incoming: Incoming


class Arrivals:
    """Accepts connections and reads their requests, for one thread that calls ``take()``.

    Where 128 wait, the oldest makes room for the next as soon as it has had a tenth of a second; where what has come of bodies
    is more than 16 MiB together, the oldest of them ends.

    Args:
        listener: Listens, and does not block.
        woken: Readable when ``take()`` is to return.
        tls: Where it is given, connections start with a handshake.
        seconds: How long a connection may take to send its request.
        incoming: Makes what holds the request of a new connection.
    """

    def __init__(
        self,
        listener: socket.socket,
        woken: socket.socket,
        tls: ssl.SSLContext | None,
        seconds: float,
        incoming: Callable[[socket.socket], Incoming],
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._seconds = seconds
        self._incoming = incoming
        self._waiting: dict[int, Arrival] = {}  # by descriptor, the oldest first
        self._poll = select.poll()  # no epoll: a forked child would share it
        self._poll.register(woken, select.POLLIN)
        self._poll.register(listener, select.POLLIN)

    def take(self) -> Iterator[Arrival]:
        """Wait until something happens; yield the connections that have sent a request, or more than one can be.

        Their sockets belong to the caller, and do not block.
        """
        for descriptor, _ in self._poll.poll(max(0.0, self._wait_seconds()) * 1000):
            arrival = self._accept() if descriptor == self._listener.fileno() else self._waiting.get(descriptor)
            if arrival is not None and self._has_sent_all(arrival):
                self._forget(arrival)
                yield arrival

    def close(self) -> None:
        """Drop the connections that still wait; the listener is the caller's."""
        for arrival in list(self._waiting.values()):
            arrival.sock.close()

    def _wait_seconds(self) -> float:
        """Drop who is too late, see whether there is room, and tell until when that holds."""
        now = time.monotonic()
        while (oldest := next(iter(self._waiting.values()), None)) and now - oldest.since >= self._seconds:
            self._drop(oldest)
        is_full = oldest is not None and len(self._waiting) >= _WAITING and now - oldest.since < _GRACE_SECONDS
        self._poll.modify(self._listener, 0 if is_full else select.POLLIN)
        if oldest is None:
            return self._seconds
        return oldest.since + (_GRACE_SECONDS if is_full else self._seconds) - now

    def _accept(self) -> Arrival | None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone again
            return None
        except OSError:  # no descriptor is free, and none will be at once
            time.sleep(_BREATH_SECONDS)
            return None
        sock.setblocking(False)
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except OSError:  # it has gone again
                sock.close()
                return None
        if len(self._waiting) >= _WAITING:
            self._drop(next(iter(self._waiting.values())))
        arrival = Arrival(sock, time.monotonic(), is_shaken=self._tls is None, incoming=self._incoming(sock))
        self._waiting[sock.fileno()] = arrival
        self._poll.register(sock, select.POLLIN)
        return arrival

    def _has_sent_all(self, arrival: Arrival) -> bool:
        sock = arrival.sock
        wanted = select.POLLIN
        try:
            if isinstance(sock, ssl.SSLSocket) and not arrival.is_shaken:
                sock.do_handshake()
                arrival.is_shaken = True
            while chunk := sock.recv(READ_BYTES):
                if arrival.incoming.add(chunk):
                    return True
                if arrival.incoming.wants_continue:
                    arrival.incoming.wants_continue = False
                    sock.send(CONTINUE)  # at most the second thing that it is sent: there is room for it
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except ssl.SSLWantWriteError:
            wanted = select.POLLOUT
        except OSError:  # it has gone, or speaks no TLS
            self._drop(arrival)
            return False
        else:  # it has ended its side
            self._drop(arrival)
            return False
        self._poll.modify(sock, wanted)
        self._bound_bodies()
        return False

    def _bound_bodies(self) -> None:
        bodies = [(arrival, size) for arrival in self._waiting.values() if (size := arrival.incoming.body_bytes)]
        excess = sum(size for _, size in bodies) - _WAITING_BODIES_BYTES
        for arrival, size in bodies:
            if excess <= 0:
                return
            self._drop(arrival)
            excess -= size

    def _forget(self, arrival: Arrival) -> None:
        del self._waiting[arrival.sock.fileno()]
        self._poll.unregister(arrival.sock)

    def _drop(self, arrival: Arrival) -> None:
        self._forget(arrival)
        arrival.sock.close()
