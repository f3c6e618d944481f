"""Series that no program should have, and some do: nothing raises, nothing warns, and what is found is a place in the series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.analytics.analysis.anomaly import judge
from agentgauge.analytics.analysis.findings import Shape
from agentgauge.analytics.anomalies import find_anomalies, survey
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from made_source import MadeSource

BEGIN = 1_700_006_400
BY_NAME = {measure.name: measure for measure in MEASURES}

ODD = st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 1e-200, 1e17])
RUNS = st.lists(st.tuples(st.one_of(ODD, st.floats(-1e6, 1e6)), st.integers(1, 60)), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(runs=RUNS, noise=st.sampled_from([0.0, 1e-9, 1.0, 1e150]), is_traffic=st.booleans(), period=st.sampled_from([None, 8]))
def test_of_no_series_anything_is_said_that_is_not_in_it(runs, noise, is_traffic, period):
    values = np.concatenate([np.full(length, value) for value, length in runs])
    with np.errstate(all="ignore"):
        values = values + noise * np.random.default_rng(1).normal(size=values.size)
    found = judge(values, period=period, is_traffic=is_traffic)
    assert all(0 <= one.first <= one.last < values.size for one in found.findings)
    assert all(one.score >= 1 for one in found.findings)
    assert not any(math.isnan(each) for one in found.findings for each in (one.score, one.expected, one.observed))
    assert math.isnan(found.now) == (np.count_nonzero(np.isfinite(values)) < 64)
    assert found.now >= 1 or not any(one.last == values.size - 1 for one in found.findings)


@pytest.mark.parametrize("size", [1e-120, 1e-3, 1e120])
def test_a_unit_does_not_matter(size):
    values = 5 + np.random.default_rng(4).normal(size=200)
    values[50] += 60
    values[120:160] += 9
    plain, other = judge(values), judge(values * size)
    assert [(one.first, one.last, one.shape) for one in plain.findings] == [
        (one.first, one.last, one.shape) for one in other.findings
    ]
    assert [one.observed * size for one in plain.findings] == pytest.approx([one.observed for one in other.findings])
    assert other.baseline.expected == pytest.approx(plain.baseline.expected * size)


def test_where_nearly_all_is_silence_that_is_found_and_nothing_else_is_judged():
    values = np.concatenate((np.full(40, 5.0) + np.random.default_rng(1).normal(size=40), np.zeros(60)))
    found = judge(values, is_traffic=True)
    assert [(one.first, one.last, one.shape) for one in found.findings] == [(40, 99, Shape.MISSING)]
    assert found.baseline is None
    assert found.now > 1


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 1.0, 3.0])
def test_events_that_are_few_and_far_between_are_no_levels_and_do_not_sway(rate):
    found = 0
    for seed in range(7700, 7710):
        found += len(judge(np.random.default_rng(seed).poisson(rate, 720).astype(float), alpha=0.0025).findings)
    assert found <= 2


@pytest.mark.parametrize("seed", range(7710, 7714))
def test_the_first_value_and_the_one_after_a_gap_are_no_leap_from_zero(seed):
    random, noise = np.random.default_rng(seed), np.zeros(720)
    noise[0] = 20.0  # of autocorrelated values of which the standard deviation is 10
    for at in range(1, noise.size):
        noise[at] = 0.97 * noise[at - 1] + 10 * np.sqrt(1 - 0.97**2) * random.normal()
    noise[300:310] = np.nan
    assert [one for one in judge(noise).findings if one.shape is Shape.SPIKE and one.first in {0, 310}] == []


def test_what_is_ten_times_as_high_for_an_hour_and_sways_ten_times_as_much_is_a_level_without_a_spike_in_it():
    for seed in range(7720, 7726):
        random = np.random.default_rng(seed)
        values = random.lognormal(0, 0.05, 288)
        values[200:212] *= 10
        found = judge(values).findings
        assert (200, 211, Shape.LEVEL_SHIFT) in {(one.first, one.last, one.shape) for one in found}
        assert Shape.SPIKE not in {one.shape for one in found}


@pytest.mark.parametrize("sways", [0.0, 0.1])
def test_a_level_that_never_changes_and_then_does_is_found_and_one_more_or_less_is_not(sways):
    open_files = 16.0 + (np.random.default_rng(7750).random(260) < sways)
    assert judge(open_files, alpha=0.001).findings == ()
    assert judge(np.where(np.arange(260) % 40 < 15, 17.0, 16.0), alpha=0.001).findings == ()
    open_files[200:] = 224.0
    found = judge(open_files, alpha=0.001)
    assert [(one.first, one.last, one.shape) for one in found.findings] == [(200, 259, Shape.LEVEL_SHIFT)]
    assert found.now > 1


def test_a_counter_that_begins_anew_and_gauges_that_are_no_numbers_make_no_anomaly():
    random, times = np.random.default_rng(7730), [BEGIN + 60.0 * minute for minute in range(300)]
    done = np.cumsum(random.poisson(50, size=300)).astype(float)
    done[150:] -= done[149]  # it ended and began between two sweeps
    source = MadeSource().add("agent_task_duration_seconds_count", times, done.tolist(), gen_ai_agent_name="r", agent_task="t")
    for agent, odd in (("nan", math.nan), ("inf", math.inf), ("constant", 3.0), ("zero", 0.0)):
        values = [odd] * 300 if odd in {3.0, 0.0} else [odd if at % 7 == 0 else random.normal() for at in range(300)]
        source.add("agent_tasks_in_progress", times, values, gen_ai_agent_name=agent, agent_task="t")
    source.add("agent_tasks_in_progress", times[5:6], [5.0], gen_ai_agent_name="once", agent_task="t")
    found = survey(source, Grid.over(BEGIN, times[-1], 60))
    assert [one for one in found.anomalies if one.shape != Shape.TOGETHER] == []  # chance makes one in twenty of those
    assert {one.signal.labels["gen_ai_agent_name"] for one in found.unjudged} == {"once"}


@pytest.mark.parametrize("seed", range(7740, 7744))
def test_an_agent_that_is_called_once_a_minute_and_is_slow_for_two_hours_of_a_day_is_found(seed):
    random, source, times = np.random.default_rng(seed), MadeSource(), [BEGIN + 60.0 * minute for minute in range(1440)]
    calls = [random.lognormal(-1, 0.5, random.poisson(1)) * (10 if 900 <= minute < 1020 else 1) for minute in range(1440)]
    for suffix, made in (("count", [len(each) for each in calls]), ("sum", [each.sum() for each in calls])):
        name, sums = f"agent_task_duration_seconds_{suffix}", np.cumsum(made).astype(float).tolist()
        source.add(name, times, sums, gen_ai_agent_name="a", agent_task="t", outcome="success")
    found = find_anomalies(source, Grid.over(BEGIN, BEGIN + 86400, 60), measures=[BY_NAME["task_duration_mean"]])
    assert len(found) == 1
    assert found[0].start - BEGIN == pytest.approx(900 * 60, abs=3000)
    assert found[0].end - BEGIN == pytest.approx(1020 * 60, abs=1200)
