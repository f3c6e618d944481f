"""Programs that run for long, fork or are interrupted: frames keep nothing alive, own nothing after their end, and count once."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import tracemalloc

import pytest

from agentgauge import agent, task, tool, track
from agentgauge.catalogue import CALLS_SUPPRESSED
from agentgauge.instrumentors.wrapping import around
from agentgauge.recording.frame import Frame
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation, fingerprint_of
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.recording.spendings import cost_as_told

MODEL = LmName("chat", "openai", "gpt")


def begin(fresh, kind, name="thing", **options):
    return Operation(fresh.recorder, kind, name, instrumentor="tests", **options)


def ask(fresh, **answer):
    call = LmCall(fresh.recorder, MODEL, instrumentor="tests")
    call.note_answer(Answer(**answer))
    call.end()


async def test_tasks_that_each_begin_the_next_keep_no_chain_of_frames(fresh):
    depths = []

    async def step(left):
        run = begin(fresh, SeriesKind.RUN, "step", agent=f"agent {left % 2}")
        depths.append(sum(1 for _ in run.frame.around()))
        following = asyncio.create_task(step(left - 1)) if left else None
        await asyncio.sleep(0)
        run.end()
        if following is not None:
            tasks.append(following)

    tasks = [asyncio.create_task(step(300))]
    while tasks:
        await tasks.pop()

    assert max(depths) <= 4


async def test_a_model_call_that_has_ended_owns_nothing_any_more(fresh):
    def lazy():
        call = LmCall(fresh.recorder, MODEL, instrumentor="tests")
        worker = asyncio.create_task(later())  # begins inside of the call, and goes on after it
        call.end()
        return worker

    async def later():
        ask(fresh, input_tokens=3)

    await lazy()

    assert fresh.value("agent_tokens_total", gen_ai_request_model="gpt", gen_ai_token_type="input") == 3


def test_runs_leave_no_garbage(fresh):
    def work():
        run = begin(fresh, SeriesKind.RUN, "work", agent="scout")
        ask(fresh, input_tokens=1)
        run.end()

    def frames():
        return sum(type(thing) is Frame for thing in gc.get_objects())

    work()
    gc.collect()
    gc.disable()
    try:
        before = frames()
        for _ in range(50):
            work()
        assert frames() <= before
    finally:
        gc.enable()


def test_work_that_never_overlaps_is_counted_exactly_and_kept_short(fresh):
    whole = begin(fresh, SeriesKind.WORKFLOW, "answer")
    began = time.process_time()
    for _ in range(20_000):
        fresh.clock.advance(1)
        call = begin(fresh, SeriesKind.TOOL)
        fresh.clock.advance(1)
        call.end()
    spent = time.process_time() - began
    assert len(whole.frame.work.intervals) <= 1_001
    whole.end()

    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="answer") == 20_000
    assert spent < 20  # a second here; where each call sorts all before it, minutes


def test_arguments_that_hold_themselves_or_grow_by_doubling_cost_little():
    doubling = []
    for _ in range(40):
        doubling = [doubling, doubling]
    endless = {}
    endless["again"] = endless
    tracemalloc.start()
    try:
        assert fingerprint_of(doubling) is None
        assert fingerprint_of(endless) is None
        assert fingerprint_of({"text": "x" * 10_000_000}) is None
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_order_in_dictionaries_makes_no_other_arguments():
    assert fingerprint_of({"a": {"x": 1, "y": 2}}) == fingerprint_of({"a": {"y": 2, "x": 1}})
    assert fingerprint_of({"a": 1}) != fingerprint_of({"a": True})
    assert fingerprint_of([1, [2]]) != fingerprint_of([[1], 2])


def test_owners_that_others_name_are_limited(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 10)
    for number in range(100):
        labels = (("instrumentor", "genai-spans"), ("owner", f"library {number}"), ("kind", "lm"))
        fresh.recorder.observe(CALLS_SUPPRESSED, labels, 1)
    fresh.value("up")

    assert len(fresh.recorder.cells.values[CALLS_SUPPRESSED]) <= 11


def test_calls_that_wait_for_their_price_are_joined_where_nobody_drains(fresh):
    fresh.recorder.spendings.price = lambda spending: spending.answer.input_tokens / 1_000
    try:
        for _ in range(30_000):
            ask(fresh, input_tokens=1)
        assert len(fresh.recorder.spendings) <= 10_001
        assert fresh.value("agent_cost_usd_total", gen_ai_request_model="gpt") == pytest.approx(30)
    finally:
        fresh.recorder.spendings.price = cost_as_told


def test_what_goes_on_in_a_forked_child_is_counted_by_the_parent_alone(fresh):
    reading, writing = os.pipe()
    outer = begin(fresh, SeriesKind.RUN, "edit", agent="editor")
    inner = begin(fresh, SeriesKind.RUN, "write", agent="writer")
    call = LmCall(fresh.recorder, MODEL, instrumentor="tests")
    call.note_answer(Answer(input_tokens=5))
    pid = os.fork()
    for each in (call, inner, outer):
        each.end()
    counts = (
        fresh.value("agent_handoffs_total", source="editor", target="writer", outcome="success"),
        fresh.value("agent_tokens_total", gen_ai_agent_name="writer", gen_ai_request_model="gpt", gen_ai_token_type="input"),
    )
    if pid == 0:
        os.write(writing, repr(counts).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert counts == (1, 5)
    assert os.read(reading, 1_000) == b"(None, None)"
    os.close(reading)
    os.close(writing)


class _Deadline(BaseException):
    """What a signal handler of the host raises."""


def _raise_in_our_code_at(point):
    """Raise where CPython looks for signals the so-manieth time in our own code: as a function begins, or one in C has ended."""
    seen = 0

    def interrupt(_signal, _frame):
        raise _Deadline

    def profile(frame, event, _argument):
        nonlocal seen
        filename = frame.f_code.co_filename
        if event in ("call", "c_return") and "agentgauge" in filename and "tests" not in filename:
            seen += 1
            if seen == point:
                sys.setprofile(None)
                interrupt(14, frame)

    sys.setprofile(profile)
    return lambda: sys.setprofile(None)


@pytest.mark.parametrize("kind", [SeriesKind.RUN, SeriesKind.TOOL, SeriesKind.LM, SeriesKind.WORKFLOW])
@pytest.mark.usefixtures("no_collections")
def test_a_deadline_in_the_middle_of_a_wrapper_leaves_nothing_open(fresh, kind):
    def start(_args, _kwargs):
        if kind is SeriesKind.LM:
            return LmCall(fresh.recorder, MODEL, instrumentor="tests")
        return begin(fresh, kind, agent="scout")

    wrapped = around(lambda: 1, start, lambda operation, _: operation.set_attributes({"a": 1}), hook="tests")
    wrapped()
    leaks = []
    for point in range(1, 400):
        stop = _raise_in_our_code_at(point)
        try:
            wrapped()
            is_through = True
        except _Deadline:
            is_through = False
        finally:
            stop()
        if current_agent.get() != "":
            leaks.append(point)
            current_agent.set("")
        if is_through:
            break
    fresh.value("up")

    assert is_through
    assert leaks == []
    open_ones = [record for record in (*fresh.recorder.open, *fresh.recorder.buffer) if record[2] is None]
    assert open_ones == []


def test_a_decorated_tool_that_begins_itself_again_and_again_keeps_no_chain(fresh):
    depths = []

    @tool
    async def poll(left):
        depths.append(sum(1 for _ in current_agent.get().around()))
        if left:
            following.append(asyncio.create_task(poll(left - 1)))

    following = []

    async def main():
        with track("scout", "watch"):
            await poll(200)
        while following:
            await following.pop()

    asyncio.run(main())
    assert max(depths) <= 4


@agent("scout")
@task
def explore():
    return current_agent.get()


def test_an_agents_name_outlives_its_run_as_a_name_alone(fresh):
    name = explore()

    assert name == "scout"
    assert name.is_closed
    assert name.run is None


def test_a_step_that_outlives_the_run_of_a_sub_agent_spends_for_the_agent_around(fresh):
    lead = begin(fresh, SeriesKind.RUN, agent="lead")
    tool_of_lead = begin(fresh, SeriesKind.TOOL, "ask")
    sub = begin(fresh, SeriesKind.RUN, agent="sub")
    step = begin(fresh, SeriesKind.TASK, "late", is_beside=True)
    sub.end()

    call = LmCall(fresh.recorder, MODEL, instrumentor="tests", parent=step, is_beside=True)
    call.note_answer(Answer(input_tokens=5))
    call.end()
    for each in (step, tool_of_lead, lead):
        each.end()

    assert fresh.value("agent_subtree_tokens_total", gen_ai_agent_name="lead", gen_ai_token_type="input") == 5


def test_a_model_is_asked_anew_by_a_step_that_outlives_the_call_that_began_it(fresh):
    run = begin(fresh, SeriesKind.RUN, agent="lead")
    first = LmCall(fresh.recorder, MODEL, instrumentor="tests")
    step = begin(fresh, SeriesKind.TASK, "late", is_beside=True)
    first.end()
    inner = begin(fresh, SeriesKind.TASK, "inner", parent=step, is_beside=True)

    second = LmCall(fresh.recorder, MODEL, instrumentor="tests", parent=inner, is_beside=True)

    assert not second.is_suppressed
    for each in (second, inner, step, run):
        each.end()
