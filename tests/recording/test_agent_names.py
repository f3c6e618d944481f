"""Whose work a call is: the agent's name and how it flows."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from series_by_agent import runs_by_agent, tasks_by_agent

from agentgauge import agent, task, tool

TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"


@agent("researcher")
class Researcher:
    @task
    def research(self):
        return self.plan() + self.search()

    @task
    def plan(self):
        return 1

    @tool
    def search(self):
        return 1

    @staticmethod
    @task
    def rank():
        return 1

    @task
    @classmethod
    def describe(cls):
        return cls.__name__

    @property
    @task
    def state(self):
        return 1


def test_the_outermost_task_of_an_agent_is_its_run(fresh):
    Researcher().research()

    assert runs_by_agent(fresh) == {"researcher": 1}
    assert tasks_by_agent(fresh) == {("researcher", "research"): 1, ("researcher", "plan"): 1}
    assert fresh.value(TOOL_COUNT, gen_ai_agent_name="researcher", gen_ai_tool_name="search") == 1


def test_every_kind_of_method_belongs_to_the_agent_of_its_class(fresh):
    researcher = Researcher()
    assert researcher.plan() == researcher.state == researcher.rank() == Researcher.rank() == 1
    assert Researcher.describe() == "Researcher"

    assert runs_by_agent(fresh) == {"researcher": 5}
    assert tasks_by_agent(fresh) == {
        ("researcher", name): count for name, count in [("plan", 1), ("state", 1), ("rank", 2), ("describe", 1)]
    }


def test_a_tool_called_alone_bears_its_agent_and_is_no_run(fresh):
    Researcher().search()

    assert fresh.value(TOOL_COUNT, gen_ai_agent_name="researcher", gen_ai_tool_name="search") == 1
    assert runs_by_agent(fresh) == {}


def test_the_name_flows_from_a_call_to_undecorated_and_foreign_code(fresh):
    @task
    def helper():
        return 1

    def undecorated():
        return helper()

    @agent("scout")
    def outer():
        return undecorated()

    outer()
    helper()

    assert tasks_by_agent(fresh) == {("scout", "outer"): 1, ("scout", "helper"): 1, ("", "helper"): 1}
    assert runs_by_agent(fresh) == {"scout": 1}


def test_an_agent_inside_another_has_runs_of_its_own_each_time_it_is_entered(fresh):
    @agent("a")
    def first(depth):
        return second(depth) if depth else 0

    @agent("b")
    def second(depth):
        return first(depth - 1)

    first(1)

    assert runs_by_agent(fresh) == {"a": 2, "b": 1}
    assert tasks_by_agent(fresh) == {("a", "first"): 2, ("b", "second"): 1}


def test_an_agent_that_calls_itself_has_one_run(fresh):
    @agent("a")
    def work(depth):
        return work(depth - 1) if depth else 0

    work(3)

    assert runs_by_agent(fresh) == {"a": 1}
    assert tasks_by_agent(fresh) == {("a", "work"): 4}


@pytest.mark.parametrize("error", [None, ValueError()])
def test_the_name_ends_with_the_call(fresh, error):
    @agent("scout")
    def work():
        if error:
            raise error

    @task
    def after():
        return 1

    if error:
        with pytest.raises(ValueError):
            work()
    else:
        work()
    after()

    assert tasks_by_agent(fresh)["", "after"] == 1


async def test_the_name_flows_into_asyncio_tasks_and_threads_of_asyncio(fresh):
    @task
    def in_thread():
        return 1

    @task
    async def in_task():
        return 1

    @agent("scout")
    async def work():
        await asyncio.gather(asyncio.create_task(in_task()), asyncio.to_thread(in_thread))

    await work()

    assert tasks_by_agent(fresh) == {("scout", "work"): 1, ("scout", "in_task"): 1, ("scout", "in_thread"): 1}


def test_a_thread_that_lost_the_context_has_no_agent_rather_than_a_guess(fresh):
    @task
    def in_thread():
        return 1

    @agent("scout")
    def work():
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(in_thread).result()

    work()

    assert tasks_by_agent(fresh) == {("scout", "work"): 1, ("", "in_thread"): 2}


async def test_concurrent_agents_do_not_see_each_other(fresh):
    @task
    async def step():
        await asyncio.sleep(0)

    def make(name):
        @agent(name)
        async def work():
            for _ in range(3):
                await step()

        return work

    await asyncio.gather(*(make(name)() for name in ("a", "b", "c")))

    assert {key: count for key, count in tasks_by_agent(fresh).items() if key[1] == "step"} == {
        (name, "step"): 3 for name in ("a", "b", "c")
    }
