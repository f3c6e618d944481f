"""What a series is expected to be, and how much chance sways it."""

import numpy as np
import pytest
from statsmodels.tsa.seasonal import STL

from agentgauge.analytics.analysis.baseline import autocorrelation, baseline, robust_scale
from injected import DAY, series

HOAGLIN = np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3])


def test_a_scale_makes_the_modified_score_of_iglewicz_and_hoaglin():
    away = HOAGLIN - np.median(HOAGLIN)
    assert away / robust_scale(HOAGLIN) == pytest.approx(0.67449 * away / np.median(np.abs(away)), rel=1e-4)
    assert list(np.flatnonzero(np.abs(away / robust_scale(HOAGLIN)) > 3.5)) == [8, 9]


def test_a_scale_is_not_zero_only_because_most_values_are_the_same():
    assert robust_scale(np.array([0.0] * 9 + [10.0])) == pytest.approx(1.2533141 * 1.0)
    assert robust_scale(np.zeros(5)) == 0
    assert np.isnan(robust_scale(np.full(3, np.nan)))


def test_autocorrelation_is_that_of_the_noise_though_a_tenth_of_it_is_spoilt():
    random = np.random.default_rng(5)
    noise = np.zeros(4000)
    for at in range(1, noise.size):
        noise[at] = 0.6 * noise[at - 1] + random.normal()
    noise[::40] += 50
    assert autocorrelation(noise) == pytest.approx(0.6, abs=0.1)
    assert autocorrelation(random.normal(size=4000)) < 0.1
    assert autocorrelation(np.zeros(100)) == 0
    assert autocorrelation(np.zeros(3)) == 0


@pytest.mark.parametrize("seed", range(500, 506))
def test_a_season_is_that_of_stl(seed):
    random = np.random.default_rng(seed)
    at = np.arange(DAY * 10)
    season = 5 * np.sin(2 * np.pi * at / DAY) + 2 * np.cos(6 * np.pi * at / DAY)
    values = 40 + 0.01 * at + season + random.normal(size=at.size)
    found = baseline(values, period=DAY)
    stl = STL(values, period=DAY, robust=True).fit()
    assert found.period == DAY
    truth = 40 + 0.01 * at + season
    ours, theirs = (np.sqrt(np.mean((expected - truth) ** 2)) for expected in (found.expected, stl.trend + stl.seasonal))
    assert ours < theirs
    assert np.median(found.scale) == pytest.approx(1, abs=0.15)


def test_a_line_does_not_follow_a_third_of_the_values():
    random = np.random.default_rng(1)
    at = np.arange(300)
    values = 5 + 0.1 * at + random.normal(size=at.size)
    values[200:] += 60
    expected = baseline(values).expected
    assert expected[100] == pytest.approx(15, abs=3)


def test_noise_has_no_season():
    for seed in range(20):
        assert baseline(np.random.default_rng(seed).normal(size=DAY * 8), period=DAY).period == 1


def test_fewer_than_four_days_have_no_season():
    values = series(3, None).values
    assert baseline(values[: DAY * 3], period=DAY).period == 1


def test_of_too_few_values_nothing_is_expected():
    assert baseline(np.arange(15.0)) is None
    assert baseline(np.concatenate((np.arange(15.0), np.full(99, np.nan)))) is None


def test_missing_values_are_expected_to_be_like_the_others():
    values = series(3, None).values
    holed = values.copy()
    holed[100:140] = np.nan
    whole, found = baseline(values, period=DAY), baseline(holed, period=DAY)
    assert np.all(np.isfinite(found.expected))
    assert np.max(np.abs(found.expected - whole.expected)) < np.median(whole.scale)
