import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.datasets import co2, elnino, sunspots
from statsmodels.tsa.holtwinters import ExponentialSmoothing

from agentgauge.analytics.analysis.backtest import Naive
from agentgauge.analytics.analysis.fitting import fitted
from agentgauge.analytics.analysis.forecast import Method, forecast
from agentgauge.analytics.analysis.period import find_period
from agentgauge.analytics.analysis.smoothing import Smoothing, Start, Weights, start_of
from agentgauge.errors import ConfigurationError

# developed on the seeds 7 and 8, judged on others; no public series was looked at while developing

# international airline passengers in thousands, each month of 1949 to 1960: Box & Jenkins, "Time Series Analysis", series G
AIR_PASSENGERS = """
112 118 132 129 121 135 148 148 136 119 104 118 115 126 141 135 125 149 170 170 158 133 114 140
145 150 178 163 172 178 199 199 184 162 146 166 171 180 193 181 183 218 230 242 209 191 172 194
196 196 236 235 229 243 264 272 237 211 180 201 204 188 235 227 234 264 302 293 259 229 203 229
242 233 267 269 270 315 364 347 312 274 237 278 284 277 317 313 318 374 413 405 355 306 271 306
315 301 356 348 355 422 465 467 404 347 305 336 340 318 362 348 363 435 491 505 404 359 310 337
360 342 406 396 420 472 548 559 463 407 362 405 417 391 419 461 472 535 622 606 508 461 390 432
"""


def air_passengers():
    return [float(value) for value in AIR_PASSENGERS.split()]


def co2_months():
    months = co2.load_pandas().data.co2.resample("MS").mean()  # some are missing
    return [float(value) for value in months["1965":"1995"]]


def elnino_months():
    return [float(value) for value in elnino.load_pandas().data.drop(columns="YEAR").to_numpy().ravel()]


def sunspot_years():
    return [float(value) for value in sunspots.load_pandas().data.SUNACTIVITY]


def made(kind, count, seed):
    random = np.random.default_rng(seed)
    at = np.arange(count)
    season = np.sin(2 * np.pi * (at / 24 + random.random()))
    return {
        "season": lambda: 10 + 4 * season + random.standard_normal(count),
        "season and trend": lambda: 50 + 0.05 * at + 4 * season + random.standard_normal(count),
        "growing season": lambda: np.exp(2 + 0.002 * at + 0.5 * season + 0.1 * random.standard_normal(count)),
        "counts": lambda: random.poisson(np.exp(1.5 + 0.8 * season)).astype(float),
        "noise": lambda: random.lognormal(0, 0.7, count),
        "random walk": lambda: np.cumsum(random.standard_normal(count)),
    }[kind]().tolist()


KINDS = ["season", "season and trend", "growing season", "counts", "noise", "random walk"]


@pytest.mark.parametrize("series", [air_passengers, co2_months, elnino_months])
def test_public_series_are_forecast_better_than_naively(series):
    found = forecast(series(), horizon=12, period=12)
    assert found.method in {Method.HOLT_WINTERS, Method.HOLT_WINTERS_LOG}
    assert found.mase < 0.9
    assert found.against_naive < 0.9
    assert found.coverage > 0.85


def test_the_years_of_sunspots_have_a_season_of_eleven_and_nothing_beats_the_naive_forecast_there():
    found = forecast(sunspot_years(), horizon=11)
    assert (found.method, found.period, found.against_naive) == (Method.SEASONAL_NAIVE, 11, 1)
    assert found.mase < 1


@pytest.mark.parametrize("is_light", [False, True])
@pytest.mark.parametrize("kind", ["season", "season and trend", "growing season", "counts"])
def test_seasons_are_forecast_better_than_naively_and_the_error_to_come_is_less_too(kind, is_light):
    ours, naive, mase = 0.0, 0.0, []
    for seed in range(1000, 1005):
        values = made(kind, 264, seed)
        found = forecast(values[:240], horizon=24, period=24, is_light=is_light)
        assert found.against_naive <= 1
        mase.append(found.mase)
        ours += sum(abs(one - two) for one, two in zip(found.values, values[240:], strict=True))
        naive += sum(abs(one - two) for one, two in zip(values[216:240], values[240:], strict=True))
    assert ours < 0.9 * naive
    assert sum(mase) / len(mase) < (1.3 if kind == "growing season" else 1)  # it grew since what the error is measured by


def held(kind, count, seed, **more):
    """Tell whether one of the values to come lies within its interval: one, so that those of a series do not depend on it."""
    horizon = count // 10
    values = made(kind, count + horizon, seed)
    found = forecast(values[:count], horizon=horizon, **more)
    step = seed % horizon
    return found.low[step] <= values[count + step] <= found.high[step]


def period_of(kind):
    return 1 if kind in {"noise", "random walk"} else 24


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_of_90_percent_hold_nine_of_ten_of_what_comes(kind):
    inside = [held(kind, 120, seed, period=period_of(kind), is_light=True) for seed in range(2000, 2100)]
    assert abs(sum(inside) / len(inside) - 0.9) <= 3 * math.sqrt(0.9 * 0.1 / len(inside))


def test_intervals_of_long_series_hold_nine_of_ten_of_what_comes():
    kinds = [(KINDS[seed % len(KINDS)], seed) for seed in range(2500, 2650)]
    inside = [held(kind, 240, seed, period=period_of(kind), is_light=True) for kind, seed in kinds]
    assert abs(sum(inside) / len(inside) - 0.9) <= 3 * math.sqrt(0.9 * 0.1 / len(inside))


def test_intervals_of_learned_weights_hold_what_they_claim_too():
    inside = [held(KINDS[seed % 4], 192, seed) for seed in range(3000, 3040)]
    assert abs(sum(inside) / len(inside) - 0.9) <= 3 * math.sqrt(0.9 * 0.1 / len(inside))


def test_the_coverage_that_is_told_is_that_of_the_later_half():
    told = [forecast(made("season", 240, seed), horizon=12, period=24, is_light=True).coverage for seed in range(4000, 4020)]
    assert 0.85 <= sum(told) / len(told) <= 0.96
    assert math.isnan(forecast(range(12), horizon=3, is_light=True).coverage)


def test_intervals_of_a_greater_level_are_wider_and_they_widen_with_the_distance():
    values = made("random walk", 200, 5)
    some, most = (forecast(values, horizon=24, period=1, level=level, is_light=True) for level in (0.5, 0.95))
    assert all(one < two for one, two in zip(some.high, most.high, strict=True))
    assert most.high[-1] - most.low[-1] > 2 * (most.high[0] - most.low[0])


def test_an_interval_does_not_end_at_what_is_expected_where_something_was_seen_beyond_it():
    for seed in range(20):  # nothing but now and then: nearly all errors are to one side
        rare = (np.random.default_rng(seed).random(150) < 0.06) * 0.5
        found = forecast(rare.tolist(), horizon=10, period=1, most=1.0, is_light=True)
        assert rare[90:].max() == 0 or found.high[-1] > found.values[-1]


def test_where_nothing_beats_the_last_value_it_is_the_forecast():
    naive = [forecast(made("random walk", 240, seed), horizon=12, period=1, is_light=True) for seed in range(6000, 6020)]
    assert sum(one.method is Method.NAIVE for one in naive) >= 13
    assert all(one.against_naive <= 1.031 for one in naive)


@pytest.mark.parametrize("period", [1, 12])
def test_the_recursion_is_that_of_statsmodels(period):
    values = [value + 0.01 * index for index, value in enumerate(made("season", 145, 7))]
    start = start_of(values, period)
    seasonal = {"seasonal": "add", "seasonal_periods": 12, "initial_seasonal": list(start.season)} if period > 1 else {}
    model = ExponentialSmoothing(
        values,
        trend="add",
        damped_trend=True,
        initialization_method="known",
        initial_level=start.level,
        initial_trend=start.slope,
        **seasonal,
    )
    weights = {"smoothing_level": 0.3, "smoothing_trend": 0.1, "damping_trend": 0.9}
    weights |= {"smoothing_seasonal": 0.2} if period > 1 else {}
    theirs = model.fit(optimized=False, **weights)
    ours = Smoothing(Weights(0.3, 0.1, 0.2, 0.9), start)
    assert [ours.add(value) for value in values] == pytest.approx(list(theirs.fittedvalues), abs=1e-10)
    steps = [step for step in range(1, 31) if period == 1 or step % period]
    ahead = theirs.forecast(30)
    # statsmodels 0.14 and 0.15 take the season of a cycle earlier at multiples of the period: their index wraps by one too early
    assert ours.ahead(steps) == pytest.approx([ahead[step - 1] for step in steps], abs=1e-10)


# hems of women's skirts, 1866 to 1911, and inches of rain in London, 1813 to 1912, of R. J. Hyndman's Time Series Data Library,
# with what R's HoltWinters() prints of them: A. Coghlan, "A Little Book of R for Time Series", 2010
SKIRTS = """
608 617 625 636 657 691 728 784 816 876 949 997 1027 1047 1049 1018 1021 1012 1018 991 962 921 871 829 822 820 802 821 819 791 746
726 661 620 588 568 542 551 541 557 556 534 528 529 523 531
"""
RAIN = """
23.56 26.07 21.86 31.24 23.65 23.88 26.41 22.67 31.69 23.86 24.11 32.43 23.26 22.57 23.00 27.88 25.32 25.08 27.76 19.82 24.78
20.12 24.34 27.42 19.44 21.63 27.49 19.43 31.13 23.09 25.85 22.65 22.75 26.36 17.70 29.81 22.93 19.22 20.63 35.34 25.89 18.65
23.06 22.21 22.18 18.77 28.21 32.24 22.27 27.57 21.59 16.93 29.48 31.60 26.25 23.40 25.42 21.32 25.02 33.86 22.67 18.82 28.44
26.16 28.17 34.08 33.82 30.28 27.92 27.14 24.40 20.35 26.64 27.01 19.21 27.74 23.85 21.23 28.15 22.61 19.80 27.94 21.47 23.52
22.86 17.69 22.54 23.28 22.17 20.84 38.10 20.65 22.97 24.26 23.01 23.67 26.75 25.36 24.79 27.88
"""


@pytest.mark.parametrize(
    ("series", "weights", "slope", "squares", "level", "last_slope"),
    [
        (SKIRTS, Weights(0.8383481, 1, 0, 1), 9.0, 16954.18, 529.308585, 5.690464),
        (RAIN, Weights(0.02412151, 0, 0, 1), 0.0, 1828.855, 24.67819, 0.0),
    ],
)
def test_the_recursion_ends_where_r_says(series, weights, slope, squares, level, last_slope):
    first, *values = map(float, series.split())
    smoothing = Smoothing(weights, Start(first, slope, (0.0,)))
    assert sum((value - smoothing.add(value)) ** 2 for value in values) == pytest.approx(squares, abs=0.01)
    assert smoothing.ahead([1, 2]) == pytest.approx([level + last_slope, level + 2 * last_slope], abs=1e-4)


@pytest.mark.parametrize("series", [air_passengers, elnino_months])
def test_weights_learned_of_a_public_series_are_as_good_as_those_that_statsmodels_finds_by_itself(series):
    values = series()[:120]
    start = start_of(values, 12)
    ours = fitted(values, 12, is_light=False)
    squares = sum((value - ours.add(value)) ** 2 for value in values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        theirs = ExponentialSmoothing(
            values,
            trend="add",
            damped_trend=True,
            seasonal="add",
            seasonal_periods=12,
            initialization_method="known",
            initial_level=start.level,
            initial_trend=start.slope,
            initial_seasonal=list(start.season),
        ).fit()
    assert squares <= 1.02 * theirs.sse


def test_the_recursion_worked_by_hand():
    smoothing = Smoothing(Weights(0.5, 0.5, 0.0, 1.0), start=start_of([10.0] * 10, 1))
    assert smoothing.add(12) == 10  # level 11, slope 0.5
    assert smoothing.add(14) == 11.5  # level 12.75, slope 1.125
    assert smoothing.ahead([1, 2]) == [13.875, 15.0]


def test_a_gap_is_passed_with_what_is_expected():
    smoothing = Smoothing(Weights(0.5, 0.5, 0.0, 1.0), start=start_of([10.0] * 10, 1))
    smoothing.add(12)
    assert smoothing.add(math.nan) == 11.5
    assert smoothing.ahead([1]) == [12.0]
    naive = Naive(3)
    for value in (1, 2, 3, 4, math.nan, 6):
        naive.add(value)
    assert naive.ahead([1, 2, 3, 4]) == [4, 2, 6, 4]


@pytest.mark.parametrize("period", [7, 12, 24, 60])
def test_a_season_is_found_and_noise_and_lines_have_none(period):
    random = np.random.default_rng(period)
    at = np.arange(6 * period)
    values = 0.05 * at + 3 * np.sin(2 * np.pi * at / period) + random.standard_normal(len(at))
    assert find_period(values) == period
    values[::11] = math.nan
    values[3] = 1000
    assert abs(find_period(values) - period) <= 1
    assert find_period(0.5 * at) == 1
    assert find_period([4.0] * 100) == 1
    assert find_period([1.0, 2.0] * 3) == 1


def test_noise_seldom_has_a_season():
    found = [find_period(np.random.default_rng(seed).standard_normal(200)) for seed in range(8000, 8100)]
    assert found.count(1) >= 90


def test_gaps_are_no_hindrance_and_the_interval_still_holds():
    values = made("season", 264, 9000)
    seen = [math.nan if index % 9 == 0 or 100 <= index < 112 else value for index, value in enumerate(values[:240])]
    found = forecast([math.nan] * 5 + seen, horizon=24, period=24)
    assert found.method in {Method.HOLT_WINTERS, Method.HOLT_WINTERS_LOG}
    assert sum(low <= value <= high for low, value, high in zip(found.low, values[240:], found.high, strict=True)) >= 19


def test_what_is_never_below_zero_is_not_forecast_there_and_what_cannot_exceed_one_is_not_above():
    counts = forecast([0.0, 0, 1, 0, 3, 0, 0, 2, 0, 0] * 10, horizon=10)
    assert min(counts.low) >= 0
    shares = forecast([0.9 + 0.1 * (index % 2) for index in range(60)], horizon=6, period=1, most=1.0)
    assert max(shares.high) <= 1
    falling = forecast([100.0 - index for index in range(100)], horizon=50, period=1)
    assert min(falling.values) >= 0


def test_an_interval_that_reaches_far_beyond_all_that_was_seen_is_not_told():
    random = np.random.default_rng(11)
    slow = [value * (10 if 240 <= at < 252 else 1) for at, value in enumerate(0.4 * random.lognormal(0, 0.02, 286))]
    for is_light in (False, True):
        found = forecast(slow, horizon=72, period=1, is_light=is_light)
        assert max(found.high) <= 10 * max(slow)
    grows = [math.exp(0.02 * at + random.normal(0, 0.05)) for at in range(200)]
    assert forecast(grows, horizon=20, period=1).method is Method.HOLT_LOG  # what grows by itself may go on


@pytest.mark.parametrize("is_light", [False, True])
def test_a_constant_stays_without_a_doubt(is_light):
    found = forecast([5.0] * 50, horizon=4, is_light=is_light)
    assert found.values == found.low == found.high == (5.0,) * 4
    assert math.isnan(found.mase)
    assert math.isnan(found.against_naive)


@pytest.mark.parametrize("values", [[], [1.0] * 9, [math.nan] * 100, [math.inf] * 100])
def test_too_little_is_no_ground(values):
    found = forecast(values, horizon=4)
    assert (found.method, found.values, found.low, found.origins) == (Method.NONE, (), (), 0)


@pytest.mark.parametrize("is_light", [False, True])
@pytest.mark.parametrize("scale", [2.0**900, 2.0**-900])
def test_numbers_of_any_size_are_forecast_alike(is_light, scale):
    values = made("season", 96, 12)
    usual, other = (forecast([value * by for value in values], horizon=4, period=24, is_light=is_light) for by in (1.0, scale))
    assert other.high == pytest.approx([value * scale for value in usual.high], rel=0.2)
    assert other.values == pytest.approx([value * scale for value in usual.values], rel=0.05)
    for most in (1.7e308, -1.7e308):
        far = forecast([1.0] * 40 + [most] + [2.0] * 9 + [-most], horizon=4, is_light=is_light)
        assert not any(math.isnan(value) for value in (*far.values, *far.low, *far.high))


def test_a_season_that_was_not_seen_twice_is_left_aside():
    assert forecast(made("season", 40, 10), horizon=4, period=24, is_light=True).period == 1


def test_warnings_of_libraries_stay_inside():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in ([1e-100] * 20 + [1e100] * 20, [0.0] * 30 + [1.0], [1e9 + index % 2 for index in range(40)]):
            found = forecast(values, horizon=3)
            assert len(found.values) == 3
            assert not any(math.isnan(value) for value in (*found.values, *found.low, *found.high))


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"horizon": 1.5}, {"period": 0}, {"level": 1.0}, {"level": 0.0}])
def test_bad_input_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        forecast([1.0] * 20, **{"horizon": 3, **wrong})


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([math.nan, 0.0, math.inf]), max_size=80),
    st.integers(1, 30),
    st.integers(1, 20),
)
def test_the_expected_lies_within_its_interval_whatever_was_seen(values, horizon, period):
    found = forecast(values, horizon=horizon, period=period, is_light=True)
    if found.method is Method.NONE:
        return
    assert len(found.values) == len(found.low) == len(found.high) == horizon
    assert all(low <= value <= high for low, value, high in zip(found.low, found.values, found.high, strict=True))
