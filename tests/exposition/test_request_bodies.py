"""Bodies of requests: read where a page takes them, refused elsewhere, and never in a scrape's way."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from made_up_series import one_of_each_kind, registry_of
from prometheus_client import CollectorRegistry
from server_clients import PATIENCE_SECONDS, connection_threads, get, holds_in_a_child, send, wait_until
from test_mounted_apps import ask_asgi, ask_wsgi, scope_of

import agentgauge
from agentgauge.config import Config
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.exposition import arrivals, asgi, asgi_app, wsgi_app
from agentgauge.exposition import server as server_module
from agentgauge.exposition.incoming import BODY_LIMIT_BYTES, BodyRefusedError, Incoming, length_of_body
from agentgauge.exposition.receivers import Receivers
from agentgauge.exposition.response import respond
from agentgauge.exposition.server import MetricsServer

PATH = "/api/v1/alerts"


class Inbox:
    """A receiver that keeps what it gets."""

    def __init__(self, path=PATH, reply=(200, "taken\n")):
        self.path = path
        self.reply = reply
        self.got = []

    def answer(self, method, headers, body):
        self.got.append((method, headers, body))
        return self.reply


@pytest.fixture
def receive():
    """Start a server with these receivers; all of them end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*receivers, limit=BODY_LIMIT_BYTES, **settings):
            config = Config(port=0, **settings)
            taking = Receivers(receivers)
            answer = functools.partial(
                respond,
                registry=registry_of(one_of_each_kind()),
                config=config,
                is_ready=lambda: True,
                on_scrape=lambda _seconds, _cpu_seconds: None,
                receivers=taking,
            )
            server = MetricsServer(config, answer, takes_body=taking.takes_body, body_limit_bytes=limit)
            assert server.bind()
            stack.callback(server.close)
            server.start()
            return server

        yield start


def posted(length, *more, path=PATH, version="1.1"):
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_receiver_gets_the_method_the_headers_and_the_whole_body(receive):
    inbox = Inbox()
    server = receive(inbox)
    body = os.urandom(300_000)
    response, text = get(server, PATH, "POST", body, Content_Type="application/json", Authorization="Bearer x")
    assert (response.status, text) == (200, b"taken\n")
    [(method, headers, got)] = inbox.got
    assert (method, got) == ("POST", body)
    assert (headers["content-type"], headers["authorization"]) == ("application/json", "Bearer x")


def test_a_body_may_come_in_any_two_pieces(receive):
    inbox = Inbox()
    server = receive(inbox)
    request = posted(6) + b"\r\n\r\nab"
    for at in range(1, len(request)):
        with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(request[:at])
            sock.sendall(request[at:])
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 "), at
    assert {body for _, _, body in inbox.got} == {b"\r\n\r\nab"}


def test_what_follows_the_body_is_not_of_it(receive):
    inbox = Inbox()
    server = receive(inbox)
    assert send(server, posted(3) + b"abcGET /metrics HTTP/1.1\r\n\r\n").count(b"HTTP/1.1 ") == 1
    assert inbox.got[0][2] == b"abc"


def test_an_empty_body_and_a_query_are_taken(receive):
    inbox = Inbox()
    server = receive(inbox)
    assert get(server, f"{PATH}?from=am", "POST", b"")[0].status == 200
    assert inbox.got[0][2] == b""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 411),
        (["Transfer-Encoding: chunked"], 411),
        (["Transfer-Encoding: chunked", "Content-Length: 3"], 400),
        (["Transfer-Encoding : chunked", "Content-Length: 3"], 400),  # what one reader overlooks another may obey
        (["X: y", " Transfer-Encoding: chunked", "Content-Length: 3"], 400),
        (["X: y\rTransfer-Encoding: chunked", "Content-Length: 3"], 400),
        (["X: y\0", "Content-Length: 3"], 400),
        ([": y", "Content-Length: 3"], 400),
        (["Content-Length: 3\xa0"], 400),
        (["Content-Length:\t3 "], 200),
        (["Content-Length: 3", "Content-Length: 3"], 400),
        (["Content-Length: -3"], 400),
        (["Content-Length: +3"], 400),
        (["Content-Length: 0x3"], 400),
        (["Content-Length: "], 400),
        (["Content-Length: \xb2"], 400),
        (["Content-Length: 1048577"], 413),
        (["Content-Length: " + "9" * 15000], 413),
        (["Content-Length: 3", "Content-Encoding: gzip"], 415),
        (["Content-Length: 3", "Content-Encoding: identity"], 200),
        (["Content-Length: 3", "Expect: something"], 200),
    ],
)
def test_a_body_whose_length_is_not_one_number_within_the_limit_is_refused_unread(receive, headers, status):
    inbox = Inbox()
    server = receive(inbox)
    head = "\r\n".join([f"POST {PATH} HTTP/1.1", *headers, "", ""]).encode("latin-1")
    assert send(server, head + b"abc").startswith(b"HTTP/1.1 %d " % status)
    assert len(inbox.got) == (status == 200)


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_refused(receive):
    inbox = Inbox()
    server = receive(inbox, limit=10)
    assert get(server, PATH, "POST", b"x" * 10)[0].status == 200
    assert get(server, PATH, "POST", b"x" * 11)[0].status == 413
    assert len(inbox.got) == 1


def test_a_refused_body_of_megabytes_gets_its_answer(receive):
    assert get(receive(Inbox()), PATH, "POST", b"x" * 5_000_000)[0].status == 413


@pytest.mark.parametrize(("path", "status"), [("/metrics", 405), ("/livez", 405), ("/readyz", 405), ("/", 405), ("/x", 404)])
def test_a_page_that_takes_no_body_answers_before_it_is_sent(receive, path, status):
    server = receive(Inbox())
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
        sock.sendall(posted(1000, path=path))  # and nothing of it
        assert sock.recv(1000).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_receiver_is_asked_by_post_alone(receive, method):
    inbox = Inbox()
    response, _ = get(receive(inbox), PATH, method)
    assert (response.status, response.headers["Allow"], inbox.got) == (405, "POST", [])


def test_a_client_that_waits_to_be_told_so_sends_its_body(receive):
    inbox = Inbox()
    server = receive(inbox)
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
        sock.sendall(posted(3, "Expect: 100-Continue"))
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"a")
        sock.sendall(b"bc")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert inbox.got[0][2] == b"abc"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (posted(3, "Expect: 100-continue") + b"abc", 200),  # it did not wait
        (posted(3, "Expect: 100-continue", version="1.0") + b"abc", 200),
        (posted(0, "Expect: 100-continue"), 200),
        (posted(2_000_000, "Expect: 100-continue"), 413),
        (posted(3, "Expect: 100-continue", path="/metrics"), 405),
    ],
)
def test_nobody_is_told_to_send_what_is_there_already_or_not_wanted(receive, request_bytes, status):
    assert send(receive(Inbox()), request_bytes).startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_ends_its_side_within_the_body_is_let_go(receive):
    inbox = Inbox()
    assert send(receive(inbox), posted(10) + b"abc") == b""
    assert inbox.got == []


def test_a_body_that_is_too_slow_ends_with_the_connection_s_time(receive, monkeypatch):
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", 0.3)
    inbox = Inbox()
    server = receive(inbox)
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(posted(1000))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:  # a byte now and then does not keep it
            sock.sendall(b"x")
            time.sleep(0.02)
        pytest.fail("the connection was kept")
    assert inbox.got == []


def test_a_hundred_bodies_that_do_not_come_cost_no_thread_and_delay_no_scrape(receive):
    server = receive(Inbox())
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            sock = stack.enter_context(socket.create_connection(server.address, timeout=PATIENCE_SECONDS))
            sock.sendall(posted(1000) + b"x")
        for _ in range(5):
            assert get(server)[0].status == 200
        wait_until(lambda: len(connection_threads()) == 1)


def test_bodies_that_wait_for_their_end_take_no_more_memory_than_is_set(receive, monkeypatch):
    monkeypatch.setattr(arrivals, "_WAITING_BODIES_BYTES", 100_000)
    inbox = Inbox()
    server = receive(inbox)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection(server.address, timeout=PATIENCE_SECONDS)) for _ in range(3)]
        for sock in socks:
            sock.sendall(posted(50_000) + b"x" * 40_000)
            get(server, "/livez")  # so that they are read in this order
        wait_until(lambda: sum(arrival.incoming.body_bytes for arrival in list(server._arrivals._waiting.values())) == 80_000)
        with contextlib.suppress(ConnectionError):
            assert socks[0].recv(1000) == b""  # the oldest went
        for sock in socks[1:]:
            sock.sendall(b"x" * 10_000)
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_receivers_that_hang_leave_the_server_to_scrapes(receive):
    gate = threading.Event()
    entered = threading.Semaphore(0)

    class Hung(Inbox):
        def answer(self, method, headers, body):
            entered.release()
            gate.wait(PATIENCE_SECONDS)
            return super().answer(method, headers, body)

    server = receive(Hung())
    clients = [threading.Thread(target=get, args=(server, PATH, "POST", b"x")) for _ in range(4)]
    try:
        for client in clients:
            client.start()
            assert entered.acquire(timeout=PATIENCE_SECONDS)
        response, _ = get(server, PATH, "POST", b"x")
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert get(server)[0].status == 200
    finally:
        gate.set()
        for client in clients:
            client.join()
    assert get(server, PATH, "POST", b"x")[0].status == 200


def test_a_forked_child_does_not_wait_for_the_receivers_of_its_parent():
    gate = threading.Event()
    entered = threading.Semaphore(0)

    class Hung(Inbox):
        def answer(self, method, headers, body):
            if body:
                entered.release()
                gate.wait(PATIENCE_SECONDS)
            return 200, ""

    receivers = Receivers([Hung()])
    asking = [threading.Thread(target=receivers.respond, args=("POST", PATH, {}, b"x")) for _ in range(4)]
    for thread in asking:
        thread.start()
        assert entered.acquire(timeout=PATIENCE_SECONDS)
    try:
        assert receivers.respond("POST", PATH, {}, b"").status == 503
        assert holds_in_a_child(lambda: receivers.respond("POST", PATH, {}, b"").status == 200)
    finally:
        gate.set()
        for thread in asking:
            thread.join()


def test_a_refusal_by_the_receiver_says_what_is_asked_for(receive):
    response, text = get(receive(Inbox(reply=(401, "who are you?\n"))), PATH, "POST", b"x")
    assert (response.status, text) == (401, b"who are you?\n")
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


def test_a_receiver_may_answer_without_a_body(receive):
    server = receive(Inbox(reply=(204, "which nobody could read")))
    answer = send(server, posted(1) + b"x")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 204 No Content")
    assert not {b"content-length", b"transfer-encoding"} & {line.partition(b":")[0].lower() for line in head.split(b"\r\n")}
    assert body == b""


def test_a_receiver_s_text_is_sent_whatever_letters_it_has(receive):
    assert get(receive(Inbox(reply=(200, "caf\xe9 \ud800\n"))), PATH, "POST", b"x")[1] == "caf\xe9 \\ud800\n".encode()


@pytest.mark.parametrize("reply", [(0, "x"), (100, ""), (200, None), None, (200,), ("200", b"x")])
def test_a_receiver_that_returns_nonsense_is_answered_for_and_counted(receive, reply):
    server = receive(Inbox(reply=reply))
    before = contained_errors.count_by_hook.get("server", 0)
    assert get(server, PATH, "POST", b"x")[0].status == 500
    assert contained_errors.count_by_hook["server"] > before


def test_a_receiver_that_raises_is_answered_for(receive):
    class Broken(Inbox):
        def answer(self, method, headers, body):
            raise LookupError("its own fault")

    server = receive(Broken())
    response, text = get(server, PATH, "POST", b"x")
    assert response.status == 500
    assert b"its own fault" not in text
    assert get(server)[0].status == 200


def test_the_token_of_the_page_does_not_open_a_receiver_nor_close_it(receive):
    inbox = Inbox()
    server = receive(inbox, bearer_token="s3cr3t")
    assert get(server, PATH, "POST", b"x")[0].status == 200  # who may send is the receiver's to say
    assert len(inbox.got) == 1


def test_the_front_page_names_the_receivers(receive):
    server = receive(Inbox("/a"), Inbox("/b"))
    page = get(server, "/")[1].decode()
    assert "/a  takes POST" in page
    assert "/b  takes POST" in page


@pytest.mark.parametrize("receivers", [5, "x", [None], [object()], [Inbox(7)]])
def test_what_is_no_receiver_is_refused(receivers):
    with pytest.raises(ConfigurationError, match=r"receivers.*answer\(method, headers, body\)"):
        Receivers(receivers)


@pytest.mark.parametrize("path", ["alerts", "", "/a b", "/a?b", "/a#b", "/a%20b", "/\u00e9"])
def test_a_path_that_no_request_could_name_is_refused(path):
    with pytest.raises(ConfigurationError, match="receivers: path="):
        Receivers([Inbox(path)])


@pytest.mark.parametrize("path", ["/", "/metrics", "/livez", "/readyz", "/healthz", "/mine"])
def test_a_path_that_is_taken_is_refused(path):
    with pytest.raises(ConfigurationError, match=f"{path} is taken"):
        Receivers([Inbox("/mine"), Inbox(path)])


@pytest.mark.parametrize(
    ("received", "is_waiting"),
    [
        (posted(3, "Expect: 100-continue"), True),
        (posted(3, "Expect: 100-continue") + b"a", False),  # it did not wait
        (posted(3, "Expect: 100-continue", version="1.0"), False),  # it cannot know of it
        (posted(3), False),
    ],
)
def test_a_client_waits_to_be_told_so_only_where_it_said_so_and_sent_nothing(received, is_waiting):
    incoming = Incoming(lambda *_: True, 100)
    assert not incoming.add(received)
    assert incoming.wants_continue == is_waiting


def test_the_head_is_taken_apart_once_and_a_fault_in_it_is_told_at_the_end():
    asked = []
    incoming = Incoming(lambda *request: asked.append(request) or True, 100)
    for byte in posted(3, "Content-Encoding: gzip"):
        is_whole = incoming.add(bytes([byte]))
    assert is_whole
    assert asked == [("POST", PATH)]
    with pytest.raises(BodyRefusedError, match="compressed"):
        incoming.request()


def test_a_length_is_read_as_a_number():
    assert length_of_body({"content-length": "007"}, 10) == 7
    assert length_of_body({"content-length": "0"}, 0) == 0


# --- apps that a framework mounts ----------------------------------------------------------------------------------------


def post_asgi(app, *messages, headers=None, path=PATH, mount="/metrics"):
    sent = []

    async def send_message(message):
        sent.append(message)

    async def converse():
        coming = iter(messages)

        async def receive_message():
            message = next(coming, None)
            if message is None:
                await asyncio.Event().wait()
            return message

        scope = scope_of(mount + path, "POST", mount)
        scope["headers"] = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await app(scope, receive_message, send_message)

    asyncio.run(converse())
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return (sent[0]["status"], body) if sent else None


def piece(body, *, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_mounted_asgi_app_takes_a_body_in_pieces():
    inbox = Inbox()
    app = asgi_app(CollectorRegistry(), receivers=[inbox])
    headers = {"content-length": "5", "content-type": "application/json"}
    assert post_asgi(app, piece(b"ab"), piece(b""), piece(b"cde", more=False), headers=headers) == (200, b"taken\n")
    assert inbox.got == [("POST", headers, b"abcde")]


@pytest.mark.parametrize(
    ("headers", "messages", "status"),
    [
        ({}, [], 411),
        ({"transfer-encoding": "chunked"}, [], 411),
        ({"content-length": "1048577"}, [], 413),
        ({"content-length": "3"}, [piece(b"ab", more=False)], 400),
        ({"content-length": "3"}, [piece(b"abcd", more=False)], 400),
        ({"content-length": "3"}, [piece(b"abcd"), piece(b"x" * 10**6)], 400),
    ],
)
def test_a_mounted_asgi_app_refuses_what_the_server_refuses(headers, messages, status):
    inbox = Inbox()
    app = asgi_app(CollectorRegistry(), receivers=[inbox])
    assert post_asgi(app, *messages, headers=headers)[0] == status
    assert inbox.got == []


def test_a_mounted_asgi_app_lets_a_client_go_that_left_within_the_body():
    inbox = Inbox()
    app = asgi_app(CollectorRegistry(), receivers=[inbox])
    assert post_asgi(app, piece(b"a"), {"type": "http.disconnect"}, headers={"content-length": "3"}) is None
    assert inbox.got == []


def test_a_mounted_asgi_app_waits_for_a_body_only_so_long(monkeypatch):
    monkeypatch.setattr(asgi, "_BODY_SECONDS", 0.05)
    app = asgi_app(CollectorRegistry(), receivers=[Inbox()])
    assert post_asgi(app, piece(b"a"), headers={"content-length": "3"})[0] == 408


class Input:
    def __init__(self, data, step=2):
        self.data = data
        self.step = step

    def read(self, size):
        size = min(size, self.step)
        chunk, self.data = self.data[:size], self.data[size:]
        return chunk


def post_wsgi(app, data, **environ):
    answers = []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": PATH, "QUERY_STRING": "", "wsgi.input": Input(data), **environ}
    body = app(environ, lambda status, _fields: answers.append(int(status[:3])))
    return answers[0], b"".join(body)


def test_a_mounted_wsgi_app_takes_a_body_and_reads_no_further():
    inbox = Inbox()
    app = wsgi_app(CollectorRegistry(), receivers=[inbox])
    given = {"CONTENT_LENGTH": "5", "CONTENT_TYPE": "application/json", "HTTP_AUTHORIZATION": "Bearer x"}
    assert post_wsgi(app, b"abcdeGET", **given) == (200, b"taken\n")
    [(method, headers, body)] = inbox.got
    assert (method, body) == ("POST", b"abcde")
    assert headers == {"content-length": "5", "content-type": "application/json", "authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, 411),
        ({"CONTENT_LENGTH": ""}, 411),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"CONTENT_LENGTH": "1048577"}, 413),
        ({"CONTENT_LENGTH": "x"}, 400),
        ({"CONTENT_LENGTH": "9"}, 400),  # fewer bytes come
    ],
)
def test_a_mounted_wsgi_app_refuses_what_the_server_refuses(environ, status):
    inbox = Inbox()
    assert post_wsgi(wsgi_app(CollectorRegistry(), receivers=[inbox]), b"abc", **environ)[0] == status
    assert inbox.got == []


def test_a_mounted_app_without_receivers_reads_no_body():
    status, _, _ = ask_wsgi(wsgi_app(CollectorRegistry()), "/metrics", "POST")
    assert status == 405
    status, _, _ = ask_asgi(asgi_app(CollectorRegistry()), "/metrics", "POST")
    assert status == 405


# --- start() -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stopped():
    agentgauge.stop()
    yield
    agentgauge.stop()


def test_start_serves_receivers_beside_the_page(fresh, stopped):
    inbox = Inbox()
    monitor = agentgauge.start(port=0, registry=fresh.registry, receivers=[inbox])
    url = monitor.url.removesuffix("/metrics") + PATH
    with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=PATIENCE_SECONDS) as response:
        assert (response.status, response.read()) == (200, b"taken\n")
    assert inbox.got[0][2] == b"{}"
    assert agentgauge.start(receivers=[inbox]) is monitor
    with pytest.raises(ConfigurationError, match="another receivers"):
        agentgauge.start(receivers=[Inbox()])


def test_start_refuses_receivers_that_cannot_work_before_anything_starts(fresh, stopped):
    with pytest.raises(ConfigurationError, match="is no receiver"):
        agentgauge.start(port=0, registry=fresh.registry, receivers=[object()])
    with pytest.raises(ConfigurationError, match="receivers need the server"):
        agentgauge.start(is_server_enabled=False, registry=fresh.registry, receivers=[Inbox()])
    monitor = agentgauge.start(port=0, registry=fresh.registry)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(monitor.url.removesuffix("/metrics") + PATH, b"{}", timeout=PATIENCE_SECONDS)
