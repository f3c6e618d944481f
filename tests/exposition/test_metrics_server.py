from __future__ import annotations

import contextlib
import gzip
import socket
import threading

import pytest
from made_up_series import registry_of, task_durations
from server_clients import PATIENCE_SECONDS, connection_threads, get, open_descriptors, send, wait_until

from agentgauge.config import Config
from agentgauge.errors import contained_errors
from agentgauge.exposition.response import respond
from agentgauge.exposition.server import MetricsServer


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
    idle = socket.create_connection(server.address, timeout=PATIENCE_SECONDS)
    get(server)
    server.close()
    server.close()
    assert connection_threads() == []
    assert idle.recv(1) == b""
    idle.close()
    wait_until(lambda: open_descriptors() <= before)  # other threads of the process may have some open for a moment
    again = MetricsServer(Config(port=port), lambda *_: None)
    assert again.bind()
    again.close()
    with pytest.raises(RuntimeError, match="not bound, or closed"):
        _ = server.address


def test_close_lets_a_response_that_is_on_its_way_end():
    asked, gate = threading.Event(), threading.Event()

    def slow(*request):
        asked.set()
        gate.wait(PATIENCE_SECONDS)
        return respond(*request, registry=registry_of(), config=config, is_ready=lambda: True, on_scrape=lambda *_: None)

    config = Config(port=0)
    server = MetricsServer(config, slow)
    assert server.bind()
    server.start()
    statuses = []
    client = threading.Thread(target=lambda: statuses.append(get(server, "/livez")[0].status))
    client.start()
    assert asked.wait(PATIENCE_SECONDS)
    letting_go = threading.Thread(target=lambda: (server._closing.wait(PATIENCE_SECONDS), gate.set()))
    letting_go.start()
    server.close()
    client.join()
    letting_go.join()
    assert statuses == [200]
