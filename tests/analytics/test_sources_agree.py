"""A real Prometheus and the local history: of the same samples, both sources give the same frames."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from prometheus_client import Gauge

import agentgauge
from agentgauge import track
from agentgauge.analytics.anomalies import find_anomalies
from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.prometheus import Prometheus
from agentgauge.analytics.sources import open_source
from agentgauge.analytics.totals import totals
from backfilled import BEGIN, backfilled, sample
from stack import Stack

pytestmark = pytest.mark.servers

PATIENCE_SECONDS = 120.0
INTERVAL = 15
COUNT = 480  # two hours
TIMES = [BEGIN + INTERVAL * number + 4 for number in range(COUNT)]


def _series():
    """Name, labels, and value or None by number of sample; sums of what is compared are exact in binary."""
    yield "made_depth", {"queue": "steady"}, lambda n: (n * 7) % 16 - 3
    yield "made_depth", {"queue": 'odd "name" \\ {}', "zone": "b"}, lambda n: (n * 5) % 8 / 4
    yield "made_calls_total", {"agent": "a"}, lambda n: float(n % 200 * 3)  # the program began anew twice
    yield "made_late_total", {}, lambda n: float(n) if n >= 100 else None
    queue = {"gen_ai_agent_name": "a", "queue": "q"}
    yield "agent_queue_depth", queue, lambda n: float(n * 7 % 5 + (64 if 300 <= n < 380 else 0))
    yield (
        "agent_task_duration_seconds_count",
        {"gen_ai_agent_name": "a", "agent_task": "t"},
        lambda n: float(min(n, 440) * 8 + n % 3 * (n < 440)),
    )
    for bound, share in (("0.5", 1), ("1.0", 2), ("+Inf", 4)):
        yield "made_duration_seconds_bucket", {"le": bound}, lambda n, share=share: float(n * share)


SERIES = list(_series())
GONE = ("made_gone", {}, lambda n: float(n) if n < 60 or n > 300 else None)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two sources with the same samples."""
    folder = tmp_path_factory.mktemp("both")
    lines = []
    for name, labels, value in (*SERIES, GONE):
        lines += [sample(name, labels, value(number), at) for number, at in enumerate(TIMES) if value(number) is not None]
    history = History(folder / "history.db", clock=lambda: TIMES[-1] + 1)
    for number, at in enumerate(TIMES):
        found = [(name, tuple(sorted(labels.items())), value(number)) for name, labels, value in SERIES]
        history.write(at, [item for item in found if item[2] is not None])
    name, labels, value = GONE
    known = [(at, value(number)) for number, at in enumerate(TIMES) if value(number) is not None]
    history.write_points(name, labels, [at for at, _ in known], [number for _, number in known])
    with backfilled(folder, lines) as url:
        yield history, Prometheus(url, clock=lambda: TIMES[-1] + 3600)
    history.close()


def by_labels(frames):
    return {tuple(sorted(frame.labels.items())): list(frame.values) for frame in frames}


def same(one, other):
    return one.keys() == other.keys() and all(
        len(values) == len(other[key])
        and all(
            a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-12)
            for a, b in zip(values, other[key], strict=True)
        )
        for key, values in one.items()
    )


@pytest.mark.parametrize("fold", Fold)
@pytest.mark.parametrize("step", [15.0, 60.0, 300.0, 900.0, 3600.0])
def test_both_give_the_same_frames_for_every_fold_and_step(both, fold, step):
    history, server = both
    grid = Grid.over(BEGIN - 1800, BEGIN + COUNT * INTERVAL + 1800, step)
    for metric in sorted({name for name, *_ in (*SERIES, GONE)}):
        ours, theirs = by_labels(history.frames(metric, grid, fold=fold)), by_labels(server.frames(metric, grid, fold=fold))
        assert ours
        assert same(ours, theirs), metric


def test_samples_on_the_times_of_the_grid_belong_to_the_step_that_ends_there(tmp_path):
    times = [BEGIN + 60 * number for number in range(30)]
    history = History(tmp_path / "history.db", clock=lambda: times[-1])
    for number, at in enumerate(times):
        history.write(at, [("made_depth", (), float(number % 5))])
    with (
        history,
        backfilled(tmp_path, [sample("made_depth", {}, float(number % 5), at) for number, at in enumerate(times)]) as url,
    ):
        for fold in Fold:
            for step in (60.0, 120.0, 600.0):
                grid = Grid.over(times[0] - 60, times[-1], step)
                assert same(
                    by_labels(history.frames("made_depth", grid, fold=fold)),
                    by_labels(Prometheus(url).frames("made_depth", grid, fold=fold)),
                ), (fold, step)


def test_both_choose_series_by_labels_alike(both):
    history, server = both
    grid = Grid.over(BEGIN, BEGIN + 3600, 60.0)
    for labels in ({"queue": 'odd "name" \\ {}'}, {"queue": "nobody's"}, {"zone": "b"}, {"queue": "steady", "zone": ""}):
        ours, theirs = (by_labels(source.frames("made_depth", grid, labels)) for source in both)
        assert same(ours, theirs), labels
    assert len(history.frames("made_depth", grid, {"queue": "steady"})) == 1
    assert len(server.frames("made_depth", grid)) == 2


def test_both_name_the_same_metrics(both):
    history, server = both
    assert history.metrics() == server.metrics()


def test_both_have_the_same_anomalies(both):
    history, server = both
    found = [
        [(one.signal.title, one.shape, one.start, one.end, one.score, one.sentence) for one in find_anomalies(source, grid)]
        for grid in [Grid.over(BEGIN, TIMES[-1], 60.0)]
        for source in (history, server)
    ]
    assert {(title, shape) for title, shape, *_ in found[0]} >= {
        ("queue depth of a, q", "level_shift"),
        ("tasks of a, t", "missing"),
    }
    assert found[0] == found[1]


def test_a_window_in_parts_is_the_window(both):
    _, server = both
    grid = Grid.over(BEGIN, BEGIN + 7200, 0.5)
    assert grid.count > 11_000
    [frame] = server.frames("made_calls_total", grid)
    [whole] = server.frames("made_calls_total", Grid.over(BEGIN, BEGIN + 7200, 60.0))
    assert list(frame.values[119::120]) == pytest.approx(list(whole.values), nan_ok=True)


def test_both_count_alike_what_came_after_a_window_began_between_two_processes(tmp_path):
    """An old process of 3,600 calls, and a next one of 5 at each sample, the first of them 5, that began 101 s later."""
    old, start = [BEGIN + 15.0 * number for number in range(241)], BEGIN + 3701.0
    new = [start + 1, *(BEGIN + 3705 + 15.0 * number for number in range(80))]
    labels = {"gen_ai_agent_name": "a", "agent_task": "t", "outcome": "success"}
    rows = [(at, BEGIN - 1.0, 15.0 * number) for number, at in enumerate(old)]
    rows += [(at, start, 5.0 * number) for number, at in enumerate(new, 1)]
    calls, began = "agent_task_duration_seconds_count", "process_start_time_seconds"
    lines = [sample(began, {}, first, at) for at, first, _ in rows] + [sample(calls, labels, value, at) for at, _, value in rows]
    with History(tmp_path / "history.db", clock=lambda: new[-1]) as history, backfilled(tmp_path, lines) as url:
        for at, first, value in rows:
            history.write(at, [(began, (), first), (calls, tuple(sorted(labels.items())), value)])
        for step in (1.0, 15.0, 60.0):
            for since in range(BEGIN + 3600, BEGIN + 3701, 10):
                grid = Grid.over(since, new[-1], step)
                of_old = 0 if grid.start - step >= old[-1] else 3600 - old.index(grid.start - step) * 15
                of_new = sum(at <= grid.end for at in new) * 5
                for source in (history, Prometheus(url)):
                    assert totals(source, grid, calls, ("agent_task",)) == {("t",): of_old + of_new}, (source, step, since)


def test_the_extent_is_that_of_the_samples_of_programs_of_ours(tmp_path):
    times = [BEGIN - 86_400 * 3 + 7, BEGIN + 100.5, BEGIN + 7_777]
    lines = [sample("agentgauge_build_info", {"version": "1"}, 1, at) for at in times]
    with backfilled(tmp_path, [sample("up", {}, 1, BEGIN - 86_400 * 9), *lines]) as url:
        assert Prometheus(url).extent() == (times[0], times[-1])


# --- a program that is scraped and writes a history -----------------------------------------------------------------------


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(fresh, folder):
    monitor = agentgauge.start(
        port=0,
        registry=fresh.registry,
        collectors=(),
        instrumentors=(),
        service_name="swarm",
        history_file=str(folder / "history.db"),
        history_interval_seconds=0.5,
    )
    try:
        with Stack([urlsplit(monitor.url).netloc], folder, scrape_interval="500ms", rules=[], job="swarm") as stack:
            yield stack
    finally:
        monitor.stop()


NAMES = ("made_depth", "made_come", "agent_task_duration_seconds_bucket", "agent_task_duration_seconds_sum", "agent_queue_depth")


def test_a_program_that_is_scraped_and_writes_a_history_looks_the_same_in_both(fresh, tmp_path):
    """Values change only when both have seen the ones before: between that and the next change they agree exactly."""
    depth = Gauge("made_depth", "Depth.", ["queue"], registry=fresh.registry)
    come = Gauge("made_come", "Come.", registry=None)
    reported = agentgauge.AgentMetricsCollector("swarm")
    spans = []

    def call(seconds):
        with track("researcher", "search"):
            fresh.clock.advance(seconds)

    def change(phase):
        depth.labels("a").set(phase)
        reported.update_queue_size(phase * 2, "inbox")
        call(0.25 * phase)
        if phase == 1:
            fresh.registry.register(come)
            come.set(5)
        if phase == 2:
            depth.labels("b").set(9)
        if phase == 3:
            fresh.registry.unregister(come)
            depth.remove("b")

    def seen(source):
        """What a source has of every series at the last time, or None where it has no such time."""
        now = time.time()
        return {
            (name, key): values[-1]
            for name in NAMES
            for key, values in by_labels(source.frames(name, Grid.over(now - 1, now, 0.5))).items()
            if not math.isnan(values[-1])
        }

    def without_instance(found):
        return {(name, tuple(pair for pair in key if pair[0] != "instance")): value for (name, key), value in found.items()}

    with running(fresh, tmp_path) as stack:
        history, server = open_source(tmp_path / "history.db"), open_source(stack.prometheus_url)
        for phase in range(4):
            change(phase)
            expected = {
                (sample.name, tuple(sorted({**sample.labels, "job": "swarm"}.items()))): sample.value
                for family in fresh.registry.collect()
                for sample in family.samples
                if sample.name in NAMES
            }
            wait_for(lambda expected=expected: without_instance(seen(server)) == expected and seen(history) == expected)
            begin = time.time()
            time.sleep(1.2)
            spans.append((begin, time.time()))
        begin, end = spans[0][0], spans[-1][1]
        grid = Grid.over(begin, end, 0.5)
        steady = [index for index, at in enumerate(grid.times) if any(since <= at <= until for since, until in spans)]
        assert len(steady) >= 8
        ups = next(iter(by_labels(server.frames("up", grid)).values()))
        for name in NAMES:
            ours = by_labels(history.frames(name, grid))
            theirs = {
                key: values
                for (_, key), values in without_instance(
                    {(name, key): values for key, values in by_labels(server.frames(name, grid)).items()}
                ).items()
            }
            assert ours.keys() == theirs.keys(), name
            for key, values in ours.items():
                for index in steady:
                    one, other = values[index], theirs[key][index]
                    assert one == other or (math.isnan(one) and math.isnan(other)) or ups[index] != 1, (name, key, index)
        assert history.extent()[0] <= begin < history.extent()[1]
        first, last = server.extent()
        assert first <= begin < last
        history.close()
