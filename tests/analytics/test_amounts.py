"""Values in words: the same in sentences, tables and pages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgauge.analytics.amounts import amount, as_iso, counted, duration, moment, percent
from agentgauge.analytics.report.document import Unit
from agentgauge.analytics.report.numbers import shown

NUMBERS = [unit for unit in Unit if unit is not Unit.TEXT]


@given(st.floats(), st.sampled_from(NUMBERS))
def test_a_cell_and_a_sentence_say_a_value_in_the_same_way(value, unit):
    if not math.isnan(value):
        assert shown(value, unit) == amount(value, unit.value)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0474, "ratio", "4.74 %"),
        (0.0474, "points", "4.74 percentage points"),
        (0.0004, "seconds", "0.4 ms"),
        (119.0, "seconds", "119 s"),
        (150.0, "seconds", "2.5 min"),
        (3 << 20, "bytes", "3 MiB"),
        (1536.0, "bytes_per_second", "1.5 KiB/s"),
        (-0.5, "usd", "-$0.5"),
        (-12.0, "usd", "-$12.00"),
        (0.001, "usd_per_second", "$3.60/h"),
        (1234567.0, "tokens", "1,234,567 tokens"),
        (0.5, "cores", "0.5 cores"),
        (2.0, "threads", "2"),
        (1.5, "usd_per_day", "$1.50/day"),
        (7200.0, "seconds_per_day", "2 h/day"),
        (1200.0, "calls_per_day", "1,200 calls/day"),
        (0.002, "usd_per_call", "$0.002/call"),
        (math.nan, "seconds", "unknown"),
        (math.inf, "per_second", "infinite"),
    ],
)
def test_amounts_have_their_unit(value, unit, expected):
    assert amount(value, unit) == expected


@given(st.floats(min_value=1e-6, max_value=9e8), st.booleans())
def test_three_digits_are_within_half_a_percent_of_the_value_and_have_no_exponent(value, is_negative):
    number = -value if is_negative else value
    told = amount(number)
    assert "e" not in told
    assert float(told.replace(",", "")) == pytest.approx(number, rel=0.005)


@given(st.floats(min_value=1e-3, max_value=1e8))
def test_a_duration_is_near_what_it_was(seconds):
    count, unit = duration(seconds).replace(",", "").split()
    size = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert float(count) * size == pytest.approx(seconds, rel=0.005)


def test_nothing_is_told_to_be_impossible():
    assert [amount(p, "probability") for p in (0.0, 1e-300, 1.2e-9, 0.031)] == ["<1e-300", "<1e-300", "1.2e-09", "0.031"]


def test_one_is_not_many():
    assert [counted(count, "agent") for count in (0, 1, 2, 1000)] == ["0 agents", "1 agent", "2 agents", "1,000 agents"]
    assert counted(2, "piece of advice", "pieces of advice") == "2 pieces of advice"


def test_moments_are_in_utc_and_machines_get_iso_8601():
    assert moment(1_750_000_000) == "2025-06-15 15:06:40 UTC"
    assert as_iso(1_750_000_000.25) == "2025-06-15T15:06:40.250Z"
    assert (percent(0.125), percent(-0.0123)) == ("12", "1.2")
