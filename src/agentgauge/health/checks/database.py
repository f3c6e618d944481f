"""``DatabaseCheck``: a database answers a query, by whatever driver."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.both_ways import take, with_end
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.settings import NamedCheck, require_callable, require_slow, slow
from agentgauge.health.checks.wire import Deadline
from agentgauge.health.status import ComponentType, Finding, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator

    from agentgauge.health.checks.both_ways import Steps

    Part = Generator[Any, Any, Any]

__all__ = ["DatabaseCheck"]

_AGAIN_SECONDS = 1.0
_CONNECTION_METHODS = ("cursor", "execute", "fetchrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseCheck(NamedCheck):
    """A database answers a query: it is connected to, asked, and left, each time.

    Whether the driver is for plain threads (DB-API, PEP 249) or for ``asyncio`` shows by what it returns: what is awaitable is
    awaited, on the monitor's event loop. Tried with sqlite3, psycopg (both ways) and asyncpg.

    A query that takes too long is ended where the driver can (``asyncio``, and by ``cancel_safe``, ``cancel`` or ``interrupt`` of
    a connection for threads). Nothing ends the ``connect`` of a driver for threads but its own timeout: give it one.

    Attributes:
        connect: Returns a connection, one to await, or a context manager that lends one, as pools do:
            ``lambda: psycopg.connect(dsn, connect_timeout=3)``, ``lambda: asyncpg.connect(dsn)``, ``pool.connection``,
            ``pool.acquire``. A connection is closed at the end, one that is lent is given back.
        query: What is asked; cheap, since it is asked often.
        expected_row: What the first row must be; any row, or none at all where the statement has none, unless given.
        slow_seconds: Above how many seconds, connecting included, an answer is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix.
    """

    component_type: ComponentType = ComponentType.DATABASE
    connect: Callable[[], Any] = field(repr=False)
    query: str = field(default="SELECT 1", repr=False)
    expected_row: Iterable[Any] | None = field(default=None, repr=False)
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_callable("connect", self.connect, "lambda: psycopg.connect(dsn, connect_timeout=3)")
        if not isinstance(self.query, str) or not self.query.strip():
            raise ConfigurationError("query: give a statement, such as 'SELECT 1'")
        require_slow(self.slow_seconds)
        if self.expected_row is not None:
            try:
                object.__setattr__(self, "expected_row", _values(self.expected_row))
            except TypeError:
                raise ConfigurationError("expected_row: give the values of the first row, such as (1,)") from None

    def check(self) -> Finding | Awaitable[Finding]:
        """Connect and ask once."""
        reached: list[bool] = []

        def tell(error: Exception) -> Finding:
            return explain(error, self.name, status=Status.CRITICAL if reached else Status.DOWN)

        return take(self._steps(reached), self.patience_seconds, tell)

    def _steps(self, reached: list[bool]) -> Steps:
        deadline = Deadline(self.patience_seconds)
        connection = self.connect()
        leave: Callable[..., Any] | None = None
        is_lent = not any(hasattr(connection, method) for method in _CONNECTION_METHODS)
        if is_lent and hasattr(connection, "__aenter__"):
            leave, entered = connection.__aexit__, connection.__aenter__()
        elif is_lent and hasattr(connection, "__enter__"):
            leave, entered = connection.__exit__, connection.__enter__()
        else:
            entered = connection
        connection = yield entered
        reached.append(True)

        def end(error: BaseException | None) -> Any:
            return connection.close() if leave is None else leave(type(error) if error else None, error, None)

        row = yield from with_end(self._ask(connection, deadline), end)
        return self._judge(row, deadline.spent)

    def _ask(self, connection: Any, deadline: Deadline) -> Part:
        with _ended_in_time(connection, deadline):
            return (yield from _first_row(connection, self.query))

    def _judge(self, row: Any, seconds: float) -> Finding:
        details = {"seconds": round(seconds, 6)}
        if self.expected_row is not None and (row is None or _values(row) != self.expected_row):
            return Finding(
                status=Status.CRITICAL,
                message=f"{self.name}: the first row is not what is expected" if row is not None else f"{self.name}: no row came",
                condition="row",
                suggestions=(
                    "The data is not as it should be: run the query by hand.",
                    "It is another database than was meant, or a replica that lags behind.",
                ),
                details=details,
            )
        found = Finding(status=Status.HEALTHY, message=f"{self.name}: it answers", details=details)
        return slow(found, self.name, seconds, self.slow_seconds)


def _first_row(connection: Any, query: str) -> Part:
    if hasattr(connection, "fetchrow"):  # asyncpg
        return (yield connection.fetchrow(query))
    if hasattr(connection, "exec_driver_sql"):  # SQLAlchemy
        result = yield connection.exec_driver_sql(query)
        return result.fetchone() if result.returns_rows else None
    if not hasattr(connection, "cursor"):
        result = yield connection.execute(query)
        return (yield result.fetchone()) if hasattr(result, "fetchone") else None
    cursor = yield connection.cursor()
    return (yield from with_end(_fetched(cursor, query), lambda _error: cursor.close()))


def _fetched(cursor: Any, query: str) -> Part:
    yield cursor.execute(query)
    return None if cursor.description is None else (yield cursor.fetchone())


@contextmanager
def _ended_in_time(connection: Any, deadline: Deadline) -> Iterator[None]:
    """End a query for plain threads that takes too long; ``asyncio`` has its own way."""
    names = ("cancel_safe", "cancel", "interrupt")
    end = next((method for name in names if callable(method := getattr(connection, name, None))), None)
    if end is None or hasattr(connection, "__aenter__"):
        yield
        return
    is_over = threading.Event()

    def run() -> None:
        seconds = max(deadline.seconds - deadline.spent, 0.0)
        while not is_over.wait(seconds):
            seconds = _AGAIN_SECONDS  # it may have come before the query began
            with suppress(Exception):
                end()

    with suppress(RuntimeError):  # no thread is to be had
        threading.Thread(target=run, name="agentgauge-check-deadline", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _values(row: Any) -> tuple[Any, ...]:
    return tuple(row.values() if isinstance(row, Mapping) else row)
