"""Alerts of components are told once each, handlers delay no check, and every status, check and change is a series."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest
from health_stubs import DOWN, PATIENCE_SECONDS, WARNING, WELL, Hang, Stub, eventually, often, within

from agentgauge.health import ComponentType, Finding, Schedule, Status, SystemHealthMonitor
from agentgauge.health.concern import Concern
from agentgauge.health.course import Standing
from agentgauge.recording.default import default_recorder
from agentgauge.testing import FakeClock, isolated

CRITICAL = Finding(status=Status.CRITICAL, message="errors", condition="error_ratio")
AUTH = Finding(status=Status.DOWN, message="wrong password", condition="auth")
LABELS = {"component": "database", "component_type": "database"}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def seen(clock):
    with isolated(clock) as isolation:
        yield isolation


@pytest.fixture
def make(clock, seen, told):
    made = []

    def monitor(*checkers):
        made.append(SystemHealthMonitor(checkers, clock=clock, wall_clock=clock, random=lambda: 0))
        made[-1].add_alert_handler(told.append)
        return made[-1]

    yield monitor
    for each in made:
        each.close()


def find(monitor, stub, *findings):
    """Let a check find this, one after the other, a second apart."""
    for finding in findings:
        stub.does = finding
        monitor._clock.advance(1)
        monitor.check_all_health_blocking()
    monitor._notifier.flush(PATIENCE_SECONDS)


def events(told):
    return [(str(each.event), each.alert.severity, each.alert.identity or each.alert.condition, each.reason) for each in told]


def test_an_alert_is_told_when_it_starts_changes_and_ends(make, told):
    stub = Stub(schedule=within(failure_threshold=2))
    monitor = make(stub)

    find(monitor, stub, WARNING)
    assert (events(told), monitor.get_component_health("database").status) == ([], "warning"), "one finding wakes nobody"
    find(monitor, stub, WARNING, WARNING, DOWN, DOWN, CRITICAL, WELL, WELL)

    assert events(told) == [
        ("started", "warning", "threshold", ""),
        ("changed", "critical", "refused", ""),
        ("changed", "critical", "error_ratio", ""),  # from down to critical, which is a little better
        ("ended", "critical", "error_ratio", ""),
    ]
    assert [(each.previous_severity, each.previous_condition) for each in told[1:3]] == [
        ("warning", "threshold"),
        ("critical", "refused"),
    ]
    alert = told[1].alert
    assert (alert.source, alert.subject, alert.labels) == ("health", "database", {"component_type": "database"})
    assert (alert.summary, alert.suggestions) == ("database is down: nobody answers", ("start it",))
    assert (alert.started_at, told[1].at) == (1002.0, 1005.0)


def test_a_component_that_is_not_required_is_a_warning_at_most_and_its_status_stays_true(make, told, seen):
    stub = Stub(schedule=within(is_required=False))
    monitor = make(stub)
    find(monitor, stub, DOWN, CRITICAL, WELL)
    assert [each[:3] for each in events(told)] == [
        ("started", "warning", "refused"),
        ("changed", "warning", "error_ratio"),
        ("ended", "warning", "error_ratio"),
    ]
    assert told[0].alert.summary == "database is down: nobody answers"
    find(monitor, stub, DOWN)
    assert [alert.severity for alert in monitor.get_active_alerts()] == ["warning"]
    assert monitor.get_component_health("database").status is Status.DOWN
    assert monitor.get_system_health_summary().status is Status.WARNING
    assert seen.value("agent_health_status", **LABELS, agent_health_status="down") == 1


def test_another_condition_is_told_once_it_was_found_as_often_in_a_row_as_makes_a_status(make, told):
    stub = Stub(schedule=within(failure_threshold=2, success_threshold=2))
    monitor = make(stub)
    find(monitor, stub, DOWN, DOWN, AUTH, DOWN, AUTH, WELL, AUTH, WARNING)
    assert events(told) == [("started", "critical", "refused", "")]
    assert monitor.get_active_alerts()[0].summary == "database is down: nobody answers"
    find(monitor, stub, replace(DOWN, message="nobody answers at all"))
    assert monitor.get_active_alerts()[0].summary == "database is down: nobody answers at all", "what is new of the same is known"
    find(monitor, stub, AUTH, None, AUTH)

    assert events(told)[1:] == [("changed", "critical", "auth", "")]
    assert str(told[1]) == "[critical, refused -> auth] changed: database is down: wrong password"
    assert monitor.get_active_alerts() == (told[1].alert,)


def test_a_component_that_flaps_between_two_conditions_is_told_of_neither_again_and_again(make, told):
    stub = Stub(schedule=within())
    monitor = make(stub)
    find(monitor, stub, *[DOWN, CRITICAL] * 30)
    so_far = len(told)
    assert ("started", "warning", "flapping", "") in events(told)
    assert so_far <= 14, "those before it was known to flap"
    find(monitor, stub, *[CRITICAL] * 20)
    assert told[so_far:] == [each for each in told[so_far:] if each.alert.identity == "flapping" or each.event == "changed"]
    assert monitor.get_active_alerts()[0].condition == "error_ratio"


def test_an_alert_that_ended_says_how_the_component_is_now(make, told):
    stub = Stub(schedule=within(failure_threshold=2))
    monitor = make(stub)
    find(monitor, stub, DOWN, DOWN, Finding(status=Status.HEALTHY, message="database: it answers"))
    find(monitor, stub, DOWN, DOWN, WELL)

    endings = [each for each in told if each.event == "ended"]
    assert [str(each) for each in endings] == [
        "[critical] ended: database is healthy again: it answers",
        "[critical] ended: database is healthy again",
    ]
    assert [(each.alert.condition, each.alert.suggestions, each.alert.started_at) for each in endings] == [
        ("refused", (), 1002.0),
        ("refused", (), 1005.0),
    ]


def test_an_alert_that_was_held_and_ends_while_a_finding_that_counts_not_yet_is_bad_tells_nothing_of_that_finding():
    concern, now = Concern("database", ComponentType.DATABASE), 1.0
    (alert,) = concern.alerts(Standing(since=now, status=Status.DOWN, found=DOWN, cause=DOWN, is_confirmed=True), now)
    settled = Standing(since=now, status=Status.HEALTHY, found=WARNING, cause=WARNING)
    assert concern.alerts(settled, now) == ()
    assert concern.ending(alert, settled).summary == "database is healthy again"


def test_what_is_not_known_is_no_alert_and_ends_one_with_the_reason(make, told, clock):
    stub = Stub(None, schedule=Schedule(interval_seconds=10, jitter_ratio=0, timeout_seconds=5, failure_threshold=1))
    monitor = make(stub)
    find(monitor, stub, None, None)
    assert events(told) == []
    find(monitor, stub, DOWN)
    clock.advance(36)
    find(monitor, stub, None)

    assert events(told) == [
        ("started", "critical", "refused", ""),
        ("ended", "critical", "refused", "nothing is known of it any more: no check of it has ended for too long"),
    ]
    assert told[-1].alert.summary == "database is down: nobody answers", "nobody says that it is healthy"


def test_the_watch_notices_that_nothing_is_known_any_more(make, told, clock):
    stub = Stub(DOWN, schedule=Schedule(interval_seconds=1, jitter_ratio=0, timeout_seconds=1, failure_threshold=1))
    monitor = make(stub)
    release = threading.Event()
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
    stub.does = lambda: release.wait(PATIENCE_SECONDS) and None
    monitor._rounds._timetable.remove("database")  # what would be a fault of ours
    clock.advance(5)
    monitor._rounds._go_on()

    assert eventually(lambda: len(told) == 2)
    assert told[1].reason.startswith("nothing is known")
    release.set()


def test_the_alerts_of_a_component_that_is_removed_end_with_the_reason(make, told):
    stub = Stub(schedule=within())
    monitor = make(stub, Stub(DOWN, "cache", schedule=within()))
    find(monitor, stub, DOWN)
    monitor.remove_health_checker("database")
    monitor._notifier.flush(PATIENCE_SECONDS)

    assert events(told)[-1] == ("ended", "critical", "refused", "it is checked no more")
    assert [alert.subject for alert in monitor.get_active_alerts()] == ["cache"]


def test_stopping_ends_no_alert_and_starting_again_tells_none_twice(make, told):
    stub = Stub(DOWN, schedule=within())
    monitor = make(stub)
    for _ in range(2):
        assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
        monitor.stop_monitoring()

    assert events(told) == [("started", "critical", "refused", "")]
    assert len(monitor.get_active_alerts()) == 1


def test_flapping_is_told_once_and_holds_the_alert_until_it_has_settled(make, told):
    stub = Stub(schedule=within())
    monitor = make(stub)
    find(monitor, stub, *[DOWN, WELL] * 30)

    flips = [event for event in events(told) if event[2] != "flapping"]
    assert [event for event in events(told) if event[2] == "flapping"] == [("started", "warning", "flapping", "")]
    assert len(flips) <= 12, "those before it was known to flap"
    assert flips[-1][0] == "started", "it is held"
    assert monitor.get_system_health_summary().flapping == ("database",)

    find(monitor, stub, *[WELL] * 20)
    assert events(told)[-2:] == [("ended", "critical", "refused", ""), ("ended", "warning", "flapping", "")]
    assert [each.alert.summary for each in told[-2:]] == [
        "database is healthy again",
        "database flaps no more: what was found of it changed 5 times in the last 20 checks",
    ]
    assert monitor.get_active_alerts() == ()


def test_an_outage_that_begins_or_becomes_worse_while_it_flaps_is_told_at_once(make, told):
    stub = Stub(schedule=within(failure_threshold=3))
    monitor = make(stub)
    find(monitor, stub, *[WARNING, WELL] * 12)
    assert events(told) == [("started", "warning", "flapping", "")]
    find(monitor, stub, WARNING, WARNING, WARNING, DOWN, DOWN, DOWN, WARNING)

    assert events(told)[1:] == [("started", "warning", "threshold", ""), ("changed", "critical", "refused", "")]


def test_a_handler_that_hangs_or_fails_delays_no_check(make, told):
    hang = threading.Event()
    stub = Stub(DOWN, schedule=often())
    monitor = SystemHealthMonitor([stub])
    monitor.add_alert_handler(lambda _: hang.wait(PATIENCE_SECONDS))
    monitor.add_alert_handler(told.append)
    monitor.start_monitoring()

    assert eventually(lambda: stub.checks >= 5 and told)
    monitor.remove_alert_handler(told.append)
    hang.set()
    monitor.close()


async def test_a_coroutine_is_told_on_the_programs_loop(seen):
    loops = []

    async def handle(notification):
        loops.append(asyncio.get_running_loop())

    monitor = SystemHealthMonitor([Stub(DOWN, schedule=within())])
    monitor.add_alert_handler(handle)
    async with monitor:
        pass

    assert loops == [asyncio.get_running_loop()], "stop_monitoring() waits until it was told"


# --- series ---------------------------------------------------------------------------------------------------------------------


def held(seen, **labels):
    states = [status for status in Status if seen.value("agent_health_status", **LABELS, agent_health_status=status) == 1]
    return states[0] if states else None


def test_counters_begin_at_zero_when_a_component_is_added_and_nothing_else_is_shown(make, seen):
    monitor = make(Stub())

    for status in Status:
        assert seen.value("agent_health_checks_total", **LABELS, status=status) == 0
        assert seen.value("agent_health_transitions_total", **LABELS, status=status) == 0
    assert held(seen) is None
    assert seen.value("agent_health_check_interval_seconds", **LABELS) is None
    assert monitor.get_component_health("database").status is Status.UNKNOWN


def test_every_check_and_every_change_is_counted_and_timed(make, seen, clock):
    stub = Stub(schedule=within(failure_threshold=2))
    monitor = make(stub)
    find(monitor, stub, WELL, DOWN, lambda: clock.advance(2) or DOWN, None)

    def count(name, status):
        return seen.value(f"agent_health_{name}_total", **LABELS, status=status)

    assert [count("checks", status) for status in Status] == [1, 0, 0, 2, 1]
    assert [count("transitions", status) for status in Status] == [1, 0, 0, 1, 0]
    assert seen.value("agent_health_check_duration_seconds_count", **LABELS) == 4
    assert seen.value("agent_health_check_duration_seconds_sum", **LABELS) == 2
    assert held(seen) is Status.DOWN
    assert seen.value("agent_health_last_check_timestamp_seconds", **LABELS) == 1006
    assert seen.value("agent_health_flapping", **LABELS) == 0


def test_the_status_of_a_component_that_is_not_looked_at_any_more_is_unknown_on_the_page_without_anybodys_doing(
    make, seen, clock
):
    stub = Stub(schedule=Schedule(interval_seconds=10, jitter_ratio=0, timeout_seconds=5))
    monitor = make(stub)
    find(monitor, stub, WELL)
    clock.advance(34.9)
    assert held(seen) is Status.HEALTHY
    clock.advance(0.2)
    assert held(seen) is Status.UNKNOWN
    assert monitor.health_report().components[0].status is Status.UNKNOWN
    assert monitor.get_system_health_summary().counts[Status.UNKNOWN] == 1


def test_the_interval_is_shown_while_it_is_monitored_and_no_gauge_when_that_has_stopped(make, seen):
    monitor = make(Stub(schedule=Schedule(interval_seconds=7, failure_threshold=1)))
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
    assert seen.value("agent_health_check_interval_seconds", **LABELS) == 7
    assert held(seen) is Status.HEALTHY
    monitor.stop_monitoring()

    gauges = ("check_interval_seconds", "last_check_timestamp_seconds", "flapping")
    assert [seen.value(f"agent_health_{name}", **LABELS) for name in gauges] == [None, None, None]
    assert held(seen) is None
    assert seen.value("agent_health_checks_total", **LABELS, status="healthy") == 1
    monitor.check_all_health_blocking()
    assert held(seen) is Status.HEALTHY
    assert seen.value("agent_health_check_interval_seconds", **LABELS) is None


def test_the_gauges_of_a_component_that_is_removed_go_and_its_counters_stay(make, seen):
    stub = Stub()
    monitor = make(stub)
    find(monitor, stub, WELL)
    assert held(seen) is Status.HEALTHY
    monitor.remove_health_checker("database")

    assert held(seen) is None
    assert seen.value("agent_health_last_check_timestamp_seconds", **LABELS) is None
    assert seen.value("agent_health_checks_total", **LABELS, status="healthy") == 1


def test_the_gauges_of_a_monitor_that_is_forgotten_go(seen, clock, no_collections):
    monitor = SystemHealthMonitor([Stub()], clock=clock, wall_clock=clock)
    monitor.check_all_health_blocking()
    assert held(seen) is Status.HEALTHY
    known = [monitor]
    del monitor
    assert eventually(lambda: known[0]._rounds._watch is None), "nothing is left to do"
    known.clear()

    assert eventually(lambda: held(seen) is None), "no cycle keeps it"


def test_flapping_is_a_series(make, seen):
    stub = Stub()
    monitor = make(stub)
    find(monitor, stub, *[DOWN, WELL] * 6)
    assert seen.value("agent_health_flapping", **LABELS) == 1
    find(monitor, stub, *[WELL] * 20)
    assert seen.value("agent_health_flapping", **LABELS) == 0


def test_a_check_that_hangs_is_timed_as_long_as_it_was_waited_for_and_those_that_are_not_begun_are_only_counted(
    make, seen, clock
):
    hang = Hang()
    monitor = make(Stub(hang, schedule=within(5.0)))
    for number in range(5):
        begun = monitor.check_all_health()
        if number < 3:
            assert hang.begun.acquire(timeout=PATIENCE_SECONDS)
        clock.advance(5)
        monitor._rounds._go_on()
        assert begun.wait(PATIENCE_SECONDS)
    hang.released.set()

    assert seen.value("agent_health_checks_total", **LABELS, status="down") == 5
    assert seen.value("agent_health_check_duration_seconds_count", **LABELS) == 3
    assert seen.value("agent_health_check_duration_seconds_sum", **LABELS) == 15


def test_where_the_recorder_begins_anew_the_counters_begin_again_at_zero(make, seen):
    stub = Stub()
    monitor = make(stub)
    find(monitor, stub, WELL)
    default_recorder().reset()

    assert seen.value("agent_health_checks_total", **LABELS, status="healthy") == 0
    assert held(seen) is Status.HEALTHY
