"""``RedisCheck``: a real Redis, with and without a password and TLS, by a few bytes on a socket and by redis-py."""

from __future__ import annotations

import asyncio
import inspect
import ssl

import pytest
import redis
from check_databases import PASSWORD, redis_server
from check_servers import drip, free_port, listening, make_certificates, silent

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import RedisCheck
from agentgauge.health.status import ComponentType, Schedule, Status

PATIENT = Schedule(timeout_seconds=20)
QUICK = Schedule(timeout_seconds=0.5)


def look(url="", **settings):
    found = RedisCheck(**{"name": "cache", "url": url, "schedule": PATIENT, **settings}).check()
    if inspect.isawaitable(found):
        return asyncio.run(awaited(found))
    return found


def once(library=redis.Redis):
    """Make no second attempt: redis-py makes some, with pauses, unless told otherwise."""
    return (redis.retry.Retry if library is redis.Redis else redis.asyncio.retry.Retry)(redis.backoff.NoBackoff(), 0)


async def awaited(found):
    return await found


@pytest.fixture(scope="module")
def port():
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def locked():
    with redis_server("--requirepass", PASSWORD) as running:
        yield running


@pytest.mark.servers("redis")
def test_a_redis_that_answers_is_healthy(port):
    found = look(f"redis://127.0.0.1:{port}")
    assert (found.status, found.message, found.condition) == (Status.HEALTHY, "cache: it answers", "")
    assert found.details["seconds"] > 0


def test_it_is_a_cache_by_default():
    assert RedisCheck(name="c", url="redis://h").component_type is ComponentType.CACHE


@pytest.mark.servers("redis")
def test_a_database_is_selected_and_one_that_is_not_there_is_an_error(port):
    assert look(f"redis://127.0.0.1:{port}/3").status is Status.HEALTHY
    for url in (f"redis://127.0.0.1:{port}/99", f"redis://127.0.0.1:{port}?db=99"):
        found = look(url)
        assert (found.status, found.condition) == (Status.CRITICAL, "error")
        assert "out of range" in found.message


@pytest.mark.servers("redis")
def test_a_password_is_sent_decoded_with_and_without_a_user(locked):
    encoded = "".join(f"%{ord(character):02x}" for character in PASSWORD)
    assert look(f"redis://:{encoded}@127.0.0.1:{locked}").status is Status.HEALTHY
    assert look(f"redis://default:{PASSWORD}@127.0.0.1:{locked}").status is Status.HEALTHY


@pytest.mark.servers("redis")
def test_a_user_of_its_own_is_sent_along():
    with redis_server("--user", "worker", "on", f">{PASSWORD}", "~*", "+@all") as running:
        assert look(f"redis://worker:{PASSWORD}@127.0.0.1:{running}").status is Status.HEALTHY
        assert look(f"redis://other:{PASSWORD}@127.0.0.1:{running}").condition == "auth"


@pytest.mark.servers("redis")
@pytest.mark.parametrize("userinfo", ["", ":wrong@", "nobody:wrong@"])
def test_a_password_that_is_missing_or_wrong_is_auth_and_not_shown(locked, userinfo):
    found = look(f"redis://{userinfo}127.0.0.1:{locked}")
    assert (found.status, found.condition) == (Status.CRITICAL, "auth")
    assert "wrong:" not in repr(found)


@pytest.mark.servers("redis")
def test_a_redis_without_a_free_connection_is_exhausted():
    with redis_server("--maxclients", "1") as running, redis.Redis(port=running) as other:
        other.ping()
        for settings in ({"url": f"redis://127.0.0.1:{running}"}, {"client": lambda: redis.Redis(port=running, retry=once())}):
            found = look(**settings)
            assert (found.status, found.condition) == (Status.CRITICAL, "pool_exhausted")


@pytest.mark.servers("redis")
def test_a_socket_of_the_machine_is_spoken_to(tmp_path):
    path = tmp_path / "redis.sock"
    with redis_server("--unixsocket", str(path), "--requirepass", PASSWORD):
        assert look(f"unix://:{PASSWORD}@{path}?db=2").status is Status.HEALTHY
    assert look(f"unix://:{PASSWORD}@{path}").status is Status.DOWN


@pytest.mark.servers("redis")
def test_tls_is_spoken_where_the_url_says_so(tmp_path):
    certificate = make_certificates(tmp_path, long=90)["long"]
    context = ssl.create_default_context(cafile=certificate)
    secure = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(tmp_path / "key.pem"))
    settings = ("--tls-port", str(secure), *files, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no")
    with redis_server(*settings) as plain:
        assert look(f"rediss://127.0.0.1:{secure}", tls=context).status is Status.HEALTHY
        assert look(f"rediss://127.0.0.1:{secure}").condition == "tls"
        assert look(f"rediss://127.0.0.1:{plain}", tls=context, schedule=QUICK).status is Status.DOWN


# --- clients of redis-py ----------------------------------------------------------------------------------------------------


@pytest.mark.servers("redis")
@pytest.mark.parametrize("library", [redis.Redis, redis.asyncio.Redis])
def test_a_client_that_a_function_makes_is_asked_and_closed(port, library):
    closed = []

    class Client(library):
        if library is redis.Redis:

            def close(self):
                closed.append(self)
                super().close()

        else:

            async def aclose(self, *arguments):
                closed.append(self)
                await super().aclose(*arguments)

    assert look(client=lambda: Client(port=port)).status is Status.HEALTHY
    assert look(client=lambda: Client(port=1, retry=once(library))).condition == "refused"
    assert len(set(map(id, closed))) == 2


@pytest.mark.servers("redis")
def test_a_client_of_the_programs_stays_open(port):
    with redis.Redis(port=port) as client:
        assert look(client=client).status is Status.HEALTHY
        assert client.connection_pool._available_connections[0]._sock is not None


@pytest.mark.servers("redis")
def test_a_client_for_asyncio_of_the_programs_is_asked_on_its_own_loop(port):
    async def main():
        async with redis.asyncio.Redis(port=port) as client:
            check = RedisCheck(name="c", client=client, schedule=PATIENT)
            return [(await check.check()).status for _ in range(2)]

    assert asyncio.run(main()) == [Status.HEALTHY] * 2


@pytest.mark.servers("redis")
@pytest.mark.parametrize("library", [redis.Redis, redis.asyncio.Redis])
def test_a_wrong_password_of_a_client_is_auth_and_not_shown(locked, library):
    found = look(client=lambda: library(port=locked, password=f"not-{PASSWORD}", retry=once(library)))
    assert (found.status, found.condition) == (Status.CRITICAL, "auth")
    assert PASSWORD not in repr(found)


def test_a_client_for_asyncio_whose_server_says_nothing_is_left_at_the_deadline():
    with listening(silent) as silent_port:
        found = look(client=lambda: redis.asyncio.Redis(port=silent_port, retry=once(redis.asyncio.Redis)), schedule=QUICK)
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


# --- servers that are not there, or behave badly ----------------------------------------------------------------------------


def test_a_redis_that_is_not_there_is_refused_and_no_password_shown():
    found = look(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}")
    assert (found.status, found.condition) == (Status.DOWN, "refused")
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize("talk", [silent, drip(b"+PONG"), drip(b"-LOADING Redis is loading")])
def test_a_server_that_drips_or_says_nothing_is_left_at_the_deadline(talk):
    with listening(talk) as bad:
        found = look(f"redis://127.0.0.1:{bad}", schedule=QUICK)
    assert (found.status, found.condition) == (Status.DOWN, "timeout")


@pytest.mark.parametrize(
    ("answer", "status", "condition"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", Status.DOWN, "starting"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", Status.CRITICAL, "disk_full"),
        (b"-ERR something\r\n", Status.CRITICAL, "error"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Status.CRITICAL, "error"),
        (b"+" + b"x" * 10_000, Status.CRITICAL, "error"),
        (b"", Status.DOWN, "reset"),
    ],
)
def test_what_is_no_pong_is_told_apart(answer, status, condition):
    def talk(connection):
        connection.recv(1000)
        connection.sendall(answer)

    with listening(talk) as odd:
        found = look(f"redis://127.0.0.1:{odd}")
    assert (found.status, found.condition) == (status, condition)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({}, "url, client"),
        ({"url": "redis://h", "client": redis.Redis}, "url, client"),
        ({"url": f"http://:{PASSWORD}@h"}, "url"),
        ({"url": f"redis://:{PASSWORD}@"}, "url"),
        ({"url": f"redis://:{PASSWORD}@h/name"}, "number of a database"),
        ({"url": "redis://h:0"}, "url"),
        ({"client": object()}, "ping"),
        ({"url": "rediss://h", "tls": True}, "tls"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix_and_without_secrets(settings, match):
    with pytest.raises(ConfigurationError, match=match) as refused:
        RedisCheck(name="c", **settings)
    assert PASSWORD not in str(refused.value)


def test_a_url_without_its_scheme_is_told_as_it_was_written_with_what_was_meant():
    with pytest.raises(
        ConfigurationError, match=r"^url='localhost:6379': write the whole URL, such as 'redis://localhost:6379'$"
    ):
        RedisCheck(name="c", url="localhost:6379")


def test_a_repr_shows_no_password():
    assert PASSWORD not in repr(RedisCheck(name="c", url=f"redis://:{PASSWORD}@h"))
    assert PASSWORD not in repr(RedisCheck(name="c", client=redis.Redis(password=PASSWORD)))
