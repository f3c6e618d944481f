"""DSPy's modules: what is a workflow, an agent and a task, and what is inside what."""

from __future__ import annotations

import asyncio

import dspy
import pytest
from dspy_programs import (
    FINISH,
    Engine,
    Newsroom,
    Question,
    Seeker,
    Writer,
    counts,
    drawn,
    instrumented,
    lm_of,
    look_up,
    step,
)

import agentgauge

WORKFLOW, AGENT, TASK, TOOL, LM = "workflow", "agent", "task", "tool", "lm"


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


def test_a_program_of_three_modules_with_react_and_parallel_is_one_trace_with_every_span_under_its_right_parent(measured, spans):
    engine = Engine([step("look_up", query="x"), FINISH])
    with dspy.context(lm=lm_of(engine)):
        Newsroom(copies=2)(question="why")

    draft = [
        "    invoke_agent Writer",
        "      execute_task ChainOfThought",
        "        execute_task Predict",
        "          chat offline",
    ]
    assert drawn(spans) == [
        "invoke_workflow Newsroom",
        "  execute_task Parallel",
        *draft,
        *draft,
        "  execute_task Predict",
        "    chat offline",
        "  invoke_agent Seeker",
        "    execute_task ReAct",
        "      execute_task ChainOfThought",
        "        execute_task Predict",
        "          chat offline",
        "      execute_task Predict",
        "        chat offline",
        "      execute_task Predict",
        "        chat offline",
        "      execute_tool look_up",
    ]
    assert len({span.context.trace_id for span in spans.get_finished_spans()}) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_a_program_is_counted_as_often_as_it_ran_with_the_tokens_that_were_served(measured, threads):
    engine = Engine([step("look_up", query="x"), step("look_up", query="x"), FINISH])
    with dspy.context(lm=lm_of(engine)):
        Newsroom(threads, copies=3)(question="why")

    assert counts(measured) == {
        (WORKFLOW, "Newsroom"): 1,
        (AGENT, "Seeker"): 1,
        (AGENT, "Writer"): 3,
        (TASK, "Parallel", "success"): 1,
        (TASK, "Predict", "success"): 1,
        (TASK, "Seeker", "forward", "success"): 1,
        (TASK, "Seeker", "ReAct", "success"): 1,
        (TASK, "Seeker", "ChainOfThought", "success"): 1,
        (TASK, "Seeker", "Predict", "success"): 4,
        (TASK, "Writer", "forward", "success"): 3,
        (TASK, "Writer", "ChainOfThought", "success"): 3,
        (TASK, "Writer", "Predict", "success"): 3,
        (TOOL, "Seeker", "look_up"): 2,
        (LM, "chat", "openai", "offline", "offline-2026"): 8,
    }
    assert engine.served == 8
    tokens = {"gen_ai_request_model": "offline", "gen_ai_token_type": "input"}
    assert measured.value("agent_tokens_total", gen_ai_agent_name="Seeker", **tokens) == 40
    assert measured.value("agent_tokens_total", gen_ai_agent_name="Writer", **tokens) == 30
    assert measured.value("agent_tokens_total", **tokens) == 10
    assert measured.value("agent_repeated_tool_calls_total", gen_ai_agent_name="Seeker", gen_ai_tool_name="look_up") == 1
    assert measured.value("gen_ai_invoke_agent_inference_calls_sum", gen_ai_agent_name="Writer") == 3
    assert measured.value("agent_run_steps_sum", gen_ai_agent_name="Seeker") == 6
    assert measured.value("agentgauge_internal_errors_total") is None


async def test_asynchronous_programs_that_run_at_once_keep_their_spans_apart(measured, spans):
    engine = Engine()

    class Both(dspy.Module):
        def __init__(self):
            super().__init__()
            self.writers = [Writer(), Writer()]

        async def aforward(self, question):
            return await asyncio.gather(*(writer.acall(question=question) for writer in self.writers))

    with dspy.context(lm=lm_of(engine)):
        await Both().acall(question="why")

    draft = ["  invoke_agent Writer", "    execute_task ChainOfThought", "      execute_task Predict", "        chat offline"]
    assert drawn(spans) == ["invoke_workflow Both", *draft, *draft]
    assert engine.served == 2


async def test_asyncify_runs_a_program_in_a_thread_inside_the_call_around_it(measured, spans):
    class Outer(dspy.Module):
        def __init__(self):
            super().__init__()
            self.inner = Writer()

        async def aforward(self, question):
            return await dspy.asyncify(self.inner)(question=question)

    with dspy.context(lm=lm_of(Engine())):
        await Outer().acall(question="why")

    assert drawn(spans) == [
        "invoke_workflow Outer",
        "  invoke_agent Writer",
        "    execute_task ChainOfThought",
        "      execute_task Predict",
        "        chat offline",
    ]


@pytest.mark.parametrize("in_place", [True, False])
def test_syncify_keeps_the_name_of_the_program(measured, in_place):
    class Later(dspy.Module):
        def __init__(self):
            super().__init__()
            self.answer = dspy.Predict(Question)

        async def aforward(self, question):
            return await self.answer.acall(question=question)

    with dspy.context(lm=lm_of(Engine())):
        dspy.syncify(Later(), in_place=in_place)(question="why")

    assert counts(measured) == {
        (WORKFLOW, "Later"): 1,
        (TASK, "Predict", "success"): 1,
        (LM, "chat", "openai", "offline", "offline-2026"): 1,
    }


@pytest.mark.parametrize("is_async", [False, True])
def test_an_agent_of_dspy_alone_is_an_agent_and_inside_another_agent_is_its_task(measured, is_async):
    react = dspy.ReAct(Question, tools=[look_up])
    with dspy.context(lm=lm_of(Engine([FINISH]))):
        if is_async:
            asyncio.run(react.acall(question="why"))
        else:
            react(question="why")

    assert counts(measured) == {
        (AGENT, "ReAct"): 1,
        (TASK, "ReAct", "forward", "success"): 1,
        (TASK, "ReAct", "ChainOfThought", "success"): 1,
        (TASK, "ReAct", "Predict", "success"): 2,
        (LM, "chat", "openai", "offline", "offline-2026"): 2,
    }


def test_an_agent_of_dspy_directly_in_a_workflow_is_an_agent(measured):
    with dspy.context(lm=lm_of(Engine([FINISH]))):
        Seeker()(question="why")

    assert measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="Seeker") == 1
    assert measured.value("gen_ai_invoke_agent_duration_seconds_count", gen_ai_agent_name="ReAct") == 1


def test_a_predictor_alone_is_a_task_of_no_agent(measured, spans):
    with dspy.context(lm=lm_of(Engine())):
        dspy.Predict(Question)(question="why")

    assert drawn(spans) == ["execute_task Predict", "  chat offline"]
    assert counts(measured) == {
        (TASK, "Predict", "success"): 1,
        (LM, "chat", "openai", "offline", "offline-2026"): 1,
    }


def test_modules_that_call_others_again_are_tasks_around_them(measured):
    engine = Engine()
    with dspy.context(lm=lm_of(engine), trace=[]):
        dspy.BestOfN(dspy.Predict(Question), N=2, reward_fn=lambda args, pred: 0.0, threshold=1.0)(question="why")

    assert counts(measured) == {
        (TASK, "BestOfN", "success"): 1,
        (TASK, "Predict", "success"): 2,
        (LM, "chat", "openai", "offline", "offline-2026"): 2,
    }
    assert engine.served == 2


def test_a_failing_program_bears_the_type_of_its_error_and_raises_it(measured):
    class Broken(dspy.Module):
        def forward(self):
            raise KeyError("lost")

    class Outer(dspy.Module):
        def forward(self):
            return Broken()()

    with pytest.raises(KeyError, match="lost") as caught:
        Outer()()

    assert caught.value.__context__ is None
    assert (
        measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="Outer", error_type="KeyError") == 1
    )
    assert measured.value("agent_task_errors_total", gen_ai_agent_name="Broken", agent_task="forward", error_type="KeyError") == 1
    assert (
        measured.value("agent_handoffs_total", source="Outer", target="Broken", outcome="error") is None
    )  # a workflow is no agent


async def test_a_cancelled_program_is_cancelled_all_the_way_up(measured):
    engine = Engine()
    lm = lm_of(engine)
    lm._async_engine_spec.gate = asyncio.Event()
    lm._async_engine_spec.is_waiting = asyncio.Event()
    with dspy.context(lm=lm):
        running = asyncio.ensure_future(Writer().acall(question="why"))
        await lm._async_engine_spec.is_waiting.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    error = "asyncio.exceptions.CancelledError"
    assert counts(measured) == {
        (WORKFLOW, "Writer", error): 1,
        (TASK, "ChainOfThought", "cancelled"): 1,
        (TASK, "Predict", "cancelled"): 1,
        (LM, "chat", "openai", "offline", error): 1,
    }
    assert engine.served == 0


# --- whose a call is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_a_module_that_a_decorator_measures_belongs_to_the_decorator(measured, is_async):
    @agentgauge.agent("author")
    class Author(dspy.Module):
        def __init__(self):
            super().__init__()
            self.write = dspy.Predict(Question)

        @agentgauge.task
        def forward(self, question):
            return self.write(question=question)

        @agentgauge.task
        async def aforward(self, question):
            return await self.write.acall(question=question)

    with dspy.context(lm=lm_of(Engine())):
        if is_async:
            asyncio.run(Author().acall(question="why"))
        else:
            Author()(question="why")

    name = "aforward" if is_async else "forward"
    assert counts(measured) == {
        (AGENT, "author"): 1,
        (TASK, "author", name, "success"): 1,
        (TASK, "author", "Predict", "success"): 1,
        (LM, "chat", "openai", "offline", "offline-2026"): 1,
    }
    assert measured.value("agentgauge_calls_suppressed_total", instrumentor="dspy", owner="decorator", kind="agent") == 1


def test_the_calls_that_no_decorator_measures_are_measured_though_the_others_are(measured):
    class Author(dspy.Module):
        @agentgauge.task
        def forward(self):
            return "sync"

        async def aforward(self):
            return "async"

    assert [Author()(), asyncio.run(Author().acall())] == ["sync", "async"]
    assert counts(measured) == {(TASK, "forward", "success"): 1, (WORKFLOW, "Author"): 1}
    assert measured.value("agentgauge_calls_suppressed_total", instrumentor="dspy", owner="decorator", kind="workflow") == 1


def test_a_module_that_the_user_declares_an_agent_is_one_also_where_it_is_outermost(measured):
    @agentgauge.agent("author")
    class Author(dspy.Module):
        @agentgauge.task
        def polish(self, text):
            return text

        def forward(self, question):
            return dspy.Prediction(answer=self.polish(question))

    assert Author()(question="why").answer == "why"
    assert counts(measured) == {
        (AGENT, "author"): 1,
        (TASK, "author", "forward", "success"): 1,
        (TASK, "author", "polish", "success"): 1,
    }


def test_a_module_inside_a_decorated_agent_is_an_agent_that_work_was_given_to(measured):
    writer = Writer()

    @agentgauge.agent("editor")
    class Editor:
        @agentgauge.task
        def edit(self, question):
            return writer(question=question)

    with dspy.context(lm=lm_of(Engine())):
        Editor().edit("why")

    found = counts(measured)
    assert found[AGENT, "editor"] == found[AGENT, "Writer"] == 1
    assert (WORKFLOW, "Writer") not in found
    assert measured.value("agent_handoffs_total", source="editor", target="Writer", outcome="success") == 1


# --- what users write -----------------------------------------------------------------------------------------------------


def test_every_form_of_forward_passes(measured):
    class OddName(dspy.Module):
        def forward(s, question, /, *rest, key="k", **more):  # noqa: N805
            return question, rest, key, more

    class KeywordOnly(dspy.Module):
        def forward(self, *, question):
            return question

    class OwnCall(dspy.Module):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs), "called"

        def forward(self, question="default"):
            return question

    class NoSuper(dspy.Module):
        def __call__(self, question):
            return question

    assert OddName()("a", 1, key=2, function=3, kit=4) == ("a", (1,), 2, {"function": 3, "kit": 4})
    assert KeywordOnly()(question="a") == "a"
    assert OwnCall()() == ("default", "called")
    assert NoSuper()("a") == "a"
    with pytest.raises(TypeError, match=r"KeywordOnly\.forward\(\) takes 1 positional argument"):
        KeywordOnly()("a")
    with pytest.raises(ValueError, match=r"Positional arguments are not allowed when calling `dspy\.Predict`"):
        dspy.Predict(Question)("a")
    assert measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="OddName") == 1
    assert measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="OwnCall") == 1


async def test_every_form_of_aforward_passes(measured):
    class OddName(dspy.Module):
        async def aforward(s, question, /, *, key):  # noqa: N805
            return question, key

    class OwnCall(dspy.Module):
        async def acall(self, *args, **kwargs):
            return await super().acall(*args, **kwargs), "called"

        async def aforward(self, question="default"):
            return question

    assert await OddName().acall("a", key=1) == ("a", 1)
    assert await OwnCall().acall() == ("default", "called")
    assert measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="OddName") == 1
    assert measured.value("gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="OwnCall") == 1


def test_a_module_that_calls_itself_is_one_agent_with_tasks(measured):
    class Countdown(dspy.Module):
        def forward(self, number):
            return self(number=number - 1) if number else 0

    class Program(dspy.Module):
        def forward(self):
            return Countdown()(number=2)

    assert Program()() == 0
    assert counts(measured) == {
        (WORKFLOW, "Program"): 1,
        (AGENT, "Countdown"): 1,
        (TASK, "Countdown", "forward", "success"): 3,
    }
