"""Programs that are young, calls that are few, and things that several measures show: what must not be called an anomaly.

Developed on the seeds 100 to 106 of ``made_program.py`` and 1 to 4 of ``made_day.py``; those here had no part in it.
"""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import numpy as np
import pytest

from agentgauge.analytics.anomalies import Anomaly, find_anomalies, survey
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.observations import Stretch, chance_of, read_weighed
from agentgauge.analytics.recorded import recorded_measures
from agentgauge.analytics.related import told_once
from agentgauge.analytics.signals import Signal, read
from made_day import make_day
from made_program import BEGIN, add_calls, made_program
from made_source import MadeSource

HEALTHY = range(9000, 9010)
SECONDS = 300
BY_NAME = {measure.name: measure for measure in MEASURES}
GRID = Grid.over(BEGIN, BEGIN + SECONDS - 1, 1)


def test_ten_healthy_programs_of_five_minutes_have_hardly_anything_that_is_worse_and_little_of_note():
    found = [survey(made_program(seed), GRID) for seed in HEALTHY]
    assert all(one.judged >= 8 for one in found)
    worse = [anomaly for one in found for anomaly in one.anomalies if anomaly.is_worse]
    others = [anomaly for one in found for anomaly in one.anomalies if not anomaly.is_worse]
    assert len(worse) <= 3
    assert len(others) <= 20  # in each of them the memory of the program rises while it starts, which is true
    assert not [one for one in worse if one.signal.measure.name in {"tool_duration_p95", "task_error_ratio"}]


@pytest.mark.parametrize(("seed", "hour"), [(8001, 18), (8002, 16)])
def test_of_a_day_the_slowdown_is_told_first_once_for_each_subject_and_little_else(seed, hour, tmp_path, monkeypatch):
    # or it is another day each time
    monkeypatch.setattr("made_day.time", SimpleNamespace(time=lambda: 1_764_000_000 + hour * 3600))
    day = make_day(tmp_path / "history.db", seed=seed)
    with History(day.path, is_read_only=True) as history:
        found = find_anomalies(history, Grid.over(day.end - 86400, day.end))
    of_it = [one for one in found if one.start < day.slow[1] and day.slow[0] < one.end]
    assert found[0] in of_it
    assert found[0].is_worse
    assert abs(found[0].start - day.slow[0]) <= 300
    assert abs(found[0].end - day.slow[1]) <= 300
    assert {one.signal.title.split(" of ")[-1] for one in of_it if one.is_worse} == {"researcher, search", "openai, gpt-5-mini"}
    assert len([one for one in of_it if one.is_worse]) == 2
    assert len(found) <= 5


def test_half_a_minute_is_too_short_to_judge_anything():
    found = survey(made_program(9100, 27), Grid.over(BEGIN, BEGIN + 26, 1))
    assert found.anomalies == ()
    assert found.judged == 0
    assert {one.signal.measure.name for one in found.unjudged} >= {"tool_duration_p95", "process_memory", "host_disk_io"}


@pytest.mark.parametrize("seed", range(9210, 9213))
def test_a_tool_that_is_slow_for_minutes_of_half_an_hour_is_found_though_it_is_called_five_times_a_second(seed):
    grid = Grid.over(BEGIN, BEGIN + 1799, 1)
    found = find_anomalies(made_program(seed, 1800, (900, 1200)), grid, measures=[BY_NAME["tool_duration_p95"]])
    [slow] = [one for one in found if one.signal.title.endswith(" of search") and one.is_worse]
    assert slow.start - BEGIN == pytest.approx(900, abs=30)
    assert slow.end - BEGIN == pytest.approx(1200, abs=30)


# --- few calls ------------------------------------------------------------------------------------------------------------


def test_steps_are_merged_until_they_hold_twenty_calls_or_fewer_where_too_few_steps_were_left():
    source = MadeSource()
    times = [float(BEGIN + second) for second in range(SECONDS)]
    for tool, a_second in (("busy", 40), ("steady", 12), ("seldom", 5), ("rare", 0.1)):
        calls = [np.full(int(a_second * (second + 1)) - int(a_second * second), 0.07) for second in range(SECONDS)]
        add_calls(source, "gen_ai_execute_tool_duration_seconds", times, calls, gen_ai_tool_name=tool)
    read = [one.signal for one in read_weighed(BY_NAME["tool_duration_p95"], source, GRID)]
    found = {one.labels["gen_ai_tool_name"]: one for one in read}
    assert {name: one.grid.step_seconds for name, one in found.items()} == {"busy": 1, "steady": 2, "seldom": 2, "rare": 30}
    assert np.isfinite(found["seldom"].values[1:]).all()
    assert np.isnan(found["rare"].values).all()
    [rate] = [one.signal for one in read_weighed(BY_NAME["tool_rate"], source, GRID) if one.signal.title.endswith("seldom")]
    assert rate.grid == GRID


def _tasks(bad: dict[int, int], a_step: int = 20) -> tuple[MadeSource, Signal]:
    source, times = MadeSource(), [float(BEGIN + second) for second in range(SECONDS)]
    failed = np.array([bad.get(second, 0) + (second % 10 == 5) for second in range(SECONDS)])
    for outcome, counts in (("error", failed), ("success", a_step - failed)):
        source.add(
            "agent_task_duration_seconds_count",
            times,
            np.cumsum(counts).tolist(),
            gen_ai_agent_name="a",
            agent_task="t",
            outcome=outcome,
        )
    [signal] = read(BY_NAME["task_error_ratio"], source, GRID)
    return source, signal


def test_two_errors_of_twenty_are_chance_and_fifteen_are_not():
    source, signal = _tasks({100: 2, 200: 15})
    assert 1e-3 < chance_of(signal, source, Stretch(99, 99, 0.0, 0.1)) < 0.05
    assert chance_of(signal, source, Stretch(199, 199, 0.0, 0.75)) < 1e-12


def test_events_that_come_at_random_are_held_against_their_rate():
    source = MadeSource().add(
        "agent_task_retries_total",
        GRID.times,
        np.cumsum([(second % 50 == 7) + 12 * (second == 200) + 1.0 * (second == 100) for second in range(GRID.count)]).tolist(),
        gen_ai_agent_name="a",
        agent_task="t",
    )
    [signal] = read(BY_NAME["task_retry_rate"], source, GRID)
    assert chance_of(signal, source, Stretch(100, 100, 0.0, 1.0)) > 0.01
    assert chance_of(signal, source, Stretch(200, 200, 0.0, 12.0)) < 1e-9
    assert [one.start - BEGIN for one in find_anomalies(source, GRID, measures=[signal.measure])] == [GRID.start - BEGIN + 199]


# --- told once ------------------------------------------------------------------------------------------------------------


def _anomaly(name: str, begin: float, end: float, score: float, shape: str = "level_shift", **labels: str) -> Anomaly:
    signal = Signal(BY_NAME[name], labels, GRID, array("d"))
    return Anomaly(signal, begin, end, shape, score, 1.0, 2.0, BY_NAME[name].worse == "up" or None, "")


def test_what_touches_in_time_and_is_about_one_agent_is_told_once_and_the_worse_level_tells_it():
    outer = {"gen_ai_agent_name": "a", "agent_task": "t"}
    level = _anomaly("task_duration_p95", 100, 200, 2.0, **outer)
    sways = _anomaly("task_duration_mean", 100, 200, 9.0, "variance", **outer)
    nested = _anomaly("task_duration_mean", 150, 201, 1.5, gen_ai_agent_name="a", agent_task="inner")
    traffic = _anomaly("task_rate", 120, 160, 5.0, **outer)
    later = _anomaly("task_duration_p95", 210, 220, 1.2, **outer)
    other = _anomaly("task_duration_p95", 100, 200, 1.1, gen_ai_agent_name="b", agent_task="t")
    told = told_once([traffic, sways, nested, later, other, level])
    assert [(one.signal, one.score) for one in told] == [(each.signal, each.score) for each in (level, later, other)]
    assert told[0].others == (nested, sways, traffic)
    assert told[1].others == told[2].others == ()


def test_what_is_silent_from_and_to_the_same_time_is_one_silence():
    first = _anomaly("task_rate", 100, 106, 2.0, "missing", gen_ai_agent_name="a", agent_task="t")
    model = _anomaly("lm_rate", 101, 106, 1.8, "missing", gen_ai_provider_name="p", gen_ai_request_model="m")
    tool = _anomaly("tool_rate", 100, 107, 1.5, "missing", gen_ai_tool_name="find")
    longer = _anomaly("tool_rate", 100, 120, 1.4, "missing", gen_ai_tool_name="keep")
    slow = _anomaly("tool_duration_p95", 100, 106, 1.3, gen_ai_tool_name="read")
    told = told_once([tool, longer, slow, model, first])
    assert {one.signal.title: [other.signal.title for other in one.others] for one in told} == {
        first.signal.title: [model.signal.title, tool.signal.title],
        longer.signal.title: [],
        slow.signal.title: [],
    }


@pytest.mark.parametrize("step", [5, 30, 60])
def test_what_is_recorded_more_seldom_than_a_step_is_judged_in_longer_ones(step, tmp_path):
    random, end = np.random.default_rng(31), 1_764_000_000
    times = [end - 60.0 * (600 - at) + random.uniform(0, 20) for at in range(600)]
    values = np.repeat([0.8, 0.5], [500, 100]) + 0.02 * random.standard_normal(600)
    with History(tmp_path / "history.db", clock=lambda: float(end)) as history:
        history.write_points("feedback", {"analytics": "researcher"}, times, values.tolist())
        (found,) = find_anomalies(history, Grid.over(end - 36_000, end, step), measures=recorded_measures(history))
        assert found.shape == "level_shift"
        assert found.start == pytest.approx(times[500], abs=300)
        (few,) = read_weighed(recorded_measures(history)[0], history, Grid.over(end - 900, end, step))
        assert few.signal.grid.step_seconds == step  # too few to judge by in steps of a minute
