"""A forked child starts from zero, records and ends; the parent's totals stay exact."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

PRELUDE = """
import asyncio, contextvars, os, sys, threading, time, traceback
from prometheus_client import REGISTRY, generate_latest
from agentgauge import agent, task, tool, track
from agentgauge.recording.default import default_recorder

COUNT = "agent_task_duration_seconds_count"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"
TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"

def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels)

def fork(in_child):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            in_child()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid

def is_free(lock):
    def look():
        taken.append(lock.acquire(blocking=False))
        if taken[0]: lock.release()
    taken = []
    t = threading.Thread(target=look)
    t.start()
    t.join()
    return taken[0]

def wait(pid, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"child {pid} failed with {status}"
            return
        time.sleep(0.002)
    os.kill(pid, 9)
    raise AssertionError(f"child {pid} hangs")
"""


def run(script):
    """Run a script in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_fifty_forks_among_recording_threads_leave_exact_totals_and_no_child_hangs():
    run("""
        from collections import Counter
        made = Counter()
        is_done = threading.Event()

        @task
        def work():
            return 1

        def call(number):
            while not is_done.is_set():
                work()
                made[number] += 1
                if made[number] % 1000 == 0:
                    generate_latest(REGISTRY)

        def in_child():
            assert not [s for m in REGISTRY.collect() for s in m.samples if s.name == COUNT]
            assert value("agentgauge_events_recorded_total") == 0
            for _ in range(3000):
                work()
            assert value(COUNT, agent_task="work", outcome="success") == 3000
            assert value("agent_tasks_in_progress", agent_task="work") == 0

        threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
        for t in threads: t.start()
        while sum(made.values()) < 5000: time.sleep(0.001)
        for _ in range(50):
            wait(fork(in_child))
        is_done.set()
        for t in threads: t.join()
        total = sum(made.values())
        assert value(COUNT, agent_task="work", outcome="success") == total
        assert value("agentgauge_events_recorded_total") == total
        assert value("agent_tasks_in_progress", agent_task="work") == 0
    """)


def test_a_call_that_is_open_at_the_fork_belongs_to_the_parent():
    run("""
        @tool
        def look():
            return 1

        @agent("scout")
        def scout():
            pid = os.fork()
            look()
            return pid

        for _ in range(10):
            pid = scout()
            if pid == 0:
                failed = 0
                try:
                    assert value("agentgauge_events_recorded_total") == 1  # look() alone
                    assert value(TOOL_COUNT, gen_ai_agent_name="scout", gen_ai_tool_name="look") == 1
                    assert value(RUN_COUNT, gen_ai_agent_name="scout") is None
                    scout_again = agent("scout")(lambda: 1)
                    scout_again()
                    assert value(RUN_COUNT, gen_ai_agent_name="scout") == 1
                except BaseException:
                    traceback.print_exc()
                    failed = 1
                os._exit(failed)
            wait(pid)
        assert value(RUN_COUNT, gen_ai_agent_name="scout") == 10
        assert value(TOOL_COUNT, gen_ai_agent_name="scout", gen_ai_tool_name="look") == 10
    """)


def test_generators_coroutines_and_tracked_blocks_open_at_the_fork_end_quietly_in_the_child():
    run("""
        @agent("scout")
        def numbers():
            yield 1
            yield 2

        @agent("scout")
        async def work():
            await asyncio.sleep(0)

        open_numbers = numbers()
        next(open_numbers)
        coroutine = work()
        contextvars.copy_context().run(coroutine.send, None)

        def in_child():
            assert list(open_numbers) == [2]
            coroutine.close()
            assert value("agentgauge_events_recorded_total") == 0
            with track("scout", "rerank"):
                pass
            assert value("agentgauge_events_recorded_total") == 1

        with track("", "outer") as call:
            pid = fork(in_child)
            wait(pid)
        assert value("agent_tasks_in_progress", gen_ai_agent_name="scout", agent_task="numbers") == 1
        coroutine.close()
        open_numbers.close()
        assert value(COUNT, agent_task="outer", outcome="success") == 1
    """)


def test_a_fork_in_the_middle_of_this_threads_own_drain_hangs_neither_side():
    run("""
        import gc

        @task
        def work():
            return 1

        pids = []

        def in_child():
            work()
            assert value(COUNT, agent_task="work", outcome="success") == 1

        class Bounds(tuple):
            def __getitem__(self, index):
                if not pids:
                    pids.append(fork(in_child))
                return super().__getitem__(index)

        work()
        recorder = default_recorder()
        recorder.drain()
        [series] = [s for table in recorder.series.values() for s in table.values()]
        series.bounds = Bounds(series.bounds)
        work()
        recorder.drain()
        wait(pids[0])
        assert is_free(recorder.lock)
        assert value(COUNT, agent_task="work", outcome="success") == 2
    """)


def test_two_threads_that_fork_at_once_leave_the_lock_free():
    run("""
        @task
        def work():
            return 1

        def fork_often():
            for _ in range(10):
                wait(fork(work))

        threads = [threading.Thread(target=fork_often) for _ in range(3)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert is_free(default_recorder().lock)
        work()
        assert value(COUNT, agent_task="work", outcome="success") == 1
    """)


def test_a_fork_that_waits_in_vain_for_another_threads_fork_leaves_the_lock_free():
    run("""
        # Hooks before the fork run in reverse order: this one holds the first fork until the second gave up waiting.
        from agentgauge.recording import recorder as module

        module._LOCK_TIMEOUT_SECONDS = 0.05
        first_holds, second_gave_up = threading.Event(), threading.Event()
        hold, let_go = module._hold_before_fork, module._let_go_in_parent

        def first():
            hold()
            first_holds.set()
            second_gave_up.wait(10)
            let_go()

        def second():
            first_holds.wait(10)
            hold()
            second_gave_up.set()
            let_go()

        threads = [threading.Thread(target=target) for target in (first, second)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert is_free(default_recorder().lock)
    """)


def test_faults_counted_before_the_fork_are_the_parents():
    run("""
        from agentgauge.errors import contained_errors, report_internal_error
        import logging
        logging.disable()
        report_internal_error("start", ValueError())

        def in_child():
            assert value("agentgauge_internal_errors_total", hook="start") == 0

        default_recorder()
        wait(fork(in_child))
        assert value("agentgauge_internal_errors_total", hook="start") == 1
    """)


def test_a_child_of_a_child_records_too():
    run("""
        @task
        def work():
            return 1

        def in_grandchild():
            work()
            assert value(COUNT, agent_task="work", outcome="success") == 1

        def in_child():
            work()
            wait(fork(in_grandchild))
            work()
            assert value(COUNT, agent_task="work", outcome="success") == 2

        wait(fork(in_child))
        assert value(COUNT, agent_task="work", outcome="success") is None
    """)


def test_workers_of_a_process_pool_run_decorated_functions():
    run("""
        import multiprocessing

        @task
        def work(number):
            return number * 2

        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(work, range(100)) == [number * 2 for number in range(100)]
        work(1)
        assert value(COUNT, agent_task="work", outcome="success") == 1
    """)
