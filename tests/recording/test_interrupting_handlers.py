"""A signal handler of the host that raises while agentgauge is at work: a deadline by ``alarm()`` or ``setitimer()``."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEADLINES = """
import functools, signal, sys
from agentgauge import agent, task
from agentgauge.errors import contained_errors

fired = reached = 0

def interrupt():
    global fired
    fired += 1
    raise TimeoutError("the host's deadline")

def given_all(*arguments): interrupt()
def given_both(signum, frame): interrupt()
def given_more(more, signum, frame): interrupt()

class Deadline:
    def pass_by(self, signum, frame): interrupt()
    def __call__(self, signum, frame): interrupt()

handlers = {
    "function": given_both,
    "function of any arguments": given_all,
    "method": Deadline().pass_by,
    "instance": Deadline(),
    "partial": functools.partial(given_more, 1),
}

@agent("scout")
def scout(): work()

@task
def work(): pass

def call_until_interrupted():
    before = fired
    while fired == before:
        scout()

signal.signal(signal.SIGALRM, handlers[sys.argv[1]])
for number in range(2000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00004 + number % 50 * 0.000001)
        call_until_interrupted()
    except TimeoutError:
        reached += 1
assert (fired, reached) == (2000, 2000), f"{fired - reached} of {fired} deadlines lost"
assert not contained_errors.count_by_hook, contained_errors.count_by_hook
"""

REMAINS = """
import logging, signal, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from prometheus_client import REGISTRY
from agentgauge import agent, task
from agentgauge.recording.default import default_recorder
from agentgauge.recording.site import current_agent

logging.disable()  # the SDK, too, contains what it meets
if sys.argv[1] != "no SDK":
    sampler = {"sampled": ALWAYS_ON, "unsampled": ParentBased(TraceIdRatioBased(0))}[sys.argv[1]]
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SpanProcessor())  # somebody must hear of spans, or none are made
    trace.set_tracer_provider(provider)

class Exit(BaseException): pass
fired = 0

def interrupt(*_):
    global fired
    fired += 1
    raise (TimeoutError if fired % 2 else Exit)

@agent("scout")
def scout(): work()

@task
def work():
    if fired % 4 > 1:
        raise KeyError

@agent("diver")
async def diver(): await dive()

@task
async def dive():
    if fired % 4 > 1:
        raise KeyError

def call():
    try:
        scout()
    except KeyError:
        pass

def send():
    try:
        diver().send(None)
    except (StopIteration, KeyError):
        pass

def run_until_interrupted(run):
    before = fired
    while fired == before:
        run()

signal.signal(signal.SIGALRM, interrupt)
for number in range(3000):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00006 + number % 50 * 0.000002)
        run_until_interrupted(send if number % 3 else call)
    except (TimeoutError, Exit):
        pass
    assert current_agent.get() == "", f"{current_agent.get()} is left behind by interrupt {number}"
    assert trace.get_current_span() is trace.INVALID_SPAN, f"a span is left behind by interrupt {number}"
recorder = default_recorder()
recorder.drain()
assert not recorder.open, f"{len(recorder.open)} calls never end"
in_progress = [m for m in REGISTRY.collect() if m.name == "agent_tasks_in_progress"]
assert {sample.value for family in in_progress for sample in family.samples} == {0.0}
"""


def run(program, case):
    """Run a program to its end, which a lost interrupt must not keep it from."""
    ignored = "ignore::RuntimeWarning"  # a coroutine that was interrupted before it was begun is never awaited
    command = [sys.executable, "-W", ignored, "-c", program, case]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("handler", ["function", "function of any arguments", "method", "instance", "partial"])
def test_every_deadline_whose_handler_raises_an_exception_reaches_the_host(handler):
    run(DEADLINES, handler)


@pytest.mark.parametrize("tracing", ["no SDK", "sampled", "unsampled"])
def test_a_handler_that_raises_leaves_no_call_in_progress_no_agents_name_and_no_span_behind(tracing):
    run(REMAINS, tracing)
