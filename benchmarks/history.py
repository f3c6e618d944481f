"""What the local history costs beside Prometheus: writing a day, asking for a day of one series, the disk.

Sweeps are written one after the other under a made-up clock, with all the folding and forgetting that is due by the way. A third
of the series walks, a third counts, a third hardly changes. Prometheus is given the same samples, of fewer series since it is
slow to take in, by ``promtool tsdb create-blocks-from openmetrics``, and asked by ``/api/v1/query_range``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL_SECONDS = 15
MOST_OF_A_CORE = 0.20
SHORT = (1_000, 480)
METRIC = "agentgauge_bench"


@dataclass(frozen=True, slots=True)
class Written:
    """What writing cost, in seconds.

    Attributes:
        cpu: Of processor time, a sweep.
        dearest: The dearest of them.
        waited: How long 99 of 100 writes took at most, the disk included.
        maintained: What was left to do after the last, of processor time.
    """

    cpu: float
    dearest: float
    waited: float
    maintained: float


def sweeps(series: int, count: int, start: int) -> Iterator[tuple[int, list[float]]]:
    """Return the values of all series at each time: a third walks, a third counts, a third hardly ever changes."""
    chance = random.Random(1)
    values = [0.0] * series
    for index in range(count):
        for one in range(series):
            kind = one % 3
            if kind == 0:
                values[one] += chance.gauss(0, 1)
            elif kind == 1:
                values[one] += one % 5 + (index + one) % 3
            elif (index + one) % 200 == 0:
                values[one] += 1
        yield start + index * INTERVAL_SECONDS, values


def median_ms(ask: Callable[[], object], prepare: Callable[[], None] = lambda: None) -> float:
    """Return how long it takes to ask, in milliseconds, each time after what is prepared."""
    took = []
    for _ in range(15):
        prepare()
        begin = time.perf_counter()
        ask()
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1e3


def write(history: History, series: int, count: int, start: int) -> Written:
    """Write all sweeps; only what the history does is counted."""
    labels = [(("series", str(one)),) for one in range(series)]
    cpu, took = [], []
    for index, (at, values) in enumerate(sweeps(series, count, start)):
        samples = [(METRIC, own, value) for own, value in zip(labels, values, strict=True)]
        began, begin = time.perf_counter(), time.process_time()
        history.write(at, samples)
        cpu.append(time.process_time() - begin)
        took.append(time.perf_counter() - began)
        if index % max(1, count // 10) == 0:
            print(f"{index} of {count} sweeps", file=sys.stderr)
    begin = time.process_time()
    history.maintain()
    return Written(sum(cpu) / count, max(cpu), sorted(took)[count * 99 // 100], time.process_time() - begin)


def backfill(folder: Path, series: int, count: int, start: int) -> int:
    """Give Prometheus the same samples; return the bytes of its blocks."""
    page = folder / "page.om"
    with page.open("w") as file:
        file.write(f"# TYPE {METRIC} gauge\n")
        for at, values in sweeps(series, count, start):
            file.writelines(f'{METRIC}{{series="{one}"}} {value} {at}\n' for one, value in enumerate(values))
        file.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "--quiet", "openmetrics", str(page), str(folder / "data")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - made here
    page.unlink()
    return sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())


def ask_prometheus(folder: Path, asked: list[dict[str, str]]) -> list[float]:
    """Return how long the same questions take over HTTP, in milliseconds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "prometheus.yml").write_text("{}")
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y", "--log.level=error"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:  # noqa: S603 - made here
        try:
            address = f"http://127.0.0.1:{port}"
            while True:
                try:
                    urllib.request.urlopen(f"{address}/-/ready").close()  # noqa: S310 - http, of our own making
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)

            def ask(question: dict[str, str]) -> object:
                url = f"{address}/api/v1/query_range?{urllib.parse.urlencode(question)}"
                with urllib.request.urlopen(url) as answer:  # noqa: S310 - http, of our own making
                    return json.load(answer)

            return [median_ms(lambda question=question: ask(question)) for question in asked]  # type: ignore[misc]
        finally:
            server.terminate()


def tiers(path: Path, samples: int) -> str:
    """Return what each tier takes of the file, in bytes a sample."""
    columns = " + ".join(f"coalesce(length({name}), 0)" for name in ("last", "least", "greatest", "mean", "count"))
    query = f"SELECT width, sum({columns}) FROM chunk JOIN block ON block.id = chunk.id >> 32 GROUP BY width"  # noqa: S608 - our own
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return ", ".join(
            f"{f'{width} s' if width else 'sweeps'} {size / samples:.2f}" for width, size in connection.execute(query)
        )


def main(series: int, count: int, beside: int) -> int:
    """Print the figures; return 1 where one misses its bar."""
    start = 1_700_000_100
    end = start + count * INTERVAL_SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with History(folder / "history", clock=lambda: end) as history:
            written = write(history, series, count, start)
            grids = [Grid.over(end - 86_400, end, step) for step in (15, 60)]
            own = []
            for grid in grids:

                def ask(grid: Grid = grid) -> object:
                    return history.frames(METRIC, grid, {"series": "4"})

                def touch() -> None:
                    history.write_points("agentgauge_bench_other", {}, [start], [1.0])

                own.append((median_ms(ask), median_ms(ask, touch)))
            with_log = history.file_bytes()
        size = (folder / "history").stat().st_size
        by_tier = tiers(folder / "history", series * count)
        blocks = backfill(folder, beside, count, start)
        questions = [
            {"query": f'{METRIC}{{series="4"}}', "start": str(grid.start), "end": str(grid.end), "step": str(grid.step_seconds)}
            for grid in grids
        ]
        theirs = ask_prometheus(folder, questions)
    share = written.cpu / INTERVAL_SECONDS
    print(f"{count} sweeps of {series} series, and Prometheus with {beside} of them")
    print(
        f"writing: {written.cpu * 1e3:.1f} ms of CPU a sweep, {share:.2%} of a core at {INTERVAL_SECONDS} s; the dearest ", end=""
    )
    print(
        f"{written.dearest * 1e3:.0f} ms; with the disk 99 of 100 in {written.waited * 1e3:.0f} ms; "
        f"{written.maintained:.1f} s of CPU were left to fold"
    )
    for grid, (mine, after_write), other in zip(grids, own, theirs, strict=True):
        print(f"a day of one series by {grid.step_seconds:g} s: {mine:.1f} ms, {after_write:.1f} first after a write, ", end="")
        print(f"Prometheus {other:.1f} ms")
    samples = series * count
    print(f"disk: {size / samples:.2f} bytes a sample with all tiers ({by_tier}), Prometheus' blocks ", end="")
    print(f"{blocks / (beside * count):.2f}; the file {size / 2**20:.0f} MiB, ", end="")
    print(f"and the log of SQLite, which does not grow further, {(with_log - size) / 2**20:.1f} MiB")
    is_slow = [mine > other for (mine, _), other in zip(own, theirs, strict=True)]
    missed = ["writing"] * (share >= MOST_OF_A_CORE) + ["asking"] * any(is_slow)
    if missed:
        print(f"missed: {' and '.join(missed)}")
    return bool(missed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--sweeps", type=int, default=5_760, help="a day of them at 15 s")
    parser.add_argument("--beside", type=int, default=500, help="of how many series Prometheus gets the samples")
    parser.add_argument("--short", action="store_true", help="{} series, {} sweeps".format(*SHORT))
    given = parser.parse_args()
    wanted, swept = SHORT if given.short else (given.series, given.sweeps)
    sys.exit(main(wanted, swept, min(given.beside, wanted)))
