"""What the tests of recovery share: virtual time, breakers that never refuse, failures."""

from __future__ import annotations

import threading
import time
from random import Random

from agentgauge.recovery import Backoff, Budget, Call, Failure, Recoveries, Recovery
from agentgauge.testing import FakeClock

PATIENCE_SECONDS = 60.0  # far longer than anything takes, on a busy machine too


class Free:
    """A breaker that never refuses, and notes what it is told."""

    def __init__(self, name=""):
        self.name = name
        self.released = []

    def acquire(self):
        return self

    def release(self, error=None):
        self.released.append(error)


class World:
    """A component whose actions take virtual time and help, or do not, as they are told."""

    def __init__(self, *actions, **settings):
        self.clock = FakeClock()
        self.is_well = False
        self.done = []
        self.checks = 0
        self.helpful = set()
        self.seconds = dict.fromkeys(actions, 1.0)
        self.slept = []
        plan = {
            "component": "db",
            "actions": [Call(name, self.act(name)) for name in actions],
            "check": self.check,
            "verify_seconds": 0,
            "settle_seconds": 0,
            "backoff": Backoff(first_seconds=1, longest_seconds=8),
            "budget": Budget(attempts=5, window_attempts=1000),
        }
        self.recovery = Recovery(**(plan | settings))

    def act(self, name):
        def run():
            self.clock.advance(self.seconds[name])
            self.done.append(name)
            if name in self.helpful:
                self.is_well = True

        return run

    def check(self):
        self.checks += 1
        return self.is_well

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def recoveries(self, *others, **settings):
        given = {
            "clock": self.clock,
            "wall_clock": self.clock,
            "sleep": self.sleep,
            "breaker": Free,
            "random": Random(1),
        }
        return Recoveries([self.recovery, *others], **(given | settings))

    def failure(self, condition="refused", error_type="ConnectionRefusedError", **facts):
        return Failure(component="db", condition=condition, error_type=error_type, started_at=self.clock(), **facts)

    def recover(self, recoveries, *helpful, **facts):
        self.is_well = False
        self.helpful = set(helpful)
        return recoveries.recover(self.failure(**facts))


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)
    return value


class Gate:
    """A function that is entered, and returns when it is let."""

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.leave = threading.Event()
        self.calls = 0

    def __call__(self):
        self.calls += 1
        self.entered.release()
        assert self.leave.wait(PATIENCE_SECONDS)

    def wait_entered(self):
        assert self.entered.acquire(timeout=PATIENCE_SECONDS)
