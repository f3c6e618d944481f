import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agentgauge.analytics.analysis.forecast import Method
from agentgauge.analytics.forecasts import make_forecasts, plan_capacity
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.errors import ConfigurationError
from made_source import MadeSource

HOUR, DAY = 3600, 86_400
START = 1_699_920_000
NAMED = {measure.name: measure for measure in MEASURES}


def traffic(source, rates, step, *, lasts=2.0, agent="researcher", task="search", in_progress=None):
    times = [START + step * index for index in range(len(rates) + 1)]
    labels = {"gen_ai_agent_name": agent, "agent_task": task}
    counts = np.concatenate([[0.0], np.cumsum(np.asarray(rates) * step)])
    source.add("agent_task_duration_seconds_count", times, counts.tolist(), outcome="success", **labels)
    source.add("agent_task_duration_seconds_sum", times, (counts * lasts).tolist(), outcome="success", **labels)
    if in_progress is not None:
        source.add("agent_tasks_in_progress", times, [in_progress] * len(times), **labels)
    return source


def days(count, seed):
    at = np.arange(count * 48)
    random = np.random.default_rng(seed)
    return (4 + 3 * np.sin(2 * np.pi * at / 48) + 0.2 * random.standard_normal(len(at))).clip(0).tolist()


def week(seed):
    return traffic(MadeSource(), days(7, seed), 1800), Grid.over(START, START + 7 * DAY, 1800)


def test_the_day_is_found_and_continued():
    source, grid = week(1)
    (found,) = make_forecasts(source, grid, horizon_seconds=6 * HOUR, measures=[NAMED["task_rate"]])
    assert found.forecast.period == 48
    assert found.forecast.method in {Method.HOLT_WINTERS, Method.HOLT_WINTERS_LOG}
    assert (found.grid.start, found.grid.count, found.grid.step_seconds) == (grid.end + 1800, 12, 1800)
    expected = [4 + 3 * math.sin(2 * math.pi * step / 48) for step in range(12)]
    assert found.forecast.values == pytest.approx(expected, abs=0.6)
    assert found.sentence.startswith("tasks of researcher, search will be about ")
    assert "/s in 6 h (90 % interval " in found.sentence
    assert "of the naive forecast's, and " in found.sentence


def test_an_interval_that_did_not_hold_of_late_is_not_offered_as_one_that_does():
    random = np.random.default_rng(12)
    calm, wild = random.normal(100, 1, 210), random.normal(100, 20, 60)  # the world changes late in the back-test
    source = MadeSource().add("process_threads", [START + 60.0 * step for step in range(1, 271)], [*calm, *wild])
    grid = Grid.over(START, START + 270 * 60, 60)
    (found,) = make_forecasts(source, grid, horizon_seconds=600, measures=[NAMED["process_threads"]])
    assert found.forecast.coverage < 0.8
    assert not found.forecast.is_held
    assert "90 % interval" not in found.sentence
    assert "with little certainty)" in found.sentence
    assert "lay within intervals that were to hold 90 %, so this one is wider" in found.sentence
    held = np.mean((found.forecast.low[-1] <= wild) & (wild <= found.forecast.high[-1]))
    assert held >= 0.85  # it is made so wide that it would have held what came of late


def test_the_naive_forecast_is_not_told_its_error_against_itself():
    walk = np.cumsum(np.random.default_rng(3).normal(0, 1, 200)) + 500
    source = MadeSource().add("process_threads", [START + 60.0 * step for step in range(1, 201)], walk.tolist())
    (found,) = make_forecasts(
        source, Grid.over(START, START + 200 * 60, 60), horizon_seconds=300, measures=[NAMED["process_threads"]]
    )
    assert found.forecast.method is Method.NAIVE
    assert "back-tested, nothing did better than the last value" in found.sentence
    assert "naive" not in found.sentence


def test_a_percentile_is_forecast_between_the_bounds_of_its_buckets():
    times = [START + 60.0 * step for step in range(121)]
    source = MadeSource()
    labels = {"gen_ai_agent_name": "a", "agent_task": "t", "outcome": "success"}
    for bound, share in (("0.32", 0.2), ("0.64", 1), ("1.28", 1), ("+Inf", 1)):
        grown = [0.0]
        for step in range(120):
            grown.append(grown[-1] + (100 - 3 * (step % 3 == 0 and share == 0.2) if share == 1 else 20 + step % 7))
        source.add("agent_task_duration_seconds_bucket", times, grown, le=bound, **labels)
    (found,) = make_forecasts(
        source, Grid.over(START, START + 7200, 60), horizon_seconds=600, measures=[NAMED["task_duration_p95"]]
    )
    assert 0.32 < found.forecast.values[-1] < 0.64
    about = "95th percentile of the duration of a, t will be between 320 ms and 640 ms in 10 min (90 % interval 320 ms to 640 ms)"
    assert found.sentence.startswith(about)


def test_a_period_that_is_given_is_taken():
    source, grid = week(2)
    (found,) = make_forecasts(source, grid, horizon_seconds=HOUR, measures=[NAMED["task_rate"]], period_seconds=DAY)
    assert found.forecast.period == 48


def test_shares_are_not_forecast_above_one():
    source = MadeSource()
    times = [START + 300.0 * step for step in range(1, 200)]
    source.add("system_memory_utilization_ratio", times, [min(0.999, 0.5 + 0.003 * step) for step in range(199)])
    (found,) = make_forecasts(source, Grid.over(START, START + 199 * 300, 300), horizon_seconds=4 * HOUR)
    assert max(found.forecast.high) <= 1


def test_too_little_is_said_and_has_no_values():
    source = traffic(MadeSource(), [1.0] * 5, 300)
    found = make_forecasts(source, Grid.over(START, START + 1500, 300), horizon_seconds=600, measures=[NAMED["task_rate"]])
    assert [one.forecast.method for one in found] == [Method.NONE]
    assert found[0].sentence == "tasks of researcher, search: too little is known to forecast it so far"


def test_a_signal_that_began_too_late_is_not_forecast_so_far_ahead():
    source = MadeSource()
    times = [START + 300.0 * step for step in range(1, 200)]
    source.add("process_threads", times, [float(step) for step in range(199)])
    source.add("process_open_fds", times[-40:], [float(step) for step in range(40)])
    grid = Grid.over(START, START + 199 * 300, 300)
    methods = {}
    for hours in (1, 2):
        found = make_forecasts(source, grid, horizon_seconds=hours * HOUR)
        methods[hours] = {one.signal.measure.name: one.forecast.method for one in found}
    assert Method.NONE not in methods[1].values()
    assert {name for name, method in methods[2].items() if method is Method.NONE} == {"process_descriptors"}


@pytest.mark.parametrize(
    "wrong", [{"horizon_seconds": 0}, {"horizon_seconds": math.nan}, {"horizon_seconds": 1e9}, {"period_seconds": -1}]
)
def test_bad_input_is_refused(wrong):
    source, grid = week(3)
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        make_forecasts(source, grid, **{"horizon_seconds": HOUR, **wrong})
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        plan_capacity(source, grid, concurrency_per_replica=1, **{"horizon_seconds": HOUR, **wrong})


def test_the_peak_of_tomorrow_is_planned_for_before_it_comes():
    source, grid = week(4)
    (found,) = plan_capacity(source, grid, horizon_seconds=DAY, concurrency_per_replica=2, target_utilization=0.7)
    assert 6.8 < found.rate < 8.5  # seven a second at noon, and its interval
    assert found.duration_seconds == pytest.approx(2)
    assert found.plan.load == pytest.approx(found.rate * 2)
    assert found.plan.replicas == math.ceil(found.rate * 2 / 0.7 / 2)
    assert found.labels == {"gen_ai_agent_name": "researcher", "agent_task": "search"}
    assert found.sentence.startswith(f"researcher, search needs {found.plan.replicas} replicas: at most ")
    assert "and each keeps a place for 2 s, so that " in found.sentence
    (soon,) = plan_capacity(source, grid, horizon_seconds=HOUR, concurrency_per_replica=2, target_utilization=0.7)
    assert soon.plan.replicas < found.plan.replicas


def test_tasks_that_hold_places_without_ending_count():
    grid = Grid.over(START, START + 60 * 60, 60)
    source = traffic(MadeSource(), [1.0] * 60, 60, in_progress=10.0)
    (found,) = plan_capacity(source, grid, horizon_seconds=300, concurrency_per_replica=1, target_utilization=1)
    assert found.duration_seconds == pytest.approx(10)
    assert "keeps a place for 10 s, so that 10 places are busy; those that succeed last 2 s, but more were in" in found.sentence
    assert found.plan.replicas == 10
    fewer = traffic(MadeSource(), [1.0] * 60, 60, in_progress=2.2)
    (found,) = plan_capacity(fewer, grid, horizon_seconds=300, concurrency_per_replica=1, target_utilization=1)
    assert found.plan.replicas == 2


def test_a_duration_that_changed_of_late_is_what_counts():
    grid = Grid.over(START, START + 120 * 60, 60)
    times = [START + 60.0 * step for step in range(121)]
    labels = {"gen_ai_agent_name": "a", "agent_task": "t", "outcome": "success"}
    source = MadeSource().add("agent_task_duration_seconds_count", times, [60.0 * step for step in range(121)], **labels)
    sums = [60.0 * (step if step <= 80 else 80 + 5 * (step - 80)) for step in range(121)]
    source.add("agent_task_duration_seconds_sum", times, sums, **labels)
    (found,) = plan_capacity(source, grid, horizon_seconds=300, concurrency_per_replica=1)
    assert found.duration_seconds == pytest.approx(5)


def test_what_runs_now_and_the_limits_are_minded_for_each_agent():
    grid = Grid.over(START, START + 60 * 60, 60)
    source = traffic(MadeSource(), [4.7] * 60, 60, lasts=1, agent="one")
    traffic(source, [4.7] * 60, 60, lasts=1, agent="two")
    one, two = plan_capacity(
        source,
        grid,
        horizon_seconds=300,
        concurrency_per_replica=1,
        target_utilization=1,
        max_replicas=5,
        current_replicas={"one": 6},
        scale_down_margin=0.1,
    )
    assert (one.plan.wanted_replicas, one.plan.replicas, one.plan.reason) == (5, 5, "maximum")
    assert (two.plan.replicas, two.plan.reason) == (5, "load")


def test_nothing_to_plan_from_is_no_plan():
    assert plan_capacity(MadeSource(), Grid.over(0, 3600, 60), horizon_seconds=60, concurrency_per_replica=1) == []


def test_capacity_needs_no_extra():
    code = (
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom made_source import MadeSource\n"  # needs numpy
        "for name in ('numpy', 'scipy', 'statsmodels', 'sklearn'): sys.modules[name] = None\n"
        f"{_PROGRAM}"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["2"]


_PROGRAM = """
from agentgauge.analytics.forecasts import plan_capacity
from agentgauge.analytics.frames import Grid
labels = {"gen_ai_agent_name": "a", "agent_task": "t", "outcome": "success"}
times = [60.0 * step for step in range(1, 62)]
source = MadeSource()
for part in ("count", "sum"):
    source.add(f"agent_task_duration_seconds_{part}", times, times, **labels)
(found,) = plan_capacity(source, Grid.over(0, 3660, 60), horizon_seconds=300, concurrency_per_replica=1)
print(found.plan.replicas)
"""
