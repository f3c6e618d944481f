from __future__ import annotations

import contextlib
import functools
import http.server
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from server_clients import connection_threads

from agentgauge.config import Config
from agentgauge.errors import ConfigurationError
from agentgauge.exposition import listening
from agentgauge.exposition.server import MetricsServer

PROGRAM = """
import functools, os, signal, sys
sys.path.insert(0, {tests!r})
from made_up_series import registry_of, task_durations
from agentgauge.config import Config
from agentgauge.exposition.response import respond
from agentgauge.exposition.server import MetricsServer

config = Config(port=0)
server = MetricsServer(config, functools.partial(
    respond, registry=registry_of(task_durations(5000)), config=config, is_ready=lambda: True, on_scrape=lambda *_: None))
assert server.bind()
{body}
"""
START = "server.start(); print(server.address[1], flush=True); sys.stdin.read()"
START_WHEN_TOLD = "print(server.address[1], flush=True); sys.stdin.readline(); server.start(); sys.stdin.read()"


@pytest.fixture
def program():
    """Run a body in another process that has bound a server; gives the process and the port that it prints."""
    with contextlib.ExitStack() as stack:

        def run(body, **options):
            source = PROGRAM.format(tests=str(Path(__file__).parent), body=body)
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
                )
            )
            stack.callback(process.kill)
            return process, int(process.stdout.readline())

        yield run


def server_on(port):
    return MetricsServer(Config(port=port), lambda *_: None)


def assert_refused(port):
    with pytest.raises(ConfigurationError, match=rf"port {port} is taken.*AGENTGAUGE_PORT.*port=0"):
        server_on(port).bind()
    assert connection_threads() == []


def test_a_port_that_something_else_serves_is_a_clear_error_before_anything_starts():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as foreign:
        serving = threading.Thread(target=foreign.serve_forever)
        serving.start()
        try:
            assert_refused(foreign.server_port)
        finally:
            foreign.shutdown()
            serving.join()


@pytest.mark.parametrize("backlog", [5, None])
def test_a_port_whose_owner_says_nothing_is_a_clear_error_too(backlog, monkeypatch):
    monkeypatch.setattr(listening, "_SIBLING_SECONDS", 0.3)
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        if backlog:
            foreign.listen(backlog)
        assert_refused(foreign.getsockname()[1])


def test_a_port_that_a_sibling_serves_is_no_error_and_is_said_once(program, caplog):
    process, port = program(START)
    with caplog.at_level(logging.WARNING, "agentgauge"):
        assert server_on(port).bind() is False
    (record,) = caplog.records
    assert all(part in record.getMessage() for part in (f"port {port}", f"process {process.pid} ", "AGENTGAUGE_PORT", "port=0"))


def test_a_sibling_that_has_just_bound_is_waited_for(program):
    process, port = program(START_WHEN_TOLD)
    told = threading.Timer(0.3, functools.partial(print, file=process.stdin, flush=True))
    told.start()
    assert server_on(port).bind() is False
    told.join()


def test_a_server_of_another_process_group_is_foreign(program):
    _, port = program(START, start_new_session=True)
    assert_refused(port)


def test_of_many_workers_one_serves_and_the_others_go_on(program):
    _, port = program(START)
    workers = [
        program(
            f"server.close(); again = MetricsServer(Config(port={port}), server._respond); print(int(again.bind()), flush=True)"
        )
        for _ in range(3)
    ]
    assert [bound for _, bound in workers] == [0, 0, 0]


def test_a_forked_child_does_not_keep_the_parents_port(program):
    process, port = program(
        "server.start(); child = os.fork()\n"
        "if child == 0:\n"
        "    import signal; signal.pause()\n"
        "print(server.address[1], flush=True); print(child, flush=True)\n"
        "sys.stdin.readline(); os._exit(0)"
    )
    child = int(process.stdout.readline())
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(60) == 0
    os.kill(child, 0)  # it lives
    server = server_on(port)
    assert server.bind()
    server.close()
    os.kill(child, signal.SIGKILL)


def test_a_fork_while_a_connection_is_open_leaves_the_parent_serving(program):
    process, port = program(
        "server.start(); print(server.address[1], flush=True); sys.stdin.readline(); child = os.fork()\n"
        "if child == 0:\n"
        "    server.close(); os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True); sys.stdin.read()"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
        waiting.sendall(b"GET /livez HTTP/1.1\r\n")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n"
        waiting.sendall(b"\r\n")
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_program_with_the_default_action_for_broken_pipes_survives_clients_that_vanish(program):
    process, port = program("signal.signal(signal.SIGPIPE, signal.SIG_DFL); " + START)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            sock.shutdown(socket.SHUT_WR)  # so that the reset after it makes the next write a broken pipe
            sock.recv(100)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    assert process.poll() is None


def test_a_program_that_is_out_of_descriptors_serves_again_when_it_has_some(program):
    process, port = program(
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); server.start(); held = []\n"
        "try:\n"
        "    while True: held.append(os.dup(0))\n"
        "except OSError: print(server.address[1], flush=True)\n"
        "sys.stdin.readline(); [os.close(each) for each in held]; sys.stdin.read()"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=60) as waiting:
        waiting.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        process.stdin.write("\n")
        process.stdin.flush()
        assert waiting.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_a_program_that_ends_is_not_kept_by_its_server(program):
    process, port = program("server.start(); print(server.address[1], flush=True); sys.stdin.readline()")
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(60) == 0


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no-such-host.invalid", 0)])
def test_an_address_that_is_not_ours_is_a_clear_error(host, port, monkeypatch):
    resolve = socket.getaddrinfo

    def answer(asked, *arguments, **options):  # at once, where the machine's resolver may wait for servers that it has not
        if asked.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(asked, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    server = MetricsServer(Config(host=host, port=port, bearer_token="t"), lambda *_: None)
    with pytest.raises(ConfigurationError, match=rf"host='{host}'.*AGENTGAUGE_HOST"):
        server.bind()


def test_a_port_that_needs_privileges_is_a_clear_error(monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)  # the tests may run as root, for whom no port is closed
    with pytest.raises(ConfigurationError, match=r"port 80 .*1024 or above"):
        server_on(80).bind()
