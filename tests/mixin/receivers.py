"""What alerts are sent to, on loopback: a mail server, and an endpoint that answers as Slack, PagerDuty and a webhook do."""

from __future__ import annotations

import email
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

USER = "alertmanager"
SECRETS = {
    "smtp-password": "sesame",
    "webhook-token": "letmein",
    "pagerduty-on-call": "key-of-the-first",
    "pagerduty-second-line": "key-of-the-second",
}
"""The content of each secret's file, beside Slack's, whose secret is its address."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request: its path, its header ``Authorization`` and its JSON."""

    path: str
    authorization: str | None
    body: dict[str, Any]


@dataclass(slots=True)
class Receivers:
    """What arrived.

    Attributes:
        http_address: Where the endpoint listens, as ``host:port``.
        smtp_address: Where the mail server does.
        posts: The requests so far.
        mails: The messages so far.
        arrived: Notified whenever there is something new.
    """

    http_address: str = ""
    smtp_address: str = ""
    posts: list[Post] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def posted(self, path: str, text: str = "") -> list[dict[str, Any]]:
        """Return the bodies that were posted to ``path`` and have ``text`` somewhere."""
        return [post.body for post in list(self.posts) if post.path == path and text in json.dumps(post.body)]

    def mailed(self, text: str) -> list[EmailMessage]:
        """Return the messages that have ``text`` somewhere."""
        return [mail for mail in list(self.mails) if text in mail.as_string()]

    def wait_for(self, find: Callable[[], list[Any]], count: int = 1, timeout_seconds: float = 120) -> list[Any]:
        """Return what ``find`` returns as soon as there are ``count`` of them; the test fails if that takes too long."""
        deadline = time.monotonic() + timeout_seconds
        with self.arrived:
            while len(found := find()) < count:
                if not self.arrived.wait(max(0.0, deadline - time.monotonic())):
                    pytest.fail(f"{len(found)} of {count} arrived; there were {[post.path for post in self.posts]}")
        return found

    async def handle_DATA(self, _server: object, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a message from who has told the password."""
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        with self.arrived:
            self.mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
            self.arrived.notify_all()
        return "250 OK"


@contextmanager
def receiving() -> Iterator[Receivers]:
    """Run both servers while the block runs."""
    receivers = Receivers()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            is_pager = self.path == "/pagerduty"
            self.send_response(202 if is_pager else 200)
            self.end_headers()
            self.wfile.write(b'{"status": "success"}' if is_pager else b"ok")
            with receivers.arrived:
                receivers.posts.append(Post(self.path, self.headers["Authorization"], body))
                receivers.arrived.notify_all()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ExitStack() as stack:
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Endpoint))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        receivers.http_address = f"127.0.0.1:{server.server_port}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {"authenticator": _authenticate, "auth_require_tls": False, "server_hostname": "localhost"}
        options |= {"auth_exclude_mechanism": ["LOGIN"]}  # its questions differ from those that Alertmanager knows
        options |= {"ready_timeout": 60}  # unless told it waits for five seconds
        mail = Controller(receivers, "127.0.0.1", port, **options)
        mail.start()
        stack.callback(mail.stop)
        receivers.smtp_address = f"127.0.0.1:{port}"
        yield receivers


def _authenticate(_server: object, _session: object, _envelope: object, _mechanism: str, login: Any) -> AuthResult:
    is_right = login == LoginPassword(USER.encode(), SECRETS["smtp-password"].encode())
    return AuthResult(success=is_right, handled=is_right)  # what is not handled is answered with a refusal
