"""One component is checked on demand: its finding counts, its alert ends at once, and a recovery learns that it worked."""

from __future__ import annotations

import asyncio
import threading

import pytest
from health_stubs import DOWN, PATIENCE_SECONDS, WARNING, WELL, Hang, Stub, eventually, within

from agentgauge import ConfigurationError
from agentgauge.health import Schedule, Status, SystemHealthMonitor
from agentgauge.recovery import Call, Recoveries, Recovery


@pytest.fixture
def make():
    made = []

    def monitor(*checkers, **settings):
        made.append(SystemHealthMonitor(checkers, **settings))
        return made[-1]

    yield monitor
    for each in made:
        each.close()


def test_it_alone_is_checked_and_what_is_found_counts(make):
    told = []
    stub, other = Stub(DOWN, schedule=within()), Stub(name="other")
    monitor = make(stub, other)
    monitor.add_alert_handler(told.append)

    known = monitor.check_component("database").result()
    assert (known.name, known.status, known.checks) == ("database", Status.DOWN, 1)
    assert [alert.subject for alert in monitor.get_active_alerts()] == ["database"]
    stub.does = WELL
    assert monitor.check_component("database").result().status is Status.HEALTHY
    monitor._notifier.flush(PATIENCE_SECONDS)
    assert [str(each.event) for each in told] == ["started", "ended"]
    assert other.checks == 0


async def test_a_coroutine_awaits_it(make):
    async def look():
        await asyncio.sleep(0)
        return WELL

    monitor = make(Stub(look))
    assert (await monitor.check_component("database")).status is Status.HEALTHY
    async with monitor:
        assert (await monitor.check_component("database")).checks == 3
        assert await asyncio.to_thread(monitor.is_healthy_now, "database")


def test_a_check_that_goes_on_is_shared(make):
    hang = Hang()
    stub = Stub(hang)
    monitor = make(stub)
    first = monitor.check_component("database")
    assert hang.begun.acquire(timeout=PATIENCE_SECONDS)
    second = monitor.check_component("database")
    assert not first.has_ended
    assert not second.has_ended
    hang.released.set()
    assert [each.result().checks for each in (first, second)] == [1, 1]
    assert stub.checks == 1


def test_while_it_is_monitored_the_schedule_goes_on(make):
    stub = Stub(WELL, schedule=Schedule(interval_seconds=0.01, timeout_seconds=PATIENCE_SECONDS))
    monitor = make(stub)
    assert monitor.start_monitoring().wait(PATIENCE_SECONDS)
    assert monitor.is_healthy_now("database")
    reached, enough = stub.checks + 3, threading.Event()
    stub.does = lambda: (stub.checks >= reached and enough.set()) or WELL
    assert enough.wait(PATIENCE_SECONDS)


def test_it_is_healthy_once_its_status_is(make):
    stub = Stub(DOWN, schedule=within(success_threshold=2))
    monitor = make(stub)
    seen = []
    for stub.does in (DOWN, WELL, WELL, WARNING, WELL, WELL, None):
        seen.append(monitor.is_healthy_now("database"))
    assert seen == [False, False, True, False, False, True, False]


def test_one_bad_finding_is_not_healthy_even_where_the_status_still_is(make):
    stub = Stub(schedule=within(failure_threshold=3))
    monitor = make(stub)
    assert monitor.is_healthy_now("database")
    stub.does = DOWN
    assert not monitor.is_healthy_now("database")
    assert monitor.get_component_health("database").status is Status.HEALTHY


def test_a_check_that_is_late_is_not_healthy(make):
    hang = Hang()
    monitor = make(Stub(hang, schedule=within(0.05)))
    assert not monitor.is_healthy_now("database")
    assert monitor.get_component_health("database").condition == "timeout"
    hang.released.set()


@pytest.mark.parametrize("ends", [SystemHealthMonitor.stop_monitoring, lambda monitor: monitor.remove_health_checker("database")])
def test_a_check_that_is_given_up_is_not_healthy_whatever_was_found_before(make, ends):
    stub, hang, said = Stub(), Hang(), []
    monitor = make(stub)
    assert monitor.is_healthy_now("database")
    stub.does = hang
    asking = threading.Thread(target=lambda: said.append(monitor.is_healthy_now("database")), daemon=True)
    asking.start()
    assert hang.begun.acquire(timeout=PATIENCE_SECONDS)
    ends(monitor)
    asking.join(PATIENCE_SECONDS)
    assert said == [False]
    hang.released.set()


def test_where_everything_is_disabled_nothing_is_checked(make, monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    stub = Stub()
    monitor = make(stub)
    assert monitor.check_component("database").result().status is Status.UNKNOWN
    assert not monitor.is_healthy_now("database")
    assert stub.checks == 0


@pytest.mark.parametrize("method", ["check_component", "is_healthy_now"])
def test_an_unknown_component_is_refused(make, method):
    with pytest.raises(ConfigurationError, match="there are only database"):
        getattr(make(Stub()), method)("databse")


def test_a_recovery_that_asks_it_ends_at_once_and_so_does_the_alert(make):
    stub = Stub(DOWN, schedule=Schedule(interval_seconds=3600, failure_threshold=1, timeout_seconds=PATIENCE_SECONDS))
    monitor = make(stub)
    ended = threading.Event()
    recovery = Recovery(
        component="database",
        actions=[Call("mend", lambda: setattr(stub, "does", WELL))],
        check=lambda: monitor.is_healthy_now("database"),
        check_timeout_seconds=PATIENCE_SECONDS,
        verify_seconds=PATIENCE_SECONDS,
    )
    with Recoveries([recovery]) as recoveries:
        monitor.add_alert_handler(recoveries.on_alert)
        monitor.add_alert_handler(lambda notification: notification.event == "ended" and ended.set())
        monitor.start_monitoring()
        assert ended.wait(PATIENCE_SECONDS)
        assert monitor.get_component_health("database").status is Status.HEALTHY
        assert eventually(lambda: recoveries.results)
        assert [str(result.kind) for result in recoveries.results] == ["recovered"]
