"""How long a health probe takes beside a process that computes in 32 threads, as the kubelet would run it.

What is timed is the command that users run, from its start to its end, and beside it a page of the process itself. Run as a
script with the path of a file, it is that process: it says where its pages are, and computes until its standard input ends.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

import agentgauge
from agentgauge.probe import read
from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rows import Effort

__all__ = ["SUITES"]

_PROBE = "health probe beside 32 busy threads, p99"
_AGE = "age of the heartbeat beside them, p99"
_BUSY_THREADS = 32
_PROBES_A_TRIAL = 12  # 108 in the full form
_PAGES_A_TRIAL = 2
_TIMEOUT_SECONDS = 60.0


def _compute() -> None:
    while True:
        sum(number * number for number in range(1000))


def _host(heartbeat_file: str) -> None:
    monitor = agentgauge.start(port=0, registry=CollectorRegistry(), heartbeat_file=heartbeat_file)
    print(monitor.url, flush=True)
    for _ in range(_BUSY_THREADS):
        threading.Thread(target=_compute, daemon=True).start()
    sys.stdin.read()


def _command() -> list[str]:
    script = Path(sys.executable).with_name("agentgauge")
    return [str(script)] if script.exists() else [sys.executable, "-m", "agentgauge"]


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _p99(samples: Sequence[float]) -> float:
    return statistics.quantiles(samples, n=100, method="inclusive")[-1]


def _milliseconds(trials: int) -> tuple[float, float, float]:
    """Measure the p99 of the probe, of the heartbeat's age, and of a page."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "heartbeat"))
        command = [*_command(), "probe", file, "--ready"]
        # S603: a script of ours, and a command of ours
        with subprocess.Popen(  # noqa: S603 - see above
            [sys.executable, __file__, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as host:
            if host.stdout is None:
                raise RuntimeError("the host has no pipes")
            address = urlsplit(host.stdout.readline()).netloc
            try:
                return _sampled(command, file, address, trials)
            finally:
                host.kill()


def _sampled(command: Sequence[str], file: str, address: str, trials: int) -> tuple[float, float, float]:
    def probe() -> None:
        subprocess.run(command, capture_output=True, check=True, timeout=_TIMEOUT_SECONDS)  # noqa: S603 - as above

    def page() -> None:
        with closing(http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)) as connection:
            connection.request("GET", "/livez")
            connection.getresponse().read()

    probe()  # writes what Python keeps of it
    probes, ages, pages = [], [], []
    for _ in range(trials):
        for _ in range(_PROBES_A_TRIAL):
            probes.append(_seconds(probe))
            ages.append(time.monotonic() - read(file).monotonic_seconds)
        pages += [_seconds(page) for _ in range(_PAGES_A_TRIAL)]
    return 1e3 * _p99(probes), 1e3 * _p99(ages), 1e3 * _p99(pages)


def _measure(names: Collection[str], effort: Effort) -> list[Row]:
    probe, age, page = _milliseconds(effort.trials)
    rows = [Row(_PROBE, probe, probe, page, "ms", "/livez of the process"), Row(_AGE, age, age, None, "ms")]
    return [row for row in rows if row.name in names]


SUITES = (Suite((_PROBE, _AGE), _measure),)

if __name__ == "__main__":
    _host(sys.argv[1])
