"""What an agent's run and a workflow book about the calls inside them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from agentgauge import agent, task, tool, track, workflow
from agentgauge.catalogue import INFERENCE_CALLS
from agentgauge.recording.frame import Frame
from agentgauge.recording.lm_call import Answer, LmCall
from agentgauge.recording.operation import Operation
from agentgauge.recording.series import LmName, SeriesKind
from agentgauge.recording.site import current_agent
from agentgauge.testing import reraise_internal_errors

pytestmark = pytest.mark.usefixtures("loud_faults")

MODEL = LmName("chat", "openai", "gpt")


@pytest.fixture
def loud_faults():
    with reraise_internal_errors():
        yield


def begin(fresh, kind, name, **options):
    return Operation(fresh.recorder, kind, name, instrumentor="tests", **options)


def ask(fresh, seconds=0.0, **answer):
    call = LmCall(fresh.recorder, MODEL, instrumentor="tests")
    fresh.clock.advance(seconds)
    call.note_answer(Answer(**answer))
    call.end()


def run_of(fresh, agent_name, body, error=None):
    run = begin(fresh, SeriesKind.RUN, "work", agent=agent_name)
    body()
    run.end(error)


def test_a_frame_is_the_agents_name_and_knows_the_run_and_the_workflow_around_it():
    outside = Frame.enter("", SeriesKind.WORKFLOW, "answer", "")
    inside = Frame.enter(outside, SeriesKind.RUN, "researcher", "researcher")
    deepest = Frame.enter(inside, SeriesKind.TOOL, "search", "researcher")

    assert deepest == "researcher"
    assert {deepest: 1}["researcher"] == 1
    assert deepest.run is inside
    assert deepest.workflow is outside
    assert list(deepest.around()) == [deepest, inside, outside]
    assert outside.run is None
    assert inside.outer_run is None


def test_a_decorated_agent_delegates_to_another(fresh):
    @agent("writer")
    @task
    def write():
        fresh.clock.advance(1)

    @agent("editor")
    @task
    def edit():
        write()
        write()

    edit()

    assert fresh.value("agent_handoffs_total", source="editor", target="writer", outcome="success") == 2
    assert fresh.value("agent_delegation_depth_sum", gen_ai_agent_name="writer") == 2
    assert fresh.value("agent_delegation_depth_count", gen_ai_agent_name="editor") is None


def test_a_handoff_that_fails_or_is_cancelled_says_so(fresh):
    for error in (ValueError(), asyncio.CancelledError(), TimeoutError()):
        run_of(fresh, "editor", lambda error=error: run_of(fresh, "writer", lambda: None, error))

    for outcome in ("error", "cancelled", "timeout"):
        assert fresh.value("agent_handoffs_total", source="editor", target="writer", outcome=outcome) == 1


@pytest.mark.parametrize("is_tracked", [False, True])
def test_tool_calls_and_lm_calls_are_counted_by_run(fresh, is_tracked):
    @tool
    def search():
        ask(fresh, input_tokens=3)

    @agent("researcher")
    @task
    def decorated(times):
        for _ in range(times):
            search()

    def research(times):
        if not is_tracked:
            decorated(times)
            return
        with track("researcher", "research"):
            for _ in range(times):
                search()

    research(2)
    research(0)  # an agent that makes such calls, but none this time

    for family in ("gen_ai_invoke_agent_tool_calls", "gen_ai_invoke_agent_inference_calls"):
        assert fresh.value(f"{family}_sum", gen_ai_agent_name="researcher") == 2
        assert fresh.value(f"{family}_count", gen_ai_agent_name="researcher") == 2


def test_an_agent_that_calls_neither_models_nor_tools_has_no_such_histograms(fresh):
    @agent("clerk")
    @task
    def file():
        pass

    file()

    for family in ("gen_ai_invoke_agent_tool_calls", "gen_ai_invoke_agent_inference_calls", "agent_run_steps"):
        assert fresh.value(f"{family}_count", gen_ai_agent_name="clerk") is None


def test_steps_are_the_tasks_of_a_framework_in_a_run_and_not_those_of_runs_inside(fresh):
    def step():
        begin(fresh, SeriesKind.TASK, "step").end()

    def outer():
        step()
        run_of(fresh, "inner", step)
        step()

    run_of(fresh, "outer", outer)

    assert fresh.value("agent_run_steps_sum", gen_ai_agent_name="outer") == 2
    assert fresh.value("agent_run_steps_sum", gen_ai_agent_name="inner") == 1


def test_identical_tool_calls_of_one_run_are_repeated_calls(fresh):
    def search(**arguments):
        begin(fresh, SeriesKind.TOOL, "search", arguments=arguments).end()

    def loop():
        search(query="a", depth=1)
        search(depth=1, query="a")
        search(query="b", depth=1)
        search(query="a", depth=1)
        search(query=object())  # nobody can tell whether it is the same
        search(query=object())

    run_of(fresh, "researcher", loop)
    run_of(fresh, "researcher", lambda: search(query="a", depth=1))  # a new run begins anew

    assert fresh.value("agent_repeated_tool_calls_total", gen_ai_agent_name="researcher", gen_ai_tool_name="search") == 2


def test_tokens_of_runs_that_fail_are_wasted_once(fresh):
    def writer():
        ask(fresh, 2, input_tokens=10, output_tokens=5)

    def editor():
        fresh.clock.advance(1)
        ask(fresh, input_tokens=100)
        run_of(fresh, "writer", writer)  # whose success comes to nothing
        run_of(fresh, "writer", writer, ValueError())

    run_of(fresh, "editor", editor, TimeoutError())

    assert fresh.value("agent_wasted_tokens_total", gen_ai_agent_name="writer", outcome="error") == 15
    assert fresh.value("agent_wasted_tokens_total", gen_ai_agent_name="editor", outcome="timeout") == 115
    assert fresh.value("agent_wasted_seconds_total", gen_ai_agent_name="writer", outcome="error") == 2
    assert fresh.value("agent_wasted_seconds_total", gen_ai_agent_name="editor", outcome="timeout") == 3
    assert (
        fresh.value("agent_tokens_total", gen_ai_agent_name="writer", gen_ai_request_model="gpt", gen_ai_token_type="input") == 20
    )


def test_nothing_is_wasted_where_everything_succeeds(fresh):
    run_of(fresh, "editor", lambda: ask(fresh, input_tokens=1))
    fresh.value("up")

    assert not [sample for family in fresh.registry.collect() if "wasted" in family.name for sample in family.samples]


def test_an_agents_own_tokens_and_those_of_its_subtree_are_told_apart(fresh):
    def writer():
        ask(fresh, input_tokens=10, output_tokens=1, cost_usd=0.5)

    def editor():
        ask(fresh, input_tokens=100, output_tokens=2, cost_usd=2.0)
        run_of(fresh, "writer", writer)

    run_of(fresh, "editor", editor)

    def tokens(family, name, kind, **labels):
        return fresh.value(family, gen_ai_agent_name=name, gen_ai_token_type=kind, **labels)

    assert tokens("agent_tokens_total", "editor", "input", gen_ai_request_model="gpt") == 100
    assert tokens("agent_subtree_tokens_total", "editor", "input") == 110
    assert tokens("agent_subtree_tokens_total", "editor", "output") == 3
    assert tokens("agent_subtree_tokens_total", "writer", "input") == 10
    assert fresh.value("agent_cost_usd_total", gen_ai_agent_name="editor", gen_ai_request_model="gpt") == 2.0
    assert fresh.value("agent_subtree_cost_usd_total", gen_ai_agent_name="editor") == 2.5
    assert fresh.value("agent_subtree_cost_usd_total", gen_ai_agent_name="writer") == 0.5


def test_an_agent_that_calls_itself_through_another_has_each_token_once_in_its_subtree(fresh):
    def editor():
        run_of(fresh, "writer", lambda: run_of(fresh, "editor", lambda: ask(fresh, input_tokens=7)))

    run_of(fresh, "editor", editor)

    assert fresh.value("agent_subtree_tokens_total", gen_ai_agent_name="editor", gen_ai_token_type="input") == 7
    assert fresh.value("agent_delegation_depth_sum", gen_ai_agent_name="editor") == 2


def test_the_time_of_a_workflow_in_which_nothing_innermost_was_at_work_is_coordination(fresh):
    @tool
    def search():
        fresh.clock.advance(2)

    @agent("researcher")
    @task
    def research():
        fresh.clock.advance(10)  # between its calls
        search()
        ask(fresh, 3)

    @agent("clerk")
    @task
    def file():
        fresh.clock.advance(20)  # nothing inside: its own work

    @workflow("answer")
    def answer():
        fresh.clock.advance(100)
        research()
        file()

    answer()

    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="answer") == 110


def test_work_at_the_same_time_is_no_negative_coordination(fresh):
    whole = begin(fresh, SeriesKind.WORKFLOW, "answer")
    calls = [begin(fresh, SeriesKind.TOOL, f"tool {number}", parent=whole) for number in range(3)]
    for call in calls:
        fresh.clock.advance(1)
        call.end()
    fresh.clock.advance(4)
    whole.end()

    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="answer") == 4


def test_a_workflow_of_nothing_that_is_seen_has_no_coordination(fresh):
    @workflow("answer")
    def answer():
        fresh.clock.advance(5)

    answer()

    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="answer") == 0


def test_the_work_of_a_workflow_inside_another_counts_for_both(fresh):
    @workflow("inner")
    def inner():
        ask(fresh, 2)

    @workflow("outer")
    def outer():
        fresh.clock.advance(1)
        inner()

    outer()

    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="inner") == 0
    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="outer") == 1


def test_thousands_of_calls_of_a_workflow_keep_its_books_small(fresh):
    whole = begin(fresh, SeriesKind.WORKFLOW, "answer")
    for number in range(5_000):
        ask(fresh, 1)
        if number % 2:
            fresh.clock.advance(1)
    assert len(whole.frame.work.intervals) <= 1_001
    whole.end()

    assert fresh.value("agent_workflow_coordination_seconds_total", gen_ai_workflow_name="answer") == 2_500


def test_threads_of_one_run_count_in_the_same_books(fresh):
    run = begin(fresh, SeriesKind.RUN, "work", agent="researcher")

    def work(_number):
        for _ in range(200):
            ask(fresh, input_tokens=1)

    contexts = [copy_context() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda context: context.run(work, 0), contexts))
    run.end(ValueError())

    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="researcher") == 1_600
    assert fresh.value("agent_wasted_tokens_total", gen_ai_agent_name="researcher", outcome="error") == 1_600


def test_a_generator_of_an_agent_keeps_its_books_across_its_items(fresh):
    @agent("narrator")
    @task
    def narrate():
        for _ in range(3):
            ask(fresh, input_tokens=1)
            yield current_agent.get()

    assert [str(name) for name in narrate()] == ["narrator"] * 3
    assert current_agent.get() == ""
    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="narrator") == 3


async def test_tasks_of_asyncio_count_in_the_run_that_started_them(fresh):
    @agent("researcher")
    @task
    async def research():
        async def one():
            ask(fresh, input_tokens=1)

        await asyncio.gather(one(), one(), one())

    await research()

    assert fresh.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="researcher") == 3


def test_what_is_counted_keeps_no_frame_alive(fresh):
    @task
    def step():
        with track("", "block"):
            search()

    @tool
    def search():
        pass

    @workflow
    def answer():
        step()

    run_of(fresh, "editor", step)
    run_of(fresh, "editor", answer)
    run_of(fresh, "editor", lambda: run_of(fresh, "writer", lambda: ask(fresh, input_tokens=1), ValueError()))
    fresh.value("up")

    tables = [*fresh.recorder.cells.values.values(), *fresh.recorder.cells.children.values()]
    assert not [value for table in tables for labels in table for _, value in labels if isinstance(value, Frame)]
    assert not [name for _, name in fresh.recorder.counted_by_run if isinstance(name, Frame)]
    assert not [agent for table in fresh.recorder.series.values() for agent, _ in table if isinstance(agent, Frame)]
    assert not [agent for agent, _, _ in fresh.recorder.admission._tracked if isinstance(agent, Frame)]
    for function in (step, search, answer):
        site = function.__agentgauge_site__
        assert not [key for key in (*site.targets, *(agent for agent, _ in site.entries)) if isinstance(key, Frame)]


def test_a_limit_on_names_holds_for_what_runs_book(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 3)
    for number in range(10):
        run_of(fresh, f"agent {number}", lambda: ask(fresh, input_tokens=1))
    fresh.value("up")

    assert len(fresh.recorder.cells.children[INFERENCE_CALLS]) <= 4
