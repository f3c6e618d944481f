"""What everything costs together: the demo with server, collectors and DSPy instrumented, against the same without agentgauge.

Each run answers the same questions in a process of its own and is scraped every five seconds, as Prometheus asks. The work
counts, not the imports and the start before it: those cost their tenth of a second once. What is compared runs at the same time,
each on a CPU of its own, and once more with the CPUs exchanged: on a shared machine the same demo takes a quarter more CPU time
from one minute to the next, and on one CPU than on the other.
Run as a script, it is the demo, and writes the CPU seconds of the process and of our threads.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import importlib
import json
import math
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rows import Effort

__all__ = ["SUITES"]

_NAME = "the demo with everything on"
_EXAMPLES = Path(__file__).parents[1] / "examples"
_OPTIONS = ("--port", "0", "--seed", "1", "--faults", "none", "--concurrency", "12", "--speed", "4", "--questions", "100")
_SCRAPE_SECONDS = 5.0  # three times as often as in the configuration that Prometheus comes with
_OFF = {"AGENTGAUGE_DISABLED": "true"}
_STATES: dict[str, dict[str, str]] = {"decorators alone": {"AGENTGAUGE_INSTRUMENTORS": "none"}, "on": {}}
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
    work = demo.work
    process = 0.0

    async def work_and_note(*arguments: Any) -> None:
        nonlocal process
        began = time.process_time()
        await work(*arguments)
        process = time.process_time() - began

    demo.work = work_and_note
    books = result.with_name("ledger.json")
    demo.main([*_OPTIONS, "--ledger", str(books)])
    result.write_text(json.dumps({"process": process, "work": json.loads(books.read_text())["calls"], "threads": spent}))


def _run(environment: Mapping[str, str], cpu: int) -> _Run:
    """Run the demo in a process of its own on one CPU, and scrape it until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "spent.json"
        # S603: this script
        process = subprocess.Popen(  # noqa: S603 - see above
            [sys.executable, __file__, str(result), str(cpu)],
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
            while True:
                try:
                    process.wait(_SCRAPE_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if url != "None":
                        _scrape(url)
            reader.join()
        return _Run(**json.loads(result.read_text()))


def _scrape(url: str) -> None:
    request = urllib.request.Request(url, headers=_HEADERS)  # noqa: S310 - the demo's own address
    with contextlib.suppress(OSError, http.client.HTTPException), urllib.request.urlopen(request) as answer:  # noqa: S310 - too
        answer.read()  # suppressed: the demo may just have ended


def _beside(state: str) -> list[tuple[_Run, _Run]]:
    """Run the demo in a state and, at the same time, switched off; and once more with the CPUs exchanged.

    Returns:
        Two pairs: the run in that state, the run beside it.
    """
    cpus = sorted(os.sched_getaffinity(0))[:2]
    pairs = []
    with ThreadPoolExecutor(2) as pool:
        for ours, other in (cpus, reversed(cpus)):
            run, off = pool.submit(_run, _STATES[state], ours), pool.submit(_run, _OFF, other)
            pairs.append((run.result(), off.result()))
    return pairs


def _measure(_names: Collection[str], effort: Effort) -> list[Row]:
    if len(os.sched_getaffinity(0)) < len(_STATES):
        raise RuntimeError("two CPUs are needed: one for the demo with agentgauge, one for the demo without")
    pairs: dict[str, list[tuple[_Run, _Run]]] = {state: [] for state in _STATES}
    for _ in range(effort.trials):
        for state in _STATES:
            pairs[state] += _beside(state)
    if any(run.work != pairs["on"][0][0].work for both in pairs.values() for pair in both for run in pair):
        raise RuntimeError("this machine is too busy: the demo did not come to the same answers each time")
    shares = sorted(_share(pairs["on"], operator.attrgetter("process")))
    decorated, calling = (statistics.median(_share(pairs[state], operator.attrgetter("calling"))) for state in _STATES)
    parts = {"decorated calls, folded where they are made": decorated, "DSPy instrumented": calling - decorated}
    for thread in pairs["on"][0][0].threads:
        parts[f"threads: {thread}"] = statistics.median(run.threads.get(thread, 0.0) / off.process for run, off in pairs["on"])
    for part, share in parts.items():
        print(f"  {part:46}{share:>8.1%}")
    print(f"  {len(shares)} comparisons, from {shares[0]:.1%} to {shares[-1]:.1%}")
    seconds = (statistics.median(pair[which].process for pair in pairs["on"]) for which in (0, 1))
    ours, reference = (1e3 * each for each in seconds)
    return [Row(_NAME, 100 * statistics.median(shares), ours, reference, "ms", "AGENTGAUGE_DISABLED")]


def _share(pairs: Sequence[tuple[_Run, _Run]], spent: Callable[[_Run], float]) -> list[float]:
    """Tell what was spent beyond the run beside it, as a share of that; the mean of both CPUs is one comparison."""
    ratios = [spent(run) / spent(off) for run, off in pairs]
    return [math.sqrt(first * second) - 1 for first, second in zip(ratios[::2], ratios[1::2], strict=True)]


SUITES = (Suite((_NAME,), _measure),)

if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    _demo(Path(sys.argv[1]))
