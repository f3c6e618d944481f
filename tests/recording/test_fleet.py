from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.catalogue import Outcome
from agentgauge.errors import contained_errors
from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.recording.decorators import agent, task
from agentgauge.recording.fleet import Fleet, _quantile, fleet
from agentgauge.recording.outcome import Failure
from agentgauge.recording.recorder import END, Recorder
from agentgauge.recording.track import track
from agentgauge.targets import Objective
from agentgauge.testing import FakeClock, isolated, reraise_internal_errors


class Yard:
    """A recorder with a clock that moves when told to, and calls of any agent in it."""

    def __init__(self):
        self.clock = FakeClock()
        self.recorder = Recorder(clock=self.clock, wall_clock=self.clock)

    def call(self, agent_name, name="work", *, seconds=1.0, outcome=None, error_type="Broken", count=1, objective=None):
        target = self.recorder.admission.tracked_target(agent_name, name, is_entry=True, objective=objective)
        failure = None if outcome is None else Failure(outcome, error_type)
        for _ in range(count):
            self.recorder.append([target, self.clock(), self.clock() + seconds, (failure, None)])

    def start(self, agent_name, name="work"):
        target = self.recorder.admission.tracked_target(agent_name, name, is_entry=True, objective=None)
        self.recorder.append([target, self.clock(), None, None])

    def fleet(self):
        return fleet(self.recorder)

    def standing(self, agent_name):
        return next(standing for standing in self.fleet().agents if standing.agent == agent_name)


@pytest.fixture(autouse=True)
def loud():
    with reraise_internal_errors():
        yield


@pytest.fixture
def yard():
    return Yard()


def test_an_empty_fleet_has_no_best_and_no_worst(yard):
    assert yard.fleet() == Fleet()
    assert (yard.fleet().best, yard.fleet().worst) == (None, None)


def test_a_standing_counts_the_tasks_and_runs_of_its_agent(yard):
    yard.call("clerk", count=6, seconds=2)
    yard.call("clerk", "copy", count=1, seconds=10, outcome=Outcome.ERROR, error_type="NoPaper")
    yard.call("clerk", "copy", count=1, seconds=60, outcome=Outcome.TIMEOUT, error_type="TimeoutError")
    standing = yard.standing("clerk")
    assert (standing.runs, standing.tasks, standing.success_ratio) == (8, 8, 0.75)
    assert standing.mean_seconds == 2
    assert standing.errors == {"NoPaper": 1, "TimeoutError": 1}
    assert standing.score == 70
    assert standing.reasons == ("2 of 8 tasks failed (25.0%; 10.0% may): 30.0 points off",)


def test_cancelled_and_abandoned_tasks_count_in_neither_part_of_the_success_ratio(yard):
    yard.call("clerk", count=3)
    yard.call("clerk", outcome=Outcome.ERROR)
    yard.call("clerk", outcome=Outcome.CANCELLED, count=5)
    yard.call("clerk", outcome=Outcome.ABANDONED, count=7)
    standing = yard.standing("clerk")
    assert (standing.tasks, standing.success_ratio, standing.errors) == (16, 0.75, {"Broken": 1})


def test_an_agent_with_cancelled_tasks_only_is_not_judged(yard):
    yard.call("clerk", outcome=Outcome.CANCELLED)
    standing = yard.standing("clerk")
    assert (standing.success_ratio, standing.mean_seconds, standing.p95_seconds, standing.score) == (None, None, None, 100)
    assert (yard.fleet().best, yard.fleet().worst) == (None, None)


def test_what_is_in_progress_has_an_age(yard):
    yard.start("clerk")
    yard.clock.advance(5)
    yard.start("clerk", "copy")
    yard.clock.advance(2)
    standing = yard.standing("clerk")
    assert (standing.tasks, standing.in_progress, standing.oldest_age_seconds) == (0, 2, 7)


def test_a_call_that_ends_while_the_view_is_taken_is_not_in_progress(yard, monkeypatch):
    yard.call("clerk")
    yard.start("clerk")
    [_, record] = yard.recorder.buffer
    drain = yard.recorder.drain

    def drain_and_end():
        drain()
        record[END] = yard.clock()

    monkeypatch.setattr(yard.recorder, "drain", drain_and_end)
    assert yard.standing("clerk").in_progress == 0


def test_stuck_tasks_lower_the_score(yard):
    yard.start("clerk")
    yard.start("clerk")
    yard.clock.advance(1801)
    assert yard.standing("clerk").score == 80
    assert yard.standing("clerk").reasons == ("2 tasks are stuck: 20.0 points off",)


def test_a_latency_objective_tells_earlier_that_a_task_is_stuck(yard):
    yard.call("clerk", objective=Objective(latency_seconds=40))
    yard.start("clerk")
    yard.clock.advance(400)
    assert yard.standing("clerk").score == 100
    yard.clock.advance(1)
    assert yard.standing("clerk").score == 90


def test_objectives_of_several_tasks_are_weighed_by_their_calls(yard):
    yard.call("clerk", "strict", count=10, objective=Objective(success_ratio=0.9))
    yard.call("clerk", "loose", count=25, objective=Objective(success_ratio=0.5))
    yard.call("clerk", "loose", count=5, outcome=Outcome.ERROR)
    assert yard.standing("clerk").score == 100
    yard.call("clerk", "loose", count=60, outcome=Outcome.ERROR)
    assert yard.standing("clerk").reasons == ("65 of 100 tasks failed (65.0%; 46.0% may): 38.0 points off",)


def test_agents_are_ranked_by_score_then_ratio_then_tasks(yard):
    yard.call("poor", count=1)
    yard.call("poor", count=3, outcome=Outcome.ERROR)
    yard.call("fair", count=19)
    yard.call("fair", count=1, outcome=Outcome.ERROR)
    yard.call("good", count=5)
    yard.call("better", count=6)
    yard.start("new")
    ranked = yard.fleet()
    assert [standing.agent for standing in ranked.agents] == ["better", "good", "fair", "new", "poor"]
    assert (ranked.best.agent, ranked.worst.agent) == ("better", "poor")


def test_an_unproven_agent_is_neither_best_nor_worst(yard):
    yard.start("new")
    yard.call("fair", count=2)
    yard.call("fair", count=1, outcome=Outcome.ERROR)
    assert [standing.agent for standing in yard.fleet().agents] == ["new", "fair"]
    assert yard.fleet().best.agent == yard.fleet().worst.agent == "fair"


def test_bottlenecks_are_the_tasks_that_took_most_time_failures_and_open_calls_included(yard):
    yard.call("clerk", "file", seconds=10, count=3)
    yard.call("clerk", "copy", seconds=25, outcome=Outcome.TIMEOUT)
    yard.start("guard", "watch")
    yard.clock.advance(45)
    found = yard.fleet().bottlenecks
    assert [(task.agent, task.task, task.busy_seconds) for task in found] == [
        ("guard", "watch", 45),
        ("clerk", "file", 30),
        ("clerk", "copy", 25),
    ]
    assert [task.busy_share for task in found] == [0.45, 0.3, 0.25]
    assert {task.overrun_ratio for task in found} == {None}


def test_a_task_that_takes_far_longer_than_its_p95_is_the_first_bottleneck(yard):
    yard.call("clerk", "file", seconds=1000, count=10)
    yard.call("guard", "watch", seconds=1, count=20)
    yard.call("guard", "blink", seconds=0.001, count=20)
    for name in ("watch", "blink"):
        yard.start("guard", name)
    yard.clock.advance(0.9)
    assert yard.fleet().bottlenecks[0].task == "file"
    yard.clock.advance(9.1)
    found = yard.fleet().bottlenecks
    assert [task.task for task in found] == ["blink", "watch", "file"]
    assert [task.oldest_age_seconds for task in found] == [10, 10, None]
    assert found[1].overrun_ratio == pytest.approx(10 / found[1].p95_seconds)
    assert found[0].overrun_ratio > found[1].overrun_ratio > 2


def test_there_are_at_most_five_bottlenecks_and_none_that_took_no_time(yard):
    for number in range(9):
        yard.call("clerk", f"task {number}", seconds=number)
    assert [task.task for task in yard.fleet().bottlenecks] == [f"task {number}" for number in (8, 7, 6, 5, 4)]


def test_a_task_without_an_agent_is_no_standing_but_may_be_a_bottleneck(yard):
    yard.call("", "loose", seconds=3)
    assert yard.fleet().agents == ()
    assert [(task.agent, task.task) for task in yard.fleet().bottlenecks] == [("", "loose")]


def test_the_fleet_has_decorated_agents_and_collectors_alike():
    with isolated() as isolation:

        @agent("reader")
        class Reader:
            @task
            def read(self):
                isolation.clock.advance(3)
                self.turn()

            @task
            def turn(self):
                isolation.clock.advance(1)

        Reader().read()
        with track("critic", "judge") as call:
            call.set_outcome("error", error_type="Bored")
        clerk = AgentMetricsCollector("clerk")
        clerk.start_task("a", "file")
        clerk.complete_task("a")
        clerk.start_task("b", "file")
        standings = {standing.agent: standing for standing in fleet().agents}
        assert set(standings) == {"reader", "critic", "clerk"}
        assert (standings["reader"].runs, standings["reader"].tasks, standings["reader"].mean_seconds) == (1, 2, 2.5)
        assert standings["critic"].errors == {"Bored": 1}
        assert (standings["clerk"].tasks, standings["clerk"].in_progress) == (1, 1)
        assert fleet().worst.agent == "critic"


def test_the_score_is_that_of_the_agents_own_health(yard):
    clerk = AgentMetricsCollector("clerk", recorder=yard.recorder)
    for number in range(12):
        clerk.start_task(number, "file")
        if number % 3:
            clerk.fail_task(number, "message")
        elif number % 6:
            clerk.complete_task(number)
    yard.clock.advance(2)
    health, standing = clerk.get_health_metrics(), yard.standing("clerk")
    assert (health.score, health.reasons) == (standing.score, standing.reasons)
    assert (health.success_ratio, health.tasks_in_progress) == (standing.success_ratio, standing.in_progress)


def test_the_dictionary_is_json(yard):
    yard.call("clerk", count=3)
    yard.call("poor", outcome=Outcome.ERROR)
    yard.start("poor")
    view = json.loads(json.dumps(yard.fleet().as_dict(), allow_nan=False))
    assert (view["best"], view["worst"]) == ("clerk", "poor")
    assert [standing["agent"] for standing in view["agents"]] == ["clerk", "poor"]
    assert view["agents"][1]["errors"] == {"Broken": 1}
    assert view["bottlenecks"][0]["task"] == "work"
    assert json.loads(json.dumps(Fleet().as_dict()))["best"] is None


def test_disabled_there_is_no_fleet(yard, monkeypatch):
    yard.call("clerk")
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    assert yard.fleet() == Fleet()


def test_a_fault_of_the_recorder_gives_an_empty_fleet(yard, monkeypatch):
    def broken():
        raise OSError("the clock stopped")

    contained_errors.is_reraising = False  # the fixture sets it back
    yard.call("clerk")
    yard.recorder.clock = broken
    before = contained_errors.count_by_hook.get("fleet", 0)
    assert yard.fleet() == Fleet()
    assert contained_errors.count_by_hook["fleet"] == before + 1


# Expected values are what histogram_quantile(0.95, ...) of Prometheus 2.42 returns for these buckets.
@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0, 0], None),
        ([10, 0, 0, 0], 0.95),
        ([0, 10, 0, 0], 1.95),
        ([10, 5, 5, 0], 3.6),
        ([19, 0, 0, 1], 1.0),
        ([18, 0, 0, 2], 4.0),
        ([0, 0, 0, 3], 4.0),
        ([3, 4, 2, 1], 4.0),
    ],
)
def test_the_p95_is_estimated_as_prometheus_does(counts, expected):
    assert _quantile(0.95, (1, 2, 4), counts) == (expected if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0.001, 600), min_size=1, max_size=60))
def test_the_estimated_p95_is_in_the_bucket_of_the_true_one(durations):
    yard = Yard()
    for seconds in durations:
        yard.call("clerk", seconds=seconds)
    standing = yard.standing("clerk")
    # durations are measured as differences of clock readings
    measured = sorted(yard.clock() + seconds - yard.clock() for seconds in durations)
    true = measured[-(-95 * len(durations) // 100) - 1]
    bounds = [0, *[round(0.01 * 2**power, 10) for power in range(17)]]
    lower, upper = next((low, high) for low, high in itertools.pairwise(bounds) if low < true <= high)
    assert lower <= standing.p95_seconds <= upper
    assert standing.mean_seconds == pytest.approx(sum(measured) / len(measured))
