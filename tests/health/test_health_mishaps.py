"""What interrupts, floods and half-begun work must not do to the monitor."""

from __future__ import annotations

import threading
import warnings

import pytest
from health_stubs import DOWN, PATIENCE_SECONDS, WELL, Stub, eventually, within

from agentgauge.health import FunctionCheck, Status, SystemHealthMonitor


def test_monitoring_that_an_interrupt_kept_from_beginning_begins_when_it_is_started_again(monkeypatch):
    monitor = SystemHealthMonitor([Stub(schedule=within())])

    def interrupt(_thread):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            monitor.start_monitoring()
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
    assert monitor.get_component_health("database").status is Status.HEALTHY
    monitor.close()


def test_a_coroutine_that_is_given_up_before_it_begins_leaves_no_warning_of_its_own_or_of_what_it_was_given():
    made = []

    async def look():
        return True

    def give_up_first():
        monitor._rounds.stop()
        made.append(look())
        return made[0]

    monitor = SystemHealthMonitor([FunctionCheck(name="database", function=give_up_first, schedule=within())])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor.start_monitoring()
        assert eventually(lambda: made and not monitor._rounds.components["database"].behind)
        monitor.close()
        made.clear()

    assert [str(warning.message) for warning in caught] == []


def test_what_is_found_of_one_component_does_not_go_through_the_alerts_of_the_others():
    stub = Stub(DOWN, schedule=within())
    monitor = SystemHealthMonitor([stub, Stub(DOWN, "cache", schedule=within())])
    monitor.check_all_health_blocking()
    known = monitor._rounds.components
    known["cache"].book.update = None  # nobody may call it
    with monitor._rounds.lock:
        monitor._rounds.verdicts.take(known["database"], WELL, monitor._clock(), 0.1)

    assert [alert.subject for alert in monitor.get_active_alerts()] == ["cache"]
    monitor.close()
