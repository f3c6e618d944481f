"""Clients of a server that is under test, and what they leave behind in this process."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
from pathlib import Path

PATIENCE_SECONDS = 60.0  # far longer than anything takes, on a busy machine too
_OURS = {"agentgauge-server", "agentgauge-connection"}


def get(server, path="/metrics", method="GET", body=None, **headers):
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()


def send(server, data):
    """Send bytes and give all that comes back until the server ends the connection."""
    received = b""
    with socket.create_connection(server.address, timeout=PATIENCE_SECONDS) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(data)
        with contextlib.suppress(OSError):  # it may have hung up already
            sock.shutdown(socket.SHUT_WR)
        while chunk := sock.recv(65536):
            received += chunk
    return received


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.005)


def connection_threads():
    """Those of servers: another test's collector may still be at work."""
    return [thread for thread in threading.enumerate() if thread.name in _OURS]


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def holds_in_a_child(condition):
    """Fork, and tell whether the condition holds there."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if condition() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
