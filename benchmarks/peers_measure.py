"""One peer, measured in its own environment: a script that ``peers.py`` starts there.

Arguments: the peer's place in the list, calls in a window, rounds, and the file that gets the figures, since peers print.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api

import agentgauge
from measure import Subject, measure
from peers_setup import PEERS, set_up
from references import CountingExporter, PrometheusCombination, Tracing, set_provider, spanned, spanned_async
from subjects import OurSeries, loop, loop_async, work, work_async

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExportResult

    from peers_setup import SetUp
    from peers_table import Peer

_MARK = "a question that only this call asks"


class _LastSpanExporter(CountingExporter):
    """Counts spans, and keeps the last one for a look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.last: ReadableSpan | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.last = spans[-1]
        return super().export(spans)


class _Theirs:
    """A peer, ready to be timed.

    Attributes:
        ready: The peer.
        exporter: Gets its spans.
        provider: Its tracer provider; what it put in the global place.
    """

    def __init__(self, peer: Peer) -> None:
        self.exporter = _LastSpanExporter()
        self.ready: SetUp = set_up(peer, self.exporter)
        self.provider: Any = trace_api._TRACER_PROVIDER  # noqa: SLF001 - the getter would make one
        self._seen = 0

    def prepare(self) -> None:
        set_provider(self.provider)

    def settle(self) -> int:
        """Export everything; return how many calls were recorded since the last time."""
        if self.ready.counted is not None:
            total = self.ready.counted()
        else:
            self.provider.force_flush()
            total = self.exporter.count
        total, self._seen = total - self._seen, total
        return total


def _check_content(peer: Peer, theirs: _Theirs, call: Callable[[], object]) -> None:
    """See that a span bears argument and return value if and only if it is said to."""
    theirs.prepare()
    theirs.settle()
    call()
    recorded = theirs.settle()
    if recorded != 1:
        raise RuntimeError(f"one call was made, {recorded} were recorded")
    if peer.is_span:
        assert theirs.exporter.last is not None  # noqa: S101 - one was counted
        found = str(dict(theirs.exporter.last.attributes or {})).count(_MARK)
        if (peer.content in {"on", "always"}) != (found >= 2) or (peer.content == "off" and found):
            raise RuntimeError(f"content is {peer.content}, and its span bears it {found} times")


def _marked_call(kind: str, decorated: Callable[[Any], Any]) -> Callable[[], object]:
    return lambda: decorated(_MARK) if kind == "sync" else asyncio.run(decorated(_MARK))


def _subjects(kind: str, theirs: _Theirs, decorated: Callable[[int], Any]) -> list[Subject]:
    prometheus, tracing, series = PrometheusCombination(), Tracing(1.0), OurSeries(kind)

    def no_provider() -> None:
        set_provider(None)

    def our_provider() -> None:
        set_provider(tracing.provider)

    def series_and_spans() -> int:
        return min(series.settle(), tracing.flush())

    function: Callable[[int], Any] = work if kind == "sync" else work_async
    looped: Callable[[Callable[[int], Any]], Callable[[int], None]] = loop if kind == "sync" else loop_async
    bound = prometheus.sync(function) if kind == "sync" else prometheus.asynchronous(function)
    span = (spanned if kind == "sync" else spanned_async)(function, tracing.tracer, "work", {})
    ours = agentgauge.task(kind)(function)
    return [
        Subject("bare", looped(function), prepare=no_provider),
        Subject("prometheus", looped(bound), prometheus.settle, no_provider),
        Subject("ours", looped(ours), series.settle, no_provider),
        Subject("span", looped(span), tracing.flush, our_provider),
        Subject("ours, span", looped(ours), series_and_spans, our_provider),
        Subject("peer", looped(decorated), theirs.settle, theirs.prepare),
    ]


def _refuse_connections() -> None:
    """Let nothing leave the process: a peer's service is no part of what a call costs."""

    def connect(*_: object) -> None:
        raise ConnectionRefusedError("the benchmark is offline")

    for method in ("connect", "connect_ex"):
        setattr(socket.socket, method, connect)


def _versions(peer: Peer) -> dict[str, str]:
    found = {}
    for package in (peer.package, "opentelemetry-sdk", "prometheus-client"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main(peer: Peer, calls: int, rounds: int) -> dict[str, object]:
    """Measure a peer with both kinds of function; return figures, versions and failures for JSON."""
    theirs = _Theirs(peer)
    nanoseconds: dict[str, dict[str, float]] = {}
    failures: dict[str, str] = {}
    for kind, function in (("sync", work), ("async", work_async)):
        if kind in peer.not_for:
            continue
        try:
            decorated = theirs.ready.decorate(function)
            _check_content(peer, theirs, _marked_call(kind, decorated))
            figures = measure(_subjects(kind, theirs, decorated), calls=calls, rounds=rounds)
            nanoseconds[kind] = {name: figure.best for name, figure in figures.items()}
        except Exception as error:  # noqa: BLE001 - a row that fails says why
            failures[kind] = f"{type(error).__name__}: {error}"
    return {"nanoseconds": nanoseconds, "versions": _versions(peer), "failures": failures}


if __name__ == "__main__":
    number, calls_in_a_window, how_many_rounds = (int(argument) for argument in sys.argv[1:4])
    _refuse_connections()
    found_figures = main(PEERS[number], calls_in_a_window, how_many_rounds)
    Path(sys.argv[4]).write_text(json.dumps(found_figures), encoding="utf-8")
