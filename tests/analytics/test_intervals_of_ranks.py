"""Quantiles from buckets: against the raw samples, for their buckets and for how often their intervals hold the truth."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agentgauge.analytics.compare import Verdict, compare
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.intervals import at_least, at_most
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.ranks import ranked, read_quantile
from made_source import MadeSource

DOUBLING = [0.01 * 2**power for power in range(14)]  # those of the conventions for durations
FINE = np.exp(np.linspace(-0.5, 2.5, 31)).tolist()  # steps of a tenth: so narrow that the ranks alone decide
SPREAD = 0.6
BLOCKS = 20
P95 = next(measure for measure in MEASURES if measure.name == "task_duration_p95")


def counted(raw, bounds):
    """Put raw samples, by block of time, into buckets."""
    by_block = [np.searchsorted(np.sort(block), bounds, side="right") for block in raw]
    return {**{bound: [int(one[index]) for one in by_block] for index, bound in enumerate(bounds)}, math.inf: list(map(len, raw))}


def drawn(seed, count, burst=0.0, resembles=0.0, shift=0.0):
    """Draw durations; a block is faster or slower as a whole, and resembles the one before it."""
    random = np.random.default_rng(seed)
    state, raw = random.normal(), []
    for _ in range(BLOCKS):
        state = resembles * state + math.sqrt(1 - resembles**2) * random.normal()
        raw.append(np.exp(shift + burst * state + random.normal(0, SPREAD, random.poisson(count / BLOCKS))))
    return raw


def true_quantile(q, burst=0.0, shift=0.0):
    return math.exp(shift + stats.norm.ppf(q) * math.hypot(SPREAD, burst))


@pytest.mark.parametrize(
    ("hits", "count", "share"), [(0, 1, 0.95), (90, 100, 0.95), (960, 1000, 0.95), (949_500, 1_000_000, 0.95)]
)
def test_binomial_tails_are_those_of_scipy(hits, count, share):
    assert at_most(hits, count, share) == pytest.approx(stats.binom.cdf(hits, count, share), rel=1e-6)
    assert at_least(hits, count, share) == pytest.approx(stats.binom.sf(hits - 1, count, share), rel=1e-6)


@given(
    st.lists(st.floats(0.001, 100), min_size=1, max_size=60),
    st.lists(st.floats(0.001, 100), min_size=1, max_size=8, unique=True),
    st.sampled_from([0.25, 0.5, 0.75, 0.96875]),  # exact in binary, as the ranks of few samples are then
)
def test_the_quantile_of_the_raw_samples_lies_in_the_bucket_that_is_told_and_the_bucket_in_the_interval(raw, bounds, q):
    found = read_quantile(counted([raw], sorted(bounds)), q)
    exact = sorted(raw)[math.ceil(q * len(raw)) - 1]
    assert found.bucket.low < exact <= found.bucket.high
    assert found.interval.low <= found.bucket.low < found.bucket.high <= found.interval.high
    assert found.value in found.bucket
    assert (found.bucket.low, found.bucket.high) in set(pairwise([0.0, *sorted(bounds), math.inf]))


@pytest.mark.parametrize(("burst", "resembles"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize(("q", "count"), [(0.95, 150), (0.5, 600)])
def test_an_interval_from_buckets_that_double_holds_the_truth_as_often_as_it_claims(q, count, burst, resembles):
    runs = 60
    reads = [read_quantile(counted(drawn(seed, count, burst, resembles), DOUBLING), q) for seed in range(runs)]
    missed = sum(true_quantile(q, burst) not in read.interval for read in reads)
    assert missed <= 0.05 * runs


@pytest.mark.parametrize("burst", [0.0, 0.5])
def test_an_interval_from_narrow_buckets_is_no_wider_than_the_ranks_and_holds_the_truth_as_often_as_it_claims(burst):
    runs = 100
    reads = [read_quantile(counted(drawn(seed, 600, burst), FINE), 0.75) for seed in range(runs)]
    missed = sum(true_quantile(0.75, burst) not in read.interval for read in reads)
    assert missed <= 0.05 * runs
    widths = sorted(read.interval.high / read.interval.low if read.interval.low else math.inf for read in reads)
    assert 1.1 < widths[runs // 2] < 2.5


def test_what_lies_above_the_highest_bucket_has_no_upper_end():
    found = read_quantile({1.0: [50], 2.0: [60], math.inf: [100]}, 0.95)
    assert (found.bucket.low, found.bucket.high, found.interval.low, found.interval.high) == (2.0, math.inf, 2.0, math.inf)
    assert read_quantile({1.0: [0], math.inf: [0]}, 0.95) is None


def test_who_is_sure_of_a_bound_is_sure_of_all_before_it():
    wavering, steady = [2, 34] * 5, [18, 19] * 5  # about as many, of which the one tells less
    rising = ranked({1.0: wavering, 2.0: steady, math.inf: [40] * 10}, 0.5)
    assert ranked({2.0: steady, math.inf: [40] * 10}, 0.5).above[0] < rising.above[0] == rising.above[1]
    falling = ranked({1.0: [22, 21] * 5, 2.0: [6, 38] * 5, math.inf: [40] * 10}, 0.5)
    assert falling.below[0] == falling.below[1] > ranked({1.0: [22, 21] * 5, math.inf: [40] * 10}, 0.5).below[0]


def two_windows(seed, shift, bounds):
    """Make two windows of calls, of which buckets are all that is known."""
    steps, source = 40, MadeSource()
    raw = [draw for late in (False, True) for draw in drawn(2 * seed + late, 400, 0.2, shift=shift * late)]
    times = [60.0 * step for step in range(steps + 1)]
    for bound, values in counted(raw, bounds).items():
        grown = np.cumsum([0, *values]).tolist()
        source.add("agent_task_duration_seconds_bucket", times, grown, outcome="success", agent_task="t", le=str(bound))
    return compare(source, Grid.over(0, 1200, 60), Grid.over(1200, 2400, 60), measures=[P95]).differences[0]


@pytest.mark.parametrize(("shift", "found"), [(0.0, Verdict.UNCLEAR), (0.2, Verdict.UNCLEAR), (1.0, Verdict.WORSE)])
def test_a_difference_of_percentiles_lies_in_its_interval_as_often_as_it_claims(shift, found):
    runs = 40
    differences = [two_windows(seed, shift, DOUBLING) for seed in range(runs)]
    true = true_quantile(0.95, 0.2, shift) - true_quantile(0.95, 0.2)
    assert sum(true not in one.interval for one in differences) <= 0.05 * runs
    assert sum(one.verdict is found for one in differences) >= 0.95 * runs
    assert all(lies.high >= 2 * lies.low for one in differences for lies in one.within)


def test_the_intervals_of_two_percentiles_hold_at_once_as_often_as_it_claims_where_buckets_are_narrow():
    runs = 40
    differences = [two_windows(seed, 0.2, FINE) for seed in range(runs)]
    truth = true_quantile(0.95, 0.2), true_quantile(0.95, 0.2, 0.2)
    assert sum(not all(true in lies for true, lies in zip(truth, one.within, strict=True)) for one in differences) <= 0.05 * runs
