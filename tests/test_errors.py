"""Containment: faults of agentgauge are counted and logged now and then, and never reach the host unless asked to."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from agentgauge import AgentgaugeError, AgentMetricsCollector, ConfigurationError, track
from agentgauge.errors import PROGRAM_HOOKS, contain_internal_errors, contained_errors, report_internal_error
from agentgauge.notification.alerts import Notification
from agentgauge.notification.lane import Lane
from agentgauge.testing import reraise_internal_errors


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    """Start with no fault counted and none logged."""
    monkeypatch.setattr(contained_errors, "count_by_hook", {})
    monkeypatch.setattr(contained_errors, "_next_log_by_hook", {})


def test_every_fault_is_counted_by_its_hook():
    for _ in range(3):
        report_internal_error("drain", ValueError())
    report_internal_error("scrape", ValueError())

    assert contained_errors.count_by_hook == {"drain": 3, "scrape": 1}


def test_a_hook_logs_once_a_minute_with_the_fault(caplog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for seconds in (0, 1, 58, 1, 0, 59, 1):
        now[0] += seconds
        report_internal_error("drain", ValueError("why"))
    report_internal_error("scrape", ValueError("other"))

    logged = [(record.levelno, record.getMessage(), str(record.exc_info[1])) for record in caplog.records]
    message = "agentgauge contained an internal error in {}; the host is not affected"
    assert logged == [
        (logging.ERROR, message.format("drain"), "why"),
        (logging.ERROR, message.format("drain"), "why"),
        (logging.ERROR, message.format("drain"), "why"),
        (logging.ERROR, message.format("scrape"), "other"),
    ]
    assert contained_errors.count_by_hook == {"drain": 7, "scrape": 1}


def logged_of(caplog):
    return [record.getMessage() for record in caplog.records]


def test_what_the_program_did_or_gave_is_not_called_agentgauges_fault(caplog):
    def handler(_notification):
        raise RuntimeError("of the program's own")

    lane = Lane(handler, 60.0, lambda: None)
    lane.put([Notification.__new__(Notification)])
    assert lane.wait_until_idle(60.0)
    deadline = time.monotonic() + 60
    while not logged_of(caplog):  # its fault is reported when the next handler may be told already
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with track("scout", "work") as call:
        call.set_outcome("bad")
    AgentMetricsCollector("scout").start_task("id", "work", input_size=3)

    assert logged_of(caplog) == [
        "agentgauge contained the failure of an alert handler of the program's (alert_handler); the program goes on",
        "agentgauge could not take the outcome that the program stated (set_outcome); the program goes on",
        "agentgauge could not take what the program reported by AgentMetricsCollector (agent_metrics); the program goes on",
    ]
    assert contained_errors.count_by_hook == {"alert_handler": 1, "set_outcome": 1, "agent_metrics": 1}


def test_a_value_that_cannot_work_is_the_programs_in_any_hook(caplog):
    report_internal_error("start", ConfigurationError("objective=3: give an Objective"))

    assert logged_of(caplog) == ["agentgauge could not take what the program gave it (start); the program goes on"]


def test_the_runbook_names_each_hook_that_is_about_the_program():
    runbook = Path(__file__).parents[1] / "docs" / "runbooks" / "AgentgaugeInternalErrors.md"
    named = {line.split("`")[1] for line in runbook.read_text(encoding="utf-8").splitlines() if line.startswith("- `")}
    assert named == set(PROGRAM_HOOKS)


def test_the_block_swallows_and_reports_an_exception():
    with contain_internal_errors("scrape"):
        raise ValueError

    assert contained_errors.count_by_hook == {"scrape": 1}


def test_the_block_reports_nothing_when_nothing_fails():
    with contain_internal_errors("scrape"):
        pass

    assert contained_errors.count_by_hook == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_the_block_lets_what_is_no_fault_pass(error):
    with pytest.raises(error), contain_internal_errors("scrape"):
        raise error

    assert contained_errors.count_by_hook == {}


def test_a_logging_handler_that_raises_does_not_reach_the_host(monkeypatch):
    class FailingHandler(logging.Handler):
        def emit(self, record):
            raise RuntimeError("disk full")

    handler = FailingHandler()
    logger = logging.getLogger("agentgauge")
    logger.addHandler(handler)
    try:
        report_internal_error("drain", ValueError())
    finally:
        logger.removeHandler(handler)

    assert contained_errors.count_by_hook == {"drain": 1}


def test_while_reraising_the_very_fault_surfaces_and_afterwards_it_is_contained_again():
    fault = ValueError()
    with reraise_internal_errors():
        with pytest.raises(ValueError) as direct:
            report_internal_error("drain", fault)
        with pytest.raises(ValueError) as block, contain_internal_errors("drain"):
            raise fault
    report_internal_error("drain", fault)

    assert direct.value is block.value is fault
    assert contained_errors.count_by_hook == {"drain": 1}


def test_reraising_ends_when_the_block_fails():
    with pytest.raises(KeyError), reraise_internal_errors():
        raise KeyError

    report_internal_error("drain", ValueError())
    assert contained_errors.count_by_hook == {"drain": 1}


def test_what_we_raise_on_purpose_has_one_root():
    assert issubclass(ConfigurationError, AgentgaugeError)
    assert issubclass(AgentgaugeError, Exception)
