"""A forked child starts from zero, records and ends; the parent's totals stay exact."""

from __future__ import annotations

import os

import pytest
from fork_program import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


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
