import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.analytics.analysis.capacity import capacity
from agentgauge.errors import ConfigurationError


def test_littles_law_says_how_many_places_are_busy():
    plan = capacity(10, 3, concurrency_per_replica=4, target_utilization=0.75)
    assert plan.load == 30  # ten a second that last three
    assert plan.concurrency == pytest.approx(40)
    assert (plan.wanted_replicas, plan.replicas, plan.reason) == (10, 10, "load")
    assert plan.utilization == pytest.approx(0.75)


def test_a_part_of_a_replica_is_one_and_rounding_is_none():
    assert capacity(1, 1, concurrency_per_replica=1, target_utilization=1).replicas == 1
    assert capacity(1.01, 1, concurrency_per_replica=1, target_utilization=1).replicas == 2
    assert capacity(0.1 * 3, 10, concurrency_per_replica=3, target_utilization=1).replicas == 1  # 3.0000000000000004


def test_headroom_is_planned_for():
    assert capacity(10, 1, concurrency_per_replica=1, target_utilization=1, headroom=0.2).replicas == 12


def test_limits_hold_and_say_so():
    below = capacity(0, 5, concurrency_per_replica=2, min_replicas=2)
    assert (below.replicas, below.wanted_replicas, below.reason, below.utilization) == (2, 0, "minimum", 0)
    above = capacity(100, 10, concurrency_per_replica=10, target_utilization=1, max_replicas=20)
    assert (above.replicas, above.wanted_replicas, above.reason, above.utilization) == (20, 100, "maximum", 5)
    nothing = capacity(0, 5, concurrency_per_replica=2, min_replicas=0)
    assert (nothing.replicas, nothing.utilization) == (0, 0)


def test_fewer_are_told_only_where_they_carry_more_than_the_load():
    def plan(rate, running):
        return capacity(rate, 1, concurrency_per_replica=1, target_utilization=1, current_replicas=running, scale_down_margin=0.1)

    assert (plan(9.5, 11).replicas, plan(9.5, 11).reason) == (11, "held")  # 10 carry 9.5, and not 10.45
    assert (plan(9.0, 11).replicas, plan(9.0, 11).reason) == (10, "held")  # 9 carry 9.0, and not 9.9
    assert (plan(8.1, 11).replicas, plan(8.1, 11).reason) == (9, "load")
    assert plan(11.5, 11).replicas == 12  # more are told at once


def test_a_load_that_sways_about_a_step_starts_and_stops_nothing():
    running, seen = 10, []
    for rate in [9.98, 10.02] * 20:
        running = capacity(
            rate, 1, concurrency_per_replica=1, target_utilization=1, current_replicas=running, scale_down_margin=0.1
        ).replicas
        seen.append(running)
    assert seen[1:] == [11] * 39


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rate", -1),
        ("rate", math.nan),
        ("duration_seconds", math.inf),
        ("concurrency_per_replica", 0),
        ("target_utilization", 0),
        ("target_utilization", 1.5),
        ("headroom", -0.1),
        ("scale_down_margin", math.nan),
        ("min_replicas", -1),
        ("max_replicas", 0),
        ("current_replicas", 1.5),
    ],
)
def test_bad_input_is_refused_by_the_name_of_the_setting(setting, value):
    with pytest.raises(ConfigurationError, match=setting):
        capacity(**{"rate": 1, "duration_seconds": 1, "concurrency_per_replica": 1, setting: value})


def test_limits_that_contradict_are_refused():
    with pytest.raises(ConfigurationError, match="min_replicas=5 is above max_replicas=4"):
        capacity(1, 1, concurrency_per_replica=1, min_replicas=5, max_replicas=4)


@given(
    st.floats(0, 1e4), st.floats(0, 1e3), st.integers(1, 64), st.floats(0.1, 1), st.integers(0, 50), st.integers(50, 10_000),
    st.none() | st.integers(0, 20_000),
)  # fmt: skip
def test_what_is_told_carries_the_load_within_the_limits_and_never_adds_without_need(
    rate, lasts, places, target, least, most, running
):
    plan = capacity(
        rate,
        lasts,
        concurrency_per_replica=places,
        target_utilization=target,
        min_replicas=least,
        max_replicas=most,
        current_replicas=running,
    )
    assert least <= plan.replicas <= most
    if plan.reason != "maximum":
        assert plan.replicas * places * target >= plan.load * (1 - 1e-6) - 1e-6
    if plan.reason == "held":
        assert plan.wanted_replicas <= plan.replicas <= running
