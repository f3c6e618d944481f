"""What is known of components is summed up, told to people and probes, and written down."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta

import pytest
from health_stubs import DOWN, PATIENCE_SECONDS, WARNING, WELL, Stub, within

from agentgauge import ConfigurationError
from agentgauge.health import Finding, Schedule, Status, SystemHealthMonitor
from agentgauge.testing import FakeClock

START = 1_700_000_000.0


@pytest.fixture
def clock():
    return FakeClock(START)


@pytest.fixture
def make(clock):
    made = []

    def monitor(*checkers, **settings):
        made.append(SystemHealthMonitor(checkers, clock=clock, wall_clock=clock, random=lambda: 0, **settings))
        return made[-1]

    yield monitor
    for each in made:
        each.close()


def optional(**settings):
    return within(is_required=False, **settings)


def test_a_monitor_of_nothing_knows_nothing_and_keeps_nobody_from_work(make):
    summary = make().get_system_health_summary()

    assert (summary.status, summary.is_ready, summary.components) == ("unknown", True, 0)
    assert (summary.healthy_percentage, summary.uptime_ratio) == (None, None)
    assert str(summary) == "unknown since 2023-11-14 22:13:20+00:00, ready: no components; uptime: not known yet; not monitored"


@pytest.mark.parametrize(
    ("required", "others", "status", "is_ready"),
    [
        ([WELL, WELL], [], "healthy", True),
        ([WELL, WARNING], [], "warning", True),
        ([WARNING, Finding(status=Status.CRITICAL)], [], "critical", False),
        ([Finding(status=Status.CRITICAL), DOWN], [], "down", False),
        ([WELL, None], [], "unknown", True),
        ([None, WARNING], [], "warning", True),
        ([WELL], [DOWN], "warning", True),
        ([WELL], [None], "healthy", True),
        ([DOWN], [WELL], "down", False),
    ],
)
def test_the_worst_required_component_is_the_status_and_another_that_is_bad_makes_it_warning_at_most(
    make, required, others, status, is_ready
):
    monitor = make(
        *(Stub(each, f"required {number}", schedule=within()) for number, each in enumerate(required)),
        *(Stub(each, f"other {number}", schedule=optional()) for number, each in enumerate(others)),
    )
    monitor.check_all_health_blocking()

    for seen in (monitor.get_system_health_summary(), monitor.health_report()):
        assert (seen.status, seen.is_ready) == (status, is_ready)


def test_the_summary_counts_and_weighs_every_component_the_same(make, clock):
    monitor = make(
        Stub(WELL, "a", schedule=within()),
        Stub(WARNING, "b", schedule=within()),
        Stub(DOWN, "c", schedule=optional()),
        Stub(None, "d"),
    )
    monitor.check_all_health_blocking()
    clock.advance(30)
    summary = monitor.get_system_health_summary()

    assert summary.counts == {"healthy": 1, "warning": 1, "critical": 0, "down": 1, "unknown": 1}
    assert (summary.healthy_percentage, summary.components, summary.alerts) == (25, 4, 2)
    assert summary.uptime_ratio == pytest.approx(2 / 3), "of the three that are known"
    assert summary.since == datetime.fromtimestamp(START, UTC)
    assert summary.at == datetime.fromtimestamp(START + 30, UTC)


def test_the_summary_says_since_when_the_program_is_as_it_is(make, clock):
    stub = Stub(schedule=within())
    monitor = make(stub)
    for finding in (WELL, DOWN, DOWN, WELL):
        stub.does = finding
        clock.advance(10)
        monitor.check_all_health_blocking()
        clock.advance(1)
    summary = monitor.get_system_health_summary()

    assert (summary.status, summary.since) == ("healthy", datetime.fromtimestamp(START + 43, UTC))
    assert monitor.health_report().components[0].since == datetime.fromtimestamp(START + 43, UTC)
    assert summary.uptime_ratio == pytest.approx(12 / 34)


def test_while_it_is_monitored_it_is_not_ready_before_each_required_component_was_looked_at(make):
    release = threading.Event()
    monitor = make(Stub(lambda: release.wait(PATIENCE_SECONDS) and WELL), Stub(name="other", schedule=optional()))
    for is_known in (False, True):
        release.clear()
        assert monitor.health_report().is_ready is is_known
        begun = monitor.start_monitoring()
        assert not monitor.health_report().is_ready
        release.set()
        assert begun.wait(PATIENCE_SECONDS)
        assert monitor.health_report().is_ready
        monitor.stop_monitoring()


def test_what_nobody_has_ever_looked_at_is_not_ready_where_nobody_monitors_it_either_and_says_so(make, monkeypatch):
    monitor = make(Stub(name="database"), Stub(name="mail", schedule=optional()))
    report = monitor.health_report()
    assert not report.is_ready
    assert not monitor.get_system_health_summary().is_ready
    assert {each.message for each in report.components} == {"not checked yet, and nobody monitors it: call start_monitoring()"}
    monitor.check_component("mail").result()
    assert not monitor.health_report().is_ready
    monitor.check_component("database").result()
    assert monitor.health_report().is_ready
    monitor.add_health_checker(Stub(name="cache"))
    assert not monitor.health_report().is_ready
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")  # nobody ever will
    report = monitor.health_report()
    assert (report.is_ready, report.components[-1].message) == (True, "not checked yet")


def test_the_report_says_when_each_was_last_looked_at(make, clock):
    monitor = make(Stub())
    assert monitor.health_report().components[0].checked_at is None
    clock.advance(7)
    monitor.check_all_health_blocking()
    assert monitor.health_report().components[0].checked_at.timestamp() == clock()


def test_a_check_that_answers_with_nonsense_does_not_keep_the_program_from_its_work(make):
    monitor = make(Stub(None))
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
    assert monitor.health_report().is_ready


def test_probes_are_answered_while_the_monitor_is_at_work_with_its_lock_held(make):
    monitor = make(Stub(DOWN, schedule=within()))
    monitor.check_all_health_blocking()
    held, release, answers = threading.Event(), threading.Event(), []

    def hold():
        with monitor._rounds.lock:
            held.set()
            release.wait(PATIENCE_SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE_SECONDS)
    asker = threading.Thread(target=lambda: answers.append(monitor.health_report()))
    asker.start()
    asker.join(PATIENCE_SECONDS)
    is_answered = bool(answers)
    release.set()
    holder.join()

    assert is_answered
    (component,) = answers[0].components
    assert (component.name, component.component_type, component.status) == ("database", "database", "down")
    assert (component.message, component.is_required) == ("nobody answers", True)
    with pytest.raises(FrozenInstanceError):
        component.status = "healthy"


def test_the_history_is_the_oldest_first_and_can_be_asked_for_in_part(make, clock):
    stub = Stub(schedule=within(failure_threshold=2))
    monitor = make(stub, history_points=4)
    for finding in (WELL, WELL, DOWN, DOWN, WELL):
        stub.does = finding
        clock.advance(10)
        monitor.check_all_health_blocking()

    history = monitor.get_component_health_history("database")
    assert [(record.found, record.status) for record in history] == [
        ("healthy", "healthy"),
        ("down", "healthy"),
        ("down", "down"),
        ("healthy", "healthy"),
    ]
    assert history[-1].at == datetime.fromtimestamp(START + 50, UTC)
    assert monitor.get_component_health_history("database", 15) == history[-2:]
    assert monitor.get_component_health_history("database", timedelta(seconds=20)) == history[-3:]
    assert monitor.get_component_health_history("database", timedelta(days=7)) == history
    assert monitor.get_component_health_history("database", limit=1) == history[-1:]
    for wrong in ({"duration": -1}, {"limit": 0}, {"duration": "an hour"}, {"duration": float("nan")}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            monitor.get_component_health_history("database", **wrong)


def test_the_detailed_report_has_the_worst_first_and_says_what_to_do(make, clock):
    monitor = make(Stub(name="cache", schedule=within()), Stub(DOWN, schedule=within(failure_threshold=1)))
    monitor.add_alert_handler(print)
    monitor.check_all_health_blocking()
    clock.advance(60)
    report = monitor.get_detailed_status_report()

    assert [component.name for component in report.components] == ["database", "cache"]
    assert [alert.subject for alert in report.alerts] == ["database"]
    assert [handler.name for handler in report.handlers] == ["print"]
    database = report.components[0]
    assert (database.suggestions, database.bad_in_a_row, database.uptime_ratio) == (("start it",), 1, 0)
    assert str(report) == (
        "down since 2023-11-14 22:13:20+00:00, not ready: 1 healthy, 1 down (50 % healthy); uptime: 50.00 %; not monitored\n"
        "database (database) is down since 2023-11-14 22:13:20+00:00: nobody answers\n"
        "  - start it\n"
        "  checks: 1, the last took 0 s; uptime: 0.00 %\n"
        "cache (database) is healthy since 2023-11-14 22:13:20+00:00\n"
        "  checks: 1, the last took 0 s; uptime: 100.00 %"
    )


def test_what_the_last_check_found_is_told_where_thresholds_keep_it_from_being_the_status(make):
    stub = Stub(schedule=within(failure_threshold=3))
    monitor = make(stub)
    monitor.check_all_health_blocking()
    stub.does = DOWN
    monitor.check_all_health_blocking()
    component = monitor.get_component_health("database")

    assert (component.status, component.found, component.bad_in_a_row) == ("healthy", "down", 1)
    assert "the last check found it down" in str(component)


def test_of_a_component_that_is_stale_the_message_says_so(make, clock):
    monitor = make(Stub(DOWN, schedule=Schedule(interval_seconds=1, timeout_seconds=1)))
    monitor.check_all_health_blocking()
    clock.advance(100)
    component = monitor.get_component_health("database")

    assert component.status is Status.UNKNOWN
    assert component.message == "no check of it has ended for too long; the last found it down: nobody answers"


# --- export ---------------------------------------------------------------------------------------------------------------------


def test_everything_is_exported_as_json_with_a_version_of_its_schema(make, tmp_path):
    found = Finding(
        status=Status.WARNING,
        message="nearly full",
        details={"ratio": float("nan"), "at": datetime(2026, 1, 1, tzinfo=UTC), "odd": object(), "deep": [{"a": {1}}]},
    )
    monitor = make(Stub(found, schedule=within()))
    monitor.check_all_health_blocking()
    path = tmp_path / "health.json"
    text = monitor.export_health_data(path)
    document = json.loads(path.read_text())

    assert json.loads(text) == document
    assert (document["schema"], document["schema_version"]) == ("agentgauge.health", 1)
    assert document["exported_at"] == "2023-11-14T22:13:20+00:00"
    assert document["summary"]["counts"]["warning"] == 1
    (component,) = document["components"]
    assert (component["name"], component["schedule"]["interval_seconds"]) == ("database", 3600)
    assert component["details"] == {
        "ratio": "nan",
        "at": "2026-01-01T00:00:00+00:00",
        "odd": "an object of type object",
        "deep": [{"a": [1]}],
    }
    assert [record["found"] for record in document["history"]["database"]] == ["warning"]
    assert [alert["subject"] for alert in document["alerts"]] == ["database"]


def test_without_a_path_nothing_is_written(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert json.loads(make(Stub()).export_health_data())["summary"]["components"] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_as_it_was(make, tmp_path):
    path = tmp_path / "none" / "health.json"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        make().export_health_data(path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_or_no_json_is_refused(make, tmp_path):
    monitor = make()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, "..", 3, "a\0b"):
        with pytest.raises(ConfigurationError, match=r"export_health_data\(path="):
            monitor.export_health_data(path)
    with pytest.raises(ConfigurationError, match=r"export_health_data\(format='csv'\): give 'json'"):
        monitor.export_health_data(tmp_path / "health.csv", "csv")
