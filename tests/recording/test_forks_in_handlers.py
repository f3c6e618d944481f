"""A fork in a signal handler, or one that a handler interrupts, harms neither the parent nor a child that goes on from there."""

from __future__ import annotations

import os

import pytest
from fork_program import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def test_a_child_that_goes_on_in_the_middle_of_the_drain_that_its_fork_interrupted_starts_from_zero():
    run("""
        @task
        def fail():
            raise ValueError

        def fail_once():
            try:
                fail()
            except ValueError:
                pass

        pids = []

        class Bounds(tuple):
            def __getitem__(self, index):
                if not pids:
                    pids.append(os.fork())
                return super().__getitem__(index)

        fail_once()
        recorder = default_recorder()
        recorder.drain()
        [series] = [s for table in recorder.series.values() for s in table.values()]
        for _ in range(100):
            fail_once()
        with track("", "retried") as call:
            call.record_retry()
        series.bounds = Bounds(series.bounds)
        recorder.drain()
        if pids[0] == 0:
            failed = 1
            try:
                shown = {s.name: s.value for m in REGISTRY.collect() for s in m.samples if s.name.startswith("agent")}
                assert shown["agentgauge_events_recorded_total"] == 0, shown
                assert min(s.value for m in REGISTRY.collect() for s in m.samples if s.name.startswith("agentgauge")) >= 0
                assert not shown.keys() & {COUNT, "agent_task_retries_total"}, shown
                failed = 0
            except BaseException:
                traceback.print_exc()
            os._exit(failed)
        wait(pids[0])
        assert value("agentgauge_events_recorded_total") == 102
    """)


def test_a_child_that_goes_on_in_the_middle_of_a_first_call_counts_its_later_calls():
    run("""
        import signal

        pids = []
        signal.signal(signal.SIGUSR1, lambda *_: pids.append(os.fork()))
        recorder = default_recorder()
        find = recorder.admission.target

        def find_and_interrupt(*args, **kwargs):
            target = find(*args, **kwargs)
            if not pids:
                signal.raise_signal(signal.SIGUSR1)
            return target

        @task
        def work():
            return 1

        recorder.admission.target = find_and_interrupt
        for _ in range(10):
            work()
        count = value(COUNT, agent_task="work", outcome="success")
        if pids[0] == 0:  # the call that was open at the fork is the parent's
            os._exit(0 if count in (9, 10) else 1)
        wait(pids[0])
        assert count == 10
    """)


def test_a_signal_handler_that_raises_in_the_middle_of_a_fork_leaves_the_locks_free():
    run("""
        import signal

        class Limit(BaseException): pass

        def limit(*_): raise Limit

        signal.signal(signal.SIGALRM, limit)
        sys.unraisablehook = lambda _: None  # what is raised in a hook of the fork is reported there
        recorder = default_recorder()
        parent = os.getpid()
        for number in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + number % 200 * 0.000001)
                if os.fork() == 0:
                    os._exit(0)
                signal.setitimer(signal.ITIMER_REAL, 0)  # it has come by now, comes here, or never
            except Limit:
                if os.getpid() != parent:
                    os._exit(0)
            assert is_free(recorder.lock), number
            assert is_free(REGISTRY._lock), number
    """)


def test_a_child_forked_in_a_handler_that_interrupts_what_holds_the_registrys_lock_can_be_scraped():
    run("""
        import signal

        pids = []
        signal.signal(signal.SIGUSR1, lambda *_: pids.append(fork(lambda: list(REGISTRY.collect()))))
        default_recorder()
        with REGISTRY._lock:  # as where the signal comes while the host registers, or while another fork begins
            signal.raise_signal(signal.SIGUSR1)
        wait(pids[0])
        assert is_free(REGISTRY._lock)
    """)
