"""What checks are given, looked at before anything starts; what is refused is told without its secrets."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks.redaction import HIDDEN, redact
from agentgauge.health.status import ComponentType, Finding, Schedule, Status
from agentgauge.requirements import require_name, require_seconds

__all__ = [
    "HeaderValue",
    "NamedCheck",
    "require_callable",
    "require_headers",
    "require_host",
    "require_number",
    "require_port",
    "require_slow",
    "require_text",
    "require_url",
    "secrets_of",
    "shown_url",
    "shown_value",
    "slow",
]

_PATIENCE_SHARE = 0.9
_LAST_PORT = 65_535
_LONGEST_VALUE = 60
_OPAQUE = re.compile(r"(?=.*\d)[\w:.~-]{20,}")  # webhooks have their key in the path

HeaderValue = str | Callable[[], str]
"""A header's value, or a function that returns it at each check, for tokens that change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCheck:
    """What all checks have.

    Attributes:
        name: What the component is called; one of a bounded set, without secrets.
        component_type: What kind of thing it is.
        schedule: When it is checked, and what its findings mean.
    """

    name: str
    component_type: ComponentType = ComponentType.CUSTOM
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        require_name("name", self.name, "database")
        if not isinstance(self.component_type, ComponentType):
            raise ConfigurationError(
                f"component_type={self.component_type!r}: give a member of ComponentType, such as ComponentType.SERVICE"
            )
        if not isinstance(self.schedule, Schedule):
            raise ConfigurationError(f"schedule={self.schedule!r}: give Schedule(interval_seconds=30)")

    @property
    def patience_seconds(self) -> float:
        """For how long one look may take: a little less than the monitor waits, so that it can say itself what was late."""
        return self.schedule.timeout_seconds * _PATIENCE_SHARE


def slow(found: Finding, subject: str, seconds: float, limit: float | None) -> Finding:
    """Turn a good finding into a warning where it took longer than it should."""
    if limit is None or seconds <= limit or found.status is not Status.HEALTHY:
        return found
    return Finding(
        status=Status.WARNING,
        message=f"{subject}: it took {seconds:.3g} s, above {limit:g} s",
        condition="slow",
        suggestions=(
            "It is overloaded, or waits for something behind it: look at its load and its own latencies.",
            "The network between here and there is slow.",
        ),
        details=found.details,
    )


def require_text(setting: str, value: object, example: str) -> None:
    """Refuse what is no text."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{setting}: give a text such as {example!r}, not a {type(value).__name__}")


def require_callable(setting: str, value: object, example: str) -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise ConfigurationError(f"{setting}: give a function such as {example}, not a {type(value).__name__}")


def require_number(setting: str, value: object, example: str, *, least: float = 0.0) -> None:
    """Refuse what is no finite number from ``least`` on."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value < math.inf:  # type: ignore[operator]  # it is a number
        raise ConfigurationError(f"{setting}={value!r}: give a number from {least:g} on, such as {example}")


def require_slow(value: float | None) -> None:
    """Refuse what is no duration; None is none."""
    if value is not None:
        require_seconds("slow_seconds", value, "1")


def require_host(value: object) -> None:
    """Refuse what is no host name or address."""
    is_host = isinstance(value, str) and value.strip() == value and value.isprintable() and not set(value) & set(" /@?#")
    if not value or not is_host:
        raise ConfigurationError(f"host={redact(repr(value))}: give a name or address alone, such as 'db.example.org'")


def require_port(value: object) -> None:
    """Refuse what is no port."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LAST_PORT:
        raise ConfigurationError(f"port={value!r}: give a number from 1 to {_LAST_PORT}, such as 5432")


def require_url(setting: str, value: object, schemes: Iterable[str], example: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        ConfigurationError: It has another scheme, no host, a port that is none, or characters that URLs do not have; the
            message shows no credentials.
    """
    fix = f"write the whole URL, such as {example!r}"
    if not isinstance(value, str):
        raise ConfigurationError(f"{setting}: {fix}, not a {type(value).__name__}")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{setting}: this is no URL (is a password in it percent-encoded?); {fix}") from None
    has_host = bool(host) or (parts.scheme == "unix" and bool(parts.path))
    known = tuple(schemes)
    if parts.scheme not in known or not has_host or port == 0:
        if "://" in value or parts.scheme in known:
            raise ConfigurationError(f"{setting}={shown_url(value)!r}: {fix}")
        written = _as_written(value)
        meant = f"{known[0]}://{written.removeprefix('//')}"
        raise ConfigurationError(
            f"{setting}={written!r}: write the whole URL, such as {meant if _has_host(meant) else example!r}"
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{setting}: percent-encode what is not ASCII, and blanks; {fix}")
    return parts


def _as_written(text: str) -> str:
    """Return what may be shown of what lacks a scheme: nothing of what stands before an ``@`` or in a query."""
    _, has_user, place = text.rpartition("@")
    place, has_query, _ = place.partition("?")
    shown = "/".join(HIDDEN if _OPAQUE.fullmatch(segment) else segment for segment in place.split("/"))
    return redact(f"{f'{HIDDEN}@' if has_user else ''}{shown}{f'?{HIDDEN}' if has_query else ''}")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """Return what may be shown of a URL: scheme, host, port and path, without what looks like a key in it."""
    parts = urlsplit(url)
    path = "/".join(HIDDEN if _OPAQUE.fullmatch(segment) else segment for segment in parts.path.split("/"))
    query = f"?{HIDDEN}" if parts.query else ""
    return redact(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}{query}")


def shown_value(name: str, value: object, secrets: Iterable[str] = ()) -> str:
    """Return what may be shown of a value of JSON, cut where it is long.

    Args:
        name: What it is called, which may say that it is a secret.
        value: The value.
        secrets: What must not be shown in any case.
    """
    is_secret = redact(f"{name}=x") != f"{name}=x" or (isinstance(value, str) and _OPAQUE.fullmatch(value))
    shown = HIDDEN if is_secret else redact(_json(value), secrets)
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda other: f"a {type(other).__name__}")


def secrets_of(parts: SplitResult) -> tuple[str, ...]:
    """Return what must not be shown of a URL, as it is written and as it is meant."""
    written = (parts.password or "", parts.query)
    return tuple(dict.fromkeys(secret for text in written for secret in (text, unquote(text)) if secret))


def require_headers(headers: object) -> None:
    """Refuse what are no headers; their values are never shown."""
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers: give a dict such as {{'Accept': 'application/json'}}, not a {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not name or not name.isascii() or not name.isprintable() or set(name) & set(" :"):
            raise ConfigurationError(f"headers: {redact(repr(name))} is no header's name; write one such as 'Accept'")
        if not callable(value) and (not isinstance(value, str) or not value.isprintable()):
            raise ConfigurationError(f"headers[{name!r}]: give one line of text, or a function that returns it")
