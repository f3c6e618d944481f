"""Nothing is lost and every scrape is a snapshot, whatever records at once: threads, signal handlers, garbage collections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import signal
import sys
import threading
import time
import urllib.request
import weakref
from collections import defaultdict

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agentgauge import agent, start, stop, task, tool, track
from agentgauge.recording.default import default_recorder
from agentgauge.recording.series import SeriesKind
from agentgauge.testing import FakeClock, isolated

COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"
TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"
THREADS = 8
ROUNDS = 40
DEEPEST = 3


class ClockOfEachThread(FakeClock):
    """A clock with which every call takes exactly a second, whatever interrupts it.

    The call's body moves its thread's time forward, and whoever called moves it back. An interruption does both, so that the
    call that it interrupts does not see it.
    """

    def __init__(self):
        self._local = threading.local()

    @property
    def now(self):
        return getattr(self._local, "now", 1_000.0)

    @now.setter
    def now(self, now):
        self._local.now = now


@pytest.fixture
def second():
    """Give an isolation in which ``second.clock.advance(1)`` is a call's body."""
    with isolated(ClockOfEachThread()) as isolation:
        yield isolation


@pytest.fixture
def url(second):
    """Serve the isolation's registry."""
    yield start(registry=second.registry, port=0, collectors=(), drain_interval_seconds=0.01).url
    stop()


@pytest.fixture
def frequent_switches():
    """Let threads take turns every 20 microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00002)
    yield
    sys.setswitchinterval(before)


def scrape(url, *, openmetrics):
    accepted = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accepted}), timeout=60) as response:
        page = response.read().decode()
    return (parse_openmetrics if openmetrics else parse_text)(page)


def check_snapshot(families):
    """Check that each histogram is of whole calls of a second each; return the values that may only go up."""
    rising = {}
    for family in families:
        children = defaultdict(dict)
        for sample in family.samples:
            assert not sample.name.endswith("_created"), sample
            labels = frozenset((label, value) for label, value in sample.labels.items() if label != "le")
            if family.type in {"counter", "histogram"}:
                rising[sample.name, frozenset(sample.labels.items())] = sample.value
            if family.type == "histogram" and family.name.endswith("_duration_seconds"):
                children[labels][sample.name.removeprefix(family.name), sample.labels.get("le")] = sample.value
        for labels, child in children.items():
            count = child["_count", None]
            assert child["_bucket", "+Inf"] == count, (family.name, labels)
            assert child["_sum", None] == count, (family.name, labels)
            short = [child[key] for key in child if key[1] is not None and float(key[1]) < 1.0]
            long = [child[key] for key in child if key[1] is not None and float(key[1]) >= 1.0]
            assert set(short) == {0}, (family.name, labels)
            assert set(long) == {count}, (family.name, labels)
    return rising


class Scrapes:
    """A thread that scrapes, in both formats by turns, until it is left; what it finds wrong is raised there."""

    def __init__(self, url):
        self._url = url
        self._is_done = threading.Event()
        self._wrong = []
        self._thread = threading.Thread(target=self._run)
        self.number = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_done.set()
        self._thread.join()
        if self._wrong:
            raise self._wrong[0]

    def are_fewer_than(self, number):
        return self.number < number and self._thread.is_alive()

    def _run(self):
        before = {}
        try:
            while not self._is_done.is_set():
                rising = check_snapshot(scrape(self._url, openmetrics=self.number % 2 == 1))
                # text and OpenMetrics write a bound differently, and each is compared with its like
                for series, value in before.get(self.number % 2, {}).items():
                    assert rising.get(series, 0) >= value, series
                before[self.number % 2] = rising
                self.number += 1
        except BaseException as error:
            self._wrong.append(error)


def successes(registry):
    """Return how many calls each task had, by its agent's name: an interruption has that of the call that it interrupts."""
    counts = defaultdict(dict)
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == COUNT and sample.labels["outcome"] == "success":
                counts[sample.labels["agent_task"]][sample.labels.get("gen_ai_agent_name", "")] = sample.value
    return counts


def run_threads(targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    return threads


@contextlib.contextmanager
def signals(seconds, action):
    """Let ``action`` interrupt this thread again and again, itself too, but not until the stack is full where it takes long."""
    depth = 0

    def handle(_signal, _frame):
        nonlocal depth
        if depth < DEEPEST:
            depth += 1
            action()
            depth -= 1

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def collections(action):
    """Let ``action`` run as garbage collections begin and end, and let there be many."""

    def collected(_phase, _details):
        action()

    thresholds = gc.get_threshold()
    gc.callbacks.append(collected)
    gc.set_threshold(50)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(collected)


# --- calls of every kind, each of a second ----------------------------------------------------------------------------------


def pass_a_second():
    default_recorder().clock.advance(1)


@task
def fail():
    pass_a_second()
    raise ValueError


@task
async def work_later():
    await asyncio.sleep(0)
    pass_a_second()


@task
def count_up():
    yield 1
    pass_a_second()
    yield 2


@tool
def look():
    pass_a_second()


PLAIN = ("work", "in_a_handler", "in_a_collection", "in_a_finalizer", "in_a_weakref")
plain = {name: task(name)(pass_a_second) for name in PLAIN}


class Load:
    """Makes the calls and counts them."""

    def __init__(self):
        self.made = defaultdict(itertools.count)  # next() on it is one step, which nothing interrupts
        self.uncollected = set()
        for name in (*PLAIN, "fail", "work_later", "count_up", "block", "scout", "look"):
            self.made[name]

    def call(self, name, function=None):
        """Make a call, count it, and move the time back."""
        next(self.made[name])
        try:
            (function or plain[name])()
        except ValueError:
            pass
        finally:
            default_recorder().clock.advance(-1)

    def once(self):
        """Make a call of each kind, and leave an object that makes two more when it is collected."""
        self.call("work")
        self.call("fail", fail)
        self.call("count_up", lambda: list(count_up()))
        self.call("scout", self._scout)
        self.call("block", self._block)
        asyncio.run(self._gather())
        _Cycle(self)

    @agent("scout")
    def _scout(self):
        self.call("look", look)
        pass_a_second()

    def _block(self):
        with track("", "block") as call:
            call.record_retry()
            pass_a_second()

    async def _gather(self):
        await asyncio.gather(*[self._later() for _ in range(3)])

    async def _later(self):
        next(self.made["work_later"])
        await work_later()
        default_recorder().clock.advance(-1)

    def collect(self):
        """Collect what is left; while another thread is at it, ``gc.collect()`` does nothing, and that thread calls later."""
        while self.uncollected:
            gc.collect()
            time.sleep(0)

    def counts(self):
        """Return how often each call was made, once nothing makes any more."""
        return {name: next(count) for name, count in self.made.items()}


class _Cycle:
    """What only a garbage collection finds."""

    def __init__(self, load):
        self.itself = self
        self.load = load
        for name in ("in_a_weakref", "in_a_finalizer"):
            load.uncollected.add((name, id(self)))
        weakref.finalize(self, _die, load, "in_a_weakref", id(self))

    def __del__(self):
        _die(self.load, "in_a_finalizer", id(self))


def _die(load, name, number):
    load.call(name)
    load.uncollected.remove((name, number))


@pytest.mark.usefixtures("frequent_switches")
def test_with_threads_signals_collections_and_scrapes_at_once_no_call_is_lost_and_every_scrape_is_a_snapshot(second, url):
    load = Load()

    def record():
        rounds = 0
        while rounds < ROUNDS or scrapes.are_fewer_than(6):
            load.once()
            rounds += 1

    with Scrapes(url) as scrapes, collections(lambda: load.call("in_a_collection")):
        threads = run_threads([record] * (THREADS - 1))
        with signals(0.0005, lambda: load.call("in_a_handler")):
            record()  # in the eighth thread, the one that signals interrupt
            gc.collect()  # a free-threaded build seldom does so by itself
        for thread in threads:
            thread.join()

    load.collect()
    counts = load.counts()
    assert min(counts.values()) > 0
    assert second.value("agentgauge_events_recorded_total") == sum(counts.values())
    assert second.value("agentgauge_events_dropped_total") == 0
    assert second.value("agent_tasks_in_progress", agent_task="work") == 0
    assert second.value("agent_task_retries_total", agent_task="block") == counts["block"]
    assert second.value(COUNT, agent_task="fail", outcome="error") == counts["fail"]
    assert second.value("agent_task_errors_total", agent_task="fail", error_type="ValueError") == counts.pop("fail")
    assert second.value(RUN_COUNT, gen_ai_agent_name="scout") == counts.pop("scout")
    assert second.value(TOOL_COUNT, gen_ai_agent_name="scout", gen_ai_tool_name="look") == counts.pop("look")
    shown = successes(second.registry)
    assert {name: sum(shown[name].values()) for name in counts} == counts
    check_snapshot(second.registry.collect())


def test_a_thread_that_drains_while_a_scrape_copies_a_child_waits_for_the_copy(second):
    load = Load()
    load.call("work")
    second.recorder.drain()
    threads = []

    def count_another():
        load.call("work")
        second.recorder.drain()

    class Counts(list):
        def __getitem__(self, index):
            copied = super().__getitem__(index)
            if threading.current_thread() is threading.main_thread() and not threads:  # between a child's counts and its sum
                threads.extend(run_threads([count_another]))
                threads[0].join(0.2)
            return copied

    [series] = second.recorder.series[SeriesKind.TASK].values()
    series.success.counts = Counts(series.success.counts)
    check_snapshot(second.registry.collect())
    threads[0].join()
    assert successes(second.registry) == {"work": {"": 2}}


@pytest.mark.usefixtures("frequent_switches")
def test_eight_threads_that_meet_in_the_first_call_of_a_name_share_one_series_and_lose_no_call(second):
    names = [f"work_{number}" for number in range(150)]
    together = threading.Barrier(THREADS)
    functions = {name: task(name)(lambda: None) for name in names}

    def call():
        for name in names:
            together.wait(60)
            functions[name]()
            with track("scout", name):
                pass

    for thread in run_threads([call] * THREADS):
        thread.join()
    assert successes(second.registry) == {name: {"": THREADS, "scout": THREADS} for name in names}


def test_a_handler_that_records_interrupts_first_calls_and_loses_none(second):
    names = [f"work_{number}" for number in range(900)]
    functions = {name: task(name)(lambda: None) for name in names}
    made = {name: itertools.count() for name in names}
    current = names[0]

    def call(name):
        functions[name]()
        next(made[name])

    with signals(0.0001, lambda: call(current)):
        for current in names:  # the handler calls it, too: often it is what its own first call interrupts
            call(current)
    expected = {name: {"": next(made[name])} for name in names}
    assert successes(second.registry) == expected
    assert second.value("agentgauge_events_recorded_total") == sum(count[""] for count in expected.values()) > len(names)
