"""``HttpCheck``: a URL answers as it should."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.causes import explain
from agentgauge.health.checks.exchange import HTTP_SCHEMES, Answer, Request, fetch
from agentgauge.health.checks.json_path import JsonPathError, parse_json_path, step_into
from agentgauge.health.checks.settings import (
    HeaderValue,
    NamedCheck,
    require_headers,
    require_number,
    require_slow,
    require_url,
    secrets_of,
    shown_url,
    shown_value,
    slow,
)
from agentgauge.health.checks.wire import Deadline
from agentgauge.health.status import ComponentType, Finding, Status
from agentgauge.requirements import require_count

if TYPE_CHECKING:
    from email.message import Message

__all__ = ["ANYTHING", "HttpCheck", "wrong_status"]

_METHOD = re.compile(r"[A-Z]+")
_DAY_SECONDS = 86_400.0
_FIRST_STATUS, _LAST_STATUS = 100, 599


class _Anything:
    """Equals no value: the path must exist, whatever stands there."""

    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Final = _Anything()
"""What ``json_value`` is where only that there is something at ``json_path`` is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck(NamedCheck):
    """A URL answers with the right status, body and certificate, in time.

    No answer is down, a wrong one critical, a slow one or a certificate that ends soon a warning. No proxy is used. All that is
    waited for, redirects included, ends a little before ``schedule.timeout_seconds``.

    Attributes:
        url: Where; a user and password in it are sent as basic authentication and never shown, nor is its query.
        method: How; ``GET`` unless given.
        headers: More headers; a value may be a function that returns it at each check. None is ever shown.
        body: What is sent.
        expected_statuses: Which statuses are right; 200 to 299 unless given.
        redirects: How many redirects are followed; none unless given, so that one is a status like another. Headers and
            credentials go to the same scheme, host and port alone, and never from https to http.
        body_contains: A text that must stand in the body.
        body_matches: A regular expression that must match somewhere in it.
        json_path: What must be there in a JSON body, such as ``$.checks[0].status``; the ``$`` may be left out.
        json_value: What must stand there; that anything does is enough unless given.
        body_limit_bytes: How much of the body is read; a JSON body must not be longer.
        tls: What is trusted and shown, for an authority or client certificate of one's own; what the system trusts unless given.
        tls_warning_days: From how many days before its certificate ends a server is a warning; 0 for never.
        tls_critical_days: From how many it is critical.
        slow_seconds: Above how many seconds an answer is a warning; never unless given.

    Raises:
        ConfigurationError: A value cannot work; the message names it and the fix, without credentials.
    """

    component_type: ComponentType = ComponentType.SERVICE
    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, HeaderValue] = field(default_factory=dict, repr=False, hash=False)
    body: bytes | None = field(default=None, repr=False)
    expected_statuses: Iterable[int] = range(200, 300)
    redirects: int = 0
    body_contains: str = field(default="", repr=False)
    body_matches: str | re.Pattern[str] = field(default="", repr=False)
    json_path: str = ""
    json_value: Any = field(default=ANYTHING, repr=False, hash=False)
    body_limit_bytes: int = 1_048_576
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_warning_days: float = 21.0
    tls_critical_days: float = 7.0
    slow_seconds: float | None = None

    def __post_init__(self) -> None:
        NamedCheck.__post_init__(self)
        require_url("url", self.url, HTTP_SCHEMES, "https://api.example.org/health")
        require_headers(self.headers)
        object.__setattr__(self, "headers", dict(self.headers))  # the caller's own may change
        if not isinstance(self.method, str) or not _METHOD.fullmatch(self.method):
            raise ConfigurationError(f"method={self.method!r}: give one in capitals, such as 'GET'")
        object.__setattr__(self, "expected_statuses", _statuses(self.expected_statuses))
        require_count("redirects", self.redirects, "3", least=0)
        require_count("body_limit_bytes", self.body_limit_bytes, "1048576")
        if self.body is not None and not isinstance(self.body, bytes):
            raise ConfigurationError("body: give bytes, such as json.dumps({}).encode()")
        if self.redirects and self.body is not None:
            raise ConfigurationError(
                f"redirects={self.redirects!r}: a request with a body is not repeated elsewhere; leave one out"
            )
        self._check_expectations()
        require_slow(self.slow_seconds)
        require_number("tls_warning_days", self.tls_warning_days, "21")
        require_number("tls_critical_days", self.tls_critical_days, "7")
        if self.tls is not None and not isinstance(self.tls, ssl.SSLContext):
            raise ConfigurationError("tls: give an ssl.SSLContext, such as ssl.create_default_context(cafile='ca.pem')")

    def _check_expectations(self) -> None:
        if not isinstance(self.body_contains, str):
            raise ConfigurationError("body_contains: give a text that must stand in the body, such as 'ok'")
        try:
            re.compile(self.body_matches)
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"body_matches: this is no regular expression of text: {error}") from None
        if isinstance(self.body_matches, re.Pattern) and not isinstance(self.body_matches.pattern, str):
            raise ConfigurationError("body_matches: give a pattern of text, not of bytes")
        parse_json_path(self.json_path)
        if self.json_value is not ANYTHING and not self.json_path:
            raise ConfigurationError("json_value: say where it must stand, too, as in json_path='$.status'")
        if self.method == "HEAD" and (self.body_contains or self.body_matches or self.json_path):
            raise ConfigurationError("method='HEAD': its answers have no body; use GET, or expect nothing of the body")

    def check(self) -> Finding:
        """Ask once."""
        subject = shown_url(self.url)
        deadline = Deadline(self.patience_seconds)
        request = Request(
            url=self.url,
            method=self.method,
            headers=self.headers,
            body=self.body,
            tls=self.tls,
            body_limit_bytes=self.body_limit_bytes,
            redirects=self.redirects,
        )
        try:
            answer = fetch(request, deadline)
        except Exception as error:  # noqa: BLE001 - what is raised is what was found
            return explain(error, subject, secrets=self._secrets())
        seconds = deadline.spent
        found = self._judge(answer, subject)
        found = replace(found, details={"status": answer.status, "seconds": round(seconds, 6), **_lifetime(answer)})
        return slow(found, subject, seconds, self.slow_seconds)

    def _secrets(self) -> tuple[str, ...]:
        texts = (value for value in self.headers.values() if isinstance(value, str))
        return (*secrets_of(urlsplit(self.url)), *texts)

    def _judge(self, answer: Answer, subject: str) -> Finding:
        if answer.status not in self.expected_statuses:
            return wrong_status(answer.status, answer.headers, subject)
        return self._body_fault(answer, subject) or self._certificate(answer, subject)

    def _body_fault(self, answer: Answer, subject: str) -> Finding | None:
        if self.body_contains and self.body_contains not in answer.text:
            return _wrong_body(f"{subject}: the text that is expected does not stand in the body", answer)
        if self.body_matches and re.search(self.body_matches, answer.text) is None:
            return _wrong_body(f"{subject}: the body does not match what is expected", answer)
        if not self.json_path:
            return None
        steps = parse_json_path(self.json_path)
        try:
            value = step_into(answer.json(), steps)
        except JsonPathError:
            return _wrong_body(f"{subject}: there is nothing at {self.json_path} in the body", answer)
        except ValueError:
            return _wrong_body(f"{subject}: the body is no JSON", answer)
        if self.json_value is ANYTHING or (
            value == self.json_value and isinstance(value, bool) == isinstance(self.json_value, bool)
        ):
            return None
        name, secrets = ".".join(map(str, steps)), self._secrets()
        expected, found = (shown_value(name, each, secrets) for each in (self.json_value, value))
        return _wrong_body(f"{subject}: {self.json_path} is {found}, not {expected}", answer)

    def _certificate(self, answer: Answer, subject: str) -> Finding:
        days = _lifetime(answer).get("tls_days_left")
        if days is None or days > max(self.tls_warning_days, self.tls_critical_days):
            return Finding(status=Status.HEALTHY, message=f"{subject}: status {answer.status}")
        date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ssl.cert_time_to_seconds(str(answer.certificate["notAfter"]))))
        return Finding(
            status=Status.CRITICAL if days <= self.tls_critical_days else Status.WARNING,
            message=f"{subject}: its certificate ends in {days:.1f} days, on {date}",
            condition="tls_expiring",
            suggestions=(
                f"The certificate ends on {date} and was not renewed: renew it, and look why that did not happen by itself.",
                "It was renewed, and the server has not loaded the new one: reload the server.",
            ),
        )


def wrong_status(status: int, headers: Message, subject: str) -> Finding:
    """Make a finding of a status that is not the right one."""
    message = f"{subject}: status {status} {responses.get(status, '')}".rstrip()
    if status in (401, 403, 407):
        suggestions = (
            "The key, token or password is wrong, expired or was rotated, or is not sent at all.",
            "It is right, but has no permission for this address.",
        )
        return Finding(status=Status.CRITICAL, message=message, condition="auth", suggestions=suggestions)
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        wait = headers.get("Retry-After", "")
        message += f", to be asked again after {wait} s" if wait.isdigit() else ""
        suggestions = (
            "The rate or quota of this key is used up: call less, or raise the limit.",
            "The check itself asks too often: raise schedule.interval_seconds.",
        )
        return Finding(status=Status.WARNING, message=message, condition="rate_limited", suggestions=suggestions)
    return Finding(
        status=Status.CRITICAL, message=message, condition="status", suggestions=_STATUS_CAUSES.get(status // 100, _ODD)
    )


_ODD = ("The server answers in a way that is not expected: look at expected_statuses, and at its log.",)
_STATUS_CAUSES = {
    3: ("It redirects, to a login page or another host perhaps: give the final URL, or allow redirects=3.",),
    4: (
        "The address is wrong, or moved: look at the path of the URL.",
        "The request is not as the server wants it: look at method, headers and body.",
    ),
    5: (
        "The server has a fault of its own, or what it depends on has: look at its log.",
        "A proxy before it has no working server behind it (502, 503, 504), or it is being deployed.",
    ),
}


def _wrong_body(message: str, answer: Answer) -> Finding:
    suggestions = (
        "The service says itself that it is not well, or answers something else: look at its answer.",
        "A proxy or login page answers in its place.",
        *(("Only the beginning of the body was read: raise body_limit_bytes.",) if answer.is_cut else ()),
    )
    return Finding(status=Status.CRITICAL, message=message, condition="body", suggestions=suggestions)


def _statuses(expected: object) -> tuple[int, ...] | range:
    fix = "give numbers from 100 to 599, such as (200, 204) or range(200, 300)"
    if not isinstance(expected, Iterable) or isinstance(expected, str | bytes):
        raise ConfigurationError(f"expected_statuses={expected!r}: {fix}")
    statuses = expected if isinstance(expected, range) else tuple(expected)
    are_numbers = all(isinstance(status, int) and not isinstance(status, bool) for status in statuses)
    if not statuses or not are_numbers or min(statuses) < _FIRST_STATUS or max(statuses) > _LAST_STATUS:
        raise ConfigurationError(f"expected_statuses={expected!r}: {fix}")
    return statuses


def _lifetime(answer: Answer) -> dict[str, float]:
    end = answer.certificate.get("notAfter")
    return {} if end is None else {"tls_days_left": round((ssl.cert_time_to_seconds(str(end)) - time.time()) / _DAY_SECONDS, 2)}
