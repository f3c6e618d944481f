"""``DatabaseCheck``: SQLite, and a real PostgreSQL by three drivers, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import sqlite3
import sys
import threading

import asyncpg
import psycopg
import pytest
from check_databases import PASSWORD, postgres
from check_servers import free_port, listening, silent

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import DatabaseCheck
from agentgauge.health.status import ComponentType, Schedule, Status

PATIENT = Schedule(timeout_seconds=30)
QUICK = Schedule(timeout_seconds=0.5)


def look(connect, **settings):
    """Check once, as the monitor does: what is awaitable is awaited."""
    found = DatabaseCheck(**{"name": "database", "connect": connect, "schedule": PATIENT, **settings}).check()
    if inspect.isawaitable(found):
        return asyncio.run(awaited(found))
    return found


async def awaited(found):
    return await found


# --- SQLite, and shapes of drivers ------------------------------------------------------------------------------------------


def in_memory(closed=None):
    class Connection(sqlite3.Connection):
        def close(self):
            super().close()
            if closed is not None:
                closed.append(self)

    return lambda: sqlite3.connect(":memory:", factory=Connection)


def test_a_database_that_answers_is_healthy_and_its_connection_is_closed():
    closed = []
    found = look(in_memory(closed))
    assert (found.status, found.message, found.condition) == (Status.HEALTHY, "database: it answers", "")
    assert found.details["seconds"] > 0
    assert len(closed) == 1


def test_it_is_a_database_by_default_and_needs_no_more_than_a_name_and_connect():
    assert DatabaseCheck(name="d", connect=in_memory()).component_type is ComponentType.DATABASE


@pytest.mark.parametrize(
    ("query", "expected", "is_well"),
    [
        ("SELECT 1", (1,), True),
        ("SELECT 1, 'a'", [1, "a"], True),
        ("SELECT 2", (1,), False),
        ("SELECT 1 WHERE 0", (1,), False),
        ("SELECT 1 WHERE 0", None, True),
        ("CREATE TABLE t (a)", None, True),
        ("CREATE TABLE t (a)", (1,), False),
    ],
)
def test_the_first_row_must_be_the_one_that_is_expected(query, expected, is_well):
    found = look(in_memory(), query=query, expected_row=expected)
    assert (found.status, found.condition) == ((Status.HEALTHY, "") if is_well else (Status.CRITICAL, "row"))


def test_a_query_that_fails_is_told_by_its_cause_and_the_connection_is_closed():
    closed = []
    found = look(in_memory(closed), query="SELECT * FROM work")
    assert (found.status, found.condition, found.error_type) == (Status.CRITICAL, "missing", "OperationalError")
    assert "Migrations" in found.suggestions[1]
    assert len(closed) == 1


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    found = look(lambda: sqlite3.connect(tmp_path / "no" / "file"))
    assert (found.status, found.condition) == (Status.CRITICAL, "missing")


def test_a_lock_that_another_holds_is_told(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "file")) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("BEGIN EXCLUSIVE")
        found = look(lambda: sqlite3.connect(tmp_path / "file", timeout=0.01), query="SELECT * FROM t")
    assert (found.status, found.condition) == (Status.CRITICAL, "locked")


def test_a_query_for_threads_that_takes_too_long_is_ended():
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    closed = []
    found = look(in_memory(closed), query=endless, schedule=QUICK)
    assert (found.status, found.condition) == (Status.DOWN, "timeout")
    assert len(closed) == 1


def test_a_connection_that_a_pool_lends_is_given_back_and_not_closed():
    given = []
    connection = sqlite3.connect(":memory:")

    @contextlib.contextmanager
    def lend():
        try:
            yield connection
        except BaseException as error:
            given.append(type(error))
            raise
        else:
            given.append(None)

    with contextlib.closing(connection):
        assert look(lend).status is Status.HEALTHY
        found = look(lend, query="nonsense")
        assert (found.status, found.condition) == (Status.CRITICAL, "error")  # it answers
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert given == [None, sqlite3.OperationalError]


class LikeAiosqlite:
    """A connection in the shape of aiosqlite's: awaitable, with awaitable methods."""

    def __init__(self):
        self.events = []
        self.is_connected = asyncio.Event()
        self.description = (("a",),)

    def __await__(self):
        async def connected():
            await asyncio.sleep(0)
            self.events.append("connected")
            self.is_connected.set()
            return self

        return connected().__await__()

    async def cursor(self):
        return self

    async def execute(self, query):
        self.events.append(query)

    async def fetchone(self):
        return (1,)

    async def close(self):
        self.events.append("closed")


def test_a_driver_whose_every_step_is_awaitable_is_awaited():
    connection = LikeAiosqlite()
    assert look(lambda: connection, expected_row=(1,)).status is Status.HEALTHY
    assert connection.events == ["connected", "SELECT 1", "closed", "closed"]  # its cursor is itself


def test_a_check_that_is_cancelled_closes_its_connection_and_stays_cancelled():
    connection = LikeAiosqlite()
    connection.execute = lambda _query: asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(awaited(DatabaseCheck(name="d", connect=lambda: connection, schedule=PATIENT).check()))
        await asyncio.wait_for(connection.is_connected.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert connection.events[-1] == "closed"


def test_a_coroutine_that_takes_too_long_is_a_finding_even_where_its_connection_cannot_be_closed():
    connection = LikeAiosqlite()
    connection.execute = connection.close = lambda *_: asyncio.sleep(60)
    found = look(lambda: connection, schedule=Schedule(timeout_seconds=0.2))
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


def test_a_check_whose_coroutine_is_thrown_away_makes_no_noise():
    faults = []
    connection = LikeAiosqlite()
    connection.execute = lambda _query: asyncio.sleep(60)

    async def main():
        coroutine = DatabaseCheck(name="d", connect=lambda: connection, schedule=PATIENT).check()
        for _ in range(2):  # to where it is connected, and asks
            coroutine.send(None)
        coroutine.close()

    hook, sys.unraisablehook = sys.unraisablehook, faults.append
    try:
        asyncio.run(main())
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert connection.events == ["connected"]
    assert faults == []


def test_that_a_connection_cannot_be_closed_is_no_news():
    class Broken(sqlite3.Connection):
        def close(self):
            super().close()
            raise OSError("already gone")

    assert look(lambda: sqlite3.connect(":memory:", factory=Broken)).status is Status.HEALTHY


# --- PostgreSQL -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database():
    with postgres() as running:
        yield running


def by_psycopg(url):
    return lambda: psycopg.connect(url, connect_timeout=20)


def by_psycopg_async(url):
    return lambda: psycopg.AsyncConnection.connect(url, connect_timeout=20)


def by_asyncpg(url):
    return functools.partial(asyncpg.connect, url, timeout=20)


DRIVERS = pytest.mark.parametrize("by", [by_psycopg, by_psycopg_async, by_asyncpg])


@pytest.mark.servers("postgresql")
@DRIVERS
def test_a_postgresql_that_answers_is_healthy(database, by):
    found = look(by(database.url), expected_row=(1,))
    assert (found.status, found.condition) == (Status.HEALTHY, "")


@pytest.mark.servers("postgresql")
@DRIVERS
def test_a_row_of_postgresql_is_compared(database, by):
    assert look(by(database.url), query="SELECT 2, 'a'", expected_row=(2, "a")).status is Status.HEALTHY
    assert look(by(database.url), query="SELECT 2", expected_row=(1,)).condition == "row"
    assert look(by(database.url), query="CREATE TEMPORARY TABLE work (a int)").status is Status.HEALTHY


@pytest.mark.servers("postgresql")
@DRIVERS
def test_connections_are_closed_after_good_and_bad_checks_alike(database, by):
    for query in ("SELECT 1", "SELECT * FROM work"):
        for _ in range(10):  # more than there may be connections
            assert look(by(database.url), query=query).condition in ("", "missing")


@pytest.mark.servers("postgresql")
@DRIVERS
def test_a_wrong_password_is_auth_and_shows_no_password(database, by):
    found = look(by(database.url.replace(PASSWORD, f"not-{PASSWORD}")))
    assert (found.status, found.condition) == (Status.CRITICAL, "auth")
    assert PASSWORD not in repr(found)


@pytest.mark.servers("postgresql")
@DRIVERS
def test_a_database_that_does_not_exist_is_missing(database, by):
    found = look(by(database.url.removesuffix("/postgres") + "/nothing"))
    assert (found.status, found.condition) == (Status.CRITICAL, "missing")


@pytest.mark.servers("postgresql")
@DRIVERS
def test_a_server_without_a_free_connection_is_exhausted_and_says_so_first(database, by):
    async def main():
        held = []
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                held.append(await psycopg.AsyncConnection.connect(database.url))
        try:
            return await asyncio.to_thread(look, by(database.url))
        finally:
            for connection in held:
                await connection.close()

    found = asyncio.run(main())
    assert (found.status, found.condition) == (Status.CRITICAL, "pool_exhausted")
    assert "used up" in found.suggestions[0]


@pytest.mark.servers("postgresql")
@DRIVERS
def test_a_query_of_postgresql_that_takes_too_long_is_ended(database, by):
    found = look(by(database.url), query="SELECT pg_sleep(60)", schedule=Schedule(timeout_seconds=1.5))
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


@pytest.mark.servers("postgresql")
def test_what_asyncpgs_pool_lends_is_given_back(database):
    async def main():
        async with asyncpg.create_pool(database.url, min_size=1, max_size=1) as pool:
            check = DatabaseCheck(name="d", connect=pool.acquire, schedule=PATIENT)
            for _ in range(3):
                assert (await check.check()).status is Status.HEALTHY
            assert (pool.get_size(), pool.get_idle_size()) == (1, 1)

    asyncio.run(main())


@pytest.mark.servers("postgresql")
def test_a_right_that_is_missing_is_permission(database):
    found = look(by_psycopg(database.url), query="SET ROLE pg_monitor; SELECT * FROM pg_authid")
    assert (found.status, found.condition) == (Status.CRITICAL, "permission")


@DRIVERS
def test_a_postgresql_that_is_not_there_is_refused(by):
    found = look(by(f"postgresql://postgres:{PASSWORD}@127.0.0.1:{free_port()}/postgres"))
    assert (found.status, found.condition) == (Status.DOWN, "refused")
    assert PASSWORD not in repr(found)


@DRIVERS
def test_a_host_without_an_address_is_dns(by):
    assert look(by(f"postgresql://postgres:{PASSWORD}@nowhere.invalid/postgres")).condition == "dns"


@pytest.mark.parametrize("by", [by_psycopg_async, by_asyncpg])
def test_a_server_that_says_nothing_is_left_at_the_deadline(by):
    with listening(silent) as port:
        found = look(by(f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"), schedule=QUICK)
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


@DRIVERS
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://postgres:x@{PASSWORD}@127.0.0.1:1/postgres",
        f"postgresql://postgres:x/{PASSWORD}@127.0.0.1:1/postgres",
        f"postgresql://postgres:x:{PASSWORD}@127.0.0.1:1/postgres",
        f"postgresql://postgres:x%zz{PASSWORD}@127.0.0.1:1/postgres",
        f"postgresql://postgres@127.0.0.1:{PASSWORD}/postgres",
        f"postgresql://127.0.0.1:1/postgres?password={PASSWORD}&sslmode={PASSWORD}",
        f"host=127.0.0.1 port=1 password={PASSWORD} {PASSWORD}",
        f"host=127.0.0.1 port=1 password='{PASSWORD}",
    ],
)
def test_no_driver_tells_the_password_of_a_connection_string_that_it_cannot_read(by, url):
    found = look(by(url))
    assert found.status.is_bad
    assert PASSWORD not in repr(found)


def test_no_thread_stays_behind():
    for _ in range(5):
        look(in_memory())
    waiting = [thread for thread in threading.enumerate() if thread.name == "agentgauge-check-deadline"]
    for thread in waiting:
        thread.join(20)
    assert not any(thread.is_alive() for thread in waiting)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"connect": "postgresql://"}, "connect"),
        ({"query": " "}, "query"),
        ({"query": None}, "query"),
        ({"expected_row": 1}, "expected_row"),
        ({"slow_seconds": -1}, "slow_seconds"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(settings, match):
    with pytest.raises(ConfigurationError, match=match):
        DatabaseCheck(**{"name": "d", "connect": in_memory(), **settings})


def test_a_repr_shows_neither_query_nor_connection_string():
    check = DatabaseCheck(name="d", connect=by_asyncpg(f"postgresql://u:{PASSWORD}@h/"), query=f"SELECT '{PASSWORD}'")
    assert PASSWORD not in repr(check)
