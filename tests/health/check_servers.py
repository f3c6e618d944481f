"""Servers that tests of checks talk to: HTTP by functions, sockets by functions, ports at which nobody listens."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE_SECONDS = 20.0


@contextlib.contextmanager
def serving(answer: Callable[..., object], certificate: Path | None = None) -> Iterator[str]:
    """Serve HTTP on loopback: ``answer(request)`` returns status, headers, body; yields the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):  # the check read what it wanted and left
                    self.wfile.write(body)

        do_GET = do_POST = do_HEAD = _answer  # noqa: N815 - the names are those of the library

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            pass  # clients that leave are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.parent / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_SECONDS)


@contextlib.contextmanager
def listening(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """Take connections on loopback and give each to ``talk`` in a thread; yields the port."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                talk(connection)

        def accept() -> None:
            while not is_over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    threading.Thread(target=work, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            is_over.set()
            with contextlib.suppress(OSError), socket.create_connection(server.getsockname(), 1):
                pass
            thread.join(PATIENCE_SECONDS)


def drip(data: bytes) -> Callable[[socket.socket], None]:
    """Send a byte every so often, for as long as somebody reads, the last one again and again."""

    def talk(connection: socket.socket) -> None:
        for number in range(2000):
            connection.sendall(data[min(number, len(data) - 1) :][:1])
            time.sleep(0.02)

    return talk


def silent(connection: socket.socket) -> None:
    """Take what comes and answer nothing, until the other side leaves."""
    connection.settimeout(PATIENCE_SECONDS)
    while connection.recv(65536):
        pass


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def make_certificates(folder: Path, **days: int) -> dict[str, Path]:
    """Make certificates of 127.0.0.1 with one key that end in so many days, by name; one of a past day is expired."""
    new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -subj /CN=localhost"
    _openssl(folder, f"{new} -addext subjectAltName=IP:127.0.0.1 -out request.csr")
    for name, left in days.items():
        made = f"x509 -req -in request.csr -signkey key.pem -copy_extensions copy -days {left} -out {name}.pem"
        _openssl(folder, made)
    return {name: folder / f"{name}.pem" for name in days}


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
