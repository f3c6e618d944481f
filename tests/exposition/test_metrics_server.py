from __future__ import annotations

import contextlib
import functools
import gzip
import http.client
import random
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
from made_up_series import one_of_each_kind, registry_of, task_durations

from agentgauge.config import Config
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.exposition import server as server_module
from agentgauge.exposition.response import respond
from agentgauge.exposition.server import MetricsServer


@pytest.fixture
def serve():
    """Start a server of a registry; all of them end with the test."""
    with contextlib.ExitStack() as stack:

        def start(registry=None, **settings):
            config = Config(port=0, **settings)
            answer = functools.partial(
                respond,
                registry=registry or registry_of(one_of_each_kind()),
                config=config,
                is_ready=lambda: True,
                on_scrape=lambda _seconds, _cpu_seconds: None,
            )
            server = MetricsServer(config, answer)
            assert server.bind()
            stack.callback(server.close)
            server.start()
            return server

        yield start


def get(server, path="/metrics", method="GET", body=None, **headers):
    connection = http.client.HTTPConnection(*server.address, timeout=8)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()


def send(server, data):
    """Send bytes and give all that comes back until the server ends the connection."""
    received = b""
    with socket.create_connection(server.address, timeout=8) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while chunk := sock.recv(65536):
            received += chunk
    return received


def wait_until(condition, seconds=8):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.005)


def has_hung_up(sock, drop):
    try:
        sock.send(drop)
    except ConnectionError:
        return True
    return False


def connection_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("agentgauge")]


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_scrape_gets_the_page_in_either_format_compressed_or_not(serve):
    server = serve()
    response, page = get(server)
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert b"agent_task_duration_seconds_count" in page
    response, zipped = get(server, Accept="application/openmetrics-text", Accept_Encoding="gzip")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(zipped).endswith(b"# EOF\n")


def test_a_long_page_arrives_whole(serve):
    server = serve(registry_of(task_durations(2000)))
    assert get(server)[1].count(b"_count{") == 2000


def test_an_http_1_0_client_gets_the_page_without_chunks(serve):
    head, _, page = send(serve(), b"GET /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert page.startswith(b"# HELP")
    assert page.endswith(b"\n")


def test_the_paths_and_methods_are_answered_by_their_status(serve):
    server = serve()
    asked = [
        ("/livez", "GET"),
        ("/readyz", "GET"),
        ("/", "GET"),
        ("/nowhere", "GET"),
        ("/metrics", "DELETE"),
        ("/metrics", "HEAD"),
    ]
    assert [get(server, path, method)[0].status for path, method in asked] == [200, 200, 200, 404, 405, 200]


def test_head_has_the_headers_and_no_body(serve):
    response, body = get(serve(), "/livez", "HEAD")
    assert (response.headers["Content-Length"], body) == ("3", b"")


def test_a_refused_request_with_a_long_body_gets_its_answer(serve):
    response, _ = get(serve(), "/metrics", "POST", body=b"x" * 5_000_000)
    assert response.status == 405


def test_the_token_is_asked_for_on_the_wire(serve):
    server = serve(bearer_token="s3cr3t")
    assert get(server)[0].status == 401
    assert get(server, Authorization="Bearer s3cr3t")[0].status == 200


def test_it_listens_on_loopback_only_unless_told_otherwise(serve):
    host, port = serve().address
    assert host == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):  # a wildcard listener would take it
        socket.create_connection(("127.0.0.2", port), timeout=5)


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="needs a loopback interface with IPv6")
def test_it_listens_on_an_ipv6_address(serve):
    server = serve(host="::1")
    assert server.url == f"http://[::1]:{server.address[1]}/metrics"
    assert get(server, "/livez")[0].status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(serve, data):
    assert send(serve(), data).startswith(b"HTTP/1.1 400 ")


def test_a_head_of_a_megabyte_is_refused_or_dropped(serve):
    server = serve()
    answer = send(server, b"GET /livez HTTP/1.1\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert get(server, "/livez")[0].status == 200


def test_random_bytes_are_answered_or_dropped_and_leave_nothing(serve):
    server = serve()
    before, faults = open_descriptors(), dict(contained_errors.count_by_hook)
    randomness = random.Random(0)
    for _ in range(150):
        junk = randomness.randbytes(randomness.randrange(200))
        answer = send(
            server, randomness.choice([b"", b"GET ", b"GET /livez HTTP/1.1\r\n"]) + junk + randomness.choice([b"", b"\r\n\r\n"])
        )
        assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert get(server, "/livez")[0].status == 200
    wait_until(lambda: len(connection_threads()) == 1 and open_descriptors() <= before)
    assert contained_errors.count_by_hook == faults


def test_a_half_closed_connection_without_a_request_ends(serve):
    assert send(serve(), b"GET /livez HT") == b""


def test_many_slow_clients_do_not_lock_a_scrape_out(serve):
    server = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(server.address, timeout=5)) for _ in range(40)]
        is_over = threading.Event()

        def drip():
            while not is_over.wait(0.05):
                for client in clients:
                    with contextlib.suppress(OSError):  # it was dropped
                        client.send(b"G")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            started = time.monotonic()
            assert get(server)[0].status == 200
            assert time.monotonic() - started < 3
            assert len(connection_threads()) <= 17
        finally:
            is_over.set()
            dripping.join()


def test_at_most_sixteen_requests_are_answered_at_once():
    running, peak, lock, gate = 0, 0, threading.Lock(), threading.Event()

    def slow(*request):
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        gate.wait(8)
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


def test_a_connection_has_a_deadline_however_it_drips(serve, monkeypatch):
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", 0.3)
    server = serve()
    with socket.create_connection(server.address, timeout=5) as sock:
        wait_until(lambda: has_hung_up(sock, b"G"))


def test_a_client_that_does_not_read_its_page_is_left_at_the_deadline(serve, monkeypatch):
    monkeypatch.setattr(server_module, "_REQUEST_SECONDS", 0.3)
    server = serve(registry_of(task_durations(10_000)))
    with socket.create_connection(server.address, timeout=5) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        wait_until(lambda: len(connection_threads()) == 2)
        wait_until(lambda: len(connection_threads()) == 1)


def test_a_client_that_vanishes_is_no_error(serve, caplog):
    server = serve(registry_of(task_durations(5000)))
    faults = dict(contained_errors.count_by_hook)
    for _ in range(5):
        with socket.create_connection(server.address, timeout=5) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset at close
            sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            sock.recv(100)
    wait_until(lambda: len(connection_threads()) == 1)
    assert get(server, "/livez")[0].status == 200
    assert (caplog.records, contained_errors.count_by_hook) == ([], faults)


def test_a_fault_while_answering_is_answered_and_counted():
    def broken(*_request):
        raise LookupError

    server = MetricsServer(Config(port=0), broken)
    assert server.bind()
    server.start()
    before = contained_errors.count_by_hook.get("server", 0)
    assert get(server)[0].status == 500
    server.close()
    assert contained_errors.count_by_hook["server"] == before + 1


def test_close_gives_the_port_the_threads_and_the_descriptors_back(serve):
    before = open_descriptors()
    server = serve()
    _, port = server.address
    idle = socket.create_connection(server.address, timeout=5)
    wait_until(lambda: len(connection_threads()) == 2)
    get(server)
    server.close()
    server.close()
    assert connection_threads() == []
    assert idle.recv(1) == b""
    idle.close()
    assert open_descriptors() == before
    again = MetricsServer(Config(port=port), lambda *_: None)
    assert again.bind()
    again.close()
    with pytest.raises(RuntimeError, match="not bound, or closed"):
        _ = server.address


def test_close_lets_a_response_that_is_on_its_way_end():
    asked, gate = threading.Event(), threading.Event()

    def slow(*request):
        asked.set()
        gate.wait(8)
        return respond(*request, registry=registry_of(), config=config, is_ready=lambda: True, on_scrape=lambda *_: None)

    config = Config(port=0)
    server = MetricsServer(config, slow)
    assert server.bind()
    server.start()
    statuses = []
    client = threading.Thread(target=lambda: statuses.append(get(server, "/livez")[0].status))
    client.start()
    assert asked.wait(8)
    threading.Timer(0.1, gate.set).start()
    server.close()
    client.join()
    assert statuses == [200]


# --- TLS --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:word", "-in", "key.pem", "-out", "locked.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def get_by_tls(server, pem):
    context = ssl.create_default_context(cafile=pem / "certificate.pem")
    connection = http.client.HTTPSConnection(*server.address, timeout=8, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


def test_it_speaks_https_where_a_certificate_is_given(serve, pem):
    server = serve(tls_certificate_file=str(pem / "certificate.pem"), tls_key_file=str(pem / "key.pem"))
    assert server.url.startswith("https://127.0.0.1:")
    assert b"agent_task_duration_seconds_count" in get_by_tls(server, pem)


def test_a_client_without_tls_is_dropped_and_one_that_never_shakes_hands_holds_nobody_up(serve, pem, caplog):
    server = serve(tls_certificate_file=str(pem / "certificate.pem"), tls_key_file=str(pem / "key.pem"))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(server.address, timeout=5))
        assert b"HTTP/1.1" not in send(server, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"agent_task_duration_seconds_count" in get_by_tls(server, pem)
    assert caplog.records == []


def test_a_sibling_that_speaks_https_is_known_as_one(serve, pem):
    files = {"tls_certificate_file": str(pem / "certificate.pem"), "tls_key_file": str(pem / "key.pem")}
    server = serve(**files)
    assert MetricsServer(Config(port=server.address[1], **files), lambda *_: None).bind() is False


@pytest.mark.parametrize(("certificate", "key"), [("key.pem", "key.pem"), ("certificate.pem", "locked.pem")])
def test_a_pem_file_that_cannot_be_used_is_refused_before_the_port_is_taken(pem, certificate, key):
    config = Config(port=0, tls_certificate_file=str(pem / certificate), tls_key_file=str(pem / key))
    server = MetricsServer(config, lambda *_: None)
    with pytest.raises(ConfigurationError, match=r"tls_certificate_file=.*without a password"):
        server.bind()
    with pytest.raises(RuntimeError):
        _ = server.address
