"""An alert whose condition changes while it lasts is a failure of its own from then on."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from recovery_world import PATIENCE_SECONDS, Free, Gate, World, wait_until

from agentgauge.notification import Alert, Event, Notification
from agentgauge.recovery import Backoff, Budget, Call, Failure, Recoveries, Recovery, read_audit

BEGAN = time.time()
NO_WAIT = Backoff(first_seconds=0)


def told(event, condition, error_type=""):
    """Return what a health monitor tells of the agent: the same alert, whatever its condition is by now."""
    alert = Alert(
        source="health",
        subject="agent",
        severity="critical",
        summary="the agent is critical",
        started_at=BEGAN,
        labels={"component_type": "agent"},
        condition=condition,
        error_type=error_type,
    )
    return Notification(event=event, alert=alert, at=time.time())


def recovery_for(condition, action, **settings):
    plan = {"component": "agent", "conditions": [condition], "actions": [Call(f"{condition}_act", action)], "check": lambda: True}
    return Recovery(**(plan | {"settle_seconds": 0, "backoff": NO_WAIT} | settings))


def acts(recoveries):
    return [(result.failure.condition, result.kind, result.reason) for result in recoveries.results]


def test_a_condition_that_nothing_is_for_and_changes_to_one_that_something_is_for_is_acted_upon():
    with Recoveries([recovery_for("stuck", lambda: None)], breaker=Free) as recoveries:
        recoveries.on_alert(told(Event.STARTED, "error_ratio"))
        recoveries.on_alert(told(Event.CHANGED, "stuck"))
        wait_until(lambda: recoveries.results)
        assert acts(recoveries) == [("stuck", "recovered", "")]


def test_a_failure_that_changes_while_it_is_acted_upon_is_over_and_the_new_one_has_its_turn(tmp_path):
    gate, done = Gate(), []
    plans = [
        recovery_for("error_ratio", gate, check=lambda: False, verify_seconds=0),
        recovery_for("stuck", lambda: done.append("stuck")),
    ]
    with Recoveries(plans, breaker=Free, audit=tmp_path / "audit.jsonl") as recoveries:
        recoveries.on_alert(told(Event.STARTED, "error_ratio"))
        gate.wait_entered()
        recoveries.on_alert(told(Event.CHANGED, "stuck"))
        assert done == [], "one at a time"
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 2)
    assert acts(recoveries) == [("error_ratio", "cancelled", "its condition changed"), ("stuck", "recovered", "")]
    assert gate.calls == 1
    assert [entry.reason for entry in read_audit(tmp_path / "audit.jsonl").entries if entry.event == "cancelled"] == [
        "its condition changed"
    ]


def test_without_a_check_a_change_of_the_condition_is_no_recovery():
    gate = Gate()
    plan = recovery_for("error_ratio", gate, check=None, verify_seconds=PATIENCE_SECONDS)
    with Recoveries([plan], breaker=Free) as recoveries:
        recoveries.on_alert(told(Event.STARTED, "error_ratio"))
        gate.wait_entered()
        gate.leave.set()
        recoveries.on_alert(told(Event.CHANGED, "stuck"))
        (result,) = wait_until(lambda: recoveries.results)
    assert (result.kind, [attempt.outcome for attempt in result.attempts]) == ("cancelled", ["not_recovered"])


def test_a_failure_that_changes_before_its_turn_is_never_acted_upon():
    gate, done = Gate(), []
    waiting = [recovery_for(each, lambda: done.append("act"), check=lambda: bool(done)) for each in ("error_ratio", "stuck")]
    plans = [recovery_for("other", gate), *waiting]
    with Recoveries(plans, breaker=Free) as recoveries:
        recoveries.report(Failure(component="agent", condition="other", started_at=BEGAN))
        gate.wait_entered()
        recoveries.on_alert(told(Event.STARTED, "error_ratio"))
        recoveries.on_alert(told(Event.CHANGED, "stuck"))
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 3)
    assert acts(recoveries)[1:] == [("error_ratio", "cancelled", "its condition changed"), ("stuck", "recovered", "")]
    assert done == ["act"]


def test_what_was_given_up_on_is_over_when_its_condition_changes_and_the_new_failure_is_acted_upon():
    heard = []
    plans = [
        recovery_for("error_ratio", lambda: None, check=lambda: False, verify_seconds=0, budget=Budget(attempts=1)),
        recovery_for("stuck", lambda: None),
    ]
    with Recoveries(plans, breaker=Free) as recoveries:
        recoveries.add_alert_handler(heard.append)
        recoveries.on_alert(told(Event.STARTED, "error_ratio"))
        wait_until(lambda: recoveries.results)
        recoveries.on_alert(told(Event.LASTS, "error_ratio"))
        recoveries.on_alert(told(Event.CHANGED, "stuck"))
        wait_until(lambda: len(recoveries.results) == 2)
        recoveries._escalations.notifier.flush(PATIENCE_SECONDS)
    assert acts(recoveries) == [("error_ratio", "escalated", "budget"), ("stuck", "recovered", "")]
    assert [(str(each.event), each.reason) for each in heard] == [("started", ""), ("ended", "its condition changed")]


def test_another_type_of_error_is_the_same_failure_unless_another_recovery_is_for_it():
    gate, done = Gate(), []
    wide = recovery_for("refused", gate)
    narrow = recovery_for("refused", lambda: done.append("narrow"), error_types=["TimeoutError"], check=lambda: bool(done))
    with Recoveries([wide, narrow], breaker=Free) as recoveries:
        recoveries.on_alert(told(Event.STARTED, "refused", "OSError"))
        gate.wait_entered()
        recoveries.on_alert(told(Event.CHANGED, "refused", "ConnectionRefusedError"))
        assert not recoveries._components["agent"].waiting
        recoveries.on_alert(told(Event.CHANGED, "refused", "TimeoutError"))
        gate.leave.set()
        wait_until(lambda: len(recoveries.results) == 2)
    assert done == ["narrow"]


def test_a_failure_that_is_well_in_time_although_it_changed_and_ended_is_looked_at_no_more():
    gate = Gate()
    asked = []

    def check():
        asked.append("check")
        gate()
        return True

    plan = recovery_for("stuck", lambda: None, check=check)
    with Recoveries([plan], breaker=Free) as recoveries:
        recoveries.on_alert(told(Event.STARTED, "stuck"))
        gate.wait_entered()
        recoveries.on_alert(told(Event.LASTS, "stuck"))
        recoveries.on_alert(told(Event.ENDED, "stuck"))
        gate.leave.set()
        wait_until(lambda: recoveries.results)
    assert (acts(recoveries), asked) == ([("stuck", "recovered", "")], ["check"])


def test_an_escalation_ends_although_an_earlier_failure_of_the_signature_never_told_its_end():
    world = World("act", budget=Budget(attempts=1))
    heard = []
    with world.recoveries() as recoveries:
        recoveries.add_alert_handler(heard.append)
        world.recover(recoveries, key=("a",))
        assert world.recover(recoveries, "act", key=("b",)).kind == "recovered"
        world.recover(recoveries, key=("c",))
        recoveries.end(("c",))
        recoveries._escalations.notifier.flush(PATIENCE_SECONDS)
    assert [str(each.event) for each in heard] == ["started", "ended"] * 2


def test_of_too_many_failures_that_were_given_up_on_the_oldest_are_forgotten_and_told_to_be(monkeypatch):
    monkeypatch.setattr("agentgauge.recovery.component._MOST_GIVEN_UP", 3)
    world = World("act", budget=Budget(attempts=1))
    with world.recoveries() as recoveries:
        for number in range(10):
            world.recover(recoveries, condition=f"c{number}", key=(number,))
        assert sorted(each.condition for each in recoveries._escalations._open) == ["c7", "c8", "c9"]


@pytest.mark.parametrize("again", [True, False])
def test_what_was_given_up_on_and_comes_with_the_same_condition_is_left_alone(again):
    world = World("act", budget=Budget(attempts=1))
    with world.recoveries() as recoveries:
        known = world.failure(key=("health", "db"))
        recoveries.recover(known)
        other = replace(known, error_type="TimeoutError") if again else known
        assert recoveries.report(other) == "merged"
        assert len(world.done) == 1
