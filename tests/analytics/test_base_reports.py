"""Reports tell what was recorded, whatever it is; figures are what the statistics module finds."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentgauge.analytics.base import BaseAnalytics
from agentgauge.errors import ConfigurationError
from agentgauge.testing import FakeClock

GREAT = 1.7976931348623157e308
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.floats(-6e10, 2.5e11)


def recorded(pairs, **settings_):
    analytics = BaseAnalytics("researcher", **settings_)
    for at, value in pairs:
        analytics.record_metric("latency", value, at)
    return analytics


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(TIMES, NUMBERS), max_size=30))
@example(pairs=[(0.0, GREAT), (1.0, -GREAT), (2.0, GREAT)])
@example(pairs=[(0.0, GREAT)] * 20)
@example(pairs=[(5e-324 * index, GREAT if index % 2 else -GREAT) for index in range(20)])
@example(pairs=[(5e-324 * index, 1e90 * index) for index in range(20)])
def test_every_report_of_any_points_can_be_made_and_is_strict_json(pairs):
    analytics = recorded(pairs)
    told = analytics.generate_analytics_report("json")
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["metrics"].get("latency", {"count": 0})["count"] == len(pairs)
    for report_format in ("summary", "detailed"):
        assert "researcher" in analytics.generate_analytics_report(report_format)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_figures_are_those_of_the_statistics_module(values):
    found = recorded(enumerate(values)).statistics("latency")
    assert (found.count, found.minimum, found.maximum, found.latest) == (len(values), min(values), max(values), values[-1])
    assert found.median == statistics.median(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.standard_deviation == pytest.approx(statistics.pstdev(values), abs=1e-9)
    assert sum(value <= found.p95 for value in values) >= 0.95 * len(values)
    assert sum(value < found.p95 for value in values) < 0.95 * len(values)


def test_a_rise_is_told_as_one_and_its_size_an_hour():
    analytics = recorded([(60.0 * minute, 3.0 + minute / 10) for minute in range(50)])
    found = analytics.generate_analytics_report()["metrics"]["latency"]["trend"]
    assert found["direction"] == "rising"
    assert found["per_hour"] == pytest.approx(6.0)
    assert "rising by 6 an hour" in analytics.generate_analytics_report("summary")
    assert "trend" not in analytics.generate_analytics_report(include_trends=False)["metrics"]["latency"]


@pytest.mark.parametrize(("before", "after"), [(50, 50), (750, 250), (1000, 1000), (900, 100)])
@pytest.mark.parametrize("sway", [0.0, 0.1, 0.5])
def test_a_level_that_stepped_is_told_with_its_time_whatever_the_lengths_before_and_after(before, after, sway):
    chance = random.Random(before)
    levels = [30.0] * before + [300.0] * after
    analytics = recorded([(float(at), level * chance.lognormvariate(0, sway)) for at, level in enumerate(levels)])
    found = analytics.generate_analytics_report()["metrics"]["latency"]["trend"]
    assert found["direction"] == "stepped"
    (step,) = found["steps"]
    assert step["at"] == datetime.fromtimestamp(before, UTC).isoformat()
    assert (step["before"], step["after"]) == (pytest.approx(30.0, rel=0.2), pytest.approx(300.0, rel=0.2))
    for report_format in ("summary", "detailed"):
        assert "stepped from " in analytics.generate_analytics_report(report_format)


def test_noise_about_one_level_has_no_steady_slope_and_no_step():
    told = []
    for seed in range(40):
        chance = random.Random(seed)
        analytics = recorded([(float(at), chance.gauss(30, 3)) for at in range(100)])
        found = analytics.generate_analytics_report()["metrics"]["latency"]["trend"]
        told.append(found["direction"])
        if found["direction"] == "none":
            assert "no steady slope" in analytics.generate_analytics_report("summary")
    assert told.count("stepped") <= 4
    assert told.count("none") >= 34


def test_a_great_fall_is_told_with_its_size():
    found = recorded([(float(at), -1e200 * at) for at in range(50)]).generate_analytics_report()
    assert found["metrics"]["latency"]["trend"]["direction"] == "falling"
    assert found["metrics"]["latency"]["trend"]["per_hour"] == pytest.approx(-3.6e203)


def test_a_window_is_the_last_while_or_from_one_time_on_and_before_another():
    analytics = recorded([(float(at), float(at)) for at in range(10)], clock=FakeClock(9.0))
    assert list(analytics.points("latency", timedelta(seconds=3)).times) == [6.0, 7.0, 8.0, 9.0]
    assert list(analytics.points("latency", 2).times) == [7.0, 8.0, 9.0]
    since = datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert list(analytics.points("latency", (since, 4)).times) == [2.0, 3.0]
    told = analytics.generate_analytics_report(time_window=(since, 4))
    assert told["window"] == {"since": "1970-01-01T00:00:02+00:00", "until": "1970-01-01T00:00:04+00:00"}
    assert (told["metrics"]["latency"]["count"], told["metrics"]["latency"]["mean"]) == (2, 2.5)
    assert analytics.statistics("latency", (100, 200)) is None


@pytest.mark.parametrize("window", [0, -5, "1h", (1,), (2, 1), (datetime(2026, 1, 1), 5), (1, 1)])  # noqa: DTZ001
def test_what_is_no_window_is_refused(window):
    with pytest.raises(ConfigurationError, match="time_window"):
        BaseAnalytics().generate_analytics_report(time_window=window)


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigurationError, match="report_format='html'"):
        BaseAnalytics().generate_analytics_report("html")


def test_a_detailed_report_tells_everything(caplog):
    analytics = recorded([(0.0, 1.5)], clock=FakeClock(60.0))
    analytics.record_metric("latency", "slow")
    assert analytics.generate_analytics_report("detailed", include_trends=False) == (
        "researcher, from the beginning until 1970-01-01T00:01:00+00:00\n"
        "latency: 1 point\n"
        "  from 1970-01-01T00:00:00+00:00 to 1970-01-01T00:00:00+00:00\n"
        "  latest 1.5, minimum 1.5, maximum 1.5\n"
        "  mean 1.5, median 1.5, p95 1.5, deviation 0\n"
        "kept: any age, at most 10000 points of each metric\n"
        "refused: 1 (bad_value)\n"
    )
    assert "nothing was recorded" in BaseAnalytics().generate_analytics_report("summary")


def test_a_subclass_adds_its_facts_to_every_report():
    class Told(BaseAnalytics):
        def report_facts(self, time_window=None):
            return {"colour": "red"}

    assert Told().generate_analytics_report()["colour"] == "red"
    assert "colour: red" in Told().generate_analytics_report("summary")


def test_facts_get_the_window_of_the_report():
    class Told(BaseAnalytics):
        def report_facts(self, time_window=None):
            return {"points": len(self.points("latency", time_window))}

    analytics = Told(clock=FakeClock(100.0))
    for at in (10.0, 95.0):
        analytics.record_metric("latency", 1.0, at)
    assert analytics.generate_analytics_report()["points"] == 2
    assert "points: 1\n" in analytics.generate_analytics_report("summary", time_window=timedelta(seconds=10))


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"metrics": 1}, "'metrics', a field of every report"),
        (["colour"], "returned list: return a dict"),
        ({1: "red"}, "return a dict of facts by their names"),
        ({"share": float("nan")}, "what JSON cannot have"),
        ({"at": object()}, "what JSON cannot have"),
    ],
)
def test_facts_that_no_report_can_have_are_refused_by_the_name_of_their_class(facts, named):
    class Told(BaseAnalytics):
        def report_facts(self, time_window=None):
            return facts

    with pytest.raises(ConfigurationError, match=rf"Told\.report_facts\(\).*{named}"):
        Told().generate_analytics_report("summary")


def test_a_plot_is_a_figure_that_writes_a_page_of_its_own(tmp_path):
    analytics = recorded([(0.0, 1.5), (60.0, 2.5)])
    figure = analytics.generate_metric_plot("latency")
    assert [at.timestamp() for at in figure.data[0].x] == [0.0, 60.0]
    assert list(figure.data[0].y) == [1.5, 2.5]
    figure.write_html(tmp_path / "latency.html")
    page = (tmp_path / "latency.html").read_text(encoding="utf-8")
    assert "<script src=" not in page.replace("charset", "")
    assert analytics.generate_metric_plot("never").layout.title.text == "never (researcher): no points"


WITHOUT_EXTRAS = """
import sys
for name in ("numpy", "scipy", "plotly"):
    sys.modules[name] = None
from agentgauge.analytics.infrastructure import InfrastructureAnalytics
made = InfrastructureAnalytics("store")
made.record_performance_metric("search", 12.0, True)
print(made.generate_analytics_report("summary"))
assert made.generate_analytics_report()["trends"] == "not computed: pip install 'agentgauge[analysis]'"
try:
    made.generate_metric_plot("operation.search.duration_ms")
except Exception as error:
    print(error)
"""


def test_without_extras_a_report_is_made_and_what_to_install_is_told():
    told = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], text=True, capture_output=True, check=False, timeout=60)
    assert told.returncode == 0, told.stderr
    assert "trends: not computed: pip install 'agentgauge[analysis]'" in told.stdout
    assert "generate_metric_plot() needs plotly: pip install 'agentgauge[charts]'" in told.stdout
