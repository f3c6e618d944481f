"""A failure is acted upon within its limits: one at a time for each component, until it is over or recovery gives up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from opentelemetry.trace import StatusCode
from recovery_world import PATIENCE_SECONDS, Free, Gate, World, wait_until

from agentgauge import ConfigurationError
from agentgauge.notification import Alert, Event, Notification
from agentgauge.recovery import ANY, AuditLog, Backoff, Budget, Call, Failure, Recoveries, Recovery, read_audit

NO_WAIT = Backoff(first_seconds=0)


def alert(component="db", condition="refused", source="health", **facts):
    return Alert(
        source=source,
        subject=component,
        severity="critical",
        summary=f"{component} is down",
        started_at=facts.pop("started_at", time.time()),
        labels={"component_type": "database"},
        condition=condition,
        error_type="ConnectionRefusedError",
        **facts,
    )


def started(*arguments, **facts):
    return Notification(event=Event.STARTED, alert=alert(*arguments, **facts), at=time.time())


def ended(*arguments, **facts):
    return Notification(event=Event.ENDED, alert=alert(*arguments, **facts), at=time.time())


def acts(result):
    return [(attempt.action, attempt.outcome) for attempt in result.attempts]


def gated(component="db", **settings):
    """Return a recovery whose action waits in a gate, and the gate."""
    gate = Gate()
    plan = {"component": component, "actions": [Call("act", gate)], "check": lambda: True, "settle_seconds": 0}
    return Recovery(**(plan | settings)), gate


# --- attempts -------------------------------------------------------------------------------------------------------------


def test_actions_are_tried_until_the_check_says_that_the_component_is_well():
    world = World("reconnect", "restart", "clear_cache")
    with world.recoveries() as recoveries:
        result = world.recover(recoveries, "restart")
    assert (result.kind, acts(result)) == ("recovered", [("reconnect", "not_recovered"), ("restart", "recovered")])
    assert recoveries.results == (result,)


def test_the_waits_between_attempts_are_random_shares_that_grow():
    world = World("act", budget=Budget(attempts=5), backoff=Backoff(first_seconds=1, factor=2, longest_seconds=4))
    with world.recoveries() as recoveries:
        world.recover(recoveries)
    assert len(world.slept) == 4
    assert all(0 < waited <= longest for waited, longest in zip(world.slept, [1, 2, 4, 4], strict=True))


def test_after_an_action_the_check_is_asked_again_at_its_interval_until_the_component_is_well():
    world = World("act", verify_seconds=10, check_interval_seconds=3)
    answers = iter([False, False, True])
    recovery = Recovery(
        component="web",
        actions=[Call("act", lambda: None)],
        check=lambda: next(answers),
        verify_seconds=10,
        check_interval_seconds=3,
    )
    with world.recoveries(recovery) as recoveries:
        result = recoveries.recover(Failure(component="web", started_at=world.clock()))
    assert (result.kind, result.seconds, world.slept) == ("recovered", 6.0, [3, 3])


def test_a_component_that_is_not_well_in_time_is_not_recovered():
    world = World("act", verify_seconds=10, check_interval_seconds=3, budget=Budget(attempts=1))
    with world.recoveries() as recoveries:
        result = world.recover(recoveries)
    assert acts(result) == [("act", "not_recovered")]
    assert (world.slept, world.checks) == ([3, 3, 3, 1], 5)


@pytest.mark.parametrize("answer", ["raises", "no truth", "None"])
def test_a_check_that_raises_or_says_nothing_means_no(answer):
    class NoTruth:
        def __bool__(self):
            raise ValueError

    def check():
        if answer == "raises":
            raise OSError
        return NoTruth() if answer == "no truth" else None

    world = World("act", check=check, budget=Budget(attempts=1))
    with world.recoveries() as recoveries:
        assert acts(world.recover(recoveries)) == [("act", "not_recovered")]


def test_what_an_action_raises_is_an_outcome_and_the_next_is_tried():
    def broken():
        raise ConnectionError

    def leaving():
        raise SystemExit

    recovery = Recovery(
        component="db",
        actions=[Call("reconnect", broken), Call("leave", leaving), Call("restart", lambda: None)],
        check=lambda: True,
        backoff=NO_WAIT,
    )
    with Recoveries([recovery], breaker=Free) as recoveries:
        result = recoveries.recover(Failure(component="db", started_at=time.time()))
        guard = recoveries._components["db"].guard
    assert acts(result) == [("reconnect", "failed"), ("leave", "failed"), ("restart", "recovered")]
    assert [each.error_type for each in result.attempts] == ["ConnectionError", "SystemExit", ""]
    assert [isinstance(error, Exception) for error in guard.released] == [True, True, False]


def test_an_action_that_hangs_is_left_behind_and_not_begun_again_while_it_does():
    recovery, gate = gated(action_timeout_seconds=0.02, backoff=NO_WAIT)
    with Recoveries([recovery], breaker=Free) as recoveries:
        result = recoveries.recover(Failure(component="db", started_at=time.time()))
        assert acts(result) == [("act", "timed_out")]
        assert (result.kind, result.reason) == ("escalated", "no_action")
        gate.leave.set()
        component = recoveries._components["db"]
        wait_until(component.hung["act"].is_set)
        again = recoveries.recover(Failure(component="db", condition="again", started_at=time.time()))
    assert acts(again) == [("act", "recovered")]
    assert gate.calls == 2


def test_a_check_that_hangs_is_not_begun_again_while_it_does():
    gate = Gate()
    recovery = Recovery(
        component="db",
        actions=[Call("act", lambda: None)],
        check=gate,
        check_timeout_seconds=0.02,
        check_interval_seconds=0.01,
        verify_seconds=0.2,
        budget=Budget(attempts=2),
        backoff=NO_WAIT,
    )
    with Recoveries([recovery], breaker=Free) as recoveries:
        result = recoveries.recover(Failure(component="db", started_at=time.time()))
    assert acts(result) == [("act", "not_recovered")] * 2
    assert gate.calls == 1
    gate.leave.set()


def test_an_action_that_took_longer_than_it_may_has_not_worked_although_it_came_back():
    world = World("slow", action_timeout_seconds=5, budget=Budget(attempts=1))
    world.seconds["slow"] = 6
    with world.recoveries() as recoveries:
        assert acts(world.recover(recoveries, "slow")) == [("slow", "timed_out")]


# --- coroutines -----------------------------------------------------------------------------------------------------------


async def test_coroutines_run_on_the_programs_loop():
    loops = []

    async def act():
        loops.append(asyncio.get_running_loop())

    async def check():
        loops.append(asyncio.get_running_loop())
        return True

    recovery = Recovery(component="db", actions=[Call("act", act)], check=check, escalate=act)
    with Recoveries([recovery], loop=asyncio.get_running_loop(), breaker=Free) as recoveries:
        result = await asyncio.to_thread(recoveries.recover, Failure(component="db", started_at=time.time()))
    assert result.kind == "recovered"
    assert loops == [asyncio.get_running_loop()] * 2


async def test_a_coroutine_that_would_block_the_loop_that_its_recovery_needs_is_told_what_to_do():
    world = World("act")
    with world.recoveries(loop=asyncio.get_running_loop()) as recoveries:
        with pytest.raises(ConfigurationError, match="blocks the loop"):
            world.recover(recoveries)
        assert (await asyncio.to_thread(world.recover, recoveries, "act")).kind == "recovered"


def test_without_a_loop_each_coroutine_has_one_of_its_own():
    async def act():
        await asyncio.sleep(0)

    async def check():
        return True

    recovery = Recovery(component="db", actions=[Call("act", act)], check=check)
    with Recoveries([recovery], breaker=Free) as recoveries:
        assert recoveries.recover(Failure(component="db", started_at=time.time())).kind == "recovered"


async def test_a_coroutine_is_cancelled_at_its_limit_and_one_that_is_cancelled_by_others_counts_as_that():
    seen = []

    async def hang():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def give_up():
        raise asyncio.CancelledError

    recovery = Recovery(
        component="db",
        actions=[Call("hang", hang), Call("give_up", give_up)],
        action_timeout_seconds=0.02,
        budget=Budget(attempts=2),
        backoff=NO_WAIT,
    )
    with Recoveries([recovery], loop=asyncio.get_running_loop(), breaker=Free) as recoveries:
        result = await asyncio.to_thread(recoveries.recover, Failure(component="db", started_at=time.time()))
        guard = recoveries._components["db"].guard
    assert acts(result) == [("hang", "timed_out"), ("give_up", "cancelled")]
    assert seen == ["cancelled"]
    assert [type(error).__name__ for error in guard.released] == ["TimeoutError", "CancelledError"]


# --- limits -------------------------------------------------------------------------------------------------------------------


def test_at_its_budget_recovery_stops_and_escalates_once(fresh):
    told, called = [], []
    world = World("reconnect", "restart", budget=Budget(attempts=3), escalate=called.append)
    with world.recoveries() as recoveries:
        recoveries.add_alert_handler(told.append)
        result = world.recover(recoveries)
        recoveries._escalations.notifier.flush(PATIENCE_SECONDS)
    assert (result.kind, result.reason, len(result.attempts)) == ("escalated", "budget", 3)
    assert called == [result]
    (notification,) = told
    assert (notification.event, notification.alert.source, notification.alert.subject) == (Event.STARTED, "recovery", "db")
    assert notification.alert.condition == "budget"
    assert "reconnect (not_recovered), restart (not_recovered)" in notification.alert.summary
    assert fresh.value("agent_recovery_escalations_total", component="db", reason="budget") == 1
    assert fresh.value("agent_recovery_attempts_left", component="db") == 0


def test_a_failure_that_was_given_up_on_is_left_alone_until_it_ends():
    world = World("act", budget=Budget(attempts=1))
    told = []
    with world.recoveries() as recoveries:
        recoveries.add_alert_handler(told.append)
        known = world.failure(key=("health", "db"))
        assert recoveries.recover(known).kind == "escalated"
        assert recoveries.report(known) == "merged"
        with pytest.raises(ConfigurationError, match="gave up"):
            recoveries.recover(known)
        assert len(world.done) == 1
        assert recoveries.end(known.key)
        assert not recoveries.end(known.key)
        assert recoveries.recover(known).kind == "escalated"
        recoveries._escalations.notifier.flush(PATIENCE_SECONDS)
    assert [str(each.event) for each in told] == ["started", "ended", "started"]


def test_the_end_of_a_failure_is_told_when_a_later_attempt_recovers_it():
    world = World("act", budget=Budget(attempts=1))
    told = []
    with world.recoveries() as recoveries:
        recoveries.add_alert_handler(told.append)
        world.recover(recoveries)
        world.clock.advance(1)
        assert world.recover(recoveries, "act").kind == "recovered"
        recoveries._escalations.notifier.flush(PATIENCE_SECONDS)
    assert [str(each.event) for each in told] == ["started", "ended"]
    assert told[1].reason == "the component was recovered"


def test_the_budget_of_a_window_of_time_holds_for_all_failures_together_and_comes_back_with_time(fresh):
    world = World("act", budget=Budget(attempts=5, window_attempts=3, window_seconds=100), backoff=NO_WAIT)
    with world.recoveries() as recoveries:
        for number in range(3):
            assert world.recover(recoveries, "act", condition=f"c{number}").kind == "recovered"
        result = world.recover(recoveries, "act", condition="c3")
        assert (result.kind, result.reason, result.attempts) == ("escalated", "budget", ())
        assert fresh.value("agent_recovery_attempts_left", component="db") == 0
        world.clock.advance(97)
        assert fresh.value("agent_recovery_attempts_left", component="db") == 1
        assert world.recover(recoveries, "act", condition="c4").kind == "recovered"


def test_an_open_breaker_refuses_and_escalates_with_that_reason(fresh):
    world = World("act", budget=Budget(attempts=100, window_attempts=1000), backoff=NO_WAIT)
    with Recoveries([world.recovery], clock=world.clock, wall_clock=world.clock, sleep=world.sleep) as recoveries:
        result = world.recover(recoveries)
        assert (result.kind, result.reason, len(result.attempts)) == ("escalated", "breaker", 10)
        world.clock.advance(301)
        assert world.recover(recoveries, "act").kind == "recovered", "it lets one through after a while"
    assert fresh.value("agent_recovery_escalations_total", component="db", reason="breaker") == 1


def test_a_breaker_that_fails_itself_costs_one_failure_its_recovery_and_no_more():
    class Broken(Free):
        def acquire(self):
            if not self.released:
                self.released.append("once")
                raise ValueError
            return self

    world = World("act")
    with world.recoveries(breaker=Broken) as recoveries:
        assert world.recover(recoveries, "act").kind == "cancelled"
        assert world.recover(recoveries, "act").kind == "recovered"


def test_what_no_recovery_is_for_is_neither_acted_upon_nor_escalated(fresh):
    called = []
    world = World("act", conditions=["refused"], error_types=["ConnectionRefusedError"])
    with world.recoveries(escalate=called.append) as recoveries:
        assert recoveries.report(world.failure(condition="disk_full")) == "unmatched"
        assert recoveries.report(world.failure(error_type="OSError")) == "unmatched"
        assert recoveries.report(Failure(component="web", started_at=0)) == "unmatched"
        with pytest.raises(ConfigurationError, match="no recovery is for this component"):
            recoveries.recover(Failure(component="web", started_at=0))
        assert recoveries.results == ()
    assert (called, world.done) == ([], [])
    assert fresh.value("agent_recovery_escalations_total", component="db", reason="no_action") == 0


def test_of_several_recoveries_the_narrowest_acts():
    def plan(name, **settings):
        return Recovery(component="db", actions=[Call(name, lambda: None)], check=lambda: True, settle_seconds=0, **settings)

    recoveries = Recoveries(
        [
            plan("any"),
            plan("condition", conditions=["refused", "timeout"]),
            plan("both", conditions=["refused"], error_types=["OSError"]),
            plan("type", conditions=[ANY], error_types=["OSError"]),
        ],
        breaker=Free,
    )

    def acted(condition, error_type):
        failure = Failure(component="db", condition=condition, error_type=error_type, started_at=time.time())
        return recoveries.recover(failure).attempts[0].action

    with recoveries:
        assert acted("refused", "OSError") == "both"
        assert acted("timeout", "OSError") == "condition"
        assert acted("other", "OSError") == "type"
        assert acted("other", "other") == "any"


def test_a_failure_that_ends_with_the_last_attempt_is_not_escalated():
    world = World("act", budget=Budget(attempts=1))

    def check():
        recoveries.end(("k",))
        return False

    world.recovery = replace(world.recovery, check=check)
    with world.recoveries() as recoveries:
        result = recoveries.recover(world.failure(key=("k",)))
    assert (result.kind, result.reason) == ("cancelled", "the failure ended")


def test_a_failure_that_ends_while_it_is_escalated_is_told_to_have_ended(tmp_path):
    class Ending(AuditLog):
        def write(self, event, at, **facts):
            if event == "escalation":
                recoveries.end(("k",))

    world = World("act", budget=Budget(attempts=1))
    told = []
    with world.recoveries(audit=Ending(tmp_path / "audit.jsonl")) as recoveries:
        recoveries.add_alert_handler(told.append)
        assert recoveries.recover(world.failure(key=("k",))).kind == "escalated"
        recoveries._escalations.notifier.flush(PATIENCE_SECONDS)
    assert [str(each.event) for each in told] == ["started", "ended"]


def test_an_escalation_callback_that_raises_costs_nobody():
    def broken(result):
        raise ValueError

    world = World("act", budget=Budget(attempts=1), escalate=broken)
    with world.recoveries() as recoveries:
        assert world.recover(recoveries).kind == "escalated"
        world.clock.advance(1)
        assert world.recover(recoveries, "act").kind == "recovered"


# --- one at a time --------------------------------------------------------------------------------------------------------


def test_the_same_failure_and_one_like_it_are_a_part_of_what_goes_on_and_another_waits():
    recovery, gate = gated()
    with Recoveries([recovery], breaker=Free) as recoveries:
        first = Failure(component="db", condition="refused", started_at=time.time(), key=("a",))
        assert recoveries.report(first) == "accepted"
        gate.wait_entered()
        assert recoveries.report(first) == "merged"
        alike = Failure(component="db", condition="refused", started_at=time.time(), key=("b",))
        assert recoveries.report(alike) == "merged"
        other = Failure(component="db", condition="timeout", started_at=time.time(), key=("c",))
        assert recoveries.report(other) == "accepted"
        assert recoveries.report(other) == "merged"
        assert gate.calls == 1
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 2)
    assert [each.kind for each in recoveries.results] == ["recovered", "recovered"]
    assert recoveries.results[1].attempts == (), "it was well again with the first"
    assert gate.calls == 1


def test_a_failure_that_the_recovery_before_it_did_not_end_is_acted_upon_in_its_turn():
    world = World("act", budget=Budget(attempts=1))
    gate = Gate()
    world.recovery = Recovery(
        component="db", actions=[Call("act", gate)], check=lambda: False, verify_seconds=0, budget=Budget(attempts=1)
    )
    with world.recoveries() as recoveries:
        recoveries.report(world.failure("refused"))
        gate.wait_entered()
        recoveries.report(world.failure("timeout"))
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 2)
    assert gate.calls == 2
    assert [each.kind for each in recoveries.results] == ["escalated"] * 2


def test_a_failure_that_is_reported_again_after_the_last_check_is_looked_at_once_more():
    reported = []

    def check():
        failure = Failure(component="db", condition="refused", started_at=time.time(), key=(len(reported),))
        if len(reported) < 2:
            reported.append(recoveries.report(failure))
        return True

    recovery = Recovery(component="db", actions=[Call("act", lambda: None)], check=check, settle_seconds=0)
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.report(Failure(component="db", condition="refused", started_at=time.time(), key=("first",)))
        wait_until(lambda: len(recoveries.results) == 3)
    assert reported == ["merged", "merged"]
    assert [len(each.attempts) for each in recoveries.results] == [1, 0, 0], "it was well each time"


def test_different_components_are_recovered_at_the_same_time():
    plans = [gated(component) for component in ("db", "web")]
    with Recoveries([plan for plan, _ in plans], breaker=Free) as recoveries:
        for component in ("db", "web"):
            recoveries.report(Failure(component=component, started_at=time.time()))
        for _, gate in plans:
            gate.wait_entered()
        for _, gate in plans:
            gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 2)


def test_more_failures_than_may_wait_are_refused_so_that_who_reports_can_come_again():
    recovery, gate = gated()
    with Recoveries([recovery], breaker=Free, most_waiting=2) as recoveries:
        recoveries.report(Failure(component="db", condition="0", started_at=0))
        gate.wait_entered()
        reported = [recoveries.report(Failure(component="db", condition=str(n), started_at=0)) for n in (1, 2, 3)]
        assert reported == ["accepted", "accepted", "full"]
        with pytest.raises(ConfigurationError, match="most_waiting"):
            recoveries.recover(Failure(component="db", condition="4", started_at=0))
        gate.leave.set()


# --- alerts ---------------------------------------------------------------------------------------------------------------


def test_an_alert_of_a_health_monitor_is_acted_upon_without_holding_up_who_tells_it():
    recovery, gate = gated()
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.on_alert(started())  # returns, although the action is held
        gate.wait_entered()
        recoveries.on_alert(Notification(event=Event.CHANGED, alert=alert(), at=0, previous_severity="warning"))
        recoveries.on_alert(started("unknown"))
        recoveries.on_alert(started(source="recovery", condition="budget"))
        gate.leave.set()
        (result,) = wait_until(lambda: recoveries.results)
    assert result.failure.signature == ("db", "refused", "ConnectionRefusedError")
    assert (result.failure.source, result.failure.labels) == ("health", {"component_type": "database"})


def test_a_health_monitor_and_recovery_close_the_loop_in_the_process():
    from agentgauge.health import Finding, Schedule, Status, SystemHealthMonitor

    class Database:
        name = "db"
        component_type = "database"
        schedule = Schedule(interval_seconds=0.02, failure_threshold=1, jitter_ratio=0)
        is_up = True

        def check(self):
            if self.is_up:
                return Finding(status=Status.HEALTHY)
            return Finding(status=Status.DOWN, condition="refused", error_type="ConnectionRefusedError", message="It is down.")

        def restart(self):
            self.is_up = True

    database = Database()
    told = []
    recovery = Recovery(component="db", conditions=["refused"], actions=[Call("restart", database.restart)], verify_seconds=3600)
    with Recoveries([recovery]) as recoveries, SystemHealthMonitor([database]) as monitor:
        monitor.add_alert_handler(recoveries.on_alert)
        monitor.add_alert_handler(told.append)
        database.is_up = False
        (result,) = wait_until(lambda: recoveries.results)
        wait_until(lambda: len(told) == 2)
    assert (result.kind, acts(result)) == ("recovered", [("restart", "recovered")])
    assert result.failure.signature == ("db", "refused", "ConnectionRefusedError")
    assert [str(each.event) for each in told] == ["started", "ended"]


def test_the_end_of_an_alert_calls_off_what_waits_and_not_what_acts():
    recovery, gate = gated()
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.on_alert(started(identity="1"))
        gate.wait_entered()
        recoveries.on_alert(started(condition="timeout", identity="2"))
        recoveries.on_alert(ended(condition="timeout", identity="2"))
        recoveries.on_alert(ended(condition="", identity="1"))
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 2)
    assert [(each.kind, each.reason) for each in recoveries.results] == [("recovered", ""), ("cancelled", "the failure ended")]


def test_a_failure_that_comes_back_after_its_end_called_it_off_is_taken_up_anew():
    recovery, gate = gated()
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.on_alert(started(identity="1"))
        gate.wait_entered()
        recoveries.on_alert(started(condition="timeout", identity="2"))
        recoveries.on_alert(ended(condition="timeout", identity="2"))
        assert recoveries.report(Failure.of_alert(alert(condition="timeout", identity="2"))) == "accepted"
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 3)
    assert [each.kind for each in recoveries.results] == ["recovered", "cancelled", "recovered"]


def test_the_end_of_an_alert_ends_the_wait_for_the_next_attempt():
    recovery = Recovery(
        component="db",
        actions=[Call("act", lambda: None)],
        check=lambda: False,
        verify_seconds=0,
        backoff=Backoff(first_seconds=86_400, longest_seconds=86_400),
    )
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.on_alert(started())
        wait_until(lambda: recoveries.outcomes.record(Failure.of_alert(alert()).signature, "act").tried)
        recoveries.on_alert(ended())
        (result,) = wait_until(lambda: recoveries.results)
    assert (result.kind, len(result.attempts)) == ("cancelled", 1)


def test_what_several_alerts_tell_of_has_ended_when_all_of_them_have():
    recovery, gate = gated(check=None, verify_seconds=3600)
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.on_alert(started(identity="1"))
        recoveries.on_alert(started(identity="2"))
        gate.wait_entered()
        case = recoveries._components["db"].acting
        recoveries.on_alert(ended(identity="1"))
        assert not case.has_ended.is_set()
        recoveries.on_alert(ended(identity="2"))
        assert case.has_ended.is_set()
        gate.leave.set()
        (result,) = wait_until(lambda: recoveries.results)
    assert result.kind == "recovered"


def test_without_a_check_the_component_is_well_when_its_alert_ends():
    recovery, gate = gated(check=None, verify_seconds=3600)
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.on_alert(started())
        gate.wait_entered()
        gate.leave.set()
        recoveries.on_alert(ended())
        (result,) = wait_until(lambda: recoveries.results)
    assert (result.kind, acts(result)) == ("recovered", [("act", "recovered")])


def test_without_a_check_an_alert_that_does_not_end_in_time_was_not_recovered():
    world = World("act", check=None, verify_seconds=7, budget=Budget(attempts=1))
    with world.recoveries() as recoveries:
        assert acts(world.recover(recoveries)) == [("act", "not_recovered")]
    assert world.slept == [7]


# --- flapping -------------------------------------------------------------------------------------------------------------


def test_a_component_that_fails_again_soon_is_flapping_waits_longer_and_its_recovery_counts_no_more(fresh, tmp_path):
    world = World("act", settle_seconds=100, backoff=Backoff(first_seconds=1, longest_seconds=64))

    def flapping():
        return fresh.value("agent_recovery_flapping", component="db")

    with world.recoveries(audit=tmp_path / "audit.jsonl") as recoveries:
        world.recover(recoveries, "act")
        assert (flapping(), world.slept) == (0, [])
        signature = world.failure().signature
        for number in range(1, 4):
            world.clock.advance(50)
            assert world.recover(recoveries, "act").kind == "recovered"
            assert flapping() == 1
            assert 0 < world.slept[-1] <= 2 ** (number - 1)
            record = recoveries.outcomes.record(signature, "act")
            assert (record.recovered, record.tried) == (1, number + 1)
        world.clock.advance(99)
        assert flapping() == 1
        world.clock.advance(1)
        assert flapping() == 0
        world.recover(recoveries, "act")
        assert len(world.slept) == 3, "it had settled: no wait"
    relapses = [each for each in read_audit(tmp_path / "audit.jsonl").entries if each.event == "relapse"]
    assert [(each.action, each.reason) for each in relapses] == [("act", "it failed again 50.0 s after it was recovered")] * 3


def test_a_failure_of_another_kind_soon_after_a_recovery_is_flapping_and_takes_nothing_back(fresh):
    world = World("act", settle_seconds=100)
    with world.recoveries() as recoveries:
        signature = world.recover(recoveries, "act").failure.signature
        world.clock.advance(50)
        world.recover(recoveries, "act", condition="timeout")
        assert fresh.value("agent_recovery_flapping", component="db") == 1
        assert recoveries.outcomes.record(signature, "act").recovered == 1


def test_a_relapse_that_was_given_up_on_is_flapping_for_as_long_again(fresh):
    world = World("act", settle_seconds=100, budget=Budget(attempts=1), backoff=NO_WAIT)
    with world.recoveries() as recoveries:
        world.recover(recoveries, "act")
        world.clock.advance(90)
        assert world.recover(recoveries).kind == "escalated"
        world.clock.advance(50)
        assert fresh.value("agent_recovery_flapping", component="db") == 1
        world.clock.advance(50)
        assert fresh.value("agent_recovery_flapping", component="db") == 0


# --- dry run --------------------------------------------------------------------------------------------------------------


def test_a_dry_run_does_everything_but_act(fresh, spans, tmp_path):
    world = World("reconnect", "restart")
    with world.recoveries(dry_run=True, audit=tmp_path / "audit.jsonl") as recoveries:
        result = world.recover(recoveries, "reconnect")
        guard = recoveries._components["db"].guard
    assert (result.kind, acts(result)) == ("dry_run", [("reconnect", "dry_run")])
    assert result.attempts[0].error_type == ""
    assert (world.done, world.checks) == ([], 0)
    assert fresh.value("agent_recovery_attempts_total", component="db", action="reconnect", outcome="dry_run") == 1
    assert [type(error) for error in guard.released] == [asyncio.CancelledError], "neutral for the breaker"
    entries = read_audit(tmp_path / "audit.jsonl").entries
    assert [(each.event, each.outcome, each.is_dry_run) for each in entries] == [
        ("intent", "", True),
        ("outcome", "dry_run", True),
    ]
    assert recoveries.outcomes.record(world.failure().signature, "reconnect").tried == 0
    assert [span.name for span in spans.get_finished_spans()] == ["recover db"]


# --- what is shown --------------------------------------------------------------------------------------------------------


def test_every_series_is_there_from_the_start_and_tells_what_happened(fresh):
    def value(name, **labels):
        return fresh.value(f"agent_recovery_{name}", component="db", **labels)

    gate = Gate()
    world = World("reconnect", "restart")
    with world.recoveries() as recoveries:
        assert value("attempts_total", action="restart", outcome="recovered") == 0
        assert value("escalations_total", reason="breaker") == 0
        assert (value("in_progress"), value("flapping"), value("attempts_left")) == (0, 0, None)
        world.clock.advance(100)
        failure = Failure(component="db", started_at=world.clock() - 30)
        world.helpful = {"restart"}
        world.seconds["restart"] = 5.0
        recoveries.recover(failure)
    assert value("attempts_total", action="reconnect", outcome="not_recovered") == 1
    assert value("attempts_total", action="restart", outcome="recovered") == 1
    assert value("time_to_recover_seconds_count") == 1
    assert value("time_to_recover_seconds_sum") == pytest.approx(30 + 1 + 5 + sum(world.slept))
    assert (value("in_progress"), value("attempts_left")) == (0, 5)
    assert gate.calls == 0


def test_a_recovery_in_progress_is_shown(fresh):
    recovery, gate = gated()
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.report(Failure(component="db", started_at=fresh.clock()))
        gate.wait_entered()
        assert fresh.value("agent_recovery_in_progress", component="db") == 1
        gate.leave.set()
        wait_until(lambda: fresh.value("agent_recovery_in_progress", component="db") == 0)


def test_a_span_ties_the_failure_the_actions_and_the_result_together(spans):
    from opentelemetry import trace

    def act():
        with trace.get_tracer("program").start_as_current_span("connect"):
            pass

    recovery = Recovery(component="db", actions=[Call("reconnect", act)], check=lambda: True)
    cause = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
    failure = Failure(component="db", condition="refused", error_type="OSError", started_at=time.time(), labels=cause)
    with Recoveries([recovery], breaker=Free) as recoveries:
        recoveries.recover(failure)
    inner, span = spans.get_finished_spans()
    assert (span.name, span.parent, span.status.status_code) == ("recover db", None, StatusCode.OK)
    assert inner.parent.span_id == span.context.span_id
    assert f"{span.links[0].context.trace_id:032x}" == cause["trace_id"]
    assert span.attributes["agentgauge.recovery.condition"] == "refused"
    assert (span.attributes["error.type"], span.attributes["agentgauge.recovery.result"]) == ("OSError", "recovered")
    (event,) = span.events
    assert (event.attributes["agentgauge.recovery.action"], event.attributes["agentgauge.recovery.outcome"]) == (
        "reconnect",
        "recovered",
    )


def test_the_span_of_what_was_given_up_on_is_an_error_and_its_trace_is_in_the_audit_log(spans, tmp_path):
    world = World("act", budget=Budget(attempts=1))
    with world.recoveries(audit=tmp_path / "audit.jsonl") as recoveries:
        world.recover(recoveries, labels={"trace_id": "no", "span_id": "no"})
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code, span.status.description, span.links) == (StatusCode.ERROR, "budget", ())
    entries = read_audit(tmp_path / "audit.jsonl").entries
    assert {each.trace_id for each in entries} == {f"{span.context.trace_id:032x}"}
    assert (entries[-1].event, entries[-1].reason[:7]) == ("escalation", "budget:")


# --- the end --------------------------------------------------------------------------------------------------------------


def test_stop_calls_off_what_waits_and_waits_for_what_acts(tmp_path):
    recovery, gate = gated()
    recoveries = Recoveries([recovery], breaker=Free, audit=tmp_path / "audit.jsonl")
    recoveries.report(Failure(component="db", condition="1", started_at=0))
    gate.wait_entered()
    recoveries.report(Failure(component="db", condition="2", started_at=0))
    assert not recoveries.stop(timeout_seconds=0.01)
    assert recoveries.report(Failure(component="db", condition="3", started_at=0)) == "closed"
    gate.leave.set()
    assert recoveries.close(PATIENCE_SECONDS)
    assert [(each.kind, each.reason) for each in recoveries.results][1:] == [("cancelled", "recovery was stopped")]
    assert read_audit(tmp_path / "audit.jsonl").unfinished == ()


def test_an_attempt_that_the_stop_interrupts_says_nothing_of_its_action():
    checked = threading.Event()

    def check():
        checked.set()
        return False

    recovery = Recovery(component="db", actions=[Call("act", lambda: None)], check=check, verify_seconds=3600)
    recoveries = Recoveries([recovery], breaker=Free)
    failure = Failure(component="db", started_at=time.time())
    recoveries.report(failure)
    assert checked.wait(PATIENCE_SECONDS)
    assert recoveries.close(PATIENCE_SECONDS)
    (result,) = recoveries.results
    assert (result.kind, acts(result)) == ("cancelled", [("act", "cancelled")])
    assert recoveries.outcomes.record(failure.signature, "act").tried == 0


def test_a_recovery_that_goes_on_does_not_keep_the_program_from_ending():
    recovery, gate = gated()
    recoveries = Recoveries([recovery], breaker=Free)
    recoveries.report(Failure(component="db", started_at=0))
    gate.wait_entered()
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("agentgauge-recovery-db")]
    assert workers
    assert all(thread.daemon for thread in workers)
    gate.leave.set()
    recoveries.close(PATIENCE_SECONDS)


def test_a_forked_child_begins_with_nothing_in_progress_and_can_recover():
    recovery, gate = gated()
    recoveries = Recoveries([recovery], breaker=Free)
    recoveries.report(Failure(component="db", started_at=0))
    gate.wait_entered()
    child = os.fork()
    if child == 0:
        gate.leave.set()
        result = recoveries.recover(Failure(component="db", condition="other", started_at=time.time()))
        os._exit(0 if result.kind == "recovered" and len(recoveries.results) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    gate.leave.set()
    assert recoveries.close(PATIENCE_SECONDS)


def test_a_child_forked_while_other_threads_hold_every_lock_of_recovery_can_recover(tmp_path):
    recovery, gate = gated()
    gate.leave.set()
    recoveries = Recoveries([recovery], breaker=Free, audit=tmp_path / "audit.jsonl", outcomes=tmp_path / "outcomes.json")
    book = recoveries.outcomes
    locks = [recoveries._changed, recoveries._escalations._changing, book._changing, book._saving, recoveries.audit._writing]
    held, leave = threading.Event(), threading.Event()

    def hold():
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            leave.wait(PATIENCE_SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE_SECONDS)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        result = recoveries.recover(Failure(component="db", started_at=time.time()))
        os._exit(0 if result.kind == "recovered" else 1)
    leave.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0
    assert len(read_audit(tmp_path / "audit.jsonl").entries) == 2
    assert recoveries.close(PATIENCE_SECONDS)


def test_a_stopped_recovery_leaves_its_series_to_the_next_of_the_component(fresh):
    world = World("act", budget=Budget(attempts=1))
    with world.recoveries() as recoveries:
        world.recover(recoveries)
        assert fresh.value("agent_recovery_attempts_left", component="db") == 0
    with world.recoveries() as again:
        world.clock.advance(1)
        world.recover(again, "act", condition="other")
        assert fresh.value("agent_recovery_attempts_left", component="db") == 1
