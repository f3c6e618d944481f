"""What holds whatever fails, whatever actions do, and however much comes at once."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from recovery_world import PATIENCE_SECONDS, Free

from agentgauge.recovery import Backoff, Budget, Call, Failure, Recoveries, Recovery, read_audit
from agentgauge.testing import FakeClock

COMPONENTS = ("db", "web")
ENDINGS = ("helps", "does not", "raises", "slow")


@st.composite
def histories(draw):
    """Draw a budget, and failures with what each act against them would do."""
    budget = Budget(
        attempts=draw(st.integers(1, 4)), window_attempts=draw(st.integers(1, 6)), window_seconds=draw(st.sampled_from([5, 50]))
    )
    failures = draw(
        st.lists(
            st.tuples(
                st.sampled_from(COMPONENTS), st.sampled_from("abc"), st.integers(0, 40), st.lists(st.sampled_from(ENDINGS))
            ),
            max_size=8,
        )
    )
    return budget, failures


@settings(max_examples=60, deadline=None)
@given(histories())
def test_attempts_never_exceed_the_budget_of_a_failure_or_of_a_window(history):
    budget, failures = history
    clock = FakeClock()
    acted = []
    coming = []
    is_well = False

    def act():
        nonlocal is_well
        acted.append(clock())
        ending = coming.pop(0) if coming else "does not"
        is_well = ending == "helps"
        clock.advance(3 if ending == "slow" else 0.5)
        if ending == "raises":
            raise OSError

    recovery = Recovery(
        component="db",
        actions=[Call("one", act), Call("two", act)],
        check=lambda: is_well,
        verify_seconds=0,
        action_timeout_seconds=2,
        budget=budget,
        backoff=Backoff(first_seconds=1, longest_seconds=4),
        settle_seconds=10,
    )
    with Recoveries([recovery], clock=clock, wall_clock=clock, sleep=clock.advance, breaker=Free, random=Random(3)) as recoveries:
        for _, condition, pause, endings in failures:
            clock.advance(pause)
            coming[:] = endings
            is_well = False
            before = len(acted)
            result = recoveries.recover(Failure(component="db", condition=condition, started_at=clock()))
            assert len(acted) - before == len(result.attempts) <= budget.attempts
            assert result.kind in {"recovered", "escalated"}
            assert (result.kind == "recovered") == (bool(result.attempts) and result.attempts[-1].outcome == "recovered")
            assert result.kind == "recovered" or result.reason == "budget"
            if result.kind == "escalated" and len(result.attempts) < budget.attempts:
                assert sum(clock() - at < budget.window_seconds for at in acted) >= budget.window_attempts
    for index, at in enumerate(acted):
        window = [other for other in acted[: index + 1] if at - other < budget.window_seconds]
        assert len(window) <= budget.window_attempts


@settings(max_examples=40, deadline=None)
@given(
    reports=st.lists(st.tuples(st.sampled_from(COMPONENTS), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=30),
    endings=st.lists(st.sampled_from(ENDINGS[:3]), max_size=30),
)
def test_components_are_acted_upon_one_at_a_time_and_every_intent_has_its_outcome(reports, endings):
    lock = threading.Lock()
    acting = Counter()
    overlaps = []
    coming = list(endings)

    def act(failure):
        with lock:
            acting[failure.component] += 1
            overlaps.append(acting[failure.component])
            ending = coming.pop() if coming else "helps"
        time.sleep(0)
        with lock:
            acting[failure.component] -= 1
        if ending == "raises":
            raise OSError

    plans = [
        Recovery(
            component=component,
            actions=[Call("one", act), Call("two", act)],
            check=lambda: bool(len(coming) % 2) or not coming,
            verify_seconds=0,
            budget=Budget(attempts=3, window_attempts=1000),
            backoff=Backoff(first_seconds=0),
            settle_seconds=0,
        )
        for component in COMPONENTS
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        with Recoveries(plans, audit=path, breaker=Free) as recoveries:

            def report(part):
                for number, (component, condition, has_ended) in part:
                    key = (number,)
                    recoveries.report(Failure(component=component, condition=condition, started_at=time.time(), key=key))
                    if has_ended:
                        recoveries.end(key)

            numbered = list(enumerate(reports))
            threads = [threading.Thread(target=report, args=(numbered[start::3],)) for start in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert recoveries.close(PATIENCE_SECONDS)
            results = recoveries.results
        trail = read_audit(path) if path.exists() else None
    assert all(each == 1 for each in overlaps)
    assert len(results) <= len(reports)
    intents = Counter(entry.attempt for entry in trail.entries if entry.event == "intent")
    outcomes = Counter(entry.attempt for entry in trail.entries if entry.event == "outcome")
    assert intents == outcomes
    assert len(intents) == len(overlaps) == sum(len(result.attempts) for result in results)
    assert (trail.unfinished, trail.unreadable) == ((), 0)
