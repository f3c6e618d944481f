"""A Prometheus, or anything else with its HTTP API, as a source: the same frames that the local history gives."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from array import array
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

from agentgauge.analytics.fetching import Fetcher, TooLongError
from agentgauge.analytics.frames import Fold, Frame, sane
from agentgauge.analytics.points import EARLIEST, LATEST
from agentgauge.errors import ConfigurationError, SourceError
from agentgauge.notification.destination import require_ca_file, require_secret
from agentgauge.redaction import redact
from agentgauge.requirements import require_clock, require_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentgauge.analytics.fetching import Answer
    from agentgauge.analytics.frames import Grid

__all__ = ["Prometheus"]

_EXAMPLE = "http://127.0.0.1:9090"
_NAN = math.nan
_LOOKBACK_SECONDS = 300.0
_MOST_TIMES = 11_000  # that a range query of Prometheus may have
_MOST_BYTES = 64 * 1024 * 1024  # of one answer; decoded it takes some ten times as much
_DAY_SECONDS = 86_400
_DAYS_BACK = 366
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_FUNCTIONS = {
    Fold.LAST: "last_over_time",
    Fold.MIN: "min_over_time",
    Fold.MAX: "max_over_time",
    Fold.MEAN: "avg_over_time",
    Fold.COUNT: "count_over_time",
}
_SURROGATES = re.compile("[\ud800-\udfff]")  # which nothing can print
_PAGES = re.compile(r"(?:/graph|/query|/api/v1(?:/[a-z_]*)?)?/*$")  # of its own, which people copy
_WITNESSES = ("agentgauge_build_info", "up")  # that every program of ours has, and every target
_NO_PAST = "A program's own /metrics has no past: name the Prometheus that scrapes it, or the program's history"
_HAS_CLOSED_RANGES = "count_over_time(vector(1)[2m:1m])"  # 3 where a range holds both its ends, 2 where it holds the later one


class Prometheus:
    """A ``Source`` over the Prometheus HTTP API; that of Thanos, Mimir or VictoriaMetrics, with a path before it, too.

    Nothing is asked before the first question, and no thread and no connection is kept between them.

    Args:
        url: Its address, such as ``http://127.0.0.1:9090`` or ``https://mimir.example.com/prometheus``; a user and a password in
            it are sent as such, parameters after a ``?`` go along with every question, and neither is shown.
        bearer_token: What it wants as ``Authorization: Bearer ...``; None for nothing.
        headers: Further headers, such as ``{"X-Scope-OrgID": "team-a"}``.
        ca_file: The PEM certificates that its certificate may be of; the system's unless given.
        timeout_seconds: How long one question may take, in seconds.
        clock: Tells the time, Unix time in seconds.

    Raises:
        ConfigurationError: An argument cannot work; the message names it and the fix, and quotes no secret.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        require_seconds("timeout_seconds", timeout_seconds, "30")
        require_clock("clock", clock)
        require_ca_file(ca_file)
        base, parameters, user = _parts(url)
        sent = _checked_headers(headers or {})
        if bearer_token is not None:
            require_secret("bearer_token", bearer_token)
            sent["Authorization"] = f"Bearer {bearer_token}"
        elif user:
            sent["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        self.name = redact(base)
        self._base = base
        self._parameters = parameters
        self._secrets = _secrets_of(bearer_token or "", *user.split(":", 1), *sent.values(), *(value for _, value in parameters))
        self._fetcher = Fetcher(sent, timeout_seconds, ca_file, _MOST_BYTES)
        self._clock = clock
        self._is_closed: bool | None = None

    def __repr__(self) -> str:
        return f"Prometheus({self.name!r})"

    def frames(self, metric: str, grid: Grid, labels: Mapping[str, str] | None = None, fold: Fold = Fold.LAST) -> list[Frame]:
        """Return the series of a metric that have these labels, and maybe others, and a sample in the window.

        What is asked are range queries over the times of the grid: the instant selector for ``LAST``, which Prometheus 2 lets see
        a sample that is exactly five minutes old, too, and ``min_over_time`` and its kin over one step for the others. A window
        that is too much for one answer is asked for in parts. Sources: Prometheus documentation, HTTP API and Querying basics.

        Raises:
            SourceError: It cannot be asked.
        """
        query = self._query(_selector(metric, labels or {}), grid.step_seconds, fold)
        found: dict[tuple[tuple[str, str], ...], array[float]] = {}
        for first in range(0, grid.count, _MOST_TIMES):
            self._read(query, grid, first, min(_MOST_TIMES, grid.count - first), found)
        return [
            Frame(metric, dict(series), grid, values)
            for series, values in ((series, sane(values)) for series, values in sorted(found.items()))
            if any(not math.isnan(value) for value in values)
        ]

    def metrics(self) -> list[str]:
        """Return the names of all its samples, in order.

        Raises:
            SourceError: It cannot be asked.
        """
        names = self._ask("label/__name__/values")
        if not isinstance(names, list) or not all(map(_is_text, names)):
            raise self._strange()
        return sorted(names)

    def extent(self) -> tuple[float, float] | None:
        """Return the times of the first and last sample that it has of programs of ours, or else of any target.

        It is found in a few small questions about ``agentgauge_build_info``, or else ``up``, a year back at most.

        Raises:
            SourceError: It cannot be asked.
        """
        return next((found for witness in _WITNESSES if (found := self._extent_of(witness)) is not None), None)

    def _extent_of(self, witness: str) -> tuple[float, float] | None:
        today = math.ceil(self._clock() / _DAY_SECONDS) * _DAY_SECONDS
        begin = today - _DAYS_BACK * _DAY_SECONDS
        days = self._times(f"count(last_over_time({witness}[1d]))", begin, today, _DAY_SECONDS)
        if not days:
            return None
        minutes = self._times(f"count(last_over_time({witness}[1m]))", days[0] - _DAY_SECONDS, days[0], 60)
        first = self._raw(witness, minutes[0] if minutes else days[0])
        minutes = self._times(f"count(last_over_time({witness}[1m]))", days[-1] - _DAY_SECONDS, days[-1], 60)
        last = self._raw(witness, minutes[-1] if minutes else days[-1])
        return (min(first), max(last)) if first and last else None

    def _times(self, query: str, start: float, end: float, step: int) -> list[float]:
        """Return at which times a query has an answer."""
        series = self._ask("query_range", query=query, start=start, end=end, step=step)
        return sorted(at for _, points in self._series(series) for at, _ in points)

    def _raw(self, witness: str, at: float) -> list[float]:
        """Return the times of the samples of the minute that ends then."""
        return [moment for _, points in self._series(self._ask("query", query=f"{witness}[1m]", time=at)) for moment, _ in points]

    def _query(self, selector: str, step_seconds: float, fold: Fold) -> str:
        if fold is Fold.LAST and step_seconds <= _LOOKBACK_SECONDS:
            return selector
        milliseconds = round(step_seconds * 1000)
        if milliseconds < 2:  # noqa: PLR2004 - the shortest range is of one millisecond
            raise ConfigurationError(f"a step of {step_seconds} s is too short for a Prometheus: give one of at least 0.002 s")
        return f"{_FUNCTIONS[fold]}({selector}[{milliseconds - self._has_closed_ranges()}ms])"

    def _has_closed_ranges(self) -> bool:
        """Tell whether ranges hold their beginning, too, as before Prometheus 3: they are to be half open."""
        if self._is_closed is None:
            [(_, [(_, count), *_]), *_] = self._series(self._ask("query", query=_HAS_CLOSED_RANGES, time=600)) or [
                ({}, [(0, 3.0)])
            ]
            self._is_closed = count > 2  # noqa: PLR2004 - see there
        return self._is_closed

    def _read(
        self, query: str, grid: Grid, first: int, count: int, found: dict[tuple[tuple[str, str], ...], array[float]]
    ) -> None:
        """Read some times of the grid, in halves where they are too much at once."""
        step = grid.step_seconds
        start = grid.start + first * step
        try:
            result = self._ask(
                "query_range",
                query=query,
                start=f"{start:.3f}",
                end=f"{start + (count - 1) * step:.3f}",
                step=f"{step:.3f}",
                lookback_delta=f"{_LOOKBACK_SECONDS - 0.001:.3f}",
            )
        except TooLongError:
            if count == 1:
                raise
            half = count // 2
            self._read(query, grid, first, half, found)
            self._read(query, grid, first + half, count - half, found)
            return
        for series, points in self._series(result):
            labels = tuple(sorted((name, value) for name, value in series.items() if name != "__name__" and value))
            values = found.setdefault(labels, array("d", [_NAN]) * grid.count)
            for at, value in points:
                index = round((at - grid.start) / step)
                if first <= index < first + count:
                    values[index] = value

    def _series(self, result: Any) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """Read the series of an answer; native histograms have no values."""
        try:
            return [
                (_labels(one["metric"]), [(_time(at), float(text)) for at, text in one.get("values") or [one["value"]]])
                for one in result["result"]
                if "values" in one or "value" in one
            ]
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise self._strange() from None

    def _ask(self, path: str, **parameters: Any) -> Any:
        """Ask one question and return its ``data``."""
        # Thanos' and VictoriaMetrics' ways to say that half an answer is none; others pass over what they do not know
        whole = {"partial_response": "false", "deny_partial_response": "1"} if parameters else {}
        query = urlencode([*self._parameters, *parameters.items(), *whole.items()], errors="replace")
        try:
            answer = self._fetcher.get(f"{self._base}/api/v1/{path}" + (f"?{query}" if query else ""))
        except SourceError as error:
            raise type(error)(f"{self.name}: {error}") from None
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):  # the latter where it is lists in lists without end
            said = None
        if not isinstance(said, dict):
            said = {}
        if answer.status == HTTPStatus.OK and said.get("status") == "success":
            return said.get("data")
        raise self._refusal(answer, said)

    def _refusal(self, answer: Answer, said: Mapping[str, Any]) -> SourceError:
        text = redact(said.get("error") or "", self._secrets)
        if "too many samples" in text or "maximum resolution" in text:
            return TooLongError(f"{self.name}: {text}: ask for a shorter window, or a longer step")
        if text and answer.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            is_slow = said.get("errorType") == "timeout"
            return SourceError(f"{self.name}: {text}" + (": ask for a shorter window, or a longer step" if is_slow else ""))
        return SourceError(f"{self.name}: {_explained(answer, self._secrets)}" + (f" ({text})" if text else ""))

    def _strange(self) -> SourceError:
        return SourceError(f"{self.name}: what it answers is not as a Prometheus answers: name the address of its HTTP API")


def _parts(url: object) -> tuple[str, list[tuple[str, str]], str]:
    """Take an address apart: the address alone, the parameters, and user and password; no message quotes it."""
    hint = f"give an address such as {_EXAMPLE} (what was given is not shown)"
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(f"url: {hint}")
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ConfigurationError(f"url: {hint}")
    user, _, place = parts.netloc.rpartition("@")
    base = urlunsplit((parts.scheme, place, _PAGES.sub("", parts.path), "", ""))
    return base, parse_qsl(parts.query, keep_blank_values=True), ":".join(unquote(part) for part in user.split(":", 1))


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isascii() or not value.isprintable():
            raise ConfigurationError("headers: give names and printable ASCII values (what was given is not shown)")
    return dict(headers)


def _secrets_of(*values: str) -> list[str]:
    """Return all ways in which an answer may quote what was sent: as it is, encoded for an address, and without its scheme."""
    words = {word for value in values for word in (value, value.rpartition(" ")[2], value.rpartition(" ")[2].rstrip("="))}
    return [text for word in words if word for text in (word, quote(word), quote(word, safe=""), quote_plus(word))]


def _labels(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(map(_is_text, (*given, *given.values()))):
        raise TypeError("labels are texts by their names")
    return given


def _is_text(given: object) -> bool:
    return isinstance(given, str) and not _SURROGATES.search(given)


def _time(given: Any) -> float:
    at = float(given)
    if not EARLIEST <= at <= LATEST:  # NaN is none either
        raise ValueError("a time is of the years 1 to 9999")
    return at


def _selector(metric: str, labels: Mapping[str, str]) -> str:
    is_plain = _NAME.fullmatch(metric) is not None
    matchers = [] if is_plain else [f"__name__={_quoted(metric)}"]
    matchers += [
        f"{name if _NAME.fullmatch(name) else _quoted(name)}={_quoted(value)}" for name, value in labels.items() if value
    ]
    return f"{metric if is_plain else ''}{{{','.join(matchers)}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # whose escapes are among those of Go, which PromQL's are


def _explained(answer: Answer, secrets: Iterable[str]) -> str:
    status = answer.status
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"it refuses to answer (HTTP {status}): give the bearer_token, or the user and password, that it wants"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        place = redact(answer.location.partition("?")[0], secrets)
        return (
            f"it redirects to {place or 'nowhere'}, which is not followed: give the address of its HTTP API, or log in by token"
        )
    if status == HTTPStatus.NOT_FOUND:
        return f"there is no HTTP API of a Prometheus: is a path missing, such as /prometheus, or one too many? {_NO_PAST}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "it is asked too much (HTTP 429): try again later"
    if status == HTTPStatus.OK:
        return f"what it answers is no JSON of a Prometheus: is there a page to log in, or another server? {_NO_PAST}"
    return f"it answers with HTTP {status}: is it up, and is there a proxy before it?"
