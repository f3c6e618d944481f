"""What a scraper reads: a page of /metrics, fetched over HTTP and checked."""

from __future__ import annotations

import gzip
import re
import urllib.request
from collections import Counter
from dataclasses import dataclass

__all__ = ["OPENMETRICS", "TEXT", "Page", "fetch", "read"]

TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text"
_COUNT = re.compile(r"^agent_task_duration_seconds_count\{([^}]*)\} (\d+)", re.MULTILINE)
_INFINITY = re.compile(r'^agent_task_duration_seconds_bucket\{([^}]*),le="\+Inf"\} (\d+)', re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """The figures of one page that must agree with each other and with the page before.

    Attributes:
        size_bytes: Its size before compression.
        recorded: ``agentgauge_events_recorded_total``.
        dropped: ``agentgauge_events_dropped_total``.
        internal_errors: The sum of ``agentgauge_internal_errors_total``.
        counts: ``agent_task_duration_seconds_count`` by its labels.
        infinities: The ``+Inf`` bucket by the same labels.
    """

    size_bytes: int
    recorded: float
    dropped: float
    internal_errors: float
    counts: Counter[str]
    infinities: Counter[str]

    def check(self, before: Page | None) -> None:
        """Compare with itself and with an earlier page.

        Raises:
            RuntimeError: A histogram is no snapshot, or a counter went down.
        """
        if self.counts != self.infinities:
            raise RuntimeError(f"_count and the +Inf bucket differ: {self.counts - self.infinities}")
        if before is not None and (self.recorded < before.recorded or before.counts - self.counts):
            raise RuntimeError(f"a counter went down: {before.recorded} to {self.recorded}, {before.counts - self.counts}")


def fetch(url: str, accept: str, timeout_seconds: float = 30.0) -> bytes:
    """Return the page at ``url``, decompressed.

    Raises:
        OSError: The server is not there, or too slow.
    """
    request = urllib.request.Request(url, headers={"Accept": accept, "Accept-Encoding": "gzip"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310 - see above
        body: bytes = response.read()
    return gzip.decompress(body)


def read(body: bytes) -> Page:
    """Read the figures that are checked; both text formats spell them the same."""
    text = body.decode()
    return Page(
        size_bytes=len(body),
        recorded=_total(text, "agentgauge_events_recorded_total"),
        dropped=_total(text, "agentgauge_events_dropped_total"),
        internal_errors=_total(text, "agentgauge_internal_errors_total"),
        counts=Counter({labels: int(value) for labels, value in _COUNT.findall(text)}),
        infinities=Counter({labels: int(value) for labels, value in _INFINITY.findall(text)}),
    )


def _total(text: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)", text, re.MULTILINE))
