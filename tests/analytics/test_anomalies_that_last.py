"""A fault that goes on is found as a level, at its onset, for as long as it lasts; what nobody feels is no warning.

Developed on the seeds 100 to 119; those that judge here had no part in it.
"""

from __future__ import annotations

import json
from array import array
from contextlib import nullcontext

import numpy as np
import pytest

from agentgauge import cli
from agentgauge.analytics.analysis.anomaly import judge
from agentgauge.analytics.anomalies import find_anomalies, judge_signals
from agentgauge.analytics.commands.lasting import changed_for_good
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.observations import read_weighed
from agentgauge.analytics.related import Anomaly, told_once
from agentgauge.analytics.signals import Signal
from agentgauge.analytics.sizes import is_felt, size_of
from agentgauge.analytics.watch import AnalysisWatch
from agentgauge.testing import FakeClock, isolated
from made_program import BEGIN, add_calls
from made_source import MadeSource

BY_NAME = {measure.name: measure for measure in MEASURES}
SLOW = ("task_duration_mean", "task_duration_p95", "tool_duration_p95")
BUCKETS = np.array([0.005 * 2 ** (power / 2) for power in range(24)])


# --- one series -----------------------------------------------------------------------------------------------------------


def _mean(random, is_bad):
    return np.where(is_bad, random.normal(0.3, 0.009, is_bad.size), random.normal(0.03, 0.0018, is_bad.size))


def _percentile(random, is_bad):
    """Return what is read of buckets: a few values, again and again."""
    took = np.where(is_bad, random.normal(0.34, 0.03, is_bad.size), random.normal(0.039, 0.004, is_bad.size))
    return BUCKETS[np.searchsorted(BUCKETS, took)]


def _ratio(random, is_bad):
    return random.binomial(15, np.where(is_bad, 0.3, 0.0)) / 15


def _rate(random, is_bad):
    return random.normal(np.where(is_bad, 2.6, 7.5), 0.3)


@pytest.mark.parametrize("made", [_mean, _percentile, _ratio, _rate])
def test_a_level_that_lasts_up_to_a_third_of_the_window_is_found_whole_at_its_onset_and_alone(made):
    onsets, ends, alone, series = 0, 0, 0, 0
    for seed in range(72000, 72004):
        for size in (121, 240):
            for share in (0.06, 0.1, 0.2, 0.3):
                onset = size - round(size * share)
                judgement = judge(made(np.random.default_rng((seed, size)), np.arange(size) >= onset), alpha=0.001)
                levels = [one for one in judgement.findings if one.shape == "level_shift" and abs(one.first - onset) <= 2]
                series += 1
                onsets += bool(levels)
                ends += any(one.last >= size - 3 for one in levels) and judgement.now >= 1
                alone += len(judgement.findings) == 1
    assert onsets / series >= 0.95
    assert ends / series >= 0.85
    assert alone / series >= 0.85


def test_the_score_of_a_level_does_not_fall_while_it_lasts():
    lasting = [8, 16, 32, 60]
    for seed in range(72010, 72014):
        random = np.random.default_rng(seed)
        whole = _mean(random, np.arange(200) >= 140)
        scores = [judge(whole[: 140 + steps], alpha=0.001).now for steps in lasting]
        assert min(scores) > 2
        assert scores == sorted(scores)


def test_what_sways_slowly_and_far_to_one_side_is_no_level():
    found = 0
    for seed in range(72020, 72040):
        random, sway = np.random.default_rng(seed), [0.0]
        for fresh in random.normal(size=399):
            sway.append(0.9 * sway[-1] + fresh)
        found += any(one.shape != "variance" for one in judge(np.exp(0.44 * np.array(sway)), alpha=0.001).findings)
    assert found <= 2


def test_what_is_far_out_again_and_again_is_usual():
    found = 0
    for seed in range(72040, 72046):
        bursts = np.where(np.arange(400) % 40 < 12, 9.0, 1.0) + np.random.default_rng(seed).normal(0, 0.1, 400)
        found += bool(judge(bursts, alpha=0.001).findings)
    assert found <= 1


def test_a_level_of_which_the_values_are_only_some_is_a_level_and_no_sway():
    for seed in range(72030, 72036):
        random = np.random.default_rng(seed)
        failed = random.binomial(5, np.where(np.arange(200) >= 180, 0.35, 0.0)) / 5
        assert {str(one.shape) for one in judge(failed, alpha=0.05).findings} == {"level_shift"}


# --- calls ----------------------------------------------------------------------------------------------------------------


def _program(seed: int, step: int, onset: int, steps: int) -> MadeSource:
    """A writer who waits 100 ms between two calls, whose tool takes 300 ms rather than 30 from a step on."""
    random, source = np.random.default_rng(seed), MadeSource()
    times = [float(BEGIN + step * index) for index in range(steps)]
    tools: list[list[float]] = [[] for _ in times]
    now = 0.0
    while now < steps * step:
        took = random.uniform(0.25, 0.35) if now >= onset * step else random.uniform(0.02, 0.04)
        now += took + 0.1
        if now < steps * step:
            tools[int(now // step)].append(took)
    calls = [np.array(each) for each in tools]
    add_calls(source, "gen_ai_execute_tool_duration_seconds", times, calls, gen_ai_tool_name="lookup")
    task = {"gen_ai_agent_name": "writer", "agent_task": "draft", "outcome": "success"}
    add_calls(source, "agent_task_duration_seconds", times, [each + 0.001 for each in calls], **task)
    source.add("agentgauge_build_info", times, [1.0] * steps)
    return source


@pytest.mark.parametrize(("step", "steps", "onset"), [(1, 242, 196), (1, 242, 170), (15, 240, 228), (15, 240, 170)])
def test_what_is_ten_times_as_slow_is_found_as_a_level_from_then_on_though_it_is_called_less(step, steps, onset):
    for seed in (72100, 72101):
        source = _program(seed, step, onset, steps)
        grid = Grid.over(BEGIN, BEGIN + step * (steps - 1), step if step > 1 else 2)
        found = find_anomalies(source, grid, measures=[BY_NAME[name] for name in SLOW], is_joint=False)
        levels = {one.signal.measure.name: one for head in found for one in (head, *head.others) if one.shape == "level_shift"}
        assert levels.keys() == set(SLOW)
        for one in levels.values():
            assert one.start - BEGIN == pytest.approx(onset * step, abs=3 * grid.step_seconds)
            assert one.end == pytest.approx(grid.end, abs=2 * grid.step_seconds)
            assert one.observed > 5 * one.expected
            assert one.is_worse


def test_steps_of_few_calls_in_a_row_have_the_value_of_all_of_them_and_one_by_itself_has_none():
    source, times = MadeSource(), [float(BEGIN + second) for second in range(150)]
    calls = [np.full(40, 0.03) for _ in times]
    calls[50] = np.full(3, 0.5)
    calls[120:125] = [np.full(8, took) for took in (0.2, 0.3, 0.4, 0.6, 0.8)]  # three hold twenty, and the others join them
    task = {"gen_ai_agent_name": "a", "agent_task": "t", "outcome": "success"}
    add_calls(source, "agent_task_duration_seconds", times, calls, **task)
    grid = Grid.over(BEGIN - 1, BEGIN + 149, 1)
    [mean], [high] = (read_weighed(BY_NAME[name], source, grid) for name in ("task_duration_mean", "task_duration_p95"))
    assert mean.calls == high.calls == pytest.approx(40 * 143 + 43)
    assert mean.signal.values[120:125].tolist() == pytest.approx([0.46] * 5)
    assert high.signal.values[120:125].tolist() == pytest.approx([0.5 + 0.5 * (0.95 * 40 - 24) / 16] * 5)  # of the buckets of all
    assert np.flatnonzero(np.isnan(mean.signal.values)).tolist() == [0, 50]
    assert mean.signal.values[119] == mean.signal.values[125] == pytest.approx(0.03)


def test_what_cannot_be_less_than_nothing_is_not_expected_to_be():
    values = np.maximum(0.0, 190.0 - np.arange(240)) + np.random.default_rng(72120).random(240)
    values[225:] += 80
    found = judge(values, alpha=0.05).findings
    assert found
    assert min(one.expected for one in found) == 0


@pytest.fixture
def isolation():
    with isolated() as isolation:
        yield isolation


@pytest.mark.parametrize("lasts", [20, 40, 80])
def test_the_series_of_a_slow_task_stays_high_while_it_is_slow(lasts, isolation):
    source, now = _program(72110, 1, 190, 190 + lasts), BEGIN + 189.0 + lasts
    watch = AnalysisWatch(lambda: nullcontext(source), clock=FakeClock(now), measures=[BY_NAME["task_duration_mean"]])
    watch.look()
    scores = {
        sample.value
        for metric in isolation.registry.collect()
        for sample in metric.samples
        if sample.name == "agentgauge_anomaly_score"
    }
    assert len(scores) == 1
    assert scores.pop() > 1.5


def test_what_nobody_feels_raises_no_series():
    source = MadeSource().add("process_open_fds", [float(BEGIN + at) for at in range(200)], [170.0] * 170 + [171.0] * 30)
    [judged] = judge_signals(source, Grid.over(BEGIN, BEGIN + 199, 1), measures=[BY_NAME["process_descriptors"]])
    assert [str(one.shape) for one in judged.judgement.findings] == ["level_shift"]
    assert judged.judgement.now < 1


@pytest.mark.parametrize("seconds", [160, 310, 390, 630])
def test_a_young_program_stays_judged_while_its_steps_get_longer(seconds, isolation):
    times = [BEGIN + 55.0 + second for second in range(seconds)]  # a whole minute of padding
    source = MadeSource().add("agentgauge_build_info", times, [1.0] * seconds)
    source.add("gen_ai_execute_tool_duration_seconds_count", times, [9.0 * second + second % 3 for second in range(seconds)])
    watch = AnalysisWatch(lambda: nullcontext(source), clock=FakeClock(times[-1]), measures=[BY_NAME["tool_rate"]])
    watch.look()
    [judged] = [
        sample.value
        for metric in isolation.registry.collect()
        for sample in metric.samples
        if sample.name == "agentgauge_analysis_signals" and sample.labels["state"] == "judged"
    ]
    assert judged == 1


# --- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(tmp_path, capsys):
    path, times = tmp_path / "agents.history", [float(BEGIN + index) for index in range(241)]

    def asked(series, *options: str, answers: int = 0):
        with History(path, clock=lambda: times[-1]) as history:
            history.write_points("agentgauge_build_info", {}, times, [1.0] * 241)
            for metric, labels, values in series:
                history.write_points(metric, labels, times, [float(value) for value in values])
        window = (f"--since={BEGIN}", f"--until={BEGIN + 240}", "--step=2s")
        code = cli.main(["anomalies", "--source", str(path), *window, "--json", *options])
        out, err = capsys.readouterr()
        assert code == answers, err
        return json.loads(out)["sections"]["anomalies"]

    return asked


def _outcomes(is_bad, share: float):
    random, task = np.random.default_rng(72200), {"gen_ai_agent_name": "fetcher", "agent_task": "fetch"}
    failed = random.binomial(8, np.where(is_bad, share, 0.0))
    for outcome, counts in (("error", failed), ("success", 8 - failed)):
        yield "agent_task_duration_seconds_count", task | {"outcome": outcome}, np.cumsum(counts)


def test_what_lasts_for_half_of_the_window_is_said_to_have_changed_for_good(ask):
    told = ask(_outcomes(np.arange(241) >= 120, 0.3), "--measure", "task_error_ratio", "--strict", answers=1)
    assert told["sentences"][0] == "Nothing was out of the ordinary for a while."
    assert "`agentgauge trends`" in told["sentences"][-1]
    [found] = told["findings"]
    assert found["severity"] == "warning"
    assert found["title"].startswith("error ratio of fetcher, fetch changed for good at 2023-11-15 00:02:0")
    assert "rose from 0 % to " in found["evidence"]


def test_what_lasts_for_a_fifth_of_it_is_an_anomaly_and_not_told_twice(ask):
    told = ask(_outcomes(np.arange(241) >= 190, 0.3), "--measure", "task_error_ratio")
    assert [found["title"][:44] for found in told["findings"]] == ["level shift in error ratio of fetcher, fetch"]


DESCRIPTORS = "process_open_fds", {}, 17 + (np.arange(241) == 100)


def test_what_nobody_feels_is_told_last_and_is_no_failure(ask):
    [found] = ask([DESCRIPTORS], "--measure", "process_descriptors", "--strict")["findings"]
    assert found["severity"] == "info"
    assert found["evidence"].endswith("; too little to be felt")
    both = ("--measure", "process_descriptors", "--measure", "task_error_ratio")
    titles = [one["title"] for one in ask(_outcomes(np.arange(241) >= 190, 0.3), *both)["findings"]]
    assert [title.split(" of ")[0] for title in titles] == ["level shift in error ratio", "spike in open descriptors"]


def test_of_a_sway_the_standard_deviation_is_told_and_about_what_it_swayed(ask):
    random = np.random.default_rng(72220)
    depth = 500 + random.normal(size=241) * np.where((np.arange(241) >= 100) & (np.arange(241) < 160), 200, 20)
    told = ask([("agent_queue_depth", {"gen_ai_agent_name": "r", "queue": "q"}, depth)], "--measure", "queue_depth")
    [found] = [one for one in told["findings"] if one["title"].startswith("variance")]
    assert found["evidence"].startswith("a standard deviation of ")
    assert " about a usual 50" in found["evidence"] or " about a usual 49" in found["evidence"]
    assert "Of a variance the standard deviation is told, the expected and the observed one." in told["sentences"]


def _anomaly(agent: str, score: float, *, size: float = 0.5, shape: str = "level_shift", is_worse: bool = True) -> Anomaly:
    signal = Signal(BY_NAME["task_error_ratio"], {"gen_ai_agent_name": agent}, Grid(BEGIN, BEGIN + 60, 1), array("d"))
    return Anomaly(signal, BEGIN, BEGIN + 60, shape, score, 0.0, 0.3, is_worse, "", size)


def test_what_is_great_in_practice_is_told_before_what_is_certain():
    told = (
        _anomaly("great", 1.1, size=0.9),
        _anomaly("certain", 9.0, size=0.4),
        _anomaly("less certain", 8.0, size=0.4),
        _anomaly("moment", 20.0, size=1.0, shape="spike"),
        _anomaly("sway", 30.0, size=1.0, shape="variance"),
        _anomaly("no worse", 40.0, size=1.0, is_worse=False),
        _anomaly("not felt", 50.0, size=0.0),
    )
    assert tuple(told_once(reversed(told))) == told


@pytest.mark.parametrize(
    ("before", "after", "unit", "expected"),
    [
        (0.0, 0.000357, "ratio", False),
        (0.0, 0.3, "ratio", True),
        (17, 17.5, "", False),
        (17, 34, "", True),
        (0.0001, 0.0009, "seconds", False),
        (0.03, 0.3, "seconds", True),
        (5.0, 5.0, "per_second", False),
    ],
)
def test_small_changes_of_what_they_are_measured_in_are_not_felt(before, after, unit, expected):
    assert is_felt(before, after, unit) is expected


def test_sizes_go_from_nothing_to_one_whatever_the_unit():
    assert size_of(0.0, 0.0, "") == 0
    assert size_of(10, 20, "seconds") == size_of(20, 10, "seconds") == 0.5
    assert size_of(10, 20, "seconds", sway=20) == 0.25
    assert size_of(0, 5, "") == 1
    assert size_of(0.0, 0.3, "ratio") > size_of(0.2, 0.5, "ratio") > size_of(0.0, 0.02, "ratio")
    assert size_of(0.0, np.inf, "seconds") == 1


def test_a_sway_of_what_changed_for_good_is_that_change():
    times = [float(BEGIN + second) for second in range(240)]
    source = MadeSource().add("agent_queue_depth", times, [9.0] * 120 + [3.0] * 120, gen_ai_agent_name="r", queue="q")
    grid, measure = Grid.over(BEGIN, BEGIN + 239, 1), BY_NAME["queue_depth"]
    sways = [
        Anomaly(
            Signal(measure, labels, grid, array("d")), BEGIN, BEGIN + 60, "variance", 2.0, 1.0, 2.0, is_worse=True, sentence=""
        )
        for labels in ({"gen_ai_agent_name": "r", "queue": "q"}, {"gen_ai_agent_name": "r", "queue": "other"})
    ]
    [changed], kept = changed_for_good(source, grid, [measure], sways)
    assert (changed.greatest_step.change.before, changed.greatest_step.change.after) == (9, 3)
    assert kept == (sways[1],)
