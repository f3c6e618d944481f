"""What counters grew by: from what a program did before its first sample to what it did in its last seconds."""

from __future__ import annotations

import math

import pytest

from agentgauge.analytics.compare import compare
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.slo import slo_report
from agentgauge.analytics.totals import Totals, grown_in, totals, whole_grid
from made_source import MadeSource

START = 1_700_000_000 // 60 * 60
TASK = {"gen_ai_agent_name": "researcher", "agent_task": "search"}
CALLS = "agent_task_duration_seconds_count"


def program(begin, counts, first=1, every=1, **labels):
    """Make a program that began then, with a counter that was so much at each sample from the first on."""
    times = [START + first + every * place for place in range(len(counts))]
    source = MadeSource().add("process_start_time_seconds", times, [begin] * len(times), **labels)
    source.add("agent_objective_success_ratio", times, [0.9] * len(times), **TASK, **labels)
    return source.add(CALLS, times, counts, outcome="success", **TASK, **labels)


def counted(source, grid):
    (result,) = slo_report(source, grid).results
    return result.whole.calls


def test_what_a_program_did_before_its_first_sample_counts_where_it_began_in_the_window():
    source = program(START + 0.5, [2, 5, 9, 12])
    grid = Grid.over(START, START + 4, 1)
    assert totals(source, grid, CALLS, ()) == {(): 12}
    assert list(grown_in(CALLS, lambda _: True, source, grid, ())[()]) == [2, 3, 4, 3]
    assert counted(source, grid) == 12


def test_what_a_program_did_before_the_window_does_not_count():
    source = program(START - 500, [2, 5, 9, 12])
    grid = Grid.over(START, START + 4, 1)
    assert totals(source, grid, CALLS, ()) == {(): 10}
    assert math.isnan(grown_in(CALLS, lambda _: True, source, grid, ())[()][0])
    assert counted(source, grid) == 10


def test_a_window_that_was_asked_from_earlier_is_widened_to_where_its_program_began():
    source = program(START - 2.5, [2, 5, 9, 12])
    clipped = Grid.over(START, START + 4, 1)
    assert counted(source, clipped) == 10
    wide = whole_grid(source, clipped, since=START - 3600, until=START + 4)
    assert wide == Grid.over(START - 3, START + 4, 1)
    assert counted(source, wide) == 12
    assert whole_grid(source, clipped, since=START - 2, until=START + 4) == clipped
    old = program(START - 900, [2, 5, 9, 12])
    assert whole_grid(old, clipped, since=START - 3600, until=START + 4) == clipped


def test_what_came_after_the_last_whole_step_counts_where_nothing_more_came():
    source = program(START + 1, [2, 5, 9, 12], first=10, every=25)  # samples at 10, 35, 60 and 85 s
    grid = Grid.over(START, START + 85, 30)
    assert counted(source, grid) == 9
    assert counted(source, whole_grid(source, grid, since=START, until=START + 85)) == 12
    assert whole_grid(source, grid, since=START, until=START + 70) == grid


def test_a_counter_that_begins_while_its_program_is_seen_began_at_zero():
    source = program(START - 500, [math.nan, math.nan, 3, 4])
    assert totals(source, Grid.over(START, START + 4, 1), CALLS, ()) == {(): 4}


def test_what_grew_since_the_first_sample_within_a_step_counts():
    source = program(START - 500, [100, 103, 107], first=10, every=25)
    grid = Grid.over(START, START + 60, 30)
    assert Totals(source, grid, first=START + 10).by(CALLS, ()) == {(): 7}
    assert counted(source, grid) == 7


def test_what_a_counter_did_unseen_is_added_where_it_is_seen_again():
    source = MadeSource().add(CALLS, [START, START + 60, START + 1200, START + 1260], [5, 8, 20, 21], **TASK)
    grid = Grid.over(START, START + 1260, 60)
    grown = Totals(source, grid).steps(CALLS, ())[()]
    assert [(index, value) for index, value in enumerate(grown) if value > 0] == [(0, 3), (19, 12), (20, 1)]
    assert sum(value > 0 for value in Totals(source, grid).steps(CALLS, (), is_over_gaps=False)[()]) == 2


@pytest.mark.parametrize("begin", [START + 0.5, START - 500])
def test_programs_are_told_apart_and_added_up(begin):
    source = program(begin, [2, 5, 9, 12], instance="a")
    source.series += program(START + 2.5, [4, 5], first=3, instance="b").series
    assert totals(source, Grid.over(START, START + 4, 1), CALLS, ()) == {(): (12 if begin > START else 10) + 5}


def test_a_comparison_counts_what_each_program_did_from_its_first_call_on():
    source = program(START + 0.5, [7 * place for place in range(1, 31)], first=1)
    before, after = Grid.over(START, START + 15, 1), Grid.over(START + 15, START + 30, 1)
    (found,) = compare(source, before, after, measures=[one for one in MEASURES if one.name == "task_rate"]).differences
    assert (found.count_before, found.count_after) == (105, 105)


@pytest.mark.parametrize("metric", ["system_disk_io_bytes_total", "container_cpu_throttled_time_seconds_total"])
def test_what_a_machine_counted_before_a_program_began_is_none_of_its_growth(metric):
    source = program(START + 0.5, [2, 5, 9, 12]).add(metric, [START + at for at in range(1, 5)], [1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3])
    assert totals(source, Grid.over(START, START + 4, 1), metric, ()) == {(): 3}
