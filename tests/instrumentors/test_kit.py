"""What an instrumentor begins is handed over or gone: a deadline of the host finds no moment at which it is lost."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack

import pytest
from opentelemetry import trace

from agentgauge.instrumentors.content import Content
from agentgauge.instrumentors.genai_spans import SpanListener
from agentgauge.instrumentors.kit import Kit
from agentgauge.recording.lm_call import LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.recorder import END
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.testing import reraise_internal_errors

MODEL = LmName("chat", "openai", "gpt")
KINDS = [SeriesKind.RUN, SeriesKind.TASK, SeriesKind.TOOL, SeriesKind.WORKFLOW, SeriesKind.LM]


class Deadline(BaseException):
    """What a signal handler of the host raises."""


@pytest.fixture
def kit(fresh):
    with ExitStack() as undo, reraise_internal_errors():
        yield Kit("tests", fresh.recorder, Content(), undo)


def raise_as_constructors_return(point):
    """Raise when a constructor of ours has returned for the so-manieth time: CPython may look for signals there."""
    seen = 0

    def interrupt(_signal, _frame):
        raise Deadline

    def profile(frame, event, _argument):
        nonlocal seen
        if event == "return" and frame.f_code.co_name == "__init__" and "agentgauge" in frame.f_code.co_filename:
            seen += 1
            if seen == point:
                sys.setprofile(None)
                interrupt(14, frame)

    sys.setprofile(profile)


def cut_at_each(begin):
    """Begin again and again, each time with a deadline one constructor later; return how many came."""
    first = begin()  # makes what the others find made
    if first is not None:
        first.end()
    for point in range(1, 50):
        raise_as_constructors_return(point)
        try:
            operation = begin()
        except Deadline:
            assert current_agent.get() == ""
            continue
        finally:
            sys.setprofile(None)
        if operation is not None:
            operation.end()
        return point - 1
    raise AssertionError("it never got through")


def still_open(fresh):
    fresh.value("up")
    return [record for record in (*fresh.recorder.open, *fresh.recorder.buffer) if record[END] is None]


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("is_beside", [False, True], ids=["around", "beside"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_between_a_beginning_and_its_caller_leaves_nothing_open(fresh, kit, spans, kind, is_beside):
    def begin():
        if kind is SeriesKind.LM:
            return kit.begin_lm(MODEL, {"is_beside": is_beside})
        return kit.begin(kind, "thing", {"is_beside": is_beside}, agent="scout")

    assert cut_at_each(begin) >= 2
    assert still_open(fresh) == []
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("name", ["chat gpt", "execute_tool look_up", "invoke_agent scout", "invoke_workflow news"])
def test_a_deadline_while_a_span_of_others_begins_or_ends_leaves_no_call_open(fresh, spans, name):
    listener = SpanListener(fresh.recorder, "genai-spans")
    listener.open()
    tracer = trace.get_tracer("theirs")
    operation, _, subject = name.partition(" ")
    attributes = {"gen_ai.operation.name": operation, "gen_ai.request.model": subject, "gen_ai.agent.name": subject}

    def call():
        tracer.start_span(name, attributes=attributes).end()

    try:
        assert cut_at_each(call) >= 2
        gc.collect()  # a span whose beginning was cut is nobody's
        tracer.start_span("the next").end()  # and is given up when another one begins
        assert still_open(fresh) == []
    finally:
        listener.close()


def test_options_may_come_in_a_dictionary_and_by_name(fresh, kit):
    outer = kit.begin(SeriesKind.RUN, "run", {"agent": "scout"}, is_beside=True)
    tool = kit.begin(SeriesKind.TOOL, "look_up", {"parent": outer})
    call = kit.begin_lm(MODEL, {"parent": tool}, attributes={})

    assert type(tool) is Operation
    assert type(call) is LmCall
    assert call.frame.outer is tool.frame
    assert tool.frame.outer is outer.frame
    for each in (call, tool, outer):
        each.end()
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="scout") == 1
