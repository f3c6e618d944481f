import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.analytics.analysis.quality import Gap, Stuck, quality
from agentgauge.errors import ConfigurationError

START = 1_700_000_000.0


def course(count, interval=15.0):
    return [START + interval * (index + 1) for index in range(count)], [10.0 + (index * 7) % 5 for index in range(count)]


def judged(times, values, **more):
    return quality(times, values, **{"interval_seconds": 15.0, "since": START, "until": START + 1500, **more})


def test_data_that_came_as_it_should_is_perfect():
    found = judged(*course(100))
    assert (found.points, found.usable, found.expected, found.completeness, found.score) == (100, 100, 100, 1, 1)
    assert (found.gaps, found.duplicates, found.disordered, found.not_finite, found.outliers) == ((), 0, 0, 0, ())
    assert (found.age_seconds, found.is_stale, found.stuck) == (0, False, None)


def test_a_gap_has_its_ends_and_what_is_missing_in_it():
    times, values = course(100)
    del times[20:30], values[20:30]
    found = judged(times, values)
    assert found.gaps == (Gap(START + 300, START + 465, 10),)
    assert found.completeness == pytest.approx(0.9)
    assert found.score == pytest.approx(0.9)


def test_what_is_missing_at_the_beginning_and_the_end_counts():
    times, values = course(100)
    found = judged(times[10:80], values[10:80])
    assert found.gaps == (Gap(START, START + 165, 10), Gap(START + 1200, START + 1500, 20))
    assert found.completeness == pytest.approx(0.7)
    assert (found.age_seconds, found.is_stale) == (300, True)
    assert found.score == pytest.approx(0.35)


def test_without_a_beginning_the_first_value_is_it():
    times, values = course(100)
    found = judged(times[10:], values[10:], since=None)
    assert (found.expected, found.completeness, found.gaps) == (90, 1, ())


def test_jitter_is_no_gap():
    times, values = course(100)
    times = [at + (3 if index % 2 else -3) for index, at in enumerate(times)]
    found = judged(times, values, until=START + 1510)
    assert found.gaps == ()
    assert found.completeness == 1


def test_doubles_disorder_and_what_is_not_finite_are_counted_once_each_in_the_score():
    times, values = course(100)
    times += [times[50], times[60]]
    values += [1.0, math.nan]
    values[70] = math.inf
    found = judged(times, values)
    assert (found.duplicates, found.disordered, found.not_finite) == (1, 2, 2)
    assert found.usable == 99
    assert found.score == pytest.approx(99 / 100 * (1 - 3 / 102))


def test_outliers_are_beyond_three_and_a_half_deviations_from_the_median():
    times = [START + 15 * index for index in range(1, 12)]
    values = [10.0, 11.0, 9.0, 10.0, 12.0, 8.0, 10.0, 11.0, 9.0, 10.0, 10.0]
    # median 10, median deviation 1: the limit is 10 + 3.5 / 0.6745 = 15.19
    assert judged(times, [*values[:10], 15.1]).outliers == ()
    assert judged(times, [*values[:10], 15.3]).outliers == (10,)
    assert judged(times, [*values[:10], 4.7]).outliers == (10,)


def test_outliers_are_found_where_most_values_are_equal():
    times, _ = course(100)
    values = [5.0] * 100
    values[40] = 50.0
    assert judged(times, values).outliers == (40,)
    assert judged(times, [5.0] * 100).outliers == ()


def test_a_value_that_changed_and_then_stays_is_stuck_and_one_that_never_changed_is_not():
    times, values = course(100)
    values[60:] = [11.5] * 40
    found = judged(times, values)
    assert found.stuck == Stuck(times[60], times[99], 11.5, 40)
    assert found.score == pytest.approx(0.5)
    assert judged(times, [1.0] * 100).stuck is None
    often_the_same = [float(index // 10) for index in range(60)] + [9.0] * 40  # runs of ten: forty are no wonder
    assert judged(times, often_the_same).stuck is None


def test_nothing_at_all_has_no_score():
    for times, values in (([], []), ([START + 15.0], [math.nan])):
        found = judged(times, values)
        assert (found.completeness, found.score, found.age_seconds, found.is_stale) == (0, 0, math.inf, True)


def test_what_is_outside_the_window_is_left_out():
    times, values = course(200)
    assert judged(times, values).points == 100
    assert judged(times, values, since=START + 150, until=START + 300).points == 10


@pytest.mark.parametrize(
    "wrong",
    [{"times": [1.0]}, {"interval_seconds": 0}, {"interval_seconds": math.nan}, {"until": math.nan}, {"since": START + 9e9}],
)
def test_bad_input_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        judged(**{"times": [], "values": [], **wrong})


@given(
    st.lists(
        st.tuples(st.integers(0, 120).map(lambda step: START + 15.0 * step), st.floats(allow_nan=True, allow_infinity=True)),
        max_size=80,
    )
)
def test_shares_are_shares_whatever_comes(pairs):
    found = judged([at for at, _ in pairs], [value for _, value in pairs])
    assert 0 <= found.score <= found.completeness <= 1
    assert found.usable <= found.points
    assert all(gap.start < gap.end and gap.missing > 0 for gap in found.gaps)
    assert all(index < len(pairs) for index in found.outliers)


def test_no_extra_is_needed():
    code = (
        "import sys\nfor name in ('numpy', 'scipy', 'statsmodels', 'sklearn'): sys.modules[name] = None\n"
        "from agentgauge.analytics.analysis.quality import quality\n"
        "from agentgauge.analytics.analysis.forecast import forecast\n"
        "print(quality([1, 2], [1, 2], interval_seconds=1, until=2).score)\n"
        "print(len(forecast([1, 2] * 20, horizon=3, is_light=True).values))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["1.0", "3"]
