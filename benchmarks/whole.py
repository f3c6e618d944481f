"""What everything costs together: the demo with server, collectors and spans, against the same demo without agentgauge.

Each run answers the same questions in a process of its own and is scraped every second, as Prometheus asks. The work counts, not
the imports before it. Run as a script, it is the demo, and writes the CPU seconds of the process and of our threads.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rows import Effort

__all__ = ["SUITES"]

_NAME = "the demo with everything on"
_EXAMPLES = Path(__file__).parents[1] / "examples"
_OPTIONS = ("--port", "0", "--seed", "1", "--faults", "none", "--concurrency", "12", "--speed", "4", "--questions", "100")
_SCRAPE_SECONDS = 1.0
_STATES: dict[str, dict[str, str]] = {
    "off": {"AGENTGAUGE_DISABLED": "true"},
    "without spans": {"OTEL_SDK_DISABLED": "true"},
    "on": {},
}
_HEADERS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "Accept-Encoding": "gzip"}


@dataclass(frozen=True)
class _Run:
    """The CPU seconds of one run: of the whole process, and of the threads that are ours by the first word of their names.

    ``work`` is what was done, by the demo's own books.
    """

    process: float
    work: list[Any]
    threads: Mapping[str, float]

    @property
    def calling(self) -> float:
        """What is not spent in threads of ours: the program, and what its own threads record."""
        return self.process - sum(self.threads.values())


def _demo(result: Path) -> None:
    """Run the demo in this process; write what it took."""
    sys.path.insert(0, str(_EXAMPLES))
    demo: Any = importlib.import_module("research_swarm")
    spent: dict[str, float] = collections.defaultdict(float)
    run = threading.Thread.run

    def run_and_note(thread: threading.Thread) -> None:
        try:
            run(thread)
        finally:
            if thread.name.startswith("agentgauge-"):
                spent[thread.name.split("-")[1]] += time.thread_time()

    # A scrape's own thread is gone before anyone could look.
    threading.Thread.run = run_and_note  # type: ignore[method-assign, assignment]  # mypy does not bind it
    began = time.process_time()
    books = result.with_name("ledger.json")
    demo.main([*_OPTIONS, "--ledger", str(books)])
    process = time.process_time() - began
    result.write_text(json.dumps({"process": process, "work": json.loads(books.read_text())["calls"], "threads": spent}))


def _run(environment: Mapping[str, str]) -> _Run:
    """Run the demo in a process of its own, and scrape it until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "spent.json"
        # S603: this script
        process = subprocess.Popen(  # noqa: S603 - see above
            [sys.executable, __file__, str(result)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        )
        with process:
            if process.stdout is None:
                raise RuntimeError("the demo has no pipe")
            url = process.stdout.readline().split()[1]
            reader = threading.Thread(target=process.stdout.read)  # or the pipe would fill, and the demo wait
            reader.start()
            while process.poll() is None:
                time.sleep(_SCRAPE_SECONDS)
                if url != "None":
                    _scrape(url)
            reader.join()
        return _Run(**json.loads(result.read_text()))


def _scrape(url: str) -> None:
    request = urllib.request.Request(url, headers=_HEADERS)  # noqa: S310 - the demo's own address
    with contextlib.suppress(OSError, http.client.HTTPException), urllib.request.urlopen(request) as answer:  # noqa: S310 - too
        answer.read()  # suppressed: the demo may just have ended


def _measure(_names: Collection[str], effort: Effort) -> list[Row]:
    runs: dict[str, list[_Run]] = {state: [] for state in _STATES}
    for _ in range(effort.trials):
        for state, environment in _STATES.items():
            runs[state].append(_run(environment))
            if runs[state][-1].work != runs["off"][0].work:
                raise RuntimeError("this machine is too busy: the demo did not come to the same answers each time")
    best = {state: min(each.process for each in runs[state]) for state in _STATES}
    calling = {state: min(each.calling for each in runs[state]) for state in _STATES}
    # Runs of seconds differ by a quarter on a shared machine: neighbours are compared, and the median of those is told.
    off = best["off"]
    share = statistics.median(on.process / off.process - 1 for on, off in zip(runs["on"], runs["off"], strict=True))
    parts = {
        "decorated calls, folded where they are made": calling["without spans"] - calling["off"],
        "spans": calling["on"] - calling["without spans"],
    }
    for thread in runs["on"][0].threads:
        parts[f"threads: {thread}"] = min(each.threads.get(thread, 0.0) for each in runs["on"])
    for part, seconds in parts.items():
        print(f"  {part:46}{seconds * 1e3:>8.0f} ms{seconds / off:>8.1%}")
    return [Row(_NAME, 100 * share, best["on"] * 1e3, off * 1e3, "ms", "AGENTGAUGE_DISABLED")]


SUITES = (Suite((_NAME,), _measure),)

if __name__ == "__main__":
    _demo(Path(sys.argv[1]))
