"""The recorder: every call is counted once, whoever drains, whatever interrupts, and memory stays bounded."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from agentgauge import Objective, agent, catalogue, task, tool, track
from agentgauge.recording import recorder as recorder_module
from agentgauge.recording.collector import RecorderCollector
from agentgauge.recording.recorder import HARD_LIMIT, SOFT_LIMIT, Recorder

COUNT = "agent_task_duration_seconds_count"
RECORDED = "agentgauge_events_recorded_total"
DROPPED = "agentgauge_events_dropped_total"
OVERFLOWED = "agentgauge_series_overflowed_total"


def total(fresh, name, **labels):
    return sum(
        sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def samples(registry):
    return [(sample.name, tuple(sorted(sample.labels.items()))) for metric in registry.collect() for sample in metric.samples]


def run_threads(*targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- counting -------------------------------------------------------------------------------------------------------------


def test_eight_threads_lose_no_call_while_others_scrape(fresh):
    @task
    def work(number):
        if number % 10 == 0:
            raise ValueError

    def call():
        for number in range(20_000):
            with contextlib.suppress(ValueError):
                work(number)

    is_done = threading.Event()
    seen = []

    def scrape():
        while not is_done.wait(0.01):
            seen.append(fresh.value(RECORDED))

    scraper = threading.Thread(target=scrape)
    scraper.start()
    run_threads(*[call] * 8)
    is_done.set()
    scraper.join()

    assert fresh.value(COUNT, agent_task="work", outcome="success") == 144_000
    assert fresh.value(COUNT, agent_task="work", outcome="error") == 16_000
    assert fresh.value("agent_task_errors_total", agent_task="work", error_type="ValueError") == 16_000
    assert fresh.value(RECORDED) == 160_000
    assert fresh.value(DROPPED) == 0
    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0
    assert seen == sorted(seen), "a counter must never go back"


def test_a_scrape_is_a_snapshot_of_whole_calls(fresh):
    @task
    def work():
        fresh.clock.advance(1)

    is_done = threading.Event()

    def call():
        while not is_done.is_set():
            work()

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for _ in range(50):
            for metric in fresh.registry.collect():
                if metric.name != "agent_task_duration_seconds":
                    continue
                values = {sample.name: sample.value for sample in metric.samples if sample.labels.get("outcome") == "success"}
                assert values.get(f"{metric.name}_sum") == values.get(f"{metric.name}_count")
                assert values.get(f"{metric.name}_bucket") == values.get(f"{metric.name}_count")
    finally:
        is_done.set()
        caller.join()


def test_buckets_are_cumulative_and_their_bounds_are_included(fresh):
    @task
    def work(seconds):
        fresh.clock.advance(seconds)

    fresh.clock.now = 0.0
    for seconds in (0.01, 0.011, 100_000):
        fresh.clock.now = 0.0
        work(seconds)

    buckets = {
        sample.labels["le"]: sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == "agent_task_duration_seconds_bucket" and sample.labels["outcome"] == "success"
    }
    assert buckets["0.01"] == 1
    assert buckets["0.02"] == 2
    assert buckets["655.36"] == 2
    assert buckets["+Inf"] == 3


def test_scraping_twice_counts_once(fresh):
    work = task("work")(lambda: 1)
    work()

    assert [fresh.value(COUNT, agent_task="work", outcome="success") for _ in range(3)] == [1, 1, 1]


def test_every_series_is_exported_once_and_the_page_parses(fresh):
    @agent("scout")
    class Scout:
        @task
        def work(self):
            return self.look()

        @tool
        def look(self):
            return 1

    Scout().work()
    with track("scout", "rerank", objective=Objective(success_ratio=0.9)) as call:
        call.record_retry()

    page = samples(fresh.registry)
    assert len(page) == len(set(page))
    assert b"gen_ai_agent_name" in generate_latest(fresh.registry)


# --- limits ---------------------------------------------------------------------------------------------------------------


def test_without_a_drain_thread_callers_drain_at_the_soft_limit(fresh):
    work = task("work")(lambda: 1)

    for _ in range(10 * SOFT_LIMIT):
        work()
        assert len(fresh.recorder.buffer) <= SOFT_LIMIT + 1

    assert fresh.recorder.folded >= 9 * SOFT_LIMIT
    assert fresh.value(COUNT, agent_task="work", outcome="success") == 10 * SOFT_LIMIT


def test_calls_that_stay_open_do_not_keep_others_from_being_folded(fresh):
    @task
    def open_forever():
        yield 1

    work = task("work")(lambda: 1)
    kept = [open_forever() for _ in range(2 * SOFT_LIMIT)]
    for generator in kept:
        next(generator)
    for _ in range(2 * SOFT_LIMIT):
        work()

    assert len(fresh.recorder.buffer) <= SOFT_LIMIT + 1
    assert fresh.value("agent_tasks_in_progress", agent_task="open_forever") == 2 * SOFT_LIMIT
    for generator in kept:
        generator.close()
    assert fresh.value(COUNT, agent_task="open_forever", outcome="abandoned") == 2 * SOFT_LIMIT
    assert fresh.value("agent_tasks_in_progress", agent_task="open_forever") == 0


@pytest.fixture
def a_minutes_wait(monkeypatch):
    """Let whoever waits for the drain's lock wait so long that no other delay is mistaken for it."""
    monkeypatch.setattr(recorder_module, "_LOCK_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr(Recorder._hold_and, "__defaults__", (60.0,))


@pytest.mark.usefixtures("a_minutes_wait")
def test_over_the_soft_limit_a_caller_never_waits_for_the_lock(fresh):
    work = task("work")(lambda: 1)
    is_held, may_go_on = threading.Event(), threading.Event()

    def hold():
        with fresh.recorder.lock:
            is_held.set()
            may_go_on.wait(120)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait(60)
    began = time.monotonic()
    for _ in range(SOFT_LIMIT + 500):
        work()
    waited = time.monotonic() - began
    may_go_on.set()
    holder.join()

    assert waited < 60
    assert fresh.value(COUNT, agent_task="work", outcome="success") == SOFT_LIMIT + 500


@pytest.mark.usefixtures("a_minutes_wait")
def test_over_the_hard_limit_a_caller_waits_until_it_can_drain(fresh):
    work = task("work")(lambda: 1)
    fresh.recorder.lock.acquire()
    for _ in range(HARD_LIMIT):
        work()
    caller = threading.Thread(target=work)
    caller.start()
    caller.join(0.2)
    assert caller.is_alive()
    fresh.recorder.lock.release()
    caller.join(60)

    assert not caller.is_alive()
    assert len(fresh.recorder.buffer) < HARD_LIMIT
    assert fresh.value(COUNT, agent_task="work", outcome="success") == HARD_LIMIT + 1


def test_past_twice_the_hard_limit_calls_are_dropped_and_counted(fresh):
    work = task("work")(lambda: 1)
    recorder = fresh.recorder
    with recorder.lock:  # as a handler sees it that interrupts this thread's own drain
        for _ in range(2 * HARD_LIMIT + 1_000):
            work()

    assert len(recorder.buffer) == 2 * HARD_LIMIT
    assert fresh.value(DROPPED) == 1_000
    assert fresh.value(RECORDED) == 2 * HARD_LIMIT + 1_000
    assert fresh.value(COUNT, agent_task="work", outcome="success") == 2 * HARD_LIMIT


# --- observations ---------------------------------------------------------------------------------------------------------

QUEUE = (("gen_ai_agent_name", "scout"), ("queue", "inbox"))


def test_a_scrape_shows_the_last_value_of_a_gauge_however_many_came_before(fresh):
    for number in range(5_000):
        fresh.recorder.observe(catalogue.QUEUE_DEPTH, QUEUE, number)

    assert fresh.value("agent_queue_depth", gen_ai_agent_name="scout", queue="inbox") == 4_999


def test_observations_that_nobody_scrapes_stay_bounded(fresh):
    for number in range(100_000):
        fresh.recorder.observe(catalogue.QUEUE_DEPTH, QUEUE, number)

    assert len(fresh.recorder.observations) <= 2 * SOFT_LIMIT
    assert fresh.value("agent_queue_depth", gen_ai_agent_name="scout", queue="inbox") == 99_999


def overhead(fresh, part):
    return fresh.value("agentgauge_overhead_seconds_total", part=part)


def shares_of_overhead(fresh, part, calls):
    """Yield what share of the time that calls took is counted as ``part``, up to ten times: a few samples stand for all of it,
    and whatever else a busy machine does to one of them makes a single figure too large."""
    work = task("work")(lambda: None)
    for _ in range(10):
        before = overhead(fresh, part)
        gc.collect()
        gc.disable()  # a collection of all that a long session holds would count as often as there are calls between samples
        try:
            began = time.thread_time()
            for _ in range(calls):
                work()
            spent = time.thread_time() - began
        finally:
            gc.enable()
        yield (overhead(fresh, part) - before) / spent


def test_the_time_that_folding_takes_is_counted_once_whoever_folds(fresh):
    assert any(0 < share < 1 for share in shares_of_overhead(fresh, "folding", 100 * SOFT_LIMIT))


def test_the_time_that_recording_takes_is_estimated_from_samples(fresh):
    assert any(0.1 < share < 1 for share in shares_of_overhead(fresh, "recording", 100_000))
    once = overhead(fresh, "recording")
    assert overhead(fresh, "recording") == once  # what is counted is not counted again
    assert overhead(fresh, "spans") == 0


def test_the_time_that_spans_take_is_estimated_from_samples(fresh, spans):
    assert any(0.1 < share < 3 for share in shares_of_overhead(fresh, "spans", 5_000))


def test_what_came_is_what_was_exported_plus_what_is_in_progress(fresh):
    work = task("work")(lambda: None)
    with track("scout", "rerank"):
        for _ in range(10):
            work()
        assert fresh.value("agentgauge_events_recorded_total") == 11
        assert fresh.value("agentgauge_events_exported_total") == 10
    assert fresh.value("agentgauge_events_exported_total") == 11
    assert fresh.value("agentgauge_events_dropped_total") == 0


def test_the_fullest_that_the_buffer_was_is_shown(fresh):
    work = task("work")(lambda: None)
    for _ in range(100):
        work()
    fresh.recorder.drain()
    work()
    assert fresh.value("agentgauge_buffer_high_water_records") == 100


def test_recording_causes_no_garbage_collection(fresh):
    collections = []
    here = threading.get_ident()

    def note(phase, _details):
        if threading.get_ident() == here:  # what another test has left running may allocate, too
            collections.append(phase)

    work = task("work")(lambda: None)
    work()
    gc.collect()
    gc.callbacks.append(note)
    try:
        for _ in range(20_000):
            work()
    finally:
        gc.callbacks.remove(note)
    assert collections == []


def test_a_burst_of_observations_folds_itself_and_drops_no_call(fresh):
    work = task("work")(lambda: None)
    for _ in range(SOFT_LIMIT):
        work()
    for number in range(3 * SOFT_LIMIT):
        fresh.recorder.observe(catalogue.QUEUE_DEPTH, QUEUE, number)

    assert fresh.value(COUNT, agent_task="work", outcome="success") == SOFT_LIMIT
    assert fresh.recorder.dropped == 0


# --- recorders of one's own -----------------------------------------------------------------------------------------------


def test_starting_anew_forgets_calls_and_keeps_decorated_functions_working(fresh):
    work = agent("scout")(lambda: 1)
    work()
    fresh.recorder.reset(clock=fresh.clock, wall_clock=fresh.clock)
    assert fresh.value(RECORDED) == 0
    work()

    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="scout") == 1


def test_wall_clock_times_have_one_fixed_offset():
    registry = CollectorRegistry()
    wall = iter([5_000.0])
    recorder = Recorder(clock=lambda: 20.0, wall_clock=lambda: next(wall))
    registry.register(RecorderCollector(recorder))
    target = recorder.admission.tracked_target("scout", "work", is_entry=False, objective=None)
    recorder.append([target, 15.0, None, None])

    labels = {"gen_ai_agent_name": "scout", "agent_task": "work"}
    assert registry.get_sample_value("agent_task_oldest_start_timestamp_seconds", labels) == 4_995


def test_a_registry_can_be_asked_what_it_describes_without_a_drain(fresh):
    task("work")(lambda: 1)()
    assert fresh.recorder.buffer

    assert list(RecorderCollector(fresh.recorder).describe()) == []
    assert fresh.recorder.buffer


def test_a_call_that_finds_the_stack_full_ends(fresh):
    @task
    def work(depth):
        return work(depth - 1) if depth else 0

    limit = sys.getrecursionlimit()
    with pytest.raises(RecursionError):
        work(limit)

    assert fresh.value("agent_tasks_in_progress", agent_task="work") == 0
    assert work(10) == 0
    assert fresh.value(COUNT, agent_task="work", outcome="success") == 11
