"""Explaining: what counts as having moved, against scipy where it has the same."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agentgauge.analytics.explain.moves import adjusted, found_move, p_value
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import Signal

BEFORE, WINDOW = 240, 60
BY_NAME = {measure.name: measure for measure in MEASURES}


def move(values, name="task_duration_mean"):
    return found_move(Signal(BY_NAME[name], {}, Grid(0, 30, len(values)), array("d", values)), BEFORE)


def noise(seed, memory=0.0):
    rng = np.random.default_rng(seed)
    values = [0.0]
    for step in rng.normal(0, math.sqrt(1 - memory**2), BEFORE + WINDOW):
        values.append(memory * values[-1] + step)
    return np.array(values[1:])


def test_a_jump_is_found_where_it_begins_with_its_size():
    for seed in range(20):
        values = 10 + noise(seed)
        values[BEFORE + 20 :] += 6
        found = move(values)
        assert abs(found.onset - BEFORE - 20) <= 1
        assert found.after - found.before == pytest.approx(6, abs=1)
        assert found.delta > 0.95
        assert found.chance < 1e-6


def test_what_began_a_little_before_a_short_window_is_found_where_it_began_with_its_whole_size():
    for before, early in ((60, 0), (60, 1), (60, 6), (30, 9), (24, 7)):
        for seed in range(3):
            depth = 2 + 0.3 * noise(seed)[: before + 60]
            depth[before - early :] += 18
            found = found_move(Signal(BY_NAME["queue_depth"], {}, Grid(0, 1, before + 60), array("d", depth)), before)
            assert found.onset == before - early
            assert found.before == pytest.approx(2, abs=0.5)
            assert found.after == pytest.approx(20, abs=0.5)
            assert found.deviations > 20


def test_what_ends_within_the_window_is_measured_while_it_lasted():
    values = 10 + noise(3)
    values[BEFORE + 10 : BEFORE + 30] -= 6
    found = move(values)
    assert abs(found.onset - BEFORE - 10) <= 1
    assert found.after == pytest.approx(4, abs=1)
    assert found.delta < -0.95


def test_a_trend_that_goes_on_is_no_change_nor_is_the_return_to_the_level_before():
    for seed in range(20):
        rising = 10 + 0.05 * np.arange(BEFORE + WINDOW) + noise(seed)
        assert move(rising) is None
        returning = 10 + noise(seed) + np.where(np.arange(BEFORE + WINDOW) < BEFORE, 0.02 * np.arange(BEFORE + WINDOW), 2.4)
        assert move(returning) is None


def test_noise_that_wanders_is_taken_for_a_change_no_more_often_than_the_corrected_level_says():
    signals = 100
    for memory in (0.0, 0.7):
        found = [move(10 + 2 * noise(seed, memory)) for seed in range(signals)]
        chances = [one.chance for one in found if one]
        assert sum(chance < 0.01 for chance in adjusted(chances, signals)) <= 1, memory


def test_a_counter_that_begins_in_the_window_was_zero_before():
    values = [math.nan] * (BEFORE + 30) + [2.0] * 30
    assert move(values, "lm_retry_rate").before == 0
    assert move(values, "task_duration_mean") is None


def test_what_is_too_short_or_too_small_to_matter_is_no_move():
    values = 10 + 0.01 * noise(1)
    values[BEFORE + 20 :] += 0.5
    assert move(values) is None, "surely a change, but of a twentieth"
    values[BEFORE + 20 : BEFORE + 22] += 50
    assert move(values) is None, "two values"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_correction_is_that_of_scipy(chances):
    assert adjusted(chances, len(chances)) == pytest.approx(list(stats.false_discovery_control(chances)))


def test_the_chance_of_separate_values_is_exact_and_that_of_neighbours_alike_is_larger():
    before = [float(value) for pair in zip(range(15), range(29, 14, -1), strict=True) for value in pair]  # up and down
    after = [float(value) for value in range(100, 110)]
    exact = stats.mannwhitneyu(after, before, method="exact").pvalue
    assert p_value(after, before, places=10) == pytest.approx(exact)
    assert p_value(after, before, places=20) == pytest.approx(4 * exact)
    assert p_value(after, sorted(before), places=10) > 100 * exact
