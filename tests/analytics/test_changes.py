import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.datasets import nile

from agentgauge.analytics.analysis.changes import change_points
from agentgauge.errors import ConfigurationError

# developed on the seeds 3, 4 and 5, judged on others


def autoregressive(memory, count, random):
    course = np.zeros(count + 100)
    noise = random.standard_normal(count + 100)
    for at in range(1, count + 100):
        course[at] = memory * course[at - 1] + noise[at]
    return course[100:]


def steps(*levels_and_counts):
    return np.concatenate([np.full(count, float(level)) for level, count in levels_and_counts])


def test_the_flow_of_the_nile_fell_after_1898_as_cobb_1978_found():
    flow = nile.load_pandas().data
    (change,) = change_points(flow.volume)
    assert flow.year[change.index] == 1899
    assert (change.before, change.after) == (1130.0, 842.5)
    assert change.p_value < 1e-6


NOISES = {
    "white": lambda random: random.standard_normal(240),
    "heavy tails": lambda random: random.standard_t(2, 240),
    "skewed": lambda random: random.lognormal(0, 1, 240),
    "counts": lambda random: random.poisson(0.7, 240).astype(float),
    "shares of few calls": lambda random: random.binomial(18, 0.02, 240) / random.integers(14, 23, 240),
    "memory of 0.5": lambda random: autoregressive(0.5, 240, random),
    "memory of 0.8": lambda random: autoregressive(0.8, 240, random),
}


@pytest.mark.parametrize(("noise", "most"), [(name, 0.1 if "0.8" in name else 0.05) for name in NOISES])
def test_noise_has_no_changes(noise, most):
    alarms = sum(bool(change_points(NOISES[noise](np.random.default_rng(seed)))) for seed in range(1000, 1100))
    assert alarms / 100 <= most


@pytest.mark.parametrize(("height", "least"), [(1.5, 0.85), (3.0, 0.97), (20.0, 0.97)])
def test_a_step_is_found_where_it_is(height, least):
    found = [
        change_points(np.random.default_rng(seed).standard_normal(120) + steps((5, 70), (5 + height, 50)))
        for seed in range(2000, 2060)
    ]
    right = [len(changes) == 1 and abs(changes[0].index - 70) <= 5 for changes in found]
    assert sum(right) / len(right) >= least


def test_several_steps_are_found_each_with_the_levels_about_it():
    right = 0
    for seed in range(3000, 3030):
        values = np.random.default_rng(seed).standard_normal(300) + steps((0, 100), (4, 60), (0, 80), (3, 60))
        found = change_points(values)
        right += len(found) == 3 and all(
            abs(change.index - at) <= 3 and abs(change.after - after) < 0.8
            for change, at, after in zip(found, (100, 160, 240), (4, 0, 3), strict=True)
        )
    assert right >= 28


def test_a_share_of_few_calls_is_no_step_where_about_half_of_the_neighbours_are_equal():
    calls = 3 * [18, 20, 20, 19, 18, 22, 16, 11, 19, 21, 20, 18, 22, 25, 20, 19]
    failed = {0: 1, 2: 1, 5: 1, 6: 1, 7: 2, 13: 1, 19: 1, 22: 1, 29: 1, 33: 1, 39: 1, 41: 1, 44: 1, 45: 1}
    assert not change_points([failed.get(at, 0) / of for at, of in enumerate(calls[:46])])


def test_a_step_in_noise_that_remembers_is_found():
    found = [
        change_points(autoregressive(0.6, 240, np.random.default_rng(seed)) + steps((0, 140), (6, 100)))
        for seed in range(4000, 4040)
    ]
    assert sum(any(abs(change.index - 140) <= 4 for change in changes) for changes in found) >= 36


def test_spikes_are_no_changes_even_three_in_a_row():
    alarms = 0
    for seed in range(5000, 5060):
        random = np.random.default_rng(seed)
        values = random.standard_normal(200)
        values[random.choice(200, 8, replace=False)] += 30
        values[50:53] += 50
        alarms += bool(change_points(values))
    assert alarms <= 3


def test_a_step_without_noise_is_exact_and_spikes_on_a_flat_line_are_none():
    (change,) = change_points(steps((0, 20), (3, 20)))
    assert (change.index, change.before, change.after) == (20, 0, 3)
    found = change_points(steps((1, 20), (3, 20), (2, 20), (7, 20)))
    assert [change.index for change in found] == [20, 40, 60]
    spiked = steps((0, 100), (1, 1), (0, 100), (1, 2), (0, 50))
    assert change_points(spiked) == []


def test_an_index_counts_what_was_missing_too():
    values = steps((0, 40), (9, 40)) + np.random.default_rng(6).standard_normal(80)
    values[10:30] = math.nan
    values[41] = math.inf
    (change,) = change_points(values)
    assert change.index == 40


def test_long_series_are_grouped_and_the_change_is_within_a_group():
    values = np.random.default_rng(7).standard_normal(20_000)
    values[12_345:] += 1
    (change,) = change_points(values)
    assert abs(change.index - 12_345) <= 200
    assert change.after - change.before == pytest.approx(1, abs=0.1)


def test_too_few_or_equal_values_have_no_changes():
    assert change_points([]) == []
    assert change_points([0.0] * 5 + [9.0] * 5) == []
    assert change_points([3.0] * 100) == []
    assert change_points([math.nan] * 100) == []


def test_bad_input_is_refused():
    with pytest.raises(ConfigurationError, match="least_points"):
        change_points([1.0] * 20, least_points=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 5.0, -2.0, math.nan]) | st.floats(-1e9, 1e9), max_size=120))
def test_changes_are_in_order_apart_and_between_what_was_given(values):
    found = change_points(values)
    known = [index for index, value in enumerate(values) if math.isfinite(value)]
    places = [known.index(change.index) for change in found]
    bounds = [0, *places, len(known)] if places else []
    assert all(two - one >= 8 for one, two in pairwise(bounds))
    assert all(0 <= change.p_value <= 1 for change in found)
