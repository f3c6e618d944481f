"""Clients that are slow, rude or many."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from made_up_series import registry_of, task_durations
from server_clients import PATIENCE_SECONDS, connection_threads, get, open_descriptors, send, wait_until

from agentgauge.config import Config
from agentgauge.errors import contained_errors
from agentgauge.exposition import server as server_module
from agentgauge.exposition.response import respond
from agentgauge.exposition.server import MetricsServer

RESET_AT_CLOSE = struct.pack("ii", 1, 0)
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"

SLOW_CLIENTS = """
import contextlib, socket, sys, time

def connect():
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", int(sys.argv[1])))
    return client

clients = [connect() for _ in range(300)]
print("ready", flush=True)
while True:
    for index, client in enumerate(clients):
        try:
            client.send(b"G")
        except BlockingIOError:
            pass
        except OSError:
            client.close()
            clients[index] = connect()
    time.sleep(1)
"""


@contextlib.contextmanager
def three_hundred_slow_clients(server):
    """Keep 300 connections of another process open that send a byte a second, and come back at once where they are dropped."""
    command = [sys.executable, "-c", SLOW_CLIENTS, str(server.address[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def test_three_hundred_clients_that_send_a_byte_a_second_delay_no_scrape_by_a_second(serve):
    server = serve(registry_of(task_durations(100)))
    before = open_descriptors()
    durations = []
    with three_hundred_slow_clients(server):
        for _ in range(20):
            started = time.monotonic()
            response, page = get(server)
            durations.append(time.monotonic() - started)
            assert (response.status, page.count(b"_count{")) == (200, 100)
            assert len(connection_threads()) <= 17
            assert open_descriptors() <= before + 128 + 16 + 1
            time.sleep(0.1)  # the clients come back once a second: look before, after and meanwhile
    assert sorted(durations)[-3] < 1, durations  # a busy machine may hold up one or two
    wait_until(lambda: len(connection_threads()) == 1 and open_descriptors() <= before)


def test_three_hundred_clients_that_have_their_answer_and_keep_their_side_open_delay_no_scrape(serve):
    server = serve(registry_of(task_durations(100)))
    before = open_descriptors()
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(300):  # who says nothing for a tenth of a second makes room for the next
            clients.append(stack.enter_context(socket.create_connection(server.address, timeout=PATIENCE_SECONDS)))
            clients[-1].sendall(REQUEST)
        started = time.monotonic()
        response, page = get(server)
        assert time.monotonic() - started < 3
        assert (response.status, page.count(b"_count{")) == (200, 100)
        assert len(connection_threads()) <= 1 + 16 + 64
        answers = [client.recv(1000) for client in clients]
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 300
    wait_until(lambda: len(connection_threads()) == 1 and open_descriptors() <= before)


def test_a_client_that_is_slow_but_in_time_is_answered_when_many_others_wait(serve):
    server = serve()
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock, contextlib.ExitStack() as stack:
        sock.sendall(REQUEST[:20])
        for _ in range(100):
            stack.enter_context(socket.create_connection(server.address, timeout=PATIENCE_SECONDS))
        sock.sendall(REQUEST[20:])
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_request_may_come_in_any_two_pieces(abused):
    for at in range(1, len(REQUEST)):
        with socket.create_connection(abused.address, timeout=PATIENCE_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(REQUEST[:at])
            sock.sendall(REQUEST[at:])
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 "), at


@pytest.fixture
def abused(serve):
    return serve(registry_of(task_durations(100)))


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_a_head_that_is_too_long_is_refused_or_dropped(abused, size):
    answer = send(abused, b"GET /livez HTTP/1.1\r\nX: " + b"x" * size + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert get(abused, "/livez")[0].status == 200


def test_a_half_closed_connection_without_a_request_ends(abused):
    assert send(abused, b"GET /livez HT") == b""


def test_a_half_closed_connection_gets_its_whole_answer(serve):
    may_answer = threading.Event()

    class Slow:
        def describe(self):
            return []

        def collect(self):
            may_answer.wait(PATIENCE_SECONDS)
            return []

    server = serve(registry_of(Slow(), task_durations(1000)))
    threading.Timer(0.2, may_answer.set).start()  # so that the end of the client's side is seen first
    page = send(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert page.startswith(b"HTTP/1.1 200 ")
    assert page.endswith(b"\r\n0\r\n\r\n")
    assert page.count(b"_count{") == 1000


def rude_bytes(randomness):
    """Make what no client should send: noise, a request with noise in it, or pieces of requests in a wrong order."""
    noise = randomness.randbytes(randomness.randrange(300))
    pieces = [b"GET ", b"/metrics", b" HTTP/1.1\r\n", b"\r\n", b"\n\n", b": ", b"Content-Length: -1\r\n", b"\0", b"%ff", noise]
    match randomness.randrange(3):
        case 0:
            return noise
        case 1:
            at = randomness.randrange(len(REQUEST))
            return REQUEST[:at] + noise[: randomness.randrange(8)] + REQUEST[at + randomness.randrange(8) :]
        case _:
            return b"".join(randomness.choices(pieces, k=randomness.randrange(1, 12)))


def test_random_bytes_are_answered_or_dropped_and_leave_nothing(abused, caplog):
    caplog.set_level("DEBUG")
    get(abused, "/livez")
    wait_until(lambda: len(connection_threads()) == 1)
    before, faults = open_descriptors(), dict(contained_errors.count_by_hook)
    randomness = random.Random(20)
    for _ in range(500):
        data = rude_bytes(randomness)
        if randomness.random() < 0.3:  # hangs up without waiting for an answer
            with socket.create_connection(abused.address, timeout=PATIENCE_SECONDS) as sock, contextlib.suppress(ConnectionError):
                if randomness.random() < 0.5:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                sock.sendall(data)
        else:
            answer = send(abused, data)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 "), data
    assert get(abused, "/livez")[0].status == 200
    wait_until(lambda: len(connection_threads()) == 1 and open_descriptors() <= before)
    assert (abused._connections, abused._arrivals._waiting) == ([], {})
    assert (contained_errors.count_by_hook, caplog.records) == (faults, [])


def test_at_most_sixteen_requests_are_answered_at_once():
    running, peak, lock, gate = 0, 0, threading.Lock(), threading.Event()

    def slow(*request):
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        gate.wait(PATIENCE_SECONDS)
        with lock:
            running -= 1
        return respond(*request, registry=registry_of(), config=config, is_ready=lambda: True, on_scrape=lambda *_: None)

    config = Config(port=0)
    server = MetricsServer(config, slow)
    assert server.bind()
    server.start()
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(get(server, "/livez")[0].status)) for _ in range(24)]
    for client in clients:
        client.start()
    wait_until(lambda: peak == 16)
    gate.set()
    for client in clients:
        client.join()
    server.close()
    assert (peak, answers) == (16, [200] * 24)


def has_hung_up(sock, drop):
    try:
        sock.send(drop)
    except ConnectionError:
        return True
    return False


def test_a_connection_has_a_deadline_however_it_drips(serve, monkeypatch):
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", 0.3)
    server = serve()
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
        wait_until(lambda: has_hung_up(sock, b"G"))


def test_a_connection_that_says_nothing_has_a_deadline_too(serve, monkeypatch):
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", 0.3)
    with socket.create_connection(serve().address, timeout=PATIENCE_SECONDS) as sock:
        assert sock.recv(1) == b""


def test_a_client_that_does_not_read_its_page_is_left_at_the_deadline(serve, monkeypatch):
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", 0.3)
    asked = threading.Event()

    class Asked:
        def describe(self):
            return []

        def collect(self):
            asked.set()
            return []

    server = serve(registry_of(Asked(), task_durations(10_000)))
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert asked.wait(PATIENCE_SECONDS)
        wait_until(lambda: len(connection_threads()) == 1)


def test_a_client_that_vanishes_is_no_error(serve, caplog):
    server = serve(registry_of(task_durations(5000)))
    faults = dict(contained_errors.count_by_hook)
    for _ in range(5):
        with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            sock.recv(100)
    wait_until(lambda: len(connection_threads()) == 1)
    assert get(server, "/livez")[0].status == 200
    assert (caplog.records, contained_errors.count_by_hook) == ([], faults)
