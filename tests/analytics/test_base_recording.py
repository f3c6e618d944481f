"""What is recorded is kept by the stated rules, whatever it is, whoever records, and however the class is derived."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import math
import os
import pickle
import random
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.infrastructure import InfrastructureAnalytics
from agentgauge.errors import ConfigurationError
from agentgauge.testing import FakeClock, reraise_internal_errors
from waited import wait_until

pytestmark = pytest.mark.usefixtures("loud")


@pytest.fixture
def loud():
    with reraise_internal_errors():
        yield


def told(analytics, metric="latency"):
    points = analytics.points(metric)
    return list(zip(points.times, points.values, strict=True))


class Forgetful(BaseAnalytics):
    def __init__(self, colour):
        self.colour = colour
        self.points_of_mine, self.name = [], "mine"


@dataclasses.dataclass(frozen=True)
class Frozen(BaseAnalytics):
    colour: str = "blue"


def test_values_come_back_by_time_with_their_zone():
    analytics = BaseAnalytics("researcher", clock=FakeClock(50.0))
    analytics.record_metric("latency", 2.5)
    analytics.record_metric("latency", 1, datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC))
    analytics.record_metric("latency", 3.5, datetime(1970, 1, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=2))))
    assert list(analytics.points("latency")) == [
        (datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC), 1.0),
        (datetime(1970, 1, 1, 0, 0, 30, tzinfo=UTC), 3.5),
        (datetime(1970, 1, 1, 0, 0, 50, tzinfo=UTC), 2.5),
    ]
    assert analytics.metrics() == ["latency"]


def test_all_points_of_one_time_stay_in_the_order_in_which_they_were_recorded():
    analytics = BaseAnalytics()
    for value in (3.0, 1.0, 2.0, 1.0):
        analytics.record_metric("latency", value, 7.0)
    analytics.record_metric("latency", 9.0, 6.0)
    assert told(analytics) == [(6.0, 9.0), (7.0, 3.0), (7.0, 1.0), (7.0, 2.0), (7.0, 1.0)]


def test_a_clock_that_goes_back_dates_what_comes_before_what_was():
    clock = FakeClock(100.0)
    analytics = BaseAnalytics(clock=clock)
    analytics.record_metric("latency", 1.0)
    clock.now = 90.0
    analytics.record_metric("latency", 2.0)
    assert told(analytics) == [(90.0, 2.0), (100.0, 1.0)]


@pytest.mark.parametrize("value", [True, "1.5", None, 10**400, math.nan, math.inf, -math.inf, 1 + 2j, Decimal("sNaN"), [1.0]])
def test_what_is_no_finite_number_is_refused_and_counted(value):
    analytics = BaseAnalytics()
    analytics.record_metric("latency", value, 1.0)
    analytics.record_metric("latency", 4.0, 2.0)
    analytics.record_metric("latency", value, 3.0)
    assert told(analytics) == [(2.0, 4.0)]
    assert sum(analytics.refused().values()) == 2


@pytest.mark.parametrize("at", [datetime(2026, 1, 1), math.nan, math.inf, 1.7e12, 10**400, "now", True])  # noqa: DTZ001
def test_what_is_no_time_is_refused_and_counted(at):
    analytics = BaseAnalytics()
    analytics.record_metric("latency", 4.0, 2.0)
    analytics.record_metric("latency", 5.0, at)
    assert told(analytics) == [(2.0, 4.0)]
    assert sum(analytics.refused().values()) == 1


@pytest.mark.parametrize("value", [7, Decimal(7), 2**53, np.float32(0.5), np.int64(7)])
def test_other_numbers_are_kept_as_floats(value):
    analytics = BaseAnalytics()
    for at in (1, np.int64(2), np.float64(3)):
        analytics.record_metric("latency", value, at)
    assert told(analytics) == [(1.0, float(value)), (2.0, float(value)), (3.0, float(value))]


def test_the_methods_have_the_parameters_that_people_already_write():
    def shown(method):
        return ", ".join(
            f"{given.name}={given.default!r}" if given.default is not given.empty else given.name
            for given in list(inspect.signature(method).parameters.values())[1:]
            if given.kind is given.POSITIONAL_OR_KEYWORD
        )

    assert shown(BaseAnalytics.record_metric) == "metric, value, timestamp=None"
    assert shown(BaseAnalytics.set_retention_policy) == "retention_period=None, max_data_points=None"
    assert shown(BaseAnalytics.generate_metric_plot).startswith("metric")
    assert shown(BaseAnalytics.generate_analytics_report) == "report_format='json', include_trends=True, time_window=None"
    assert shown(BaseAnalytics.save) == "path, format_type='auto', compress=False, create_backup=True"
    assert shown(BaseAnalytics.load) == "path, validate_schema=True"
    assert shown(InfrastructureAnalytics.__init__) == "component_name"
    assert shown(InfrastructureAnalytics.record_performance_metric) == "operation, duration_ms, success"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, "x" * 10_000, 7, None, [], {}])
def test_what_is_no_name_is_refused(name):
    analytics = BaseAnalytics()
    analytics.record_metric("latency", 1.0, 1.0)
    analytics.record_metric(name, 1.0, 1.0)
    analytics.record_metric(name, 1.0)
    assert (analytics.metrics(), analytics.refused()) == (["latency"], {"bad_name": 2})


def test_a_name_that_is_no_text_is_asked_for_in_vain():
    with pytest.raises(ConfigurationError, match=r"metric=\[\]: give the name of a metric"):
        BaseAnalytics().points([])


def test_names_beyond_the_limit_are_refused_and_those_before_go_on(caplog):
    analytics = BaseAnalytics("researcher", max_metrics=2)
    for name in ("a", "b", "c", "d", "a"):
        analytics.record_metric(name, 1.0, 1.0)
    assert (analytics.metrics(), len(analytics.points("a")), analytics.refused()) == (["a", "b"], 2, {"too_many_metrics": 2})
    assert len(caplog.records) == 1
    assert "researcher" in caplog.text


def test_age_and_count_bound_what_is_kept_and_nothing_older_is_ever_shown():
    clock = FakeClock(1000.0)
    analytics = BaseAnalytics(clock=clock)
    analytics.set_retention_policy(timedelta(seconds=10), 3)
    for at in (985.0, 991.0, 996.0, 992.0, 999.0):
        analytics.record_metric("latency", at, at)
    assert [at for at, _ in told(analytics)] == [992.0, 996.0, 999.0]
    clock.advance(5.0)
    assert [at for at, _ in told(analytics)] == [996.0, 999.0]
    clock.now = 900.0
    analytics.record_metric("latency", 1.0)
    assert [at for at, _ in told(analytics)] == [900.0, 996.0, 999.0]


@pytest.mark.parametrize(
    ("period", "count"),
    [(0, None), (-1, None), (math.nan, None), ("1h", None), (None, 0), (None, 2.5), (None, True), (True, None)],
)
def test_a_policy_that_cannot_work_is_refused_by_name(period, count):
    with pytest.raises(ConfigurationError, match=r"retention_period|max_data_points"):
        BaseAnalytics().set_retention_policy(period, count)


def test_a_policy_in_bare_seconds_that_is_shorter_than_a_minute_is_obeyed_and_told(caplog):
    analytics = BaseAnalytics(clock=FakeClock(100.0))
    analytics.set_retention_policy(timedelta(seconds=7))
    analytics.set_retention_policy(60)
    assert caplog.text == ""
    analytics.set_retention_policy(7)
    assert "retention_period=7 is in seconds: did you mean timedelta(days=7)?" in caplog.text
    for at in (92.0, 94.0):
        analytics.record_metric("latency", at, at)
    assert told(analytics) == [(94.0, 94.0)]
    assert "kept: at most 7 s old, any number" in analytics.generate_analytics_report("detailed", include_trends=False)


def test_a_time_to_come_is_the_newest_until_then():
    clock = FakeClock(100.0)
    analytics = BaseAnalytics(clock=clock)
    analytics.set_retention_policy(timedelta(minutes=1), 2)
    for at in (500.0, 90.0, 99.0):
        analytics.record_metric("latency", at, at)
    assert [at for at, _ in told(analytics)] == [99.0, 500.0]
    assert analytics.statistics("latency", timedelta(seconds=5)).latest == 500.0
    clock.now = 561.0
    assert told(analytics) == []


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(0, 40), max_size=900).map(tuple), max_size=4),
    repeat=st.integers(1, 12),
    period=st.one_of(st.none(), st.integers(1, 40)),
    count=st.one_of(st.none(), st.integers(1, 30)),
)
def test_what_is_kept_is_what_a_list_sorted_and_cut_would_keep(batches, repeat, period, count):
    clock = FakeClock(40.0)
    analytics = BaseAnalytics(clock=clock)
    analytics.set_retention_policy(period, count)
    recorded = [(float(at), float(number)) for number, at in enumerate([at for batch in batches for at in batch] * repeat)]
    for at, value in recorded:
        analytics.record_metric("latency", value, at)
    expected = sorted(recorded, key=lambda pair: pair[0])
    expected = [pair for pair in expected if period is None or pair[0] >= 40.0 - period]
    assert told(analytics) == (expected if count is None else expected[-count:])


@pytest.mark.parametrize("late", [0.0, 0.01, 1.0])
def test_memory_is_bounded_while_nobody_reads(late):
    gc.collect()  # while another thread is at what was recorded, a tail is let grow
    wait_until(lambda: all(thread.name != "agentgauge-analytics" for thread in threading.enumerate()))
    chance = random.Random(late)
    analytics = BaseAnalytics()
    analytics.set_retention_policy(max_data_points=100)
    series = None
    for number in range(20_000):
        analytics.record_metric("latency", 1.0, number - (chance.uniform(0, 1e6) if chance.random() < late else 0.0))
        series = series or analytics._own_book()._series["latency"]
        assert len(series.tail) // 2 + len(series._times) + len(series._late_times) < 2500


def test_threads_lose_nothing_and_pairs_stay_together():
    analytics = BaseAnalytics()
    analytics.set_retention_policy()
    begin = threading.Barrier(5)

    def record(thread):
        begin.wait()
        for number in range(5000):
            analytics.record_metric("latency", float(thread * 5000 + number), float(thread * 5000 + number))

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begin.wait()
    while any(thread.is_alive() for thread in threads):
        assert all(at == value for at, value in told(analytics))
    assert told(analytics) == [(float(number), float(number)) for number in range(20_000)]


def test_a_clock_that_fails_costs_the_agent_nothing():
    analytics = BaseAnalytics(clock=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # contained, but for tests that ask to see it
        analytics.record_metric("latency", 1.0)


@pytest.mark.parametrize("made", [lambda: Forgetful("red"), Frozen])
def test_a_subclass_that_forgets_the_base_has_the_defaults_and_its_own_attributes(made):
    analytics = made()
    before = time.time()
    analytics.record_metric("latency", 1.0)  # the first of all, of now
    analytics.record_metric("latency", 2.0, 2.0)
    (_, first), (now, last) = told(analytics)
    assert (first, last, analytics.refused()) == (2.0, 1.0, {})
    assert before <= now <= time.time()
    assert analytics.colour in {"red", "blue"}
    assert analytics.generate_analytics_report("json")["name"] == type(analytics).__name__


def test_a_class_with_other_bases_gives_them_their_arguments():
    class Worker:
        def __init__(self, place, *, speed):
            self.place, self.speed = place, speed

    class Both(BaseAnalytics, Worker):
        pass

    made = Both("researcher", "hall", speed=3)
    made.record_metric("latency", 1.0, 2.0)
    assert (made.place, made.speed, told(made)) == ("hall", 3, [(2.0, 1.0)])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_has_the_points_and_records_for_itself(copied):
    analytics = Forgetful("red")
    analytics.set_retention_policy(max_data_points=2)
    analytics.record_metric("latency", 1.0, 2.0)
    other = copied(analytics)
    other.record_metric("latency", 5.0, 3.0)
    analytics.record_metric("latency", 6.0, 4.0)
    assert (told(other), told(analytics)) == ([(2.0, 1.0), (3.0, 5.0)], [(2.0, 1.0), (4.0, 6.0)])
    assert other.colour == "red"


def test_a_forked_child_goes_on_while_threads_of_its_parent_record():
    analytics = BaseAnalytics()
    is_over = threading.Event()

    def record():
        while not is_over.is_set():
            analytics.record_metric("latency", 1.0, 1.0)

    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if not child:
                is_right = False
                try:  # a child that fails must not go on with the tests of its parent
                    for _ in range(2000):
                        analytics.record_metric("other", 1.0, 1.0)
                    is_right = len(analytics.points("other")) == 2000
                finally:
                    os._exit(not is_right)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_what_is_disabled_records_nothing(monkeypatch):
    monkeypatch.setenv("AGENTGAUGE_DISABLED", "true")
    analytics = BaseAnalytics()
    analytics.record_metric("latency", 1.0, 1.0)
    assert (analytics.metrics(), analytics.refused()) == ([], {})


@pytest.mark.parametrize(
    "arguments", [{"name": ""}, {"max_metrics": 0}, {"clock": 5}, {"history": object()}, {"write_interval_seconds": 0}]
)
def test_bad_arguments_are_refused_by_name(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        BaseAnalytics(**arguments)


@pytest.mark.parametrize(
    ("spread", "share"), [(0.0, 0.0), (3.0, 1.0), (300.0, 1.0), (1e6, 1.0), (3.0, 0.02), (2000.0, 0.02), (300.0, 0.0005)]
)
@pytest.mark.parametrize(("period", "count"), [(None, 700), (900.0, None), (2000.0, 1500), (None, None)])
def test_long_recordings_keep_what_a_list_sorted_and_cut_would_keep(spread, share, period, count):
    chance = random.Random(f"{spread} {share} {period} {count}")
    clock = FakeClock(9000.0)
    analytics = BaseAnalytics(clock=clock)
    analytics.set_retention_policy(period, count)
    moved = (chance.uniform(-spread, spread) if chance.random() < share else 0.0 for _ in range(9000))
    recorded = [(float(round(at + by)), float(at)) for at, by in enumerate(moved)]
    for at, value in recorded:
        analytics.record_metric("latency", value, at)
    expected = sorted(recorded, key=lambda pair: pair[0])
    expected = [pair for pair in expected if period is None or pair[0] >= 9000.0 - period]
    assert told(analytics) == (expected if count is None else expected[-count:])
