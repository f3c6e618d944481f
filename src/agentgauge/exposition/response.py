"""From a request to its response: what every form of the server answers."""

from __future__ import annotations

import hmac
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from agentgauge import catalogue
from agentgauge.errors import contain_internal_errors, report_internal_error
from agentgauge.exposition.text import render
from agentgauge.recording.default import default_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from prometheus_client.registry import Collector

    from agentgauge.config import Config
    from agentgauge.exposition.health_pages import HealthPages
    from agentgauge.exposition.receivers import Receivers

__all__ = ["PATHS", "Response", "answer", "note_scrape", "plain", "respond"]

PATHS = ("/", "/livez", "/readyz", "/healthz", "/metrics")

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_INDEX = """\
agentgauge

/metrics  the series, for Prometheus
/livez    200 while the process runs
/readyz   200 once it is ready
/healthz  200 while it is healthy; add ?verbose or ?format=json here and to /readyz for the components
"""
_NO_STORE = ("Cache-Control", "no-store")
_GZIP_LEVEL = 3  # on such pages a third of the time of level 6 for pages 2 % larger


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; a body without ``Content-Length`` is made while it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Iterable[bytes]


def plain(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Make a response of a short text."""
    body = text.encode(errors="backslashreplace")
    return Response(
        status, (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers), (body,)
    )


def answer(
    respond: Callable[[str, str, Mapping[str, str], bytes], Response],
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes = b"",
) -> Response:
    """Call ``respond``; a fault in it is counted, and the client told that there was one."""
    try:
        return respond(method, target, headers, body)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
        report_internal_error("server", error)
        return plain(500, "agentgauge failed; the program's log has the traceback\n")


def note_scrape(seconds: float, cpu_seconds: float) -> None:
    """Record what a page cost, as ``respond`` tells it, so that the next page shows it."""
    recorder = default_recorder()
    recorder.observe(catalogue.SCRAPE_DURATION, (), seconds)
    recorder.note_overhead("exposition", cpu_seconds)


def respond(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    registry: Collector,
    config: Config,
    is_ready: Callable[[], bool],
    on_scrape: Callable[[float, float], None],
    health: HealthPages | None = None,
    receivers: Receivers | None = None,
) -> Response:
    """Answer one request; whoever sends the response to ``HEAD`` leaves its body out.

    Args:
        method: The HTTP method.
        target: The path with its query.
        headers: The request's headers by their names in lower case.
        body: What was sent to one of ``receivers``.
        registry: What ``/metrics`` shows.
        config: Read for ``bearer_token``, which guards ``/metrics`` and the components of ``/readyz`` and ``/healthz``: the word
            that a probe gets has no secrets.
        is_ready: Tells what ``/readyz`` says, where ``health`` does not say otherwise.
        on_scrape: Called after each page with the seconds that it took to collect and write, without those that the client
            took to read it, and the CPU seconds that it took to write.
        health: Tells how the components are.
        receivers: Pages that take what is sent to them.
    """
    path, _, query = target.partition("?")
    if receivers is not None and path in receivers.paths:
        return receivers.respond(method, path, headers, body)
    if path not in PATHS:
        taking = "" if receivers is None else "".join(f", or POST to {other}" for other in receivers.paths)
        return plain(404, f"there is nothing here; try /metrics, /livez, /readyz or /healthz{taking}\n")
    if method not in {"GET", "HEAD"}:
        return plain(405, "only GET and HEAD work here\n", ("Allow", "GET, HEAD"))
    if path == "/":
        return plain(200, _INDEX + "".join(f"{path}  takes POST\n" for path in (() if receivers is None else receivers.paths)))
    if path == "/livez":  # before anything else is asked: nothing outside the process may make it fail
        return plain(200, "ok\n")
    may_see = _is_authorized(headers.get("authorization", ""), config.bearer_token)
    if path in {"/readyz", "/healthz"}:
        if health is not None:
            return health.respond(path, query, headers, is_started=is_ready(), may_see=may_see)
        return plain(200, "ok\n", _NO_STORE) if is_ready() else plain(503, "not ready\n", _NO_STORE)
    if not may_see:
        return plain(401, "a bearer token is needed\n", ("WWW-Authenticate", 'Bearer realm="agentgauge"'))
    return _metrics(method, query, headers, registry, on_scrape)


def _metrics(
    method: str,
    query: str,
    headers: Mapping[str, str],
    registry: Collector,
    on_scrape: Callable[[float, float], None],
) -> Response:
    openmetrics = _wants_openmetrics(headers.get("accept", ""))
    gzip = _wants_gzip(headers.get("accept-encoding", ""))
    described = (
        ("Content-Type", _OPENMETRICS if openmetrics else _TEXT),
        ("Vary", "Accept, Accept-Encoding"),
        *((("Content-Encoding", "gzip"),) if gzip else ()),
    )
    if method == "HEAD":
        return Response(200, described, ())
    watch = _Watch()
    try:
        with watch:
            page = render(registry, openmetrics=openmetrics, names=frozenset(parse_qs(query).get("name[]", ())))
    except Exception as error:  # noqa: BLE001 - any collector of the host's may raise anything
        report_internal_error("scrape", error)
        return plain(500, f"a collector of the registry raised {type(error).__name__}; the program's log has the traceback\n")
    watch.cpu_seconds = 0.0  # collectors answer for themselves
    return Response(200, described, _watched(_gzipped(page) if gzip else page, watch, on_scrape))


def _is_authorized(header: str, token: str | None) -> bool:
    if token is None:
        return True
    scheme, _, given = header.partition(" ")
    is_equal = hmac.compare_digest(given.strip().encode(errors="replace"), token.strip().encode())
    return is_equal and scheme.lower() == "bearer"


def _wants_openmetrics(accept: str) -> bool:
    wanted = max(_qualities(accept, {"application/openmetrics-text"}, {"", "1.0.0"}), default=0)
    return 0 < wanted >= max(_qualities(accept, {"text/plain", "text/*", "*/*"}, {"", "0.0.4"}), default=0)


def _wants_gzip(accept_encoding: str) -> bool:
    anything = max(_qualities(accept_encoding, {"*"}), default=0)
    return max(_qualities(accept_encoding, {"gzip"}), default=anything) > 0


def _qualities(header: str, names: AbstractSet[str], versions: AbstractSet[str] = frozenset({""})) -> Iterator[float]:
    """Yield the q of each item of an ``Accept*`` header with one of ``names`` and ``versions`` (RFC 9110, 12.4.2)."""
    for item in header.split(","):
        name, *parameters = (part.strip() for part in item.lower().split(";"))
        values = {key.strip(): value.strip() for key, _, value in (parameter.partition("=") for parameter in parameters)}
        if name in names and values.get("version", "") in versions:
            try:
                yield float(values.get("q", 1))
            except ValueError:
                continue


def _gzipped(page: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=31)
    for chunk in page:
        if compressed := compressor.compress(chunk):
            yield compressed
    yield compressor.flush()


class _Watch:
    """Adds up the time of the blocks that it is the context of."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self._started, self._cpu_started = time.perf_counter(), time.thread_time()

    def __exit__(self, *_error: object) -> None:
        self.seconds += time.perf_counter() - self._started
        self.cpu_seconds += time.thread_time() - self._cpu_started


def _watched(page: Iterable[bytes], watch: _Watch, on_scrape: Callable[[float, float], None]) -> Iterator[bytes]:
    chunks = iter(page)
    try:
        while True:
            with watch:
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk
    finally:  # also when the client went away
        with contain_internal_errors("scrape"):
            on_scrape(watch.seconds, watch.cpu_seconds)
