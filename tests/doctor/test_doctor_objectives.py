"""Which tasks doctor wants an objective of: those that can have one, in programs of real frameworks."""

from __future__ import annotations

import asyncio

import dspy
import pytest
from dspy.utils import DummyLM

from agentgauge import Objective, agent, task
from agentgauge.doctor.objectives import DSPY_STEPS
from agentgauge.instrumentors.dspy_frames import is_of_dspy
from tests.instrumentors import langchain_programs, openai_agents_programs

PROMISE = Objective(success_ratio=0.99, latency_seconds=5)


class Planner(dspy.Module):
    """A module of the user's own."""

    def __init__(self):
        super().__init__()
        self.ask = dspy.ChainOfThought("question -> plan")

    def forward(self, question):
        return self.ask(question=question)


@agent("Planner")
class PromisingPlanner(Planner):
    """The same as the fix says."""

    @task(objective=PROMISE)
    def forward(self, question):
        return super().forward(question)


class Program(dspy.Module):
    """The program around it."""

    def __init__(self, planner):
        super().__init__()
        self.planner = planner

    def forward(self, question):
        return self.planner(question=question)


@pytest.fixture
def model():
    with dspy.context(lm=DummyLM([{"reasoning": "why not", "plan": "go", "answer": "42"}] * 20)):
        yield


def subclasses(owner):
    for each in owner.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_module_that_dspy_brings_is_known_as_a_step():
    brought = {each.__name__ for each in subclasses(dspy.Module) if is_of_dspy(each) and not each.__name__.startswith("_")}
    assert {"ChainOfThought", "Predict", "ReAct"} <= brought
    assert brought - DSPY_STEPS - {"SyncWrapper", "SolveModule"} == set()


@pytest.mark.usefixtures("model")
def test_a_module_of_the_users_own_can_have_an_objective_and_the_predictors_in_it_cannot(serve, doctor):
    url = serve(instrumentors=("dspy",)).url
    Program(Planner())(question="gauges?")
    finding = doctor("--url", url, "--production")["objectives"]
    assert finding["status"] == "fail"
    assert finding["evidence"] == (
        "0 of 1 tasks that can have an objective have one; not Planner/forward; 2 steps that a framework runs can have none"
    )
    assert finding["fix"].startswith("No objective alert watches them.")
    assert "@task(objective=Objective(success_ratio=0.99, latency_seconds=5))" in finding["fix"]
    assert "wants @agent on its class" in finding["fix"]


@pytest.mark.usefixtures("model")
def test_who_does_what_the_fix_says_has_an_objective_for_each_task(serve, doctor):
    url = serve(instrumentors=("dspy",)).url
    Program(PromisingPlanner())(question="gauges?")
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == (
        "ok",
        "1 of 1 tasks that can have an objective have one; 2 steps that a framework runs can have none",
    )


@pytest.mark.usefixtures("model")
def test_a_program_of_steps_alone_is_warned_of_until_what_calls_it_promises_something(serve, doctor):
    url = serve(instrumentors=("dspy",)).url
    dspy.Predict("question -> answer")(question="gauges?")
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("warn", "1 task ran: Predict")
    assert finding["title"] == "What ran are steps of a framework, which can have no objective of their own"
    assert finding["fix"].startswith("Decorate the function of yours that calls the framework: @task(objective=Objective(")

    @task(objective=PROMISE)
    def answer(question):
        return dspy.Predict("question -> answer")(question=question)

    answer("gauges?")
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"][:56]) == ("ok", "1 of 1 tasks that can have an objective have one; 1 step")


def test_a_decorated_task_that_is_called_like_a_step_counts_where_that_framework_is_not_at_work(serve, doctor):
    @task("Predict")
    def predict():
        pass

    url = serve().url
    predict()
    finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("fail", "0 of 1 tasks that can have an objective have one; not Predict")


def test_a_node_of_the_users_own_can_have_an_objective_and_an_agent_that_langchain_made_cannot(fresh, serve, doctor):
    from langchain.agents import create_agent
    from langchain_core.messages import AIMessage
    from langgraph.graph import END, START, MessagesState, StateGraph

    def look_up(_state):
        return {"messages": []}

    with langchain_programs.instrumented(fresh):
        url = serve().url
        model = langchain_programs.ListModel(responses=[AIMessage("done")] * 3)
        graph = StateGraph(MessagesState)
        graph.add_node("look_up", look_up)
        graph.add_node("clerk", create_agent(model, [], name="clerk"))
        graph.add_edge(START, "look_up")
        graph.add_edge("look_up", "clerk")
        graph.add_edge("clerk", END)
        graph.compile(name="office").invoke(langchain_programs.HELLO)
        finding = doctor("--url", url, "--production")["objectives"]
    assert finding["status"] == "fail"
    assert "not clerk, look_up; 2 steps" in finding["evidence"]


def test_an_agent_that_langchain_made_without_a_name_has_none_of_its_own_either(fresh, serve, doctor):
    from langchain.agents import create_agent
    from langchain_core.messages import AIMessage

    with langchain_programs.instrumented(fresh):
        url = serve().url
        create_agent(langchain_programs.ListModel(responses=[AIMessage("done")]), []).invoke(langchain_programs.HELLO)
        finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("warn", "1 task ran: model")


def test_runs_and_turns_of_the_openai_agents_sdk_have_none_of_their_own(fresh, serve, doctor, monkeypatch):
    from agents.tracing import provider, setup

    monkeypatch.setattr(setup, "GLOBAL_TRACE_PROVIDER", provider.DefaultTraceProvider())  # without what sends traces to a server
    clerk, _ = openai_agents_programs.adder()
    with openai_agents_programs.instrumented(fresh):
        url = serve().url
        asyncio.run(openai_agents_programs.run_to_end(clerk))
        finding = doctor("--url", url, "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("warn", "2 tasks ran: adder/run, adder/turn")


def test_an_agent_that_dspy_brings_has_none_of_its_own_and_a_module_of_the_users_own_has(page_of, doctor):
    url = page_of({"dspy": 3}, [("ReAct", "forward"), ("ReAct", "Predict"), ("Planner", "forward")])
    finding = doctor("--url", url, "--production")["objectives"]
    assert finding["evidence"].startswith("0 of 1 tasks that can have an objective have one; not Planner/forward; 2 steps")


def test_a_guardrail_and_a_task_of_no_agent_are_no_steps_of_the_openai_agents_sdk(page_of, doctor):
    url = page_of({"openai-agents": 4}, [("clerk", "run"), ("clerk", "turn"), ("clerk", "no_secrets"), ("", "run")])
    finding = doctor("--url", url, "--production")["objectives"]
    assert finding["evidence"] == (
        "0 of 2 tasks that can have an objective have one; not clerk/no_secrets, run; 2 steps that a framework runs can have none"
    )


def test_an_agent_that_shows_by_its_spans_has_none_of_its_own(page_of, doctor):
    finding = doctor("--url", page_of({"genai-spans": 1}, [("clerk", "invoke_agent")]), "--production")["objectives"]
    assert (finding["status"], finding["evidence"]) == ("warn", "1 task ran: clerk/invoke_agent")


@pytest.fixture
def page_of(answering):
    """Give a function that serves the page of a program by the calls of its instrumentors, and its tasks."""

    def serve_page(calls, tasks):
        lines = [f'agentgauge_instrumentor_calls_total{{instrumentor="{name}"}} {count}' for name, count in calls.items()]
        lines += [
            f'agent_task_duration_seconds_count{{gen_ai_agent_name="{agent}",agent_task="{task}",outcome="success"}} 1'
            for agent, task in tasks
        ]
        page = "\n".join(lines).encode() + b"\n"
        return answering(lambda _path, _headers: (200, {"Content-Type": "text/plain"}, page)) + "/metrics"

    return serve_page
