"""Every kind of callable decorated in every way, and what cannot be decorated."""

from __future__ import annotations

import types

import pytest
from callable_shapes import SHAPES, finish, method, plain_function, takes_two_seconds, whole_class

from agentgauge import ConfigurationError, Objective, agent, task, tool, workflow

TASK_COUNT = "agent_task_duration_seconds_count"
TASK_SUM = "agent_task_duration_seconds_sum"
RUN_COUNT = "gen_ai_invoke_agent_duration_seconds_count"

OBJECTIVE = Objective(success_ratio=0.99, latency_seconds=1.5)


def samples(fresh, name):
    return [sample for metric in fresh.registry.collect() for sample in metric.samples if sample.name == name]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("decorate", "name"),
    [(task, "work"), (task(), "work"), (task("given"), "given"), (task(name="given"), "given")],
    ids=["bare", "called", "positional", "keyword"],
)
def test_a_task_of_any_kind_is_counted_and_timed_to_its_end(fresh, shape, decorate, name):
    call = shape(decorate, takes_two_seconds(fresh))

    assert [finish(call()), finish(call())] == [42, 42]

    assert fresh.value(TASK_COUNT, agent_task=name, outcome="success") == 2
    assert fresh.value(TASK_SUM, agent_task=name, outcome="success") == 4
    assert fresh.value(TASK_COUNT, agent_task=name, outcome="error") == 0
    assert fresh.value("agent_tasks_in_progress", agent_task=name) == 0
    assert fresh.value(RUN_COUNT, gen_ai_agent_name="") is None


@pytest.mark.parametrize("shape", SHAPES)
def test_an_objective_given_with_the_task_becomes_series_for_any_kind_of_callable(fresh, shape):
    call = shape(task(objective=OBJECTIVE), takes_two_seconds(fresh))

    finish(call())

    assert fresh.value("agent_objective_success_ratio", agent_task="work") == 0.99
    assert fresh.value("agent_objective_latency_seconds", agent_task="work") == 1.5
    assert fresh.value("agent_objective_latency_missed_total", agent_task="work") == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("arguments", "name"), [((), "work"), (("given",), "given")], ids=["bare", "named"])
@pytest.mark.parametrize(
    ("decorator", "family", "label"),
    [
        (tool, "gen_ai_execute_tool_duration_seconds", "gen_ai_tool_name"),
        (workflow, "gen_ai_invoke_workflow_duration_seconds", "gen_ai_workflow_name"),
    ],
    ids=["tool", "workflow"],
)
def test_a_tool_or_workflow_of_any_kind_leaves_its_own_family_alone(fresh, shape, arguments, name, decorator, family, label):
    call = shape(decorator(*arguments), takes_two_seconds(fresh))

    assert finish(call()) == 42

    assert fresh.value(f"{family}_count", **{label: name}) == 1
    assert fresh.value(f"{family}_sum", **{label: name}) == 2
    assert fresh.value(TASK_COUNT, agent_task=name, outcome="success") is None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("arguments", "keywords"), [(("scout",), {}), ((), {"name": "scout"})], ids=["positional", "keyword"])
def test_an_agent_of_any_kind_is_a_task_and_a_run(fresh, shape, arguments, keywords):
    call = shape(agent(*arguments, **keywords), takes_two_seconds(fresh))

    assert finish(call()) == 42

    assert fresh.value(RUN_COUNT, gen_ai_agent_name="scout") == 1
    assert fresh.value("gen_ai_invoke_agent_duration_seconds_sum", gen_ai_agent_name="scout") == 2
    assert fresh.value(TASK_COUNT, gen_ai_agent_name="scout", agent_task="work", outcome="success") == 1


@pytest.mark.parametrize("shape", [plain_function, method, whole_class])
def test_a_bare_agent_bears_the_name_of_what_it_decorates(fresh, shape):
    call = shape(agent, takes_two_seconds(fresh))

    call()

    name = "Worker" if shape is whole_class else "work"
    assert fresh.value(RUN_COUNT, gen_ai_agent_name=name) == 1


@pytest.mark.parametrize(
    ("decorator", "count"),
    [
        (task, TASK_COUNT),
        (agent("scout"), RUN_COUNT),
        (tool, "gen_ai_execute_tool_duration_seconds_count"),
        (workflow, "gen_ai_invoke_workflow_duration_seconds_count"),
    ],
    ids=["task", "agent", "tool", "workflow"],
)
async def test_a_generator_that_is_made_a_coroutine_stays_awaitable_and_is_measured(fresh, decorator, count):
    @decorator
    @types.coroutine
    def work(result):
        yield
        return result

    assert await work(42) == 42

    assert [sample.value for sample in samples(fresh, count) if sample.value] == [1]


def test_a_function_whose_keyword_only_parameter_is_called_as_ours_is_measured(fresh):
    @task
    def work(first, second=2, *, argument_0=3, argument_1=4):
        return first, second, argument_0, argument_1

    assert work(1) == (1, 2, 3, 4)
    assert work(1, 5, argument_1=6, argument_0=7) == (1, 5, 7, 6)

    assert fresh.value(TASK_COUNT, agent_task="work", outcome="success") == 2


# --- what is refused ---


@pytest.mark.parametrize("outer", [task, tool, workflow, task("other")])
@pytest.mark.parametrize("inner", [task, tool, workflow, agent("scout")])
def test_decorating_twice_is_refused_with_the_name_and_the_fix(outer, inner):
    with pytest.raises(
        ConfigurationError, match=r"work is decorated twice: keep one of @task, @tool, @workflow; @agent goes above"
    ):

        @outer
        @inner
        def work():
            return 1


def test_naming_an_agent_twice_is_refused():
    with pytest.raises(ConfigurationError, match=r"work belongs to the agent 'inner' already: keep one @agent"):

        @agent("outer")
        @agent("inner")
        def work():
            return 1

    with pytest.raises(ConfigurationError, match=r"Worker is the agent 'inner' already: keep one @agent"):

        @agent("outer")
        @agent("inner")
        class Worker:
            def work(self):
                return 1


def test_an_agent_over_a_workflow_is_refused():
    with pytest.raises(ConfigurationError, match=r"pipeline is a workflow over several agents: take @agent away"):

        @agent("scout")
        @workflow
        def pipeline():
            return 1


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: task(3), r"task: 3 is neither a function nor a class"),
        (lambda: task(""), r"name='': give a non-empty string"),
        (lambda: task("  "), r"name='  ': give a non-empty string"),
        (lambda: task(name=3), r"name=3: give a non-empty string"),
        (lambda: task(objective=0.99)(lambda: 1), r"objective=0.99: give an Objective, such as Objective\(success_ratio=0.99\)"),
        (lambda: task(type("Empty", (), {})), r"Empty has no public method of its own to measure"),
        (
            lambda: task("one")(type("Two", (), {"a": lambda self: 1, "b": lambda self: 2})),
            r"name='one' would stand for a, b of Two",
        ),
        (lambda: agent(objective=OBJECTIVE)(type("One", (), {"a": lambda self: 1})), r"objective of @agent on the class One"),
        (
            lambda: agent("x", objective=OBJECTIVE)(task(lambda: 1)),
            r"objective of @agent on <lambda>: give it to the @task below",
        ),
        (lambda: agent("x")(None), r"None is neither a function nor a class"),
    ],
)
def test_what_cannot_be_decorated_is_refused_with_the_fix(decorate, message):
    with pytest.raises(ConfigurationError, match=message):
        decorate()
