"""What an action or callback calls of the very recovery that calls it, and loops that end under an action."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import pytest
from recovery_world import PATIENCE_SECONDS, Free, Gate, wait_until

from agentgauge import ConfigurationError
from agentgauge.recovery import Backoff, Budget, Call, Failure, Recoveries, Recovery

FOREVER = 1e6  # for a stop that would wait for what calls it
FAILURE = Failure(component="db", started_at=time.time())


def make(action, component="db", **settings):
    plan = {"component": component, "actions": [Call("act", action)], "check": lambda: True, "backoff": Backoff(first_seconds=0)}
    return Recovery(**(plan | settings))


def test_an_action_that_stops_recovery_is_not_waited_for_by_the_stop():
    stopped = []
    recoveries = Recoveries([make(lambda: stopped.append(recoveries.stop(FOREVER)))], breaker=Free)
    assert recoveries.recover(FAILURE).kind == "recovered"
    assert stopped == [False]
    assert recoveries.stop(PATIENCE_SECONDS)
    assert recoveries.report(FAILURE) == "closed"


def test_a_callback_may_stop_recovery_when_that_gave_up():
    stopped = []
    plan = make(
        lambda: None,
        check=lambda: False,
        verify_seconds=0,
        budget=Budget(attempts=1),
        escalate=lambda _: stopped.append(recoveries.stop(FOREVER)),
    )
    recoveries = Recoveries([plan], breaker=Free)
    assert recoveries.recover(FAILURE).kind == "escalated"
    assert stopped == [False]
    assert recoveries.stop(PATIENCE_SECONDS)


async def test_a_coroutine_may_stop_recovery_from_within_too():
    stopped = []

    async def act():
        stopped.append(recoveries.stop(FOREVER))

    recoveries = Recoveries([make(act)], breaker=Free, loop=asyncio.get_running_loop())
    assert (await asyncio.to_thread(recoveries.recover, FAILURE)).kind == "recovered"
    assert stopped == [False]


def test_an_action_that_would_wait_for_itself_is_told_and_one_that_waits_for_another_component_may():
    raised = []

    def act():
        try:
            recoveries.recover(FAILURE)
        except ConfigurationError as error:
            raised.append(str(error))
        return recoveries.recover(Failure(component="pool", started_at=time.time()))

    with Recoveries([make(act), make(lambda: None, "pool")], breaker=Free) as recoveries:
        assert recoveries.recover(FAILURE).kind == "recovered"
        assert [result.failure.component for result in recoveries.results] == ["pool", "db"]
    assert len(raised) == 1
    assert "report()" in raised[0]


def test_what_runs_on_after_an_action_began_it_may_wait_for_the_stop():
    began, go, stopped = [], threading.Event(), []

    def act():
        async def later():
            await asyncio.to_thread(go.wait, PATIENCE_SECONDS)
            stopped.append(await asyncio.to_thread(recoveries.stop, FOREVER))

        thread = threading.Thread(target=contextvars.copy_context().run, args=(asyncio.run, later()))
        thread.start()
        began.append(thread)

    gate = Gate()
    recoveries = Recoveries([make(act), make(gate, "pool")], breaker=Free)
    assert recoveries.recover(FAILURE).kind == "recovered"
    recoveries.report(Failure(component="pool", started_at=time.time()))
    gate.wait_entered()
    wait_until(lambda: all(thread.name != "agentgauge-recovery-db" for thread in threading.enumerate()))
    go.set()
    wait_until(lambda: recoveries._is_closed)
    gate.leave.set()
    began[0].join(PATIENCE_SECONDS)
    assert stopped == [True]


def test_a_loop_that_is_closed_under_an_action_costs_that_attempt_and_leaves_no_thread_behind():
    loop, entered = asyncio.new_event_loop(), threading.Event()

    async def hang():
        entered.set()
        await asyncio.Event().wait()

    running = threading.Thread(target=loop.run_forever)
    running.start()
    plan = make(hang, action_timeout_seconds=PATIENCE_SECONDS, budget=Budget(attempts=1))
    with Recoveries([plan], breaker=Free, loop=loop) as recoveries:
        recoveries.report(FAILURE)
        assert entered.wait(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        running.join(PATIENCE_SECONDS)
        for task in asyncio.all_tasks(loop):  # so that asyncio says nothing of it
            task._log_destroy_pending = False
            task.get_coro().close()
        loop.close()
        (result,) = wait_until(lambda: recoveries.results)
    assert [(attempt.outcome, attempt.error_type) for attempt in result.attempts] == [("failed", "RuntimeError")]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_whatever_a_chooser_raises_costs_one_failure_its_recovery_and_leaves_nobody_waiting(error):
    class Broken:
        def __init__(self):
            self.calls = 0

        def choose(self, *_):
            self.calls += 1
            raise error

    with Recoveries([make(lambda: None)], breaker=Free, chooser=Broken()) as recoveries:
        assert [recoveries.recover(FAILURE).kind for _ in range(2)] == ["cancelled"] * 2


def test_what_is_acted_upon_at_once_does_not_count_as_waiting():
    gates = [Gate() for _ in range(5)]
    plans = [make(gate, f"c{number}") for number, gate in enumerate(gates)]
    with Recoveries(plans, breaker=Free, most_waiting=1) as recoveries:
        reported = [recoveries.report(Failure(component=f"c{number}", started_at=time.time())) for number in range(5)]
        assert reported == ["accepted"] * 5
        assert recoveries.report(Failure(component="c0", condition="b", started_at=0)) == "accepted"
        assert recoveries.report(Failure(component="c1", condition="b", started_at=0)) == "full"
        for gate in gates:
            gate.leave.set()
