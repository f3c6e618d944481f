"""Measures: what analysis looks at, by subject, from the series that agentgauge exports."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agentgauge import catalogue
from agentgauge.analytics.frames import Fold, Grid, increases, quantiles
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.outcomes import BAD, COUNTED, FAILED, JUDGED, SUCCESS
from agentgauge.analytics.signals import read
from agentgauge.errors import ConfigurationError
from dashboards.build import promql
from made_source import MadeSource

START = 1_700_000_000 // 60 * 60
TIMES = [START + 60 * minute for minute in range(11)]
GRID = Grid.over(START, START + 600, 60)
BY_NAME = {measure.name: measure for measure in MEASURES}
TASK = {"gen_ai_agent_name": "researcher", "agent_task": "search"}


def signal(source, name, **how):
    (found,) = read(BY_NAME[name], source, GRID, **how)
    return list(found.values)


def test_a_grid_has_the_multiples_of_its_step_after_the_beginning_and_up_to_the_end():
    grid = Grid.over(START + 1, START + 301, 60)
    assert grid.times == [START + 60 * minute for minute in range(1, 6)]
    assert grid.end == START + 300
    assert Grid.over(START, START + 86400).step_seconds == 60


@pytest.mark.parametrize("window", [(5, 5), (6, 5), (math.nan, 5), (61, 62)])
def test_a_window_without_a_time_is_refused(window):
    with pytest.raises(ConfigurationError, match="window"):
        Grid.over(*window, step_seconds=60)


def test_a_counter_that_restarts_has_grown_by_what_it_has_since():
    source = MadeSource().add("calls_total", TIMES, [0, 10, 20, 5, 15, 25, 25, 25, 30, 35, 40])
    (frame,) = source.frames("calls_total", GRID)
    assert list(increases(frame))[1:] == [10, 5, 10, 10, 0, 0, 5, 5, 5]


def test_a_counter_that_begins_while_its_program_is_seen_began_at_zero():
    other = {"gen_ai_agent_name": "writer", "agent_task": "write"}
    source = MadeSource().add("agent_task_retries_total", TIMES, range(11), **TASK)
    source.add("agent_task_retries_total", TIMES, [math.nan] * 5 + [3] * 6, **other)
    of_writer = read(BY_NAME["task_retry_rate"], source, GRID)[1]
    assert of_writer.labels == other
    assert of_writer.values[4] == 3 / 60
    assert math.isnan(of_writer.values[3])


def test_an_error_ratio_counts_neither_what_was_cancelled_nor_what_was_abandoned():
    source = MadeSource()
    for outcome, by_minute in {"success": 6, "error": 1, "timeout": 1, "cancelled": 5, "abandoned": 5}.items():
        source.add(
            "agent_task_duration_seconds_count", TIMES, [by_minute * minute for minute in range(11)], outcome=outcome, **TASK
        )
    assert signal(source, "task_error_ratio")[1:] == [0.25] * 9


STOPPED = (
    "asyncio.exceptions.CancelledError",
    "concurrent.futures._base.CancelledError",
    "GeneratorExit",
    "cancelled",
    "SystemExit",
)


@pytest.mark.parametrize(
    ("name", "family", "whose"),
    [
        ("tool_error_ratio", "gen_ai_execute_tool_duration_seconds", {"gen_ai_tool_name": "find"}),
        ("lm_error_ratio", "gen_ai_client_operation_duration_seconds", {"gen_ai_request_model": "small"}),
    ],
)
def test_an_error_ratio_of_calls_leaves_out_what_was_cancelled_as_that_of_tasks_does(name, family, whose):
    source = MadeSource()
    for error_type, by_minute in {"": 6, "ValueError": 1, "TimeoutError": 1, **dict.fromkeys(STOPPED, 5)}.items():
        ended = {"error_type": error_type} if error_type else {}
        source.add(f"{family}_count", TIMES, [by_minute * minute for minute in range(11)], **ended, **whose)
    assert signal(source, name)[1:] == [0.25] * 9
    assert f"{{{FAILED}}}" in BY_NAME[name].query
    assert f"{{{JUDGED}}}" in BY_NAME[name].query


def test_rules_and_dashboards_mean_the_same_by_a_call_that_failed():
    assert (promql.FAILED, promql.JUDGED_CALLS) == (FAILED, JUDGED)
    assert (promql.BAD, promql.JUDGED, promql.GOOD) == (BAD, COUNTED, SUCCESS)
    rules = Path(__file__).parents[2] / "alerts" / "rules"
    assert f"{{{FAILED}}}" in (rules / "tools.yml").read_text("utf-8")
    for name in ("tools.yml", "models.yml"):
        assert f"{{{JUDGED}}}" in (rules / name).read_text("utf-8")


def test_a_percentile_is_that_of_all_instances_together():
    source = MadeSource()
    for instance, counts in {"a": (90, 90, 90), "b": (0, 5, 10)}.items():
        for bound, count in zip(("1.0", "2.0", "+Inf"), counts, strict=True):
            growth = [count * minute for minute in range(11)]
            source.add(
                "gen_ai_execute_tool_duration_seconds_bucket", TIMES, growth, gen_ai_tool_name="find", le=bound, instance=instance
            )
    assert signal(source, "tool_duration_p95")[1:] == [2.0] * 9
    assert len(read(BY_NAME["tool_duration_p95"], source, GRID, per_instance=True)) == 2


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        ((0, 0, 0), 0.5, math.nan),
        ((10, 10, 10), 0.5, 0.5),
        ((0, 10, 10), 0.5, 1.5),
        ((0, 0, 10), 0.5, 2.0),
        ((5, math.nan, 10), 0.25, 0.5),
    ],
)
def test_quantiles_are_those_of_promql(counts, q, expected):
    found = quantiles({1.0: [counts[0]], 2.0: [counts[1]], math.inf: [counts[2]]}, q)
    assert list(found) == pytest.approx([expected], nan_ok=True)


def test_every_measure_reads_families_that_the_catalogue_has_by_labels_that_they_bear():
    families = {family.name: family for family in catalogue.FAMILIES}
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    asked = []

    class Asked(MadeSource):
        def frames(self, metric, grid, labels=None, fold=Fold.LAST):
            asked.append((metric, measure))
            return []

    for measure in MEASURES:
        read(measure, Asked(), GRID)
    for metric, measure in asked:
        base = next(
            metric.removesuffix(suffix) for suffix in ("_bucket", "_count", "_sum", "") if metric.removesuffix(suffix) in families
        )
        assert set(measure.by) <= set(families[base].labels), measure.name
        assert metric in measure.query, measure.name
