"""``make soak``: ten minutes of mixed load, after which memory, threads and descriptors must be where they were.

Six programs record in threads, children are forked, two scrapers read both formats and check each page, and the monitor is
stopped and started again. At the end every task that the programs know of must be in the series, and nothing dropped.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from http.client import HTTPException

import psutil
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import REGISTRY

import agentgauge
from agentgauge.exposition.text import render
from mixed_load import PROGRAMS, Ended, Worker, fork_once
from page import OPENMETRICS, TEXT, Page, fetch, read

_SAMPLE_SECONDS = 0.5
_RESTART_SECONDS = 15.0
_CHILD_SECONDS = 30.0
_ENDING_SECONDS = 10.0
_SERIES_LIMIT = 200
_MEBIBYTE = 2**20
_RSS_TOLERANCE_BYTES = 2 * _MEBIBYTE  # some hundredths of a byte for each event


@dataclass(frozen=True)
class Sample:
    """What the process held at one moment."""

    rss_bytes: int
    threads: int
    descriptors: int


class Scraper:
    """Reads the page again and again and checks it; a server that is being restarted is tried again.

    Attributes:
        pages: How many pages it has read.
        missed: How often nobody answered.
        failure: What ended it before its time, None where all is well.
    """

    def __init__(self, accept: str, stop: threading.Event) -> None:
        self.pages = self.missed = 0
        self.failure: Exception | None = None
        self.url = "http://127.0.0.1:0"  # nobody answers there, until the first monitor does
        self._accept = accept
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name=f"scrape {accept}")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the last page is read."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._read_on()
        except Exception as failure:  # noqa: BLE001 - whoever joins the thread tells it
            self.failure = failure

    def _read_on(self) -> None:
        before: Page | None = None
        while not self._stop.wait(_SAMPLE_SECONDS):
            try:
                body = fetch(self.url, self._accept)
            except (OSError, HTTPException):  # stop() cuts a page that is being sent
                self.missed += 1
                continue
            page = read(body)
            page.check(before)
            before = page
            self.pages += 1


def main() -> int:
    """Run the load, print the figures, and return 1 where something grew, was lost or hung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default 600; less than 60 shows little)")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # the forks are the point
    logging.getLogger("agentgauge").setLevel(logging.CRITICAL)  # its warnings of bad reports and siblings are wanted here
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.1)))
    provider.add_span_processor(SpanProcessor())  # somebody must hear of spans, or none are made
    trace.set_tracer_provider(provider)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs: {options.seconds:.0f} s of mixed load", flush=True)
    process = psutil.Process()
    bare = _sample(process)
    stop = threading.Event()
    workers = [Worker(program, stop) for program in PROGRAMS]
    scrapers = [Scraper(accept, stop) for accept in (TEXT, OPENMETRICS)]
    threads: list[Worker | Scraper] = [*workers, *scrapers]
    for thread in threads:
        thread.start()
    failures: list[str] = []
    samples, children, restarts = _observe(options.seconds, process, scrapers, failures)
    stop.set()
    for thread in threads:
        thread.join()
        if thread.failure is not None:
            failures.append(repr(thread.failure))
    agentgauge.stop()
    ended = sum((worker.ended for worker in workers), Ended())
    failures += _what_grew(samples, bare, _settled(process, bare))
    failures += _what_was_lost(ended)
    print(f"tasks {ended.total()}, forks {children}, restarts {restarts}, ", end="")
    print(", ".join(f"{scraper.pages} pages ({scraper.missed} missed)" for scraper in scrapers))
    for failure in failures:
        print(f"FAILED: {failure}")
    return 1 if failures else 0


def _observe(
    seconds: float, process: psutil.Process, scrapers: list[Scraper], failures: list[str]
) -> tuple[list[Sample], int, int]:
    """Fork, restart and take samples until the time is over."""
    samples: list[Sample] = []
    children = restarts = 0
    ends = time.monotonic() + seconds
    restart_at = 0.0
    while (now := time.monotonic()) < ends and not failures:
        if now >= restart_at:
            agentgauge.stop()
            monitor = agentgauge.start(port=0, series_limit=_SERIES_LIMIT)
            restart_at = now + _RESTART_SECONDS
            restarts += 1
            for scraper in scrapers:
                scraper.url = f"{monitor.url}"
        failure = _wait_for(fork_once())
        children += 1
        if failure is not None:
            failures.append(failure)
        samples.append(_sample(process))
        time.sleep(_SAMPLE_SECONDS)
    return samples, children, restarts


def _sample(process: psutil.Process) -> Sample:
    return Sample(process.memory_info().rss, process.num_threads(), process.num_fds())


def _settled(process: psutil.Process, bare: Sample) -> Sample:
    """Take a sample once threads that were told to end have done so."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while (sample := _sample(process)).threads > bare.threads and time.monotonic() < deadline:
        time.sleep(0.01)
    return sample


def _wait_for(process_id: int) -> str | None:
    """Wait for a child; say what was wrong with it."""
    deadline = time.monotonic() + _CHILD_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(process_id, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return None if code == 0 else f"a forked child ended with {code}"
        time.sleep(0.01)
    os.kill(process_id, signal.SIGKILL)
    os.waitpid(process_id, 0)
    return f"a forked child hung for {_CHILD_SECONDS:.0f} s"


def _what_grew(samples: list[Sample], bare: Sample, after: Sample) -> list[str]:
    """Compare the second quarter's lowest figures with the last's: the first quarter fills what is bounded."""
    quarter = max(len(samples) // 4, 1)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    grown = []
    for name, unit, tolerance in (("rss_bytes", _MEBIBYTE, _RSS_TOLERANCE_BYTES), ("threads", 1, 0), ("descriptors", 1, 0)):
        first, last = (min(getattr(sample, name) for sample in part) for part in (early, late))
        most = max(getattr(sample, name) for sample in samples)
        print(
            f"{name.replace('_bytes', ' MiB'):12} before {getattr(bare, name) / unit:6.1f}  second quarter {first / unit:6.1f}  "
            f"last quarter {last / unit:6.1f}  most {most / unit:6.1f}  after stop() {getattr(after, name) / unit:6.1f}"
        )
        if last - first > tolerance:
            grown.append(f"{name} grew from {first} to {last}")
    if after.threads > bare.threads or after.descriptors > bare.descriptors:
        grown.append(f"after stop() there are {after}, before start() there were {bare}")
    return grown


def _what_was_lost(ended: Ended) -> list[str]:
    """Compare what the programs know with what the series say."""
    page = read(b"".join(render(REGISTRY, openmetrics=False, names=frozenset())))
    page.check(None)
    lost = []
    if page.counts.total() != ended.total():
        lost.append(f"{ended.total()} tasks ended, {page.counts.total()} are in the series")
    for (agent, task, outcome), count in ended.items():
        labels = f'gen_ai_agent_name="{agent}",agent_task="{task}",outcome="{outcome}"'
        if agent and page.counts[labels] != count:
            lost.append(f"{count} of {labels} ended, {page.counts[labels]} are in the series")
    if page.dropped or page.internal_errors:
        lost.append(f"{page.dropped} events were dropped, {page.internal_errors} internal errors were contained")
    return lost


if __name__ == "__main__":
    sys.exit(main())
