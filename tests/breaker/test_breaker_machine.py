"""Twenty callers of one breaker, in any order of what can happen, beside a model that keeps every call."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter

from breaker_model import Model
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentgauge.breaker import CircuitBreaker, CircuitOpenError, CountWindow, TimeWindow
from agentgauge.testing import FakeClock

CALLERS = 20
ENDINGS = {
    "success": (None, "successful"),
    "failure": (ValueError("no"), "failed"),
    "time-out": (TimeoutError("no"), "failed"),
    "ignored": (KeyError("no"), "ignored"),
    "ignored by a function": (LookupError("never mind"), "ignored"),
    "not recorded": (ArithmeticError("no"), "successful"),
    "own refusal": (CircuitOpenError("machine", "open", 1.0), "ignored"),
    "cancelled": (asyncio.CancelledError(), "cancelled"),
    "abandoned": (GeneratorExit(), "cancelled"),
    "interrupted": (KeyboardInterrupt(), "cancelled"),
}
PLAIN_OR_ANY = st.one_of(st.sampled_from(("success", "failure")), st.sampled_from(sorted(ENDINGS)))
RATIOS = (0.25, 0.5, 0.75, 1.0)


class Block:
    """A ``with`` block of a task of its own, told to end as a permit is."""

    def __init__(self, breaker):
        self.breaker = breaker
        self.context = contextvars.Context()
        self.context.run(breaker.__enter__)

    def release(self, error):
        context, self.context = self.context, None
        if context is not None:
            context.run(self.breaker.__exit__, None if error is None else type(error), error, None)


class TwentyCallers(RuleBasedStateMachine):
    """The breaker must admit, refuse, count and change its state as the model does; every other caller uses blocks."""

    @initialize(
        failure_ratio=st.sampled_from(RATIOS),
        slow_ratio=st.sampled_from(RATIOS),
        slow_seconds=st.sampled_from((None, 2.0)),
        window=st.one_of(st.integers(1, 8).map(CountWindow), st.integers(1, 5).map(TimeWindow)),
        minimum=st.integers(1, 6),
        probes=st.integers(1, 4),
        probe_seconds=st.sampled_from((4.0, 1000.0)),
    )
    def begin(self, failure_ratio, slow_ratio, slow_seconds, window, minimum, probes, probe_seconds):
        is_counting = isinstance(window, CountWindow)
        minimum = min(minimum, window.calls) if is_counting else minimum
        self.clock = FakeClock(0.25)
        self.breaker = CircuitBreaker(
            "machine",
            failure_ratio=failure_ratio,
            slow_call_ratio=slow_ratio,
            slow_call_seconds=slow_seconds,
            window=window,
            minimum_calls=minimum,
            open_seconds=3,
            half_open_calls=probes,
            probe_seconds=probe_seconds,
            ignored=(KeyError, lambda error: "never mind" in error.args),
            recorded=(ValueError, OSError, LookupError),
            clock=self.clock,
        )
        self.model = Model(
            failure_ratio=failure_ratio,
            slow_ratio=slow_ratio,
            slow_seconds=slow_seconds,
            calls_in_window=window.calls if is_counting else None,
            seconds_in_window=None if is_counting else window.seconds,
            minimum=minimum,
            open_seconds=3,
            probes=probes,
            probe_seconds=probe_seconds,
        )
        self.told = []
        self.breaker.add_listener(lambda transition: self.told.append((str(transition.before), str(transition.after))))
        self.callers = {}  # the permit of each that is in a call, and the model's word for it
        self.counts, self.slow, self.refused = Counter(), Counter(), 0

    def acquire(self, caller):
        expected = self.model.acquire(self.clock.now)
        refusal = None
        try:
            self.callers[caller] = Block(self.breaker) if caller % 2 else self.breaker.acquire(), expected
        except CircuitOpenError as error:
            refusal = error
        assert (refusal is None) == (expected is not None)
        if refusal is None:
            return
        assert refusal.state == self.model.state
        if refusal.state == "open":
            assert refusal.retry_after_seconds == self.model.opened_at + 3 - self.clock.now
        elif refusal.state == "forced_open":
            assert refusal.retry_after_seconds is None
        else:
            assert 0 <= refusal.retry_after_seconds <= 3

    def release(self, caller, ending):
        error, kind = ENDINGS[ending]
        permit, expected = self.callers.pop(caller)
        self.model.release(expected, kind, self.clock.now)
        permit.release(error)
        permit.release(ValueError("a second time"))

    @rule(callers=st.sets(st.integers(1, CALLERS), min_size=1))
    def some_call(self, callers):
        for caller in sorted(callers - self.callers.keys()):
            self.acquire(caller)

    @precondition(lambda self: self.callers)
    @rule(data=st.data(), ending=PLAIN_OR_ANY)
    def one_ends(self, data, ending):
        self.release(data.draw(st.sampled_from(sorted(self.callers))), ending)

    @precondition(lambda self: len(self.callers) > 1)
    @rule(ending=PLAIN_OR_ANY)
    def all_end(self, ending):
        for caller in sorted(self.callers):
            self.release(caller, ending)

    @precondition(lambda self: self.callers)
    @rule(data=st.data(), ending=st.sampled_from(("success", "failure")))
    def one_is_slow(self, data, ending):
        self.clock.advance(2.25)
        self.release(data.draw(st.sampled_from(sorted(self.callers))), ending)

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def one_is_thrown_away(self, data):
        permit, expected = self.callers.pop(data.draw(st.sampled_from(sorted(self.callers))))
        self.model.drop(expected)
        del permit

    @rule(seconds=st.sampled_from((0.25, 1.0, 2.0, 3.0, 5.0)))
    def time_goes_by(self, seconds):
        self.clock.advance(seconds)

    @rule(endings=st.lists(PLAIN_OR_ANY, min_size=1, max_size=12))
    def calls_come_one_after_another(self, endings):
        free = [caller for caller in range(1, CALLERS + 1) if caller not in self.callers]
        for ending in endings if free else ():
            self.acquire(free[0])
            if free[0] in self.callers:
                self.release(free[0], ending)

    @rule(callers=st.sets(st.integers(1, CALLERS), max_size=5), stays=st.integers(1, 5))
    def it_is_opened_by_hand(self, callers, stays):
        self.model.force("forced_open", self.clock.now)
        self.breaker.open()
        self.some_call(callers)
        if stays < 5:  # where it stays open little else happens
            self.it_is_closed_by_hand()

    @rule()
    def it_is_closed_by_hand(self):
        self.model.force("closed", self.clock.now)
        self.breaker.close()

    @rule()
    def somebody_reads_the_state(self):
        assert self.breaker.state == self.model.look(self.clock.now)

    @rule()
    def somebody_reads_the_series(self):
        reading = self.breaker._circuit.take()
        assert reading.state == self.model.look(self.clock.now)
        self.counts.update(reading.counts.calls)
        self.slow.update(reading.counts.slow)
        self.refused += reading.counts.refused
        assert +self.counts == +self.model.counts
        assert +self.slow == +self.model.slow
        assert self.refused == self.model.refused
        if reading.state == "closed":
            window = self.model.window(self.clock.now)
            assert (reading.total, reading.failed) == (len(window), sum(failed for failed, _ in window))
            assert reading.is_judged == (len(window) >= self.model.minimum)
            if self.model.slow_seconds is not None:
                assert reading.slow == sum(slow for _, slow in window)
        if reading.state == "half_open":
            assert (reading.total, reading.failed) == (len(self.model.results), sum(failed for failed, _ in self.model.results))
        self.breaker._circuit._tell()  # a reader leaves that to the next caller

    @invariant()
    def its_listener_heard_of_every_change_in_order(self):
        assert self.told == self.model.transitions

    @invariant()
    def never_more_than_so_many_probes_are_under_way(self):
        model = self.model
        probes = [call for _, call in self.callers.values() if call.is_probe and call.epoch == model.epoch]
        fresh = [call for call in probes if self.clock.now - call.began < model.probe_seconds]
        assert len(fresh) + len(model.results) * (model.state == "half_open") <= model.probes

    def teardown(self):
        if hasattr(self, "model"):
            self.all_end("failure")
            self.somebody_reads_the_series()


TwentyCallers.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
test_twenty_callers_meet_what_the_model_says = TwentyCallers.TestCase
