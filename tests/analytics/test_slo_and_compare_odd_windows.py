"""Objectives and comparisons where programs begin anew or late, windows are of unequal length, and there is a call or none."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentgauge.analytics.compare import Verdict, compare
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.recommend import recommend
from agentgauge.analytics.slo import Kept, slo_report
from agentgauge.analytics.slo.periods import periods
from made_source import MadeSource

BEGIN = 1_700_006_400 // 86400 * 86400
CALLS = "agent_task_duration_seconds_count"
TASK = {"gen_ai_agent_name": "researcher", "agent_task": "search"}
NAN = math.nan
ZONES = ("UTC", "Europe/Berlin", "America/Santiago", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe", "Asia/Beirut")
RATES = [measure for measure in MEASURES if measure.name in {"task_rate", "task_error_ratio"}]


def counters(good, bad, times=None):
    """Make a task's counters of what they were at each minute."""
    times = times or [BEGIN + 60 * minute for minute in range(len(good))]
    source = MadeSource().add("agent_objective_success_ratio", times, [0.9] * len(times), **TASK)
    for outcome, values in (("success", good), ("error", bad)):
        source.add(CALLS, times, values, outcome=outcome, **TASK)
    return source


def within(source, minutes, **how):
    (result,) = slo_report(source, Grid.over(BEGIN, BEGIN + 60 * minutes, 60), **how).results
    return result


@pytest.mark.parametrize(("bad", "kept"), [(0, Kept.KEPT), (1, Kept.MISSED)])
def test_one_call_keeps_an_objective_or_misses_it_and_is_no_incident(bad, kept):
    one = [0.0] * 5 + [1.0] * 6
    result = within(counters([value * (not bad) for value in one], [value * bad for value in one]), 10)
    assert (result.whole.kept, result.whole.calls, result.incidents) == (kept, 1, ())
    assert math.isnan(result.mttr_seconds)
    assert result.budget.remaining_ratio == pytest.approx(-9 if bad else 1)


def test_an_agent_that_appears_in_mid_window_has_no_data_before_and_all_of_its_calls_after():
    minutes = 3 * 1440
    late = [NAN if minute < 2000 else 2.0 * (minute - 2000) for minute in range(minutes + 1)]
    source = counters(late, [value * 0 for value in late])
    source.add("process_start_time_seconds", [BEGIN + 60 * minute for minute in range(minutes + 1)], [BEGIN - 60] * (minutes + 1))
    result = within(source, minutes)
    assert [(part.kept, part.calls) for part in result.periods] == [
        (Kept.NO_DATA, 0),
        (Kept.KEPT, 2 * (2880 - 2000)),
        (Kept.KEPT, 2880),
    ]


def test_a_counter_that_begins_anew_has_no_calls_undone_and_none_twice():
    good = [10.0 * (minute if minute < 50 else minute - 50) for minute in range(101)]
    bad = [float(minute if minute < 50 else minute - 50) for minute in range(101)]
    result = within(counters(good, bad), 100)
    assert (result.whole.calls, result.whole.bad) == (11 * 99, 99)  # nobody sees what came after the last sample before it
    before, after = Grid.over(BEGIN, BEGIN + 1800, 60), Grid.over(BEGIN + 1800, BEGIN + 6000, 60)
    for one in compare(counters(good, bad), before, after, measures=RATES).differences:
        assert one.verdict in {Verdict.SAME, Verdict.UNCLEAR}
        assert one.difference == pytest.approx(0, abs=0.02 * max(one.before, 1))


@pytest.mark.parametrize("more", [1, 2])
def test_windows_of_unequal_length_and_step_are_compared_by_what_happened_a_second(more):
    random = np.random.default_rng(3)
    minutes = 60 * 8
    calls = random.poisson(np.where(np.arange(minutes) < 120, 8, 8 * more))
    bad = random.binomial(calls, 0.1)
    source = counters(np.cumsum([0, *(calls - bad)]).tolist(), np.cumsum([0, *bad]).tolist())
    before, after = Grid.over(BEGIN, BEGIN + 7200, 60), Grid.over(BEGIN + 7200, BEGIN + 60 * minutes, 300)
    found = {one.measure.name: one for one in compare(source, before, after, measures=RATES).differences}
    true = 8 * (more - 1) / 60
    assert true in found["task_rate"].interval
    assert (found["task_rate"].verdict is Verdict.CHANGED) is (more > 1)
    assert found["task_error_ratio"].verdict not in {Verdict.WORSE, Verdict.BETTER}


def test_what_only_one_window_has_is_said_and_not_compared():
    minutes = 240
    late = [NAN if minute < 150 else 2.0 * minute for minute in range(minutes + 1)]
    source = counters(late, late)
    comparison = compare(source, Grid.over(BEGIN, BEGIN + 7200, 60), Grid.over(BEGIN + 7200, BEGIN + 14400, 60), measures=RATES)
    assert comparison.differences == ()
    assert set(comparison.not_compared) == {
        ("tasks, researcher, search", "only after"),
        ("error ratio, researcher, search", "only after"),
    }


def test_counters_that_stand_still_are_no_advice_no_difference_and_no_data():
    source = counters([5.0] * 241, [0.0] * 241)
    assert recommend(source, Grid.over(BEGIN, BEGIN + 14400, 60)) == []
    assert within(source, 240).whole.kept is Kept.NO_DATA
    comparison = compare(source, Grid.over(BEGIN, BEGIN + 7200, 60), Grid.over(BEGIN + 7200, BEGIN + 14400, 60), measures=RATES)
    assert {why for _, why in comparison.not_compared} == {"nothing happened", "fewer than 10 calls"}


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
    st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
    st.floats(1, 100 * 86400),
)
@example("America/Havana", "day", datetime(2024, 11, 3, 5, 30), 3600.0)  # noqa: DTZ001 - its day has two midnights
def test_periods_of_any_calendar_follow_each_other_without_a_hole_and_begin_a_day_of_it(zone, period, begin, length):
    timezone, start = ZoneInfo(zone), begin.replace(tzinfo=UTC).timestamp()
    cuts = list(periods(start, start + length, period, timezone))
    assert cuts[0][0] <= start < cuts[0][1]
    assert cuts[-1][0] < start + length <= cuts[-1][1]
    assert all(one[1] == other[0] for one, other in pairwise(cuts))
    for first, last in cuts:
        local, before = (datetime.fromtimestamp(at, timezone) for at in (first, first - 1))
        assert local.date() == before.date() + timedelta(days=1)  # also where no clock shows midnight that day
        assert first < last
        assert period != "week" or local.weekday() == 0
        assert period != "month" or local.day == 1
