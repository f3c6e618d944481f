"""What is out of the ordinary: in one series, among many, over a source, and in words.

The detectors were developed on the seeds 0 to 59 of ``injected.py``; those that judge them here, from 7000 on, had no part in
it. A finding counts for an injected fault where it has its shape and touches its interval, give or take two steps; any other
finding is false.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from agentgauge.analytics.analysis.anomaly import judge
from agentgauge.analytics.analysis.findings import Shape
from agentgauge.analytics.analysis.isolation import isolate
from agentgauge.analytics.anomalies import find_anomalies, judge_signals
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from injected import DAY, SHAPES, series
from made_source import MadeSource

JUDGED = range(7000, 7040)
TOLERANCE = 2
NOON = 1_700_006_400


@pytest.fixture(scope="module")
def judged():
    """Return hits, faults, findings that are right and findings in all, by shape; and how many clean series had any."""
    hits, right, found, false_alarms = Counter(), Counter(), Counter(), 0
    for seed in JUDGED:
        for shape in (*SHAPES, None):
            made = series(seed, shape)
            findings = judge(made.values, period=DAY, is_traffic=True).findings
            false_alarms += shape is None and bool(findings)
            fitting = [
                one.shape is shape and one.first <= made.last + TOLERANCE and one.last >= made.first - TOLERANCE
                for one in findings
            ]
            found.update(one.shape for one in findings)
            right[shape] += sum(fitting)
            hits[shape] += any(fitting)
    return hits, right, found, false_alarms


@pytest.mark.parametrize("shape", SHAPES)
def test_nine_of_ten_faults_of_each_shape_are_found_and_nine_of_ten_findings_are_faults(judged, shape):
    hits, right, found, _ = judged
    assert hits[shape] / len(JUDGED) >= 0.9
    assert right[shape] / found[shape] >= 0.9


def test_nine_of_ten_faults_are_found_in_all_and_hardly_anything_in_series_without(judged):
    hits, right, found, false_alarms = judged
    assert sum(hits.values()) / len(JUDGED) / len(SHAPES) >= 0.95
    assert sum(right.values()) / sum(found.values()) >= 0.95
    assert false_alarms / len(JUDGED) <= 0.1


# --- what there is no answer to -------------------------------------------------------------------------------------------


def test_too_few_values_are_not_judged():
    judgement = judge(np.array([1.0] * 14 + [500.0]))
    assert judgement.baseline is None
    assert judgement.findings == ()
    assert np.isnan(judgement.now)


def test_a_series_that_never_changes_has_nothing_to_find():
    assert judge(np.full(200, 3.0)).findings == ()


def test_sixty_three_values_are_too_few_to_tell_and_sixty_four_tell_a_burst():
    values = 5 + np.random.default_rng(4).normal(size=64)
    assert judge(values).findings == ()
    values[50] += 60
    assert [(one.first, one.shape) for one in judge(values).findings] == [(50, Shape.SPIKE)]
    assert judge(values[1:]).baseline is None
    assert judge(values[1:]).findings == ()


def test_a_level_is_found_though_every_other_value_is_missing():
    random = np.random.default_rng(5)
    values = np.full(1200, np.nan)
    at = np.sort(random.choice(1200, 600, replace=False))
    values[at] = 0.8 + 0.02 * random.standard_normal(600) - 0.3 * (at >= 1000)
    [found] = judge(values, alpha=0.001).findings
    assert found.shape is Shape.LEVEL_SHIFT
    assert abs(found.first - 1000) < 15


@pytest.mark.parametrize("seed", range(7100, 7110))
def test_a_day_that_goes_up_and_down_once_is_no_anomaly_while_nobody_knows_its_season(seed):
    random = np.random.default_rng(seed)
    at = np.arange(1440)
    assert judge(50 + 30 * np.sin(2 * np.pi * at / 1440) + random.normal(size=at.size), period=1440).findings == ()


def test_heavy_tails_are_not_full_of_spikes():
    findings = [judge(np.random.default_rng(seed).standard_t(4, size=960)).findings for seed in range(7200, 7220)]
    assert sum(map(bool, findings)) <= 2


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_what_comes_in_bursts_is_not_full_of_spikes(share):
    found = 0
    for seed in range(7600, 7610):
        random = np.random.default_rng(seed)
        bursts = np.where(random.random(400) < share, random.lognormal(3, 1, 400), 0.3 + 0.01 * random.normal(size=400))
        found += len([one for one in judge(bursts).findings if one.shape is Shape.SPIKE])
    assert found <= 2


def test_nights_without_traffic_are_no_silence_but_a_day_without_is():
    random = np.random.default_rng(2)
    at = np.arange(DAY * 10)
    traffic = np.where(at % DAY < DAY // 3, 0.0, random.poisson(30, size=at.size)).astype(float)
    assert judge(traffic, period=DAY, is_traffic=True).findings == ()
    traffic[DAY * 7 + 50 : DAY * 7 + 60] = 0
    [found] = judge(traffic, period=DAY, is_traffic=True).findings
    assert (found.first, found.last, found.shape) == (DAY * 7 + 50, DAY * 7 + 59, Shape.MISSING)


def test_zeros_now_and_then_are_no_silence():
    for seed in range(7300, 7310):
        traffic = np.random.default_rng(seed).poisson(1.5, size=960).astype(float)
        assert [one for one in judge(traffic, is_traffic=True).findings if one.shape is Shape.MISSING] == []


def test_what_reaches_the_end_is_what_is_now():
    made = series(7, None).values
    assert judge(made, period=DAY).now < 1
    made[-5:] += 10 * np.std(made)
    assert judge(made, period=DAY).now > 1


# --- many series ----------------------------------------------------------------------------------------------------------


def _related(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    load = random.normal(size=(600, 1))
    return load @ np.ones((1, 6)) + 0.3 * random.normal(size=(600, 6))


def test_series_that_go_apart_are_found_though_none_is_far_out_alone():
    found = 0
    for seed in range(7400, 7406):
        table = _related(seed)
        table[300:306, 2] = -np.sign(table[300:306, 0]) * 2.0
        assert np.abs(table[300:306, 2]).max() < 3
        found += any(one.first <= 306 and one.last >= 299 and one.series[0] == 2 for one in isolate(table))
    assert found >= 5


def test_what_never_changes_or_is_hardly_known_does_not_shift_the_names_of_those_that_go_apart():
    table = _related(7400)
    table[300:306, 2] = -np.sign(table[300:306, 0]) * 2.0
    rare = np.where(np.arange(600) % 10 == 0, 1.0, np.nan)
    hardly_ever = np.where(np.arange(600) == 5, 9.0, 0.0)
    endless = np.where(np.arange(600) % 2 == 0, np.inf, -np.inf)
    more = np.column_stack([np.full(600, 3.0), rare, hardly_ever, table[:, :2], np.zeros(600), table[:, 2:], endless])
    assert [one.series[0] for one in isolate(table)] == [2]
    assert [one.series[0] for one in isolate(more)] == [6]
    assert isolate(np.column_stack([np.full(600, 3.0), np.zeros(600), table[:, :2]])) == []


def test_series_that_always_go_together_are_left_alone():
    assert sum(bool(isolate(_related(seed))) for seed in range(7500, 7506)) <= 1


def test_a_forest_wants_three_series_and_sixty_four_times():
    assert isolate(_related(1)[:, :2]) == []
    assert isolate(_related(1)[:60]) == []
    assert isolate(np.array([])) == []


# --- over a source --------------------------------------------------------------------------------------------------------


def _source(minutes: int = 300) -> MadeSource:
    """Tasks of which from minute 200 on for 40 minutes nine of ten fail."""
    random = np.random.default_rng(11)
    times = [NOON + 60.0 * minute for minute in range(minutes)]
    calls, failures = random.poisson(200, size=minutes), random.poisson(10, size=minutes)
    failures[200:240] = 150
    source = MadeSource()
    for outcome, counts in (("success", calls), ("error", failures)):
        source.add(
            "agent_task_duration_seconds_count",
            times,
            np.cumsum(counts).tolist(),
            gen_ai_agent_name="r",
            agent_task="t",
            outcome=outcome,
        )
    return source


def test_a_signal_that_changes_is_found_when_it_does_and_told_in_words():
    grid = Grid.over(NOON, NOON + 300 * 60, 60)
    found = [one for one in find_anomalies(_source(), grid) if one.signal.measure.name == "task_error_ratio"]
    assert found
    first = found[0]
    assert (first.shape, first.is_worse) == ("level_shift", True)
    assert abs(first.start - (NOON + 199 * 60)) <= 120
    assert abs(first.end - (NOON + 239 * 60)) <= 120
    assert 0.3 < first.observed < 0.6
    assert first.expected < 0.1
    assert first.sentence.startswith("Error ratio of r, t rose to 4")
    assert "where 4.8 % was expected" in first.sentence or "was expected, from 2023-11-15 03:" in first.sentence


def test_the_more_signals_are_looked_at_the_farther_one_must_be_off():
    grid = Grid.over(NOON, NOON + 300 * 60, 60)
    alone = find_anomalies(_source(), grid, measures=[one for one in MEASURES if one.name == "task_error_ratio"])
    among = find_anomalies(_source(), grid)
    score = {one.score for one in among if one.signal.measure.name == "task_error_ratio"}
    assert max(score) < alone[0].score


def test_a_source_without_anything_has_nothing_out_of_the_ordinary():
    assert find_anomalies(MadeSource(), Grid.over(NOON, NOON + 3600, 60)) == []


def test_a_past_that_is_too_short_is_said_to_be_so():
    grid = Grid.over(NOON, NOON + 10 * 60, 60)
    judged = judge_signals(_source(10), grid)
    assert judged
    assert {one.judgement.baseline for one in judged} == {None}


def test_the_missing_extra_is_named():
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from agentgauge.analytics.anomalies import find_anomalies\n"
        "from agentgauge.analytics.frames import Grid\n"
        "try:\n    find_anomalies(None, Grid(0, 1, 1))\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.startswith("ConfigurationError find_anomalies() needs numpy: pip install 'agentgauge[analysis]'")
