"""Labels stay bounded: names and error types past their limits share a series, and totals stay right."""

from __future__ import annotations

import contextlib

import pytest

from agentgauge import Objective, agent, task, tool, track
from agentgauge.recording.recorder import SOFT_LIMIT
from agentgauge.recording.series import SeriesKind

COUNT = "agent_task_duration_seconds_count"
RECORDED = "agentgauge_events_recorded_total"
DROPPED = "agentgauge_events_dropped_total"
OVERFLOWED = "agentgauge_series_overflowed_total"


def total(fresh, name, **labels):
    return sum(
        sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def samples(registry):
    return [(sample.name, tuple(sorted(sample.labels.items()))) for metric in registry.collect() for sample in metric.samples]


def test_ten_thousand_names_leave_bounded_tables_and_right_totals(fresh):
    for number in range(10_000):
        with track(f"agent-{number}", f"task-{number}"):
            fresh.clock.advance(0.001)

    limit = fresh.recorder.series_limit
    assert len(fresh.recorder.series[SeriesKind.TASK]) <= limit + 1
    assert len(fresh.recorder.series[SeriesKind.RUN]) <= limit + 1
    assert len(fresh.recorder._tracked) <= limit
    assert fresh.value(COUNT, gen_ai_agent_name="other", agent_task="other", outcome="success") == 10_000 - limit
    assert total(fresh, COUNT) == 10_000
    assert total(fresh, "gen_ai_invoke_agent_duration_seconds_count") == 10_000
    assert fresh.value(OVERFLOWED, kind="task") == 10_000 - limit
    assert not fresh.recorder.observations
    page = samples(fresh.registry)
    assert len(page) == len(set(page))


def test_decorated_functions_past_the_limit_share_other_too(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 3)
    for number in range(10):
        for decorator in (task, tool):
            work = decorator(f"work-{number}")(lambda: 1)
            work()
            work()

    assert fresh.value(COUNT, gen_ai_agent_name="other", agent_task="other", outcome="success") == 14
    assert total(fresh, COUNT) == 20
    assert total(fresh, "gen_ai_execute_tool_duration_seconds_count") == 20
    assert fresh.value(OVERFLOWED, kind="task") == fresh.value(OVERFLOWED, kind="tool") == 14


def test_names_admitted_before_the_limit_keep_their_series(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 1)
    first, second = task("first")(lambda: 1), task("second")(lambda: 1)
    for _ in range(3):
        first()
        second()

    assert fresh.value(COUNT, agent_task="first", outcome="success") == 3
    assert fresh.value(COUNT, gen_ai_agent_name="other", agent_task="other", outcome="success") == 3


OTHER = {"gen_ai_agent_name": "other", "agent_task": "other"}


def test_other_shows_the_oldest_start_and_the_last_success(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 1)
    task("first")(lambda: 1)()
    with track("", "a"):
        fresh.clock.advance(5)
        with track("", "b"):
            assert fresh.value("agent_task_oldest_start_timestamp_seconds", **OTHER) == 1_000
            assert fresh.value("agent_tasks_in_progress", **OTHER) == 2
            fresh.clock.advance(1)
    fresh.clock.advance(1)

    assert fresh.value("agent_task_last_success_timestamp_seconds", **OTHER) == 1_006


def test_the_name_still_flows_past_the_limit(fresh, monkeypatch):
    monkeypatch.setattr(fresh.recorder, "series_limit", 1)
    inner = task("inner")(lambda: 1)
    inner()

    @agent("late")
    def work():
        return inner() + inner()

    work()

    assert total(fresh, "gen_ai_invoke_agent_duration_seconds_count") == 1
    assert total(fresh, COUNT) == 4


def test_error_types_past_their_limit_fold_into_other_and_totals_stay_right(fresh):
    @task
    def work(number):
        raise type(f"Error{number}", (Exception,), {"__module__": "builtins"})

    for number in range(100):
        for _ in range(2):
            with pytest.raises(Exception):  # noqa: B017 - each has a class of its own
                work(number)

    errors = {
        sample.labels["error_type"]: sample.value
        for metric in fresh.registry.collect()
        for sample in metric.samples
        if sample.name == "agent_task_errors_total"
    }
    assert len(errors) == 17
    assert errors["Error0"] == 2
    assert sum(errors.values()) == 200
    assert fresh.value(OVERFLOWED, kind="error_type") == errors["_OTHER"] == 168


def test_error_types_past_their_limit_pile_nothing_up_where_nobody_scrapes(fresh):
    errors = [type(f"Error{number}", (Exception,), {}) for number in range(1_000)]

    @agent("scout")
    def work(error):
        raise error

    for number in range(20 * SOFT_LIMIT):
        with contextlib.suppress(Exception):
            work(errors[number % len(errors)])

    assert len(fresh.recorder.observations) <= 3 * SOFT_LIMIT
    series = fresh.recorder.series[SeriesKind.RUN]["scout", ""]
    assert len(series.failures) == 17


def test_error_types_of_tools_are_limited_too(fresh):
    @tool
    def work(number):
        raise type(f"Error{number}", (Exception,), {"__module__": "builtins"})

    for number in range(100):
        with pytest.raises(Exception):  # noqa: B017 - each has a class of its own
            work(number)

    family = "gen_ai_execute_tool_duration_seconds_count"
    assert total(fresh, family) == 100
    assert fresh.value(family, gen_ai_tool_name="work", error_type="_OTHER") == 84


def test_an_objective_that_comes_second_is_exported(fresh):
    task("work")(lambda: 1)()
    task("work", objective=Objective(success_ratio=0.9))(lambda: 1)()

    assert fresh.value("agent_objective_success_ratio", agent_task="work") == 0.9
