"""The ASGI and WSGI apps by their protocols alone, without a server around them."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import threading
from wsgiref.validate import validator

import pytest
from made_up_series import one_of_each_kind, registry_of, task_durations
from prometheus_client import CollectorRegistry
from server_clients import PATIENCE_SECONDS, wait_until

from agentgauge import task
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.exposition import asgi_app, wsgi_app

TOKEN = "s3cr3t-t0ken"
APPS = {"asgi": asgi_app, "wsgi": wsgi_app}


def ask_wsgi(app, path="/metrics", method="GET", mount="", query="", **headers):
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": mount,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": _Input(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    answers = []
    body = validator(app)(environ, lambda status, fields: answers.append((int(status[:3]), dict(fields))))
    try:
        content = b"".join(body)
    finally:
        body.close()
    return *answers[0], content


class _Input:
    def read(self, size=0):
        return b""

    def readline(self):
        return b""

    def readlines(self):
        return []

    def __iter__(self):
        return iter(())


async def converse(app, scope, send, *messages):
    incoming = iter(messages)

    async def receive():
        return next(incoming)

    await app(scope, receive, send)


def scope_of(path="/metrics", method="GET", mount="", query="", **headers):
    fields = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": mount,
        "query_string": query.encode(),
        "headers": fields,
    }


def ask_asgi(app, *args, **options):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(converse(app, scope_of(*args, **options), send))
    assert [message["type"] for message in sent] == ["http.response.start", *["http.response.body"] * (len(sent) - 1)]
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    titled = {name.title() if name != "www-authenticate" else "WWW-Authenticate": value for name, value in fields.items()}
    return sent[0]["status"], titled, b"".join(message["body"] for message in sent[1:])


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request):
    return request.param


@pytest.fixture
def ask(kind):
    return {"asgi": ask_asgi, "wsgi": ask_wsgi}[kind]


@pytest.fixture
def app_of(kind):
    """Make an app of a registry, by default one with a family of each kind."""
    return lambda registry=None, **options: APPS[kind](registry or registry_of(one_of_each_kind()), **options)


def test_the_paths_are_answered_as_the_server_does(ask, app_of):
    app = app_of(is_ready=lambda: False)
    asked = [("/metrics", "GET"), ("/livez", "GET"), ("/readyz", "GET"), ("/nowhere", "GET"), ("/metrics", "POST")]
    assert [ask(app, path, method)[0] for path, method in asked] == [200, 200, 503, 404, 405]
    assert [ask(app, path)[0] for path in ("/metrics?", "/metric", "/livez/", "//metrics", "/\xe9")] == [404] * 5


def test_the_mount_itself_is_the_page(ask, app_of):
    app = app_of()
    for path in ("", "/"):
        status, _, page = ask(app, path)
        assert (status, b"agent_task_duration_seconds_count" in page) == (200, True)


def test_head_has_the_headers_and_no_body(ask, app_of):
    app = app_of()
    status, fields, body = ask(app, "/livez", "HEAD")
    assert (status, fields["Content-Length"], body) == (200, "3", b"")
    status, fields, body = ask(app, "/metrics", "HEAD")
    assert (status, fields["Content-Type"][:10], body) == (200, "text/plain", b"")


def test_the_format_compression_and_families_are_negotiated(ask, app_of):
    app = app_of()
    options = {"accept": "application/openmetrics-text", "accept_encoding": "gzip", "query": "name[]=agent_tasks_in_progress"}
    status, fields, body = ask(app, **options)
    page = gzip.decompress(body)
    assert (status, fields["Content-Encoding"], fields["Vary"]) == (200, "gzip", "Accept, Accept-Encoding")
    assert fields["Content-Type"].startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")
    assert page.count(b"# TYPE") == 1


def test_the_page_needs_the_token_and_the_probes_do_not(ask, app_of):
    app = app_of(bearer_token=TOKEN)
    status, fields, body = ask(app)
    assert (status, fields["WWW-Authenticate"], b"agent_" in body) == (401, 'Bearer realm="agentgauge"', False)
    assert ask(app, authorization="Bearer wrong")[0] == 401
    assert ask(app, authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(app, "/livez")[0] == 200


def test_the_token_may_come_from_the_environment(ask, app_of, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_BEARER_TOKEN", TOKEN)
    app = app_of()
    assert (ask(app)[0], ask(app, authorization=f"Bearer {TOKEN}")[0]) == (401, 200)
    assert TOKEN not in repr(app) + repr(getattr(app, "__dict__", ""))


def test_what_is_recorded_shows_in_the_registry_that_the_app_was_given(ask, app_of, fresh):
    @task
    def work():
        pass

    app = app_of(CollectorRegistry())
    work()
    assert b'agent_task_duration_seconds_count{agent_task="work",outcome="success"} 1' in ask(app)[2]
    assert b"\nagentgauge_scrape_duration_seconds " in ask(app)[2]  # that of the scrape before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"registry": 3}, r"registry=3: give a CollectorRegistry of prometheus_client, or leave it out"),
        ({"bearer_token": 3}, r"bearer_token: give a non-empty ASCII string"),
        ({"bearer_token": ""}, r"bearer_token: give a non-empty ASCII string"),
        ({"is_ready": True}, r"is_ready=True: give a function that returns True or False"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_with_the_fix(kind, arguments, message):
    with pytest.raises(ConfigurationError, match=rf"^{message}"):
        APPS[kind](**arguments)


def test_a_fault_of_ours_is_answered_and_counted(ask, app_of):
    def broken():
        raise LookupError(TOKEN)

    before = contained_errors.count_by_hook.get("server", 0)
    status, _, body = ask(app_of(is_ready=broken), "/readyz")
    assert (status, TOKEN.encode() in body, contained_errors.count_by_hook["server"]) == (500, False, before + 1)


class Watched:
    """A collector of a long page that knows how much of it was written."""

    def __init__(self):
        self.written = 0
        self.families = task_durations(3000).points_by_family

    def describe(self):
        return []

    def collect(self):
        from agentgauge.recording.recorded_family import RecordedFamily

        for family, points in self.families.items():
            yield RecordedFamily(family, lambda points=points: map(self._note, points))

    def _note(self, point):
        self.written += 1
        return point


def test_a_long_page_is_sent_while_it_is_written(kind):
    watched, written_at = Watched(), []
    if kind == "wsgi":
        body = wsgi_app(registry_of(watched))({"REQUEST_METHOD": "GET"}, lambda status, fields: None)
        written_at = [watched.written for _ in body]
    else:

        async def send(message):
            if message.get("body"):
                written_at.append(watched.written)

        asyncio.run(converse(asgi_app(registry_of(watched)), scope_of(), send))
    assert len(written_at) > 5
    assert written_at[0] < 300
    assert watched.written == 3000


# --- ASGI -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "path", "status"),
    [
        ("/metrics", "/metrics", 200),
        ("/metrics", "/metrics/", 200),
        ("/metrics", "/metrics/metrics", 200),
        ("/metrics", "/metrics/livez", 200),
        ("/metrics", "/livez", 200),  # the mount is taken off already
        ("/metrics", "/metricsfoo", 404),
        ("/behind/a/proxy/", "/behind/a/proxy/livez", 200),
        ("/a", "/a/nowhere", 404),
    ],
)
def test_a_path_is_read_beneath_its_mount(mount, path, status):
    app = asgi_app(registry_of(one_of_each_kind()))
    assert ask_asgi(app, path, mount=mount)[0] == status


def test_the_event_loop_goes_on_while_a_collector_is_slow():
    went_on = threading.Event()

    class Slow:
        def describe(self):
            return []

        def collect(self):
            assert went_on.wait(PATIENCE_SECONDS), "the event loop was held up"
            return []

    async def scrape_and_go_on():
        sent = []

        async def send(message):
            sent.append(message)

        scrape = asyncio.create_task(converse(asgi_app(registry_of(Slow())), scope_of(), send))
        await asyncio.sleep(0.02)
        went_on.set()
        await scrape
        return sent[0]["status"]

    assert asyncio.run(scrape_and_go_on()) == 200


def test_a_full_executor_of_the_hosts_does_not_hold_a_scrape_up():
    scraped = threading.Event()

    async def scrape_beside_blocking_calls():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(None, scraped.wait, PATIENCE_SECONDS) for _ in range(100)]

        async def send(message):
            pass

        await converse(asgi_app(registry_of(one_of_each_kind())), scope_of(), send)
        was_waiting = not any(call.done() for call in calls)
        scraped.set()
        await asyncio.gather(*calls)
        return was_waiting

    assert asyncio.run(scrape_beside_blocking_calls())


def test_a_client_that_goes_away_ends_its_page_without_an_error(fresh):
    async def send(message):
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    watched = Watched()
    asyncio.run(converse(asgi_app(registry_of(watched)), scope_of(), send))
    assert watched.written < 300
    fresh.recorder.drain()
    assert fresh.value("agentgauge_scrape_duration_seconds") is not None  # it counts as a scrape all the same


def test_a_request_that_is_cancelled_leaves_no_thread():
    began, gate = threading.Event(), threading.Event()

    class Slow:
        def describe(self):
            return []

        def collect(self):
            began.set()
            gate.wait(PATIENCE_SECONDS)
            return []

    async def send(message):
        raise AssertionError

    async def cancel():
        scrape = asyncio.create_task(converse(asgi_app(registry_of(Slow())), scope_of(), send))
        assert await asyncio.to_thread(began.wait, PATIENCE_SECONDS)
        scrape.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scrape

    asyncio.run(cancel())  # returns although the collector still runs, for an event loop that has ended
    gate.set()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "agentgauge-page"])


def test_the_life_of_the_process_is_acknowledged():
    sent = []

    async def send(message):
        sent.append(message["type"])

    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    asyncio.run(converse(asgi_app(CollectorRegistry()), {"type": "lifespan"}, send, *messages))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_web_socket_is_closed_and_anything_else_refused():
    sent = []

    async def send(message):
        sent.append(message["type"])

    app = asgi_app(CollectorRegistry())
    asyncio.run(converse(app, {"type": "websocket", "path": "/metrics"}, send, {"type": "websocket.connect"}))
    assert sent == ["websocket.close"]
    with pytest.raises(ValueError, match="does not speak 'mqtt'"):
        asyncio.run(converse(app, {"type": "mqtt"}, send))


def test_a_program_ends_while_a_collector_of_a_mounted_page_hangs():
    code = """
import asyncio, threading
from prometheus_client import CollectorRegistry
from agentgauge.exposition import asgi_app

class Hung:
    began = threading.Event()
    def describe(self): return []
    def collect(self):
        self.began.set()
        threading.Event().wait()

async def main():
    registry = CollectorRegistry()
    registry.register(Hung())
    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
    scrape = asyncio.create_task(asgi_app(registry)(scope, None, None))
    while not Hung.began.is_set():
        await asyncio.sleep(0.01)

asyncio.run(main())
print("ended")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("ended\n", "", 0)
