"""A debugger that looks at the frames of a decorated call changes nothing in it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import pdb  # noqa: T100 - its steps are what is tested
import sys

import pytest

from agentgauge import agent, task

OWN_NAMES = ["record", "target", "result", "function", "clock", "token", "scope"]
"""What the wrapper calls its own: up to Python 3.12 locals that were looked at are written back to the frame by name."""


@pytest.fixture(autouse=True)
def _fresh(fresh):
    """Keep what these tests record apart."""


@contextlib.contextmanager
def locals_looked_at():
    """Look at the locals of every frame at every event, as a debugger does."""
    seen = []

    def look(frame, event, argument):
        seen.append(len(frame.f_locals))
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
    assert seen


def gives_back(kind, names):
    """Make a function of these parameters that returns all of them."""
    given = ", ".join(names)
    namespace = {}
    exec(f"{'async ' if kind == 'coroutine' else ''}def work({given}): return [{given}]", namespace)
    return namespace["work"]


def result_of(kind, call):
    return asyncio.run(call) if kind == "coroutine" else call


@pytest.mark.parametrize("decorate", [task, agent("scout")], ids=["task", "agent"])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_a_trace_function_that_reads_the_locals_leaves_the_arguments_alone(kind, decorate):
    work = decorate(gives_back(kind, OWN_NAMES))

    with locals_looked_at():
        results = [result_of(kind, work(*"ABCDEFG")) for _ in range(2)]  # the second call goes by what the first one found

    assert results == [list("ABCDEFG")] * 2


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("name", OWN_NAMES)
def test_a_trace_function_that_reads_the_locals_leaves_an_argument_of_any_name_alone(kind, name):
    work = task(gives_back(kind, [name]))

    with locals_looked_at():
        results = [result_of(kind, work("A")) for _ in range(2)]

    assert results == [["A"], ["A"]]


def test_a_debugger_that_steps_through_a_call_leaves_its_arguments_alone(fresh):
    @agent("scout")
    def work(record, target, result):
        return [record, target, result]

    screen = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("step\n" * 12 + "continue\n"), stdout=screen, nosigint=True, readrc=False)
    before = sys.gettrace()
    try:
        assert debugger.runcall(work, "A", "B", "C") == ["A", "B", "C"]
    finally:
        sys.settrace(before)

    assert "agentgauge wrapper of" in screen.getvalue()
    assert fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="scout", agent_task="work", outcome="success") == 1
