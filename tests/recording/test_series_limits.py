"""Labels stay bounded: names and error types past their limits share a series, and totals stay right."""

from __future__ import annotations

import contextlib
import gc
import sys

import pytest

from agentgauge import Objective, agent, task, tool, track, workflow
from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.recording.recorder import SOFT_LIMIT
from agentgauge.recording.series import SeriesKind

COUNT = "agent_task_duration_seconds_count"
RECORDED = "agentgauge_events_recorded_total"
DROPPED = "agentgauge_events_dropped_total"
OVERFLOWED = "agentgauge_series_overflowed_total"
RUNS = "gen_ai_invoke_agent_duration_seconds_count"
TOOLS = "gen_ai_execute_tool_duration_seconds_count"


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
    assert len(fresh.recorder.admission._tracked) <= limit
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


# --- many distinct names --------------------------------------------------------------------------------------------------

MOST_NAMES = 100_000
NAMES = 5_000  # where a name costs more than a call
WARM_UP = 3_000  # limits are reached, histories are full
HISTORY = 1_000
CLASSES = 4_000  # to make a class costs as much as ten calls


def assert_memory_is_flat(fresh, use, names, *, warm_up):
    """Use so many names; whatever were kept of a name would be one block of memory at least."""
    for number in range(warm_up):
        use(number)
    before = held_blocks(fresh)
    for number in range(warm_up, names):
        use(number)

    growth = held_blocks(fresh) - before
    assert growth < (names - warm_up) / 20


def held_blocks(fresh):
    """Count the blocks of memory that are in use once all is folded; tracemalloc would make the names take five times as long."""
    fresh.recorder.drain()
    gc.collect()
    return sys.getallocatedblocks()


def decorate_functions(fresh):
    def use(number):
        task(f"task-{number}")(lambda: 1)()

    yield use
    assert total(fresh, COUNT) == NAMES
    assert fresh.value(OVERFLOWED, kind="task") == NAMES - 1_000


def track_tasks(fresh):
    def use(number):
        with track("scout", f"task-{number}"):
            pass

    yield use
    assert total(fresh, COUNT, gen_ai_agent_name="scout") == 1_000
    assert total(fresh, COUNT) == total(fresh, RUNS, gen_ai_agent_name="scout") == MOST_NAMES


def track_agents_with_a_tool_and_a_workflow_each(fresh):
    search, plan = tool("search")(lambda: 1), workflow("plan")(lambda: 1)

    def use(number):
        with track(f"agent-{number}", "work"):
            search()
            plan()

    yield use
    assert total(fresh, COUNT) == total(fresh, RUNS) == total(fresh, TOOLS) == NAMES
    assert total(fresh, "gen_ai_invoke_workflow_duration_seconds_count", gen_ai_workflow_name="plan") == NAMES


def raise_error_types(fresh):
    @task
    def work(error):
        raise error

    def use(number):
        with contextlib.suppress(LookupError):
            work(type(f"Error{number}", (LookupError,), {}))
        with track("scout", "rerank") as call:
            call.set_outcome("error", error_type=f"Error{number}")

    yield use
    assert total(fresh, COUNT, agent_task="work", outcome="error") == NAMES
    for name in ("work", "rerank"):
        errors = total(fresh, "agent_task_errors_total", agent_task=name)
        assert errors == NAMES
        assert total(fresh, "agent_task_errors_total", agent_task=name, error_type="_OTHER") == NAMES - 16


def report_agents(fresh):
    def use(number):
        collector = AgentMetricsCollector(f"agent-{number}", recorder=fresh.recorder, task_limit=4, history_limit=4)
        collector.set_state("idle")
        collector.start_task(1, "file")
        collector.complete_task(1)
        collector.complete_task(1)

    yield use
    assert total(fresh, COUNT) == total(fresh, RUNS) == NAMES
    assert total(fresh, "agent_task_protocol_faults_total", fault="already_ended") == 1_000
    assert total(fresh, "agent_task_protocol_faults_total") == NAMES
    assert total(fresh, "agent_state") == 1_000


def report_one_agent(fresh):
    collector = AgentMetricsCollector("clerk", recorder=fresh.recorder, history_limit=HISTORY)

    def use(number):
        collector.start_task(f"task-{number}", f"type-{number}", 100)
        collector.fail_task(f"task-{number}", f"message {number}", f"category-{number}")
        collector.update_queue_size(number, f"queue-{number}")
        collector.record_queue_wait(1, f"queue-{number}")
        collector.set_custom_metric(f"metric-{number}", number)

    yield use
    assert total(fresh, "agent_task_errors_total") == total(fresh, COUNT, outcome="error") == NAMES
    assert total(fresh, "agent_queue_wait_seconds_count") == NAMES
    assert total(fresh, "agent_queue_wait_seconds_count", queue="other") == NAMES - 1_000
    assert collector.get_error_summary().total == NAMES
    kinds = ("agent_queue_depth", "agent_custom_metric", "agent_queue_wait_seconds")
    assert {fresh.value(OVERFLOWED, kind=kind) for kind in kinds} == {NAMES - 1_000}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (track_tasks, MOST_NAMES),
        (decorate_functions, NAMES),
        (track_agents_with_a_tool_and_a_workflow_each, NAMES),
        (raise_error_types, NAMES),
        (report_agents, NAMES),
        (report_one_agent, NAMES),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_many_names_leave_memory_flat_and_totals_right(fresh, name, count):
    program = name(fresh)
    assert_memory_is_flat(fresh, next(program), count, warm_up=WARM_UP)

    assert next(program, "all totals right") == "all totals right"
    assert fresh.value(DROPPED) == 0
    page = samples(fresh.registry)
    assert len(page) == len(set(page))


def test_agent_classes_made_at_run_time_leave_memory_flat_and_totals_right(fresh):
    class Base:
        @task
        def work(self):
            return 1

    def use(number):
        agent(f"agent-{number}")(type("Sub", (Base,), {}))().work()

    assert_memory_is_flat(fresh, use, CLASSES, warm_up=CLASSES // 3)

    assert total(fresh, COUNT, agent_task="work") == 1_000
    assert total(fresh, COUNT) == total(fresh, RUNS) == CLASSES


def test_tasks_that_end_long_after_their_start_pile_nothing_up_where_nobody_scrapes(fresh):
    collector = AgentMetricsCollector("clerk", recorder=fresh.recorder, task_limit=5_000)
    longest = 0
    for number in range(40_000):
        collector.start_task(number, "never ended")
        longest = max(longest, len(fresh.recorder.open))

    assert longest < 12_000
    assert total(fresh, COUNT, outcome="abandoned") == 35_000
    assert fresh.value("agent_tasks_in_progress", gen_ai_agent_name="clerk", agent_task="never ended") == 5_000


def test_one_scrape_shows_all_that_overflowed_before_it(fresh):
    with contextlib.ExitStack() as still_running:
        for number in range(3_000):
            still_running.enter_context(track("scout", "work")).set_outcome("error", error_type=f"Error{number}")
        fresh.recorder.drain()

    assert fresh.value(OVERFLOWED, kind="error_type") == 3_000 - 16
    assert not fresh.recorder.observations
