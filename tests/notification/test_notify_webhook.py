"""A webhook gets JSON by its schema, signed and only where it should go; what fails in passing is tried again in time."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

import jsonschema
import pytest

from agentgauge import ConfigurationError
from agentgauge.notification import DeliveryError, WebhookDestination
from agentgauge.notification.deadline import lane_ends_at

PAGE = (Path(__file__).parents[2] / "docs/notification.md").read_text(encoding="utf-8")
SCHEMA = json.loads(re.search(r"```json\n(\{\n  \"\$schema.*?)```", PAGE, re.DOTALL)[1])


def test_what_is_posted_is_json_by_the_schema_in_the_docs(hook, make):
    full = make(
        "changed", "disk", "critical", labels={"mountpoint": "/"}, value=0.97, limit=0.9, operator=">", unit="ratio",
        condition="threshold", error_type="OSError", suggestions=("free some",), identity="1",
    )  # fmt: skip
    odd = make("ended", value=float("nan"), limit=float("inf"), summary="\udc80<\n\u202e>", started_at=float("inf"))
    WebhookDestination(hook.url)([make(), full, odd])
    (request,) = hook.requests
    jsonschema.validate(request.body, SCHEMA, jsonschema.Draft202012Validator)
    assert request.path == "/hook/s3cr3t-path"
    assert request.headers["Content-Type"] == "application/json"
    assert "Authorization" not in request.headers
    assert [each["event"] for each in request.body["notifications"]] == ["started", "changed", "ended"]
    told = request.body["notifications"][1]["alert"]
    assert (told["subject"], told["severity"], told["value"], told["labels"]) == ("disk", "critical", 0.97, {"mountpoint": "/"})
    assert told["started_at"] == "2023-11-14T22:13:20.000Z"
    assert request.body["notifications"][2]["alert"]["value"] is None
    assert request.body["title"] == "[critical] 3 alerts of test: 1 started, 1 changed, 1 ended"


def test_the_schema_refuses_what_is_something_else(hook, make):
    WebhookDestination(hook.url)(make())
    for spoil in (lambda body: body.pop("version"), lambda body: body["notifications"].clear()):
        body = hook.requests[0].body
        spoil(body)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(body, SCHEMA, jsonschema.Draft202012Validator)


def test_one_message_that_is_sent_twice_has_one_id_and_another_another(hook, make):
    hook.answers = [503]
    destination = WebhookDestination(hook.url)
    destination(make())
    destination(make("ended"))
    first, again, other = (request.body["id"] for request in hook.requests)
    assert first == again != other
    alerts = {request.body["notifications"][0]["alert"]["id"] for request in hook.requests}
    assert len(alerts) == 1


def test_the_token_and_a_signature_of_time_and_body_go_with_it(hook, make):
    WebhookDestination(hook.url, bearer_token="t0ken", signing_secret="s1gned")(make())
    (request,) = hook.requests
    assert request.headers["Authorization"] == "Bearer t0ken"
    at, signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", request.headers["Agentgauge-Signature"]).groups()
    assert hmac.new(b"s1gned", f"{at}.".encode() + request.raw, hashlib.sha256).hexdigest() == signature
    assert abs(int(at) - time.time()) < 60


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_fails_in_passing_is_tried_again(hook, make, status):
    hook.answers = [status]
    WebhookDestination(hook.url)(make())
    assert len(hook.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_what_is_refused_for_good_is_not_sent_again(hook, make, status):
    hook.answers = [status] * 3
    with pytest.raises(DeliveryError, match=rf"^WebhookDestination: HTTP {status} \(try 1 of 3\)$"):
        WebhookDestination(hook.url)(make())
    assert len(hook.requests) == 1


def test_no_redirect_is_followed(hook, make):
    hook.answers = [(status, {"Location": hook.url + "/elsewhere"}) for status in (301, 302, 307, 308)]
    for status in (301, 302, 307, 308):
        with pytest.raises(DeliveryError, match=f"HTTP {status}, a redirect, is not followed"):
            WebhookDestination(hook.url, bearer_token="t0ken")(make())
    assert [request.path for request in hook.requests] == ["/hook/s3cr3t-path"] * 4


def test_it_gives_up_after_so_many_tries(hook, make):
    hook.answers = [500] * 5
    with pytest.raises(DeliveryError, match=r"HTTP 500 \(try 2 of 2\)"):
        WebhookDestination(hook.url, tries=2, name="mine")(make())
    assert len(hook.requests) == 2


def test_it_waits_for_as_long_as_the_server_asks(hook, make):
    hook.answers = [(429, {"Retry-After": "1"})]
    began = time.monotonic()
    WebhookDestination(hook.url)(make())
    assert time.monotonic() - began >= 1
    assert len(hook.requests) == 2


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [(lambda: "3600", 3600, 3600), (lambda: formatdate(time.time() + 5000, usegmt=True), 4000, 5000)],
)
def test_where_the_server_asks_for_more_time_than_there_is_the_error_says_how_much(hook, make, retry_after, least, most):
    hook.answers = [(503, {"Retry-After": retry_after()})] * 2
    with pytest.raises(DeliveryError, match=r"HTTP 503 \(try 1 of 3\)") as caught:
        WebhookDestination(hook.url)(make())
    assert least <= caught.value.retry_after_seconds <= most


@pytest.mark.parametrize("retry_after", ["soon", "-1", "", "99999999999999999999 ", "Mon, 99 Foo 2020", "1e5"])
def test_a_retry_after_that_makes_no_sense_breaks_nothing(hook, make, retry_after):
    hook.answers = [(503, {"Retry-After": retry_after})]
    destination = WebhookDestination(hook.url, timeout_seconds=5)
    if retry_after.startswith("999"):
        with pytest.raises(DeliveryError, match="HTTP 503"):
            destination(make())
    else:
        destination(make())
        assert len(hook.requests) == 2


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_server_that_hangs_or_drips_is_given_up_at_the_time_limit(hook, make, how):
    hook.answers = [getattr(hook, how)] * 10
    with pytest.raises(DeliveryError, match="TimeoutError"):
        WebhookDestination(hook.url, timeout_seconds=0.3)(make())


def test_the_lane_s_time_limit_counts_where_it_is_sooner(hook, make):
    hook.answers = [hook.hang]
    token = lane_ends_at.set(time.monotonic() + 0.3)
    try:
        with pytest.raises(DeliveryError, match="TimeoutError"):
            WebhookDestination(hook.url, timeout_seconds=86_400)(make())
    finally:
        lane_ends_at.reset(token)


def test_nobody_there_is_said_without_the_address(make, unused_port):
    with pytest.raises(DeliveryError, match=r"^mine: ConnectionRefusedError: Connection refused \(try 2 of 2\)$"):
        WebhookDestination(f"http://127.0.0.1:{unused_port}/s3cr3t", tries=2, name="mine")(make())


def test_a_certificate_is_verified_against_the_authorities_that_are_given(tls_hook, make, authority):
    with pytest.raises(DeliveryError, match="SSLCertVerificationError: self-signed certificate"):
        WebhookDestination(tls_hook.url, tries=1)(make())
    assert tls_hook.requests == []
    WebhookDestination(tls_hook.url, ca_file=str(authority), bearer_token="t0ken")(make())
    assert tls_hook.requests[0].headers["Authorization"] == "Bearer t0ken"
    with pytest.raises(DeliveryError, match="SSLCertVerificationError: Hostname mismatch"):
        WebhookDestination(tls_hook.url.replace("127.0.0.1", "localhost"), ca_file=str(authority), tries=1)(make())


def test_it_goes_through_the_proxy_of_the_environment_but_not_to_loopback(hook, make, monkeypatch):
    proxy = hook.url.removesuffix("/hook/s3cr3t-path")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    WebhookDestination("http://alerts.example/in")(make())
    assert hook.requests[0].path == "http://alerts.example/in"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    WebhookDestination(hook.url)(make())
    assert len(hook.requests) == 2


def test_https_goes_through_a_tunnel_of_the_proxy_and_the_certificate_is_still_the_server_s(
    tls_hook, make, monkeypatch, authority
):
    asked, port = [], urlsplit(tls_hook.url).port

    class Proxy(StreamRequestHandler):
        def handle(self):
            asked.append(self.rfile.readline())
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=self.copy, args=(server, self.connection))
                back.start()
                self.copy(self.connection, server)
                back.join()

        @staticmethod
        def copy(source, target):
            with suppress(OSError):
                while data := source.recv(65_536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

    with ThreadingTCPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        WebhookDestination(f"https://alerts.example:{port}/in", ca_file=str(authority), bearer_token="t0ken")(make())
        with pytest.raises(DeliveryError, match="Hostname mismatch"):
            WebhookDestination(f"https://other.example:{port}/in", ca_file=str(authority), tries=1)(make())
        proxy.shutdown()
        thread.join()
    assert [line.split()[1] for line in asked] == [f"alerts.example:{port}".encode(), f"other.example:{port}".encode()]
    assert [(request.path, request.headers["Authorization"]) for request in tls_hook.requests] == [("/in", "Bearer t0ken")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "ftp://example.com/s3cr3t"}, r"^url: give an address"),
        ({"url": "https:///s3cr3t"}, r"^url: give an address"),
        ({"url": "https://example.com:99999/s3cr3t"}, r"^url: give an address"),
        ({"url": "https://[::1/s3cr3t"}, r"^url: give an address"),
        ({"url": "https://example.com/s3cr3t\r\nHost: x"}, r"^url: give an address"),
        ({"url": "https://exämple.com/s3cr3t"}, r"^url: give an address"),
        ({"url": None}, r"^url: give an address"),
        ({"url": "https://user:s3cr3t@example.com/"}, r"^url: give it without user and password"),
        ({"url": "http://example.com/", "bearer_token": "s3cr3t"}, r"^url: a bearer token goes over https only"),
        ({"bearer_token": "s3cr3t\r\nX: y"}, r"^bearer_token: give a text of ASCII"),
        ({"bearer_token": 3}, r"^bearer_token: give a text of ASCII"),
        ({"signing_secret": "s3cr3t s3cr3t"}, r"^signing_secret: give a text of ASCII"),
        ({"ca_file": "/nowhere/ca.pem"}, r"^ca_file='/nowhere/ca.pem': give a file of certificates.*No such file"),
        ({"tries": 0}, r"^tries=0: give a whole number"),
        ({"timeout_seconds": 0}, r"^timeout_seconds=0: give a number of seconds"),
        ({"name": "two\nlines"}, r"^name=.*: give a name"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix_and_without_the_secret(settings, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        WebhookDestination(**{"url": "https://example.com/", **settings})
    assert "s3cr3t" not in str(caught.value)


def test_no_notifications_are_no_message(hook):
    WebhookDestination(hook.url)([])
    assert hook.requests == []
