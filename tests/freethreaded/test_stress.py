"""Threads that really run at once: what each primitive must bear where no GIL puts them in a row; true with a GIL too."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import threading
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agentgauge import AgentMetricsCollector, agent, task, tool, track
from agentgauge.errors import contained_errors, report_internal_error
from agentgauge.exposition.text import render
from agentgauge.recording import recorder as recorder_module

THREADS = 8
COUNT = "agent_task_duration_seconds_count"
RUNS = "gen_ai_invoke_agent_duration_seconds_count"
TOOLS = "gen_ai_execute_tool_duration_seconds_count"
OVERFLOWED = "agentgauge_series_overflowed_total"


def total(fresh, name, **labels):
    return sum(
        sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def at_once(*programs):
    """Run each program in a thread of its own, all from the same moment on; raise what one of them raised."""
    barrier = threading.Barrier(len(programs))
    failures = []

    def run(program):
        barrier.wait()
        try:
            program()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(program,)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if failures:
        raise failures[0]


def while_running(observe, *programs):
    """Run programs at once, while two threads observe again and again until the last program has ended."""
    is_done = threading.Event()

    def observe_on():
        while not is_done.wait(0.001):
            observe()

    def run():
        try:
            at_once(*programs)
        finally:
            is_done.set()

    at_once(run, observe_on, observe_on)


@agent("scout")
class Scout:
    @task
    def look(self, number):
        if number % 10 == 0:
            raise ValueError(number)
        return self.search(number)

    @tool
    def search(self, number):
        return number

    @task
    def walk(self, count):
        yield from range(count)

    @task
    async def wait(self, number):
        await asyncio.sleep(0)
        return number


def test_all_kinds_of_calls_are_counted_once_while_two_scrape(fresh):
    rounds = 300

    def use():
        scout = Scout()
        for _ in range(rounds):
            for number in range(10):
                with contextlib.suppress(ValueError):
                    scout.look(number)
            list(scout.walk(3))
            left = scout.walk(3)
            next(left)
            left.close()
            with track("scout", "block") as call:
                call.record_retry()
                call.set_outcome("timeout")

    async def wait_for_many():
        await asyncio.gather(*(Scout().wait(number) for number in range(rounds)))

    before = threading.local()

    def scrape():
        page = b"".join(render(fresh.registry, openmetrics=False, names=frozenset())).decode()
        counts, buckets = Counter(), Counter()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
                if sample.name.endswith("_count"):
                    counts[sample.name, labels] = sample.value
                elif sample.labels.get("le") == "+Inf":
                    buckets[sample.name.removesuffix("_bucket") + "_count", labels] = sample.value
                elif sample.name.endswith("_total"):
                    counts[sample.name, labels] = sample.value
        assert {key: value for key, value in counts.items() if key[0].endswith("_count")} == dict(buckets)
        assert not getattr(before, "counts", Counter()) - counts, "a counter went down"
        before.counts = counts

    while_running(scrape, *[use] * THREADS, *[lambda: asyncio.run(wait_for_many())] * 2)

    calls = THREADS * rounds
    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="look", outcome="success") == 9 * calls
    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="look", outcome="error") == calls
    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="walk", outcome="success") == calls
    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="walk", outcome="abandoned") == calls
    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="wait", outcome="success") == 2 * rounds
    assert fresh.value(COUNT, gen_ai_agent_name="scout", agent_task="block", outcome="timeout") == calls
    assert fresh.value("agent_task_retries_total", gen_ai_agent_name="scout", agent_task="block") == calls
    assert total(fresh, TOOLS) == 9 * calls
    assert total(fresh, RUNS) == 13 * calls + 2 * rounds
    assert fresh.value("agentgauge_events_recorded_total") == 22 * calls + 2 * rounds
    assert total(fresh, "agent_tasks_in_progress") == 0
    assert not contained_errors.count_by_hook


def test_threads_that_meet_a_name_for_the_first_time_together_share_its_series(fresh):
    names = 300
    functions = [task(f"task-{number}")(lambda: 1) for number in range(names)]

    def use():
        for number, function in enumerate(functions):
            function()
            with track(f"agent-{number}", "work"):
                function()

    at_once(*[use] * THREADS)

    counts = {
        (sample.labels.get("gen_ai_agent_name", ""), sample.labels["agent_task"]): sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == COUNT and sample.labels["outcome"] == "success"
    }
    assert counts.pop(("other", "other"), None) is None
    assert len(counts) == 3 * names
    assert set(counts.values()) == {THREADS}
    assert total(fresh, RUNS) == THREADS * names


def test_totals_stay_right_where_threads_reach_the_limit_on_names_together(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 20)
    names = 1_000

    def use():
        for number in random.sample(range(names), names):
            with track("scout", f"task-{number}"):
                pass

    while_running(lambda: total(fresh, COUNT), *[use] * THREADS)

    assert total(fresh, COUNT) == total(fresh, RUNS) == THREADS * names
    admitted = total(fresh, COUNT) - total(fresh, COUNT, agent_task="other")
    assert fresh.value(OVERFLOWED, kind="task") == THREADS * names - admitted


def test_error_types_and_observations_are_counted_once(fresh):
    rounds = 500

    @task
    def work(error):
        raise error

    errors = [type(f"Error{number}", (LookupError,), {}) for number in range(40)]
    collector = AgentMetricsCollector("clerk")

    def use():
        for number in range(rounds):
            with contextlib.suppress(LookupError):
                work(errors[number % len(errors)])
            collector.record_queue_wait(0.1, f"queue-{number % 7}")
            collector.update_queue_size(number)

    while_running(collector.get_health_metrics, *[use] * THREADS)

    assert total(fresh, "agent_task_errors_total", agent_task="work") == THREADS * rounds
    assert total(fresh, "agent_queue_wait_seconds_count") == THREADS * rounds
    assert fresh.value("agent_queue_depth", gen_ai_agent_name="clerk", queue="default") == rounds - 1


def test_of_threads_that_end_one_task_together_one_ends_it(fresh):
    tasks = 1_000
    collector = AgentMetricsCollector("clerk", history_limit=10 * tasks)

    def use():
        for number in range(tasks):
            collector.start_task(number, "file")
            collector.complete_task(number)

    while_running(collector.export_metrics, *[use] * THREADS)

    ended = fresh.value(COUNT, gen_ai_agent_name="clerk", agent_task="file", outcome="success")
    duplicates = fresh.value("agent_task_protocol_faults_total", gen_ai_agent_name="clerk", fault="duplicate")
    assert ended == THREADS * tasks - duplicates
    assert ended == collector.get_task_statistics().count
    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="clerk", agent_task="file") == 0


def test_what_is_neither_counted_nor_in_progress_was_dropped(fresh, monkeypatch):
    monkeypatch.setattr(recorder_module, "HARD_LIMIT", 1_000)
    monkeypatch.setattr(recorder_module, "_LOCK_TIMEOUT_SECONDS", 0.0)
    rounds = 4_000
    work = task("work")(lambda: 1)

    def use():
        for _ in range(rounds):
            work()

    with fresh.recorder.lock:  # nobody can drain
        at_once(*[use] * THREADS)

    counted = fresh.value(COUNT, agent_task="work", outcome="success")
    dropped = fresh.value("agentgauge_events_dropped_total")
    assert dropped > 0
    assert counted + dropped == THREADS * rounds


def test_no_internal_error_is_left_uncounted(fresh):
    rounds = 5_000

    def use():
        for _ in range(rounds):
            report_internal_error("stress", RuntimeError())

    at_once(*[use] * THREADS)

    assert fresh.value("agentgauge_internal_errors_total", hook="stress") == THREADS * rounds


def test_signal_handlers_and_garbage_collections_record_while_threads_record(fresh):
    rounds = 3_000
    work, interrupt, collect = (task(name)(lambda: 1) for name in ("work", "interrupt", "collect"))
    seen = Counter()
    made = []
    lock = threading.Lock()

    def on_signal(_number, _frame):
        seen["interrupt"] += 1  # in the main thread alone
        interrupt()

    def on_collection(phase, _info):
        if phase == "start":
            with lock:
                seen["collect"] += 1
            collect()

    def use():
        number = 0
        while number < rounds or seen["interrupt"] < 20:  # these threads may have more turns than the one that is interrupted
            work()
            if number % 500 == 0:
                gc.collect()
            number += 1
        made.append(number)

    handler_before = signal.signal(signal.SIGUSR1, on_signal)
    gc.callbacks.append(on_collection)
    try:
        threads = [threading.Thread(target=use) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            os.kill(os.getpid(), signal.SIGUSR1)
            fresh.recorder.drain()
    finally:
        gc.callbacks.remove(on_collection)
        signal.signal(signal.SIGUSR1, handler_before)

    assert seen["collect"] > 0
    assert len(made) == THREADS
    assert fresh.value(COUNT, agent_task="work", outcome="success") == sum(made)
    for name in ("interrupt", "collect"):
        assert fresh.value(COUNT, agent_task=name, outcome="success") == seen[name]


@pytest.mark.parametrize("readers", [1, 4])
def test_a_total_never_goes_down_for_any_of_its_readers(fresh, readers):
    work = task("work")(lambda: 1)
    latest = threading.local()

    def observe():
        recorded = fresh.recorder.recorded
        assert recorded >= getattr(latest, "recorded", 0)
        latest.recorded = recorded

    def use():
        for _ in range(5_000):
            work()

    def drain():
        for _ in range(200):
            fresh.recorder.drain()
            observe()

    while_running(observe, *[use] * THREADS, *[drain] * readers)

    assert fresh.recorder.recorded == THREADS * 5_000
