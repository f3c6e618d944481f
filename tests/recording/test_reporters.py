"""What keeps counts of its own and states them when somebody reads; and series that are taken away."""

from __future__ import annotations

import gc
import sys
import threading

from agentgauge.catalogue import reliability
from agentgauge.recording.cells import ABSENT
from agentgauge.testing import isolated

LABELS = (("component", "store"), ("component_type", "database"))
HEALTHY = {"agent_health_status": "healthy", **dict(LABELS)}


class Counting:
    def __init__(self):
        self.new = 3

    def report(self, recorder):
        recorder.observe(reliability.BREAKER_NOT_PERMITTED, (("circuit_breaker", "store"),), self.new)
        self.new = 0


def of_this_test(reporters):
    """A breaker of the process may come to report here too."""
    return [reporter for reporter in reporters if isinstance(reporter, Counting)]


def test_a_page_is_made_while_threads_bring_reporters_that_go_again():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    with isolated() as fresh:
        reporters = fresh.recorder.reporters
        kept = Counting()
        reporters.add(kept)
        threads = [threading.Thread(target=lambda: [reporters.add(Counting()) for _ in range(2000)]) for _ in range(3)]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                assert kept in list(reporters)
        finally:
            sys.setswitchinterval(interval)
            for thread in threads:
                thread.join()
        gc.collect()
        assert of_this_test(reporters) == [kept]
        reporters.discard(kept)
        assert of_this_test(reporters) == []


class Failing:
    def report(self, recorder):
        raise KeyError("gone")


def test_a_reporter_is_asked_at_each_reading_before_the_page_is_made():
    with isolated() as fresh:
        counting = Counting()
        fresh.recorder.reporters.add(counting)
        name = "agent_circuit_breaker_not_permitted_calls_total"
        assert fresh.value(name, circuit_breaker="store") == 3
        counting.new = 2
        assert fresh.value(name, circuit_breaker="store") == 5


def test_a_reporter_that_fails_costs_neither_the_page_nor_the_others():
    with isolated() as fresh:
        failing, counting = Failing(), Counting()
        fresh.recorder.reporters.add(failing)
        fresh.recorder.reporters.add(counting)
        assert fresh.value("agent_circuit_breaker_not_permitted_calls_total", circuit_breaker="store") == 3
        assert fresh.value("agentgauge_internal_errors_total", hook="report") == 2  # each of the two readings met it


def test_a_gauge_and_a_state_set_go_when_they_are_observed_to_be_absent():
    with isolated() as fresh:
        fresh.recorder.observe(reliability.HEALTH_STATUS, LABELS, 0)
        fresh.recorder.observe(reliability.HEALTH_CHECK_INTERVAL, LABELS, 30)
        assert fresh.value("agent_health_status", **HEALTHY) == 1
        assert fresh.value("agent_health_check_interval_seconds", **dict(LABELS)) == 30
        for family in (reliability.HEALTH_STATUS, reliability.HEALTH_CHECK_INTERVAL):
            fresh.recorder.observe(family, LABELS, ABSENT)
        assert fresh.value("agent_health_status", **HEALTHY) is None
        assert fresh.value("agent_health_check_interval_seconds", **dict(LABELS)) is None


def test_nan_that_a_program_reports_is_a_value_like_any_other():
    with isolated() as fresh:
        fresh.recorder.observe(reliability.HEALTH_CHECK_INTERVAL, LABELS, float("nan"))
        shown = fresh.value("agent_health_check_interval_seconds", **dict(LABELS))
        assert shown is not None
        assert shown != shown  # noqa: PLR0124 - only NaN differs from itself
