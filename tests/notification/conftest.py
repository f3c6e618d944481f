"""Servers on loopback that do what they are told: an HTTP endpoint, and a mail server."""

from __future__ import annotations

import email
import json
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from agentgauge.notification import Alert, Event, Notification
from agentgauge.notification.destination import tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from pathlib import Path

PATIENCE_SECONDS = 60.0  # far longer than anything takes, on a busy machine too
USER, PASSWORD = "agent", "open sesame"


def alert(subject: str = "disk", severity: Any = "warning", **settings: Any) -> Alert:
    settings = {"source": "test", "summary": f"{subject} is full", "started_at": 1_700_000_000.0, **settings}
    return Alert(subject=subject, severity=severity, **settings)


def notify(event: str = "started", subject: str = "disk", severity: Any = "warning", **settings: Any) -> Notification:
    at = settings.pop("at", 1_700_000_000.0)
    return Notification(event=Event(event), alert=alert(subject, severity, **settings), at=at)


@pytest.fixture
def make() -> Callable[..., Notification]:
    """Give what makes a notification: ``make("ended", "disk", "critical", summary=...)``."""
    return notify


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail("it did not come to that")
        time.sleep(0.002)


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Give what waits until a condition holds."""
    return wait_until


@dataclass(slots=True)
class Request:
    """What arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)


@dataclass(slots=True)
class Hook:
    """An endpoint.

    Attributes:
        url: Its address.
        answers: How it answers one request after another: a status, a status with headers, or a function of the handler;
            200 when there are none left.
        requests: What arrived.
    """

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def hang(self, _handler: object) -> None:
        """Answer nothing, until the test is over."""
        self.released.wait(PATIENCE_SECONDS)

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a byte now and then, for ever: no single read takes long."""
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not self.released.wait(0.02):
                handler.wfile.write(b"x")


def serve(hook: Hook, context: ssl.SSLContext | None = None) -> Callable[[], None]:
    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            hook.requests.append(Request(self.path, dict(self.headers), raw))
            answer = hook.answers.pop(0) if hook.answers else 200
            if callable(answer):
                answer(self)
                return
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            pass  # clients that give up are what is tested

    server = Server(("127.0.0.1", 0), Endpoint)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hook.url = f"http{'s' * (context is not None)}://127.0.0.1:{server.server_port}/hook/s3cr3t-path"

    def stop() -> None:
        hook.released.set()
        server.shutdown()
        thread.join()
        server.server_close()

    return stop


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Run an endpoint."""
    hook = Hook()
    stop = serve(hook)
    yield hook
    stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of 127.0.0.1 and alerts.example that vouches for itself: ``ca.pem``, with ``key.pem`` beside it."""
    folder = tmp_path_factory.mktemp("authority")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out ca.pem -days 2 "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1,DNS:alerts.example"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "ca.pem"


def server_context(authority: Path) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.parent / "key.pem")
    return context


@pytest.fixture
def tls_hook(authority: Path) -> Iterator[Hook]:
    """Run an endpoint with the certificate of ``authority``."""
    assert tls_context(str(authority)).check_hostname
    hook = Hook()
    stop = serve(hook, server_context(authority))
    yield hook
    stop()


@dataclass(slots=True)
class Mailbox:
    """A mail server.

    Attributes:
        port: Where it listens on 127.0.0.1.
        mails: What arrived.
        logins: Whether each message came over a connection that had logged in, and over TLS.
        refused: Recipients that it does not know.
        reply: What it answers to a message.
    """

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[bool, bool]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    reply: str = "250 OK"

    async def handle_RCPT(self, _server: object, _session: object, envelope: Any, address: str, _options: object) -> str:  # noqa: N802
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.reply.startswith("250"):
            self.logins.append((bool(session.authenticated), session.ssl is not None))
            self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return self.reply


def authenticate(_server: object, _session: object, _envelope: object, _mechanism: str, login: Any) -> AuthResult:
    is_right = login == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_right, handled=is_right)


@pytest.fixture
def start_mailbox() -> Iterator[Callable[..., Mailbox]]:
    """Give what starts a mail server, with any options of aiosmtpd's ``Controller``."""
    running = []

    def start(**options: Any) -> Mailbox:
        mailbox = Mailbox()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            mailbox.port = probe.getsockname()[1]
        settings = {"authenticator": authenticate, "server_hostname": "localhost", "ready_timeout": PATIENCE_SECONDS}
        controller = Controller(mailbox, "127.0.0.1", mailbox.port, **{**settings, **options})
        controller.start()
        running.append(controller)
        return mailbox

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
def tls_files(authority: Path) -> ssl.SSLContext:
    """Give the context of a server with the certificate of ``authority``."""
    return server_context(authority)


@pytest.fixture
def unused_port() -> int:
    """Give a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
