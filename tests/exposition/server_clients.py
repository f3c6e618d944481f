"""Clients of a server that is under test, and what they leave behind in this process."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from pathlib import Path


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
        with contextlib.suppress(OSError):  # it may have hung up already
            sock.shutdown(socket.SHUT_WR)
        while chunk := sock.recv(65536):
            received += chunk
    return received


def wait_until(condition, seconds=8):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.005)


def connection_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("agentgauge")]


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))
