"""Sockets on which nothing outlasts a deadline, drips of one byte a second included."""

from __future__ import annotations

import io
import ipaddress
import socket
import ssl
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from agentgauge.health.checks.aside import ask_aside

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline", "Wire", "look_up"]


class Deadline:
    """A moment after which nothing is waited for.

    Args:
        seconds: How far away it is.
        clock: Seconds that never go back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def spent(self) -> float:
        """The seconds since it was set."""
        return self.seconds - (self._end - self._clock())

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


def look_up(host: str, port: int, deadline: Deadline) -> list[tuple[Any, ...]]:
    """Return the addresses of a host as ``socket.getaddrinfo`` does, but within the deadline: resolvers know none.

    Raises:
        socket.gaierror: There are none, or the resolver did not answer in time.
    """
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        if _is_address(host):  # nobody is asked
            return ask()
        return ask_aside(("getaddrinfo", host, port), ask, deadline.left())
    except TimeoutError:
        raise socket.gaierror(socket.EAI_AGAIN, "the resolver did not answer in time") from None
    except UnicodeError:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "this is no host name") from None


class Wire(io.RawIOBase):
    """A connected stream socket, plain or with TLS, whose reads and writes all end by the deadline.

    Args:
        sock: Connected; closed with this.
        deadline: For everything together.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    @classmethod
    def to(cls, host: str, port: int, deadline: Deadline) -> Wire:
        """Connect, to each address of the host in turn; each may take its part of the time.

        Raises:
            OSError: None could be had; that nothing listens counts more than that it is not reached.
        """
        problems: list[OSError] = []
        addresses = look_up(host, port, deadline)
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                return cls(_connected(family, kind, protocol, address, deadline.left() / (len(addresses) - index)), deadline)
            except OSError as error:
                problems.append(error)
        problems.sort(
            key=lambda problem: (not isinstance(problem, ConnectionRefusedError), not isinstance(problem, TimeoutError))
        )
        raise problems[0] if problems else socket.gaierror(socket.EAI_NONAME, "no address")

    @classmethod
    def to_path(cls, path: str, deadline: Deadline) -> Wire:
        """Connect to a socket of this machine."""
        return cls(_connected(socket.AF_UNIX, socket.SOCK_STREAM, 0, path, deadline.left()), deadline)

    def encrypt(self, host: str, context: ssl.SSLContext | None) -> dict[str, Any]:
        """Speak TLS from here on.

        Args:
            host: What the certificate must be of.
            context: What is trusted, and shown; None for what the system trusts.

        Returns:
            The server's certificate, as ``ssl.SSLSocket.getpeercert()`` does; nothing where the context does not check it.
        """
        self._sock.settimeout(self._deadline.left())  # for the whole handshake
        wrapped = (context or trusting_the_system()).wrap_socket(self._sock, server_hostname=host)
        self._sock = wrapped
        return dict(wrapped.getpeercert() or {})

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come, at least a byte; 0 at the end."""
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)

    def makefile(self, _mode: str = "rb", *_arguments: Any) -> io.BufferedReader:
        """Return a reader, as ``http.client`` asks sockets for; that it is closed closes nothing."""
        return io.BufferedReader(_Lent(self))

    def close(self) -> None:
        """Close the socket."""
        try:
            self._sock.close()
        finally:
            super().close()


class _Lent(io.RawIOBase):
    """What reads from a wire and leaves it open."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.readinto(buffer)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connected(family: int, kind: int, protocol: int, address: Any, seconds: float) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(seconds)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


@lru_cache(maxsize=1)
def trusting_the_system() -> ssl.SSLContext:
    """Return the context of what the system trusts; to load its certificates takes some time."""
    return ssl.create_default_context()
