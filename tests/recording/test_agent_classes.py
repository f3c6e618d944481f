"""Agents that are classes: base classes, subclasses, names on methods."""

from __future__ import annotations

import pytest
from series_by_agent import runs_by_agent, tasks_by_agent

from agentgauge import Objective, agent, task, tool, workflow

TOOL_COUNT = "gen_ai_execute_tool_duration_seconds_count"
WORKFLOW_COUNT = "gen_ai_invoke_workflow_duration_seconds_count"

OBJECTIVE = Objective(success_ratio=0.99, latency_seconds=1.5)


class Base:
    @task
    def run(self):
        return self.step()

    @task
    def step(self):
        return type(self).__name__

    @task
    @classmethod
    def build(cls):
        return cls()


@agent("alpha")
class Alpha(Base):
    pass


@agent("beta")
class Beta(Base):
    @task
    def step(self):
        return super().step()


class Unnamed(Base):
    pass


class AlphaChild(Alpha):
    @task
    def extra(self):
        return self.run()


@agent("gamma")
class Gamma(Alpha):
    @task
    def run(self):
        return super().run()


def test_methods_of_a_shared_base_class_belong_to_the_agent_of_the_instance(fresh):
    for _ in range(2):
        Alpha().run()
        Beta().run()
    Alpha.build()
    Beta.build()

    assert tasks_by_agent(fresh) == {
        ("alpha", "run"): 2,
        ("alpha", "step"): 2,
        ("alpha", "build"): 1,
        ("beta", "run"): 2,
        ("beta", "step"): 4,  # Beta.step and, through super(), Base.step
        ("beta", "build"): 1,
    }
    assert runs_by_agent(fresh) == {"alpha": 3, "beta": 3}


def test_an_instance_of_no_agent_class_is_not_counted_for_a_sibling_that_is_one(fresh):
    for _ in range(2):
        Unnamed().run()
        Alpha().run()
        Base().step()

    assert tasks_by_agent(fresh) == {("", "run"): 2, ("", "step"): 4, ("alpha", "run"): 2, ("alpha", "step"): 2}
    assert runs_by_agent(fresh) == {"alpha": 2}


def test_a_subclass_without_agent_keeps_its_parents_name_for_inherited_and_new_tasks(fresh):
    for _ in range(2):
        AlphaChild().extra()

    assert tasks_by_agent(fresh) == {("alpha", "extra"): 2, ("alpha", "run"): 2, ("alpha", "step"): 2}
    assert runs_by_agent(fresh) == {"alpha": 2}


def test_a_subclass_with_agent_has_its_own_name_for_inherited_tasks_too(fresh):
    Gamma().run()
    Alpha().run()

    assert tasks_by_agent(fresh) == {("gamma", "run"): 2, ("gamma", "step"): 1, ("alpha", "run"): 1, ("alpha", "step"): 1}
    assert runs_by_agent(fresh) == {"gamma": 1, "alpha": 1}


def test_an_instance_of_one_agent_inside_another_is_its_own_agent(fresh):
    @agent("beta-caller")
    def outer():
        Alpha().step()
        Unnamed().step()

    outer()

    assert tasks_by_agent(fresh) == {("beta-caller", "outer"): 1, ("alpha", "step"): 1, ("beta-caller", "step"): 1}


def test_an_agent_as_first_argument_does_not_make_a_function_its_method(fresh):
    @task
    def review(subject):
        return subject

    @agent("owner")
    class Owner:
        @staticmethod
        @task
        def hand_over(receiver):
            return receiver

        @task
        @staticmethod
        def hand_back(receiver):
            return receiver

    review(Alpha())
    Owner.hand_over(Alpha())
    Owner.hand_back(Alpha())

    assert tasks_by_agent(fresh) == {("", "review"): 1, ("owner", "hand_over"): 1, ("owner", "hand_back"): 1}


def test_a_name_on_the_method_wins_over_the_name_of_its_class(fresh):
    @agent("house")
    class House:
        @agent("guest")
        @task
        def visit(self):
            return 1

        @agent("friend")
        def stay(self):
            return 1

    House().visit()
    House().stay()

    assert tasks_by_agent(fresh) == {("guest", "visit"): 1, ("friend", "stay"): 1}


def test_agent_over_task_keeps_the_name_and_objective_of_the_task(fresh):
    @agent("scout")
    @task(name="look", objective=OBJECTIVE)
    def work():
        return 1

    work()

    assert tasks_by_agent(fresh) == {("scout", "look"): 1}
    assert fresh.value("agent_objective_success_ratio", gen_ai_agent_name="scout", agent_task="look") == 0.99


def test_agent_over_a_decorated_method_of_either_static_kind_names_it(fresh):
    class Worker:
        @agent("scout")
        @task
        @staticmethod
        def work():
            return 1

        @agent("guide")
        @property
        @task
        def state(self):
            return 1

    Worker.work()
    assert Worker().state == 1

    assert tasks_by_agent(fresh) == {("scout", "work"): 1, ("guide", "state"): 1}


def test_a_class_with_some_decorated_methods_has_only_those_measured(fresh):
    @agent("scout")
    class Worker:
        @task
        def measured(self):
            return 1

        def unmeasured(self):
            return 1

    Worker().unmeasured()
    Worker().measured()

    assert tasks_by_agent(fresh) == {("scout", "measured"): 1}


def test_a_class_as_task_measures_its_public_methods_and_leaves_the_decorated_as_they_are(fresh):
    @task
    class Worker:
        limit = 3

        def __call__(self):
            return 1

        def first(self):
            return self._private()

        @tool
        def second(self):
            return 1

        def _private(self):
            return 1

        @property
        def state(self):
            return 1

    worker = Worker()
    assert worker() == worker.first() == worker.second() == worker.state == 1

    assert tasks_by_agent(fresh) == {("", "__call__"): 1, ("", "first"): 1}
    assert fresh.value(TOOL_COUNT, gen_ai_tool_name="second") == 1


def test_a_workflow_is_one_series_wherever_it_runs_and_names_no_agent(fresh):
    @task
    def step():
        return 1

    @workflow
    def pipeline():
        return step()

    @agent("scout")
    def work():
        return pipeline()

    pipeline()
    work()

    counts = [sample.value for metric in fresh.registry.collect() for sample in metric.samples if sample.name == WORKFLOW_COUNT]
    assert counts == [2]
    assert tasks_by_agent(fresh) == {("", "step"): 1, ("scout", "work"): 1, ("scout", "step"): 1}


def test_a_workflow_that_is_a_method_of_an_agent_names_no_agent_either(fresh):
    @agent("scout")
    class Scout:
        @workflow
        def pipeline(self):
            return self.step()

        @task
        def step(self):
            return 1

    Scout().pipeline()

    assert fresh.value(WORKFLOW_COUNT, gen_ai_workflow_name="pipeline") == 1
    assert runs_by_agent(fresh) == {"scout": 1}


def test_two_functions_of_one_name_share_their_series(fresh):
    first = task("same")(lambda: 1)
    second = task("same")(lambda: 2)

    first()
    second()

    assert tasks_by_agent(fresh) == {("", "same"): 2}


@pytest.mark.parametrize(
    "name", ["x" * 5_000, "\ud800 lone surrogate", 'quote " newline \n backslash \\'], ids=["long", "surrogate", "odd"]
)
def test_any_name_is_fit_for_a_label_and_keeps_its_runs_apart_from_its_tasks(fresh, name):
    @agent(name)
    def work():
        return inner()

    @task(name)
    def inner():
        return 1

    work()

    [(label, runs)] = runs_by_agent(fresh).items()
    assert runs == 1
    assert len(label) <= 200
    label.encode()
    assert sum(tasks_by_agent(fresh).values()) == 2


def test_names_alike_in_their_first_200_characters_are_one_series(fresh):
    for end in ("a", "b"):
        task("x" * 200 + end)(lambda: 1)()

    assert tasks_by_agent(fresh) == {("", "x" * 200): 2}


def test_an_agent_class_may_hold_a_lazy_proxy_that_must_not_be_touched(fresh):
    class Proxy:
        def __getattr__(self, name):
            raise RuntimeError("working outside of context")

    @agent("scout")
    class Worker:
        request = Proxy()

        @task
        def work(self):
            return 1

    Worker().work()

    assert runs_by_agent(fresh) == {"scout": 1}
