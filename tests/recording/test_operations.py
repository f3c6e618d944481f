"""Calls that an instrumentor reports: around what runs, beside it, and not at all where another layer counts them."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from agentgauge import agent, task, tool, track
from agentgauge.catalogue import Outcome
from agentgauge.errors import contained_errors
from agentgauge.recording import operation as operation_module
from agentgauge.recording.frame import Frame
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation, fingerprint_of
from agentgauge.recording.outcome import Failure
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.recording.tracing import span_frames

MODEL = LmName("chat", "openai", "gpt")
KINDS = [SeriesKind.WORKFLOW, SeriesKind.RUN, SeriesKind.TASK, SeriesKind.TOOL, SeriesKind.LM]


def begin(fresh, kind, name="thing", *, instrumentor="tests", **options):
    if kind is SeriesKind.LM:
        return LmCall(fresh.recorder, MODEL, instrumentor=instrumentor, **options)
    if kind is SeriesKind.RUN:
        options = {"agent": "scout", **options}
    return Operation(fresh.recorder, kind, name, instrumentor=instrumentor, **options)


def ended(fresh):
    fresh.value("up")
    return fresh.value("agentgauge_events_exported_total")


def suppressed(fresh, **labels):
    return fresh.value("agentgauge_calls_suppressed_total", **labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_beside", [False, True])
def test_a_call_is_timed_and_counted_once(fresh, kind, is_beside):
    call = begin(fresh, kind, is_beside=is_beside)
    fresh.clock.advance(3)
    call.end()
    call.end()  # a framework may tell twice

    durations = {
        SeriesKind.WORKFLOW: ("gen_ai_invoke_workflow_duration_seconds", {"gen_ai_workflow_name": "thing"}),
        SeriesKind.RUN: ("gen_ai_invoke_agent_duration_seconds", {"gen_ai_agent_name": "scout"}),
        SeriesKind.TASK: ("agent_task_duration_seconds", {"agent_task": "thing", "outcome": "success"}),
        SeriesKind.TOOL: ("gen_ai_execute_tool_duration_seconds", {"gen_ai_tool_name": "thing"}),
        SeriesKind.LM: (
            "gen_ai_client_operation_duration_seconds",
            {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "gpt"},
        ),
    }
    name, labels = durations[kind]
    assert fresh.value(f"{name}_sum", **labels) == 3
    assert fresh.value(f"{name}_count", **labels) == 1
    assert fresh.value("agentgauge_instrumentor_calls_total", instrumentor="tests") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_around_what_runs_is_where_it_runs_and_leaves_as_it_came(fresh, kind):
    outside = current_agent.get()
    call = begin(fresh, kind)
    assert current_agent.get() is call.frame
    assert call.frame.kind is kind
    call.end(ValueError())

    assert current_agent.get() == outside == ""


def test_a_call_beside_changes_no_context_and_is_the_parent_of_what_names_it(fresh, spans):
    whole = begin(fresh, SeriesKind.WORKFLOW, "answer", is_beside=True)
    run = begin(fresh, SeriesKind.RUN, "research", parent=whole)
    call = begin(fresh, SeriesKind.TOOL, "search", parent=run)
    assert current_agent.get() == ""
    assert trace.get_current_span() is trace.INVALID_SPAN
    for each in (call, run, whole):
        thread = threading.Thread(target=each.end)
        thread.start()
        thread.join()

    by_name = {span.name: span for span in spans.get_finished_spans()}
    assert by_name["execute_tool search"].parent.span_id == by_name["invoke_agent scout"].context.span_id
    assert by_name["invoke_agent scout"].parent.span_id == by_name["invoke_workflow answer"].context.span_id
    assert by_name["invoke_workflow answer"].parent is None
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_agent_name="scout", gen_ai_tool_name="search") == 1


def test_a_run_of_the_agent_that_is_running_is_a_task_of_it(fresh):
    outer = begin(fresh, SeriesKind.RUN, "research")
    begin(fresh, SeriesKind.RUN, "again").end()
    outer.end()

    assert fresh.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="scout") == 1
    assert fresh.value("agent_task_duration_seconds_count", gen_ai_agent_name="scout", agent_task="again", outcome="success") == 1


def test_times_may_be_given_by_the_recorders_clock(fresh):
    call = begin(fresh, SeriesKind.TOOL, is_beside=True, start=990.0)
    fresh.clock.advance(50)
    call.end(end=995.0)

    assert fresh.value("gen_ai_execute_tool_duration_seconds_sum", gen_ai_tool_name="thing") == 5


def test_a_failure_without_an_exception_is_told(fresh):
    begin(fresh, SeriesKind.TASK).end(failure=Failure(Outcome.ERROR, "RateLimited"))

    assert fresh.value("agent_task_errors_total", agent_task="thing", error_type="RateLimited") == 1


def test_spans_bear_attributes_and_none_of_those_that_are_none(fresh, spans):
    call = begin(fresh, SeriesKind.TOOL, "search", attributes={"gen_ai.tool.call.id": "7", "gen_ai.tool.description": None})
    call.set_attributes({"more": 1})
    assert call.is_recording
    call.end()

    [span] = spans.get_finished_spans()
    assert span.attributes["gen_ai.tool.call.id"] == "7"
    assert span.attributes["more"] == 1
    assert "gen_ai.tool.description" not in span.attributes


def test_a_call_that_reports_somebody_elses_span_has_none_of_its_own(fresh, spans):
    begin(fresh, SeriesKind.TOOL, is_beside=True, has_span=False).end()

    assert spans.get_finished_spans() == ()


def test_under_a_sampler_that_says_no_everything_is_counted(fresh, set_provider):
    exporter = set_provider(sampler=ALWAYS_OFF)
    for kind in KINDS:
        begin(fresh, kind).end()

    assert ended(fresh) == len(KINDS)
    assert exporter.get_finished_spans() == ()


# --- one owner --------------------------------------------------------------------------------------------------------------


def test_a_model_call_inside_a_model_call_is_a_part_of_it(fresh):
    outer = begin(fresh, SeriesKind.LM, instrumentor="dspy")
    inner = begin(fresh, SeriesKind.LM, instrumentor="openai")
    inner.note_answer(Answer(input_tokens=5))
    inner.note_first_chunk()
    inner.note_retry()
    inner.end()
    outer.note_answer(Answer(input_tokens=5))
    outer.end()

    assert fresh.value("agent_tokens_total", gen_ai_request_model="gpt", gen_ai_token_type="input") == 5
    assert suppressed(fresh, instrumentor="openai", owner="dspy", kind="lm") == 1
    assert ended(fresh) == 1


@pytest.mark.parametrize("kind", [SeriesKind.WORKFLOW, SeriesKind.RUN, SeriesKind.TASK, SeriesKind.TOOL])
def test_the_same_call_seen_by_another_layer_is_counted_by_the_outer_one(fresh, kind):
    outer = begin(fresh, kind, instrumentor="langchain")
    inner = begin(fresh, kind, instrumentor="genai-spans")
    deepest = begin(fresh, SeriesKind.TOOL, "inside", instrumentor="genai-spans", parent=inner)
    assert deepest.frame.outer is outer.frame  # what is suppressed stands for what suppressed it
    deepest.end()
    inner.end()
    outer.end()

    assert suppressed(fresh, instrumentor="genai-spans", owner="langchain", kind=kind.value) == 1
    assert ended(fresh) == 2


def test_a_call_that_a_decorator_counts_is_not_counted_again(fresh):
    @agent("scout")
    @task
    def research():
        begin(fresh, SeriesKind.RUN, "research").end()
        search()

    @tool
    def search():
        begin(fresh, SeriesKind.TOOL, "search").end()

    research()

    assert suppressed(fresh, instrumentor="tests", owner="decorator", kind="agent") == 1
    assert suppressed(fresh, instrumentor="tests", owner="decorator", kind="tool") == 1
    assert ended(fresh) == 2


def test_recursion_within_one_framework_is_counted(fresh):
    outer = begin(fresh, SeriesKind.TASK, "step")
    begin(fresh, SeriesKind.TASK, "step").end()
    outer.end()

    assert ended(fresh) == 2


def test_other_calls_inside_one_another_are_counted(fresh):
    outer = begin(fresh, SeriesKind.TOOL, "search", instrumentor="langchain")
    begin(fresh, SeriesKind.TOOL, "fetch", instrumentor="mcp").end()
    begin(fresh, SeriesKind.TASK, "search", instrumentor="mcp").end()
    outer.end()

    assert ended(fresh) == 3


def test_what_is_no_model_call_is_counted_inside_a_model_call_too(fresh):
    outer = begin(fresh, SeriesKind.LM)
    begin(fresh, SeriesKind.TOOL, "search", instrumentor="genai-spans").end()  # as some frameworks nest their spans
    outer.end()

    assert ended(fresh) == 2


def test_a_span_of_somebody_elses_that_is_deeper_than_the_context_is_where_a_call_begins(fresh, spans):
    run = begin(fresh, SeriesKind.RUN, "research")
    with trace.get_tracer("other").start_as_current_span("chat gpt") as span:
        foreign = Frame.enter(run.frame, SeriesKind.LM, "chat", "scout", "genai-spans")
        span_frames[span.get_span_context().span_id] = foreign
        try:
            begin(fresh, SeriesKind.LM, instrumentor="openai").end()
            inner = begin(fresh, SeriesKind.RUN, "inner", agent="writer", instrumentor="genai-spans")
            inner.end()
        finally:
            span_frames.clear()
    run.end()

    assert suppressed(fresh, instrumentor="openai", owner="genai-spans", kind="lm") == 1


def test_a_context_that_is_deeper_than_the_span_is_where_a_call_begins(fresh, spans):
    with trace.get_tracer("other").start_as_current_span("invoke_agent scout") as span:
        foreign = Frame.enter("", SeriesKind.RUN, "scout", "scout", "genai-spans")
        span_frames[span.get_span_context().span_id] = foreign
        try:
            tool_call = begin(fresh, SeriesKind.TOOL, "search")
            assert tool_call.frame.run is foreign
            deeper = begin(fresh, SeriesKind.TASK, "inside")
            assert deeper.frame.outer is tool_call.frame
            deeper.end()
            tool_call.end()
        finally:
            span_frames.clear()


# --- harmless ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_beside", [False, True])
@pytest.mark.parametrize("place", ["_target_and_frame", "_owner"])
def test_a_fault_of_ours_costs_the_call_and_nothing_else(fresh, monkeypatch, is_beside, place):
    def fail(*_args):
        raise RuntimeError("ours")

    monkeypatch.setattr(operation_module, place, fail)
    with track("scout", "explore"):
        call = begin(fresh, SeriesKind.TOOL, is_beside=is_beside)
        call.set_attributes({"a": 1})
        call.end(ValueError())

    assert current_agent.get() == ""
    assert contained_errors.count_by_hook == {"start": 1}
    assert ended(fresh) == 1


def test_names_that_cannot_be_labels_are_made_fit(fresh):
    begin(fresh, SeriesKind.TOOL, "s" * 1_000).end()
    begin(fresh, SeriesKind.TOOL, "\ud800").end()
    LmCall(fresh.recorder, LmName("chat", "", "m" * 1_000), instrumentor="tests").end()

    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="s" * 200) == 1
    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_tool_name="?") == 1
    assert (
        fresh.value(
            "gen_ai_client_operation_duration_seconds_count", gen_ai_operation_name="chat", gen_ai_request_model="m" * 200
        )
        == 1
    )


def test_past_the_limit_calls_go_to_other(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 1)
    for name in ("a", "b"):
        begin(fresh, SeriesKind.TOOL, name).end()
        LmCall(fresh.recorder, LmName("chat", "p", name), instrumentor="tests").end()

    assert fresh.value("gen_ai_execute_tool_duration_seconds_count", gen_ai_agent_name="other", gen_ai_tool_name="other") == 1
    assert (
        fresh.value(
            "gen_ai_client_operation_duration_seconds_count",
            gen_ai_operation_name="other",
            gen_ai_provider_name="other",
            gen_ai_request_model="other",
        )
        == 1
    )
    assert fresh.value("agentgauge_series_overflowed_total", kind="lm") >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_coroutine_ends_its_call_as_cancelled(fresh, kind):
    async def host():
        call = begin(fresh, kind)
        try:
            await asyncio.sleep(60)
        except BaseException as error:
            call.end(error)
            raise

    async def main():
        running = asyncio.create_task(host())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())

    assert ended(fresh) == 1


def test_equal_plain_arguments_share_a_fingerprint_and_nothing_else_has_one():
    assert fingerprint_of({"a": 1, "b": [2]}) == fingerprint_of({"b": [2], "a": 1})
    assert fingerprint_of({"a": "x" * 3}) == fingerprint_of({"a": "xxx"})
    assert fingerprint_of({"a": 1}) != fingerprint_of({"a": 2})
    assert fingerprint_of({"a": object()}) is None
    assert fingerprint_of(None) is None
    assert fingerprint_of({1: "a", "b": 2}) is None  # keys that cannot be sorted


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_a_forked_child_begins_anew_inside_what_its_parent_was_doing(fresh):
    call = begin(fresh, SeriesKind.RUN, "research")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            begin(fresh, SeriesKind.TOOL, "search").end()
            call.end()
            status = 0 if ended(fresh) >= 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    call.end()
    assert ended(fresh) == 1
