"""The server behind TLS, with and without client certificates."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import ssl
import subprocess

import pytest
from made_up_series import registry_of, task_durations
from server_clients import PATIENCE_SECONDS, connection_threads, open_descriptors, send, wait_until

from agentgauge.config import Config
from agentgauge.errors import ConfigurationError, contained_errors
from agentgauge.exposition.receivers import Receivers
from agentgauge.exposition.server import MetricsServer


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Make a certificate for the server, one for a client by an authority of its own, and what is none of these."""
    folder = tmp_path_factory.mktemp("pem")
    new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout"
    for command in (
        f"{new} key.pem -x509 -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -out certificate.pem",
        "pkey -aes256 -passout pass:word -in key.pem -out locked.pem",
        f"{new} authority_key.pem -x509 -days 2 -subj /CN=authority -out authority.pem",
        f"{new} client_key.pem -subj /CN=prometheus -out client.csr",
        "x509 -req -in client.csr -CA authority.pem -CAkey authority_key.pem -set_serial 1 -days 2 -out client.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def server_files(pem):
    return {"tls_certificate_file": str(pem / "certificate.pem"), "tls_key_file": str(pem / "key.pem")}


def get_by_tls(server, pem, *client_pair):
    context = ssl.create_default_context(cafile=pem / "certificate.pem")
    if client_pair:
        context.load_cert_chain(*(pem / name for name in client_pair))
    connection = http.client.HTTPSConnection(*server.address, timeout=PATIENCE_SECONDS, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        return response.status, response.read()


def test_it_speaks_https_where_a_certificate_is_given(serve, pem):
    server = serve(**server_files(pem))
    assert server.url.startswith("https://127.0.0.1:")
    assert b"agent_task_duration_seconds_count" in get_by_tls(server, pem)[1]


def test_a_client_without_tls_is_dropped_and_one_that_never_shakes_hands_holds_nobody_up(serve, pem, caplog):
    server = serve(**server_files(pem))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(server.address, timeout=PATIENCE_SECONDS))
        assert b"HTTP/1.1" not in send(server, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"agent_task_duration_seconds_count" in get_by_tls(server, pem)[1]
    assert caplog.records == []


def test_a_sibling_that_speaks_https_is_known_as_one(serve, pem):
    server = serve(**server_files(pem))
    assert MetricsServer(Config(port=server.address[1], **server_files(pem)), lambda *_: None).bind() is False


@pytest.mark.parametrize(("certificate", "key"), [("key.pem", "key.pem"), ("certificate.pem", "locked.pem")])
def test_a_pem_file_that_cannot_be_used_is_refused_before_the_port_is_taken(pem, certificate, key):
    config = Config(port=0, tls_certificate_file=str(pem / certificate), tls_key_file=str(pem / key))
    server = MetricsServer(config, lambda *_: None)
    with pytest.raises(ConfigurationError, match=r"tls_certificate_file=.*without a password"):
        server.bind()
    with pytest.raises(RuntimeError):
        _ = server.address


def test_a_long_page_arrives_whole_by_tls(serve, pem):
    server = serve(registry_of(task_durations(2000)), **server_files(pem))
    assert get_by_tls(server, pem)[1].count(b"_count{") == 2000


def test_a_request_that_comes_with_the_end_of_the_handshake_is_seen(serve, pem):
    server = serve(**server_files(pem))
    context = ssl.create_default_context(cafile=pem / "certificate.pem")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock:
        while True:
            try:
                peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        peer.write(b"GET /livez HTTP/1.1\r\n\r\n")
        sock.sendall(outgoing.read())  # the client's last part of the handshake and its request, in one piece
        answer = b""
        while not answer.endswith(b"ok\n"):
            incoming.write(sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += peer.read(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_random_bytes_instead_of_a_handshake_leave_nothing(serve, pem, caplog):
    server = serve(**server_files(pem))
    get_by_tls(server, pem)
    wait_until(lambda: len(connection_threads()) == 1)
    before, faults = open_descriptors(), dict(contained_errors.count_by_hook)
    randomness = random.Random(21)
    for _ in range(150):
        record = b"\x16\x03\x01" + randomness.randrange(2, 400).to_bytes(2, "big")  # the start of a client's hello
        assert b"HTTP/1.1" not in send(server, randomness.choice([b"", record]) + randomness.randbytes(randomness.randrange(400)))
    assert get_by_tls(server, pem)[0] == 200
    wait_until(lambda: len(connection_threads()) == 1 and open_descriptors() <= before)
    assert (contained_errors.count_by_hook, caplog.records) == (faults, [])


# --- client certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture
def choosy(serve, pem):
    """A server that wants a client's certificate."""
    return serve(**server_files(pem), tls_client_ca_file=str(pem / "authority.pem"))


def test_a_client_with_a_certificate_of_the_authority_scrapes(choosy, pem):
    status, page = get_by_tls(choosy, pem, "client.pem", "client_key.pem")
    assert (status, b"agent_task_duration_seconds_count" in page) == (200, True)


def test_a_client_without_a_certificate_is_refused_with_the_reason(choosy, pem):
    assert get_by_tls(choosy, pem) == (403, b"a client certificate is needed\n")


def test_a_client_with_a_certificate_of_nobody_we_know_is_refused(choosy, pem, caplog):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get_by_tls(choosy, pem, "certificate.pem", "key.pem")
    assert caplog.records == []


def test_a_certificate_is_no_token_nor_a_token_a_certificate(serve, pem):
    server = serve(**server_files(pem), tls_client_ca_file=str(pem / "authority.pem"), bearer_token="s3cr3t")
    assert get_by_tls(server, pem, "client.pem", "client_key.pem")[0] == 401


def test_a_sibling_is_known_although_it_has_no_client_certificate(choosy, pem):
    config = Config(port=choosy.address[1], **server_files(pem), tls_client_ca_file=str(pem / "authority.pem"))
    assert MetricsServer(config, lambda *_: None).bind() is False


def test_a_file_without_authorities_is_refused_before_the_port_is_taken(pem):
    server = MetricsServer(Config(port=0, **server_files(pem), tls_client_ca_file=str(pem / "key.pem")), lambda *_: None)
    with pytest.raises(ConfigurationError, match=r"^tls_client_ca_file=.*: give PEM certificates of authorities"):
        server.bind()
    with pytest.raises(RuntimeError):
        _ = server.address


class Inbox:
    path = "/api/v1/alerts"

    def __init__(self):
        self.bodies = []

    def answer(self, _method, _headers, body):
        self.bodies.append(body)
        return 200, "taken\n"


@pytest.fixture
def receive():
    """Start a server with one receiver; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(receiver, **settings):
            receivers = Receivers([receiver])
            server = MetricsServer(
                Config(port=0, **settings),
                receivers.respond,
                takes_body=receivers.takes_body,
            )
            assert server.bind()
            stack.callback(server.close)
            server.start()
            return server

        yield start


def converse(server, pem, *pieces, client_pair=()):
    """Send pieces by TLS, each after an answer to the one before, and give all answers."""
    context = ssl.create_default_context(cafile=pem / "certificate.pem")
    if client_pair:
        context.load_cert_chain(*(pem / name for name in client_pair))
    answers = []
    with (
        socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as wrapped,
    ):
        for piece in pieces:
            wrapped.sendall(piece)
            answers.append(wrapped.recv(65536))
    return answers


def test_a_body_comes_by_tls_when_it_was_asked_for(receive, pem):
    inbox = Inbox()
    server = receive(inbox, **server_files(pem))
    body = random.Random(1).randbytes(500_000)
    head = b"POST /api/v1/alerts HTTP/1.1\r\nContent-Length: 500000\r\nExpect: 100-continue\r\n\r\n"
    told, answered = converse(server, pem, head, body)
    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert inbox.bodies == [body]


def test_who_lacks_a_certificate_is_refused_before_the_body_is_sent(receive, pem):
    inbox = Inbox()
    server = receive(inbox, **server_files(pem), tls_client_ca_file=str(pem / "authority.pem"))
    head = b"POST /api/v1/alerts HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
    assert converse(server, pem, head)[0].startswith(b"HTTP/1.1 403 ")
    assert converse(server, pem, head + b"abc", client_pair=("client.pem", "client_key.pem"))[0].startswith(b"HTTP/1.1 200 ")
    assert inbox.bodies == [b"abc"]
