"""``RedisCheck``: a Redis answers ``PING``, by a few bytes on a socket or by the program's own client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.both_ways import take, with_end
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.settings import NamedCheck, require_slow, require_url, secrets_of, slow
from agentgauge.health.checks.wire import Deadline, Wire
from agentgauge.health.status import ComponentType, Finding, Status

if TYPE_CHECKING:
    import io
    from collections.abc import Awaitable, Generator

    from agentgauge.health.checks.both_ways import Steps

__all__ = ["RedisCheck"]

_SCHEMES = ("redis", "rediss", "unix")
_PORT = 6379
_LONGEST_ANSWER = 4096


class RedisAnswerError(Exception):
    """What Redis answers instead of what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCheck(NamedCheck):
    """A Redis, or what speaks its protocol (Valkey, KeyDB, Dragonfly), answers ``PING``.

    By a URL nothing else is needed: the check speaks the protocol itself, and all of it ends a little before
    ``schedule.timeout_seconds``.

    Attributes:
        url: ``redis://user:password@host:port``, ``rediss://`` with TLS, or ``unix://:password@/path``; never shown. A database's
            number behind it is selected, too.
        client: Instead of the URL a client of redis-py, for threads or ``asyncio``, or a function that makes one. What a function
            makes is closed; a client that is given as such stays open, and its own timeouts hold where it is for threads.
        tls: What is trusted and shown with ``rediss://``; what the system trusts unless given.
        slow_seconds: Above how many seconds, connecting included, an answer is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix, without the password.
    """

    component_type: ComponentType = ComponentType.CACHE
    url: str = field(default="", repr=False)
    client: Any = field(default=None, repr=False, hash=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        if bool(self.url) == (self.client is not None):
            raise ConfigurationError("url, client: give one of them, such as url='redis://127.0.0.1:6379'")
        if self.url:
            parts = require_url("url", self.url, _SCHEMES, "redis://:password@127.0.0.1:6379/0")
            number = parts.path.strip("/") if parts.scheme != "unix" else ""
            if number and not number.isdigit():
                raise ConfigurationError("url: what stands behind the host is the number of a database, such as /0")
        elif not callable(self.client) and not callable(getattr(self.client, "ping", None)):
            raise ConfigurationError(f"client: a {type(self.client).__name__} has no ping(); give a client of redis-py")
        if self.tls is not None and not isinstance(self.tls, ssl.SSLContext):
            raise ConfigurationError("tls: give an ssl.SSLContext, such as ssl.create_default_context(cafile='ca.pem')")
        require_slow(self.slow_seconds)

    def check(self) -> Finding | Awaitable[Finding]:
        """Ask once."""
        if self.client is not None:
            return take(self._steps(), self.patience_seconds, self._explain)
        try:
            return self._by_socket()
        except Exception as error:  # noqa: BLE001 - what is raised is what was found
            return self._explain(error)

    def _explain(self, error: Exception) -> Finding:
        status = Status.CRITICAL if isinstance(error, RedisAnswerError) else Status.DOWN
        return explain(error, self.name, secrets=secrets_of(urlsplit(self.url)), status=status)

    def _found(self, seconds: float) -> Finding:
        found = Finding(status=Status.HEALTHY, message=f"{self.name}: it answers", details={"seconds": round(seconds, 6)})
        return slow(found, self.name, seconds, self.slow_seconds)

    def _steps(self) -> Steps:
        deadline = Deadline(self.patience_seconds)
        is_ours = callable(self.client)
        client = (yield self.client()) if is_ours else self.client
        if is_ours:
            yield from with_end(_ping(client), lambda _error: getattr(client, "aclose", client.close)())
        else:
            yield from _ping(client)
        return self._found(deadline.spent)

    def _by_socket(self) -> Finding:
        parts = urlsplit(self.url)
        deadline = Deadline(self.patience_seconds)
        host = parts.hostname or ""
        if parts.scheme == "unix":
            wire = Wire.to_path(unquote(parts.path), deadline)
        else:
            wire = Wire.to(host, parts.port or _PORT, deadline)
        try:
            if parts.scheme == "rediss":
                wire.encrypt(host, self.tls)
            reader = wire.makefile()
            if parts.password:
                user = [unquote(parts.username)] if parts.username else []
                _ask(wire, reader, "AUTH", *user, unquote(parts.password))
            if number := _database(parts.path, parts.query, parts.scheme):
                _ask(wire, reader, "SELECT", number)
            _ask(wire, reader, "PING")
        finally:
            wire.close()
        return self._found(deadline.spent)


def _ping(client: Any) -> Generator[Any, Any, None]:
    yield client.ping()


def _database(path: str, query: str, scheme: str) -> str:
    named = parse_qs(query).get("db", [""])[-1]
    return named or ("" if scheme == "unix" else path.strip("/"))


def _ask(wire: Wire, reader: io.BufferedReader, *words: str) -> None:
    """Send a command and read an answer of one line (RESP2; see https://redis.io/docs/latest/develop/reference/protocol-spec/)."""
    encoded = [word.encode() for word in words]
    command = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    wire.sendall(command)
    answer = reader.readline(_LONGEST_ANSWER)
    if not answer:
        raise ConnectionResetError
    if answer.startswith(b"-"):
        raise RedisAnswerError(answer[1:].decode("utf-8", "replace").strip())
    if not answer.startswith(b"+") or not answer.endswith(b"\r\n"):
        raise RedisAnswerError("it speaks another protocol")
