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


SPEED, LIFE = 3, 3600  # calls a sweep of the old program, and for how many seconds it ran


def two_programs(gap, first, source=None):
    """Make a program that ends at START, and its next process that begins a gap later, has so much at first, and 40 sweeps."""
    source = source or MadeSource()
    old = [START - LIFE + 15 * place for place in range(LIFE // 15 + 1)]
    new = [START + gap + 1, *(START + gap + 15 * place for place in range(1, 41))]
    starts = [START - LIFE - 1.0] * len(old) + [START + gap + 0.5] * len(new)
    counts = [SPEED * place for place in range(len(old))] + [first + 2 * place for place in range(len(new))]
    source.add("process_start_time_seconds", [*old, *new], starts)
    return source.add(CALLS, [*old, *new], counts, outcome="success", **TASK)


@pytest.mark.parametrize("first", [0, 1, 5000])
@pytest.mark.parametrize("step", [1, 15, 60, 600])
@pytest.mark.parametrize("gap", [20, 101, 290, 310, 1000])
def test_a_window_that_begins_between_two_processes_has_what_the_new_one_did_alone(gap, step, first):
    source, end = two_programs(gap, first), START + 2400
    for since in range(START - 400, START + gap, 19):
        grid = Grid.over(since, end, step)
        begin = grid.start - step
        last = max(at for at in (begin, *grid.times) if at < START + gap + 1)  # no step shows what the old one did later
        of_old = SPEED * (min(LIFE, last - START + LIFE) // 15 - min(LIFE, begin - START + LIFE) // 15)
        assert totals(source, grid, CALLS, ()) == {(): of_old + first + 80}, since - START


def test_a_counter_that_the_next_process_has_only_after_its_first_call_began_at_zero():
    source = MadeSource().add(
        "process_start_time_seconds", [START, START + 1, START + 4, START + 5, START + 6], [1, 1, *[START + 3.0] * 3]
    )
    source.add(CALLS, [START, START + 1, START + 4, START + 5, START + 6], [7, 9, math.nan, 30, 31], outcome="success", **TASK)
    grown = Totals(source, Grid.over(START, START + 6, 1)).steps(CALLS, (), is_over_gaps=False)[()]
    assert [(index, value) for index, value in enumerate(grown) if value > 0] == [(0, 2), (4, 30), (5, 1)]


def test_what_is_looked_back_for_of_a_counter_that_the_next_process_lacks_does_not_count():
    source = MadeSource().add(
        "process_start_time_seconds", [START, START + 60, START + 120, START + 180], [1, 1, *[START + 90.0] * 2]
    )
    source.add(CALLS, [START, START + 60], [7, 9], outcome="success", **TASK)
    assert totals(source, Grid.over(START, START + 180, 60), CALLS, ()) == {(): 2}


@pytest.mark.parametrize("metric", ["system_disk_io_bytes_total", "container_cpu_throttled_time_seconds_total"])
def test_what_a_machine_counted_before_a_program_began_is_none_of_its_growth(metric):
    source = program(START + 0.5, [2, 5, 9, 12]).add(metric, [START + at for at in range(1, 5)], [1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3])
    assert totals(source, Grid.over(START, START + 4, 1), metric, ()) == {(): 3}
