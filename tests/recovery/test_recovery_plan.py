"""Settings that cannot work are refused with a message that names the setting and the fix."""

from __future__ import annotations

from random import Random

import pytest

from agentgauge import ConfigurationError
from agentgauge.recovery import (
    Backoff,
    Budget,
    Call,
    ClearCache,
    Reconnect,
    Recoveries,
    Recovery,
    RestartAgent,
    RestartSubprocess,
    RestartTask,
    RestartThread,
    ShedLoad,
)

ACT = Call("act", lambda: None)


def plan(**settings):
    return Recovery(**({"component": "db", "actions": [ACT]} | settings))


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: plan(component=""), "component"),
        (lambda: plan(component=3), "component"),
        (lambda: plan(actions=[]), "actions"),
        (lambda: plan(actions=ACT), "actions"),
        (lambda: plan(actions=[print]), "actions"),
        (lambda: plan(actions=[Call]), "actions"),
        (lambda: plan(actions=[ACT, Call("act", print)]), "'act' comes twice"),
        (lambda: plan(conditions="refused"), "conditions"),
        (lambda: plan(conditions=[]), "conditions"),
        (lambda: plan(conditions=[1]), "conditions"),
        (lambda: plan(error_types="OSError"), "error_types"),
        (lambda: plan(check=True), "check"),
        (lambda: plan(escalate="me@example.com"), "escalate"),
        (lambda: plan(check_interval_seconds=0), "check_interval_seconds"),
        (lambda: plan(check_timeout_seconds=-1), "check_timeout_seconds"),
        (lambda: plan(verify_seconds=float("nan")), "verify_seconds"),
        (lambda: plan(action_timeout_seconds="60"), "action_timeout_seconds"),
        (lambda: plan(settle_seconds=True), "settle_seconds"),
        (lambda: plan(backoff=3), "backoff"),
        (lambda: plan(budget=3), "budget"),
        (lambda: Backoff(first_seconds=-1), "first_seconds"),
        (lambda: Backoff(factor=0.5), "factor"),
        (lambda: Backoff(longest_seconds=float("inf")), "longest_seconds"),
        (lambda: Budget(attempts=0), "attempts"),
        (lambda: Budget(window_attempts=1.5), "window_attempts"),
        (lambda: Budget(window_seconds=0), "window_seconds"),
        (lambda: Call("", print), "name"),
        (lambda: Call("act", 3), "function"),
        (lambda: Call("act", lambda one, two: None), "function"),
        (lambda: ClearCache(3), "cache"),
        (lambda: Reconnect("db"), "connect"),
        (lambda: Reconnect(print, close=3), "close"),
        (lambda: RestartAgent(stop=1, start=print), "stop"),
        (lambda: RestartAgent(stop=print, start=1), "start"),
        (lambda: RestartTask(3), "factory"),
        (lambda: RestartTask(print, stop_seconds=0), "stop_seconds"),
        (lambda: RestartThread(None), "target"),
        (lambda: RestartSubprocess("sleep 3"), "command"),
        (lambda: RestartSubprocess([]), "command"),
        (lambda: ShedLoad(3), "set_shedding"),
        (lambda: ShedLoad(seconds=0), "seconds"),
        (lambda: ShedLoad(clock=3), "clock"),
        (lambda: Recoveries(plan()), "recoveries"),
        (lambda: Recoveries([ACT]), "recoveries"),
        (lambda: Recoveries([plan()], clock=3), "clock"),
        (lambda: Recoveries([plan()], wall_clock=3), "wall_clock"),
        (lambda: Recoveries([plan()], sleep=3), "sleep"),
        (lambda: Recoveries([plan()], escalate=3), "escalate"),
        (lambda: Recoveries([plan()], breaker=3), "breaker"),
        (lambda: Recoveries([plan()], dry_run="yes"), "dry_run"),
        (lambda: Recoveries([plan()], explores=1), "explores"),
        (lambda: Recoveries([plan()], random=3), "random"),
        (lambda: Recoveries([plan()], most_waiting=0), "most_waiting"),
        (lambda: Recoveries([plan()], audit=3), "audit"),
        (lambda: Recoveries([plan()], audit="/nowhere/audit.jsonl"), "audit"),
        (lambda: Recoveries([plan()], outcomes=3), "outcomes"),
        (lambda: Recoveries([plan()], outcomes="/nowhere/outcomes.json"), "outcomes"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(make, setting):
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert setting in str(refused.value)
    assert any(word in str(refused.value) for word in ("give", "must", "make it", "write")), refused.value


def test_the_wait_doubles_up_to_its_longest_and_is_a_random_share_of_that():
    backoff = Backoff(first_seconds=1, factor=2, longest_seconds=5)
    assert [backoff.longest(step) for step in range(6)] == [0, 1, 2, 4, 5, 5]
    assert backoff.longest(10**6) == 5
    drawn = [backoff.wait_seconds(3, Random(seed)) for seed in range(200)]
    assert all(0 <= each <= 4 for each in drawn)
    assert min(drawn) < 0.4
    assert max(drawn) > 3.6


def test_two_recoveries_of_the_same_shape_are_equal_and_neither_can_be_changed():
    assert plan() == plan()
    with pytest.raises(AttributeError):
        plan().component = "other"
