import math

import numpy as np
import pytest
from scipy import stats

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.measures import MEASURES
from agentgauge.analytics.signals import read
from agentgauge.analytics.trends import TrendSurvey, _corrected, find_trends, survey_trends
from agentgauge.errors import ConfigurationError
from made_source import MadeSource

DAY = 86_400
START = 1_699_920_000  # a midnight
GRID = Grid.over(START, START + DAY, 300)
TIMES = [START + 300.0 * step for step in range(289)]
NAMED = {measure.name: measure for measure in MEASURES}


def gauge(source, metric, values, **labels):
    return source.add(metric, TIMES[1:], values, **labels)


def tasks(source, durations, agent="researcher", task="search", per_step=10):
    """Let tasks of these mean durations succeed, so many in each step."""
    labels = {"gen_ai_agent_name": agent, "agent_task": task, "outcome": "success"}
    source.add("agent_task_duration_seconds_count", TIMES, [per_step * step for step in range(289)], **labels)
    sums = np.concatenate([[0.0], np.cumsum(per_step * np.asarray(durations))])
    source.add("agent_task_duration_seconds_sum", TIMES, sums.tolist(), **labels)
    return source


def noise(seed, size=0.1):
    return 1 + size * np.random.default_rng(seed).standard_normal(288)


def test_a_rise_is_told_in_words_with_its_interval():
    source = tasks(MadeSource(), 2 * np.linspace(1, 1.5, 288) * noise(1))
    (found,) = find_trends(source, GRID, measures=[NAMED["task_duration_mean"]])
    assert found.sentence.startswith("mean duration of researcher, search rose by ")
    assert found.effect == pytest.approx(0.5, abs=0.1)
    assert found.is_worse is True
    assert found.steps == ()
    said = [float(word) for word in found.sentence.replace("(", " ").split() if word.isdigit()]
    by, _, low, high = said[:4]
    assert low < by < high
    assert low <= 50 <= high
    assert "(95 % interval" in found.sentence
    assert "over 23.8 h, from 2" in found.sentence  # from the first step in which a duration is known


@pytest.mark.parametrize("bend", [np.sqrt, np.square, lambda x: np.exp(2 * x) / 7, lambda x: np.log1p(20 * x) / 3])
def test_a_leak_along_a_curve_is_told_among_a_hundred_others(bend):
    source = gauge(MadeSource(), "process_resident_memory_bytes", 2**26 * (1 + bend(np.linspace(0, 1, 288))) * noise(30, 0.001))
    for number in range(100):
        gauge(source, "agent_tasks_in_progress", 5 * noise(3000 + number, 0.3), gen_ai_agent_name=f"agent{number}")
    (found,) = find_trends(source, GRID)
    assert found.signal.measure.name == "process_memory"
    assert found.sentence.startswith("memory of the process rose ")


def test_a_step_is_told_with_its_moment_and_levels():
    source = gauge(MadeSource(), "process_resident_memory_bytes", np.repeat([2**28, 2**29], 144) * noise(2, 0.02))
    (found,) = find_trends(source, GRID)
    (step,) = found.steps
    assert step.at == START + 145 * 300
    assert found.effect == pytest.approx(1, abs=0.05)
    assert found.sentence.startswith("memory of the process rose from 25")
    assert found.sentence.endswith(" MiB at 2023-11-14 12:05:00 UTC")


def test_two_steps_are_told_one_after_the_other():
    source = gauge(MadeSource(), "process_threads", np.repeat([10.0, 30.0, 20.0], 96) * noise(3, 0.05))
    (found,) = find_trends(source, GRID)
    assert len(found.steps) == 2
    assert " rose from " in found.sentence
    assert ", then fell from " in found.sentence


def test_noise_of_many_signals_has_no_trend_but_for_one_in_many_windows():
    windows = 0
    for seed in range(100, 106):
        source = MadeSource()
        for number in range(10):
            gauge(source, "agent_tasks_in_progress", 5 * noise(seed * 100 + number, 0.3), gen_ai_agent_name=f"agent{number}")
        windows += bool(find_trends(source, GRID))
    assert windows <= 2


def test_p_values_are_corrected_as_scipy_corrects_them():
    for seed in range(20):
        p_values = (np.random.default_rng(seed).random(15) ** 3).tolist()
        assert _corrected(p_values) == pytest.approx(stats.false_discovery_control(p_values).tolist())
    assert _corrected([]) == []


def test_small_effects_are_left_out_however_certain():
    source = gauge(MadeSource(), "process_threads", 100 * np.linspace(1, 1.03, 288) * noise(4, 0.001))
    assert find_trends(source, GRID) == []
    assert len(find_trends(source, GRID, least_effect=0.02)) == 1
    ratios = gauge(MadeSource(), "system_cpu_utilization_ratio", np.linspace(0.001, 0.009, 288) * noise(5, 0.01))
    assert find_trends(ratios, GRID) == []


def test_the_greatest_in_practice_comes_first_and_worse_is_what_its_measure_says():
    source = gauge(MadeSource(), "process_threads", 10 * np.linspace(1, 1.5, 288) * noise(6))
    gauge(source, "process_open_fds", 10 * np.linspace(3, 1, 288) * noise(7))
    gauge(source, "process_resident_memory_bytes", 1e8 * np.linspace(1, 4, 288) * noise(8))
    found = find_trends(source, GRID)
    assert [one.signal.measure.name for one in found] == ["process_memory", "process_descriptors", "process_threads"]
    assert [one.is_worse for one in found] == [True, False, True]
    assert [one.size for one in found] == pytest.approx([0.72, 0.62, 0.31], abs=0.03)  # of four, a third, one and a half times
    assert "fell by" in found[1].sentence


def test_what_begins_at_nothing_does_not_lead_for_that():
    source = gauge(MadeSource(), "system_memory_utilization_ratio", np.repeat([0.0, 0.02], 144) + 1e-4 * (noise(20) - 1))
    gauge(source, "system_cpu_utilization_ratio", np.repeat([0.2, 0.6], 144) * noise(21, 0.02))
    gauge(source, "agent_tasks_in_progress", (np.random.default_rng(22).random(288) < np.repeat([0, 0.1], 144)) * 5.0)
    found = find_trends(source, GRID)
    assert [one.signal.measure.name for one in found][:2] == ["host_cpu", "host_memory"]
    assert found[0].size > 2 * found[1].size
    assert all(0 < one.size <= 1 for one in found)


def test_the_greatest_step_is_known_and_steps_that_nobody_feels_are_left_out():
    source = gauge(MadeSource(), "process_threads", np.repeat([100.0, 106.0, 200.0, 190.0], 72) * noise(23, 0.002))
    (found,) = find_trends(source, GRID)
    (step,) = found.steps
    assert found.greatest_step == step
    assert step.at == START + 145 * 300
    assert (step.change.before, step.change.after) == (pytest.approx(103, abs=3.1), pytest.approx(195, abs=5.1))
    more = gauge(MadeSource(), "process_threads", np.repeat([10.0, 13.0, 40.0, 30.0], 72) * noise(24, 0.02))
    (found,) = find_trends(more, GRID)
    assert len(found.steps) == 3
    assert found.greatest_step.at == START + 145 * 300
    assert find_trends(source, GRID, measures=[NAMED["process_memory"]]) == []


def test_a_stair_of_steps_that_nobody_feels_is_a_line():
    stair = np.repeat([100.0, 108.0, 116.0, 124.0], 72) * noise(25, 0.002)
    (found,) = find_trends(gauge(MadeSource(), "process_threads", stair), GRID)
    assert found.steps == ()
    assert found.greatest_step is None
    assert 0.2 < found.effect < 0.4


def test_a_change_of_a_tenth_of_a_millisecond_is_no_news():
    assert find_trends(tasks(MadeSource(), 1e-4 * np.linspace(1, 3, 288) * noise(26)), GRID) == []
    assert len(find_trends(tasks(MadeSource(), 1e-2 * np.linspace(1, 3, 288) * noise(26)), GRID)) == 1


def test_what_never_changes_does_not_weaken_what_does():
    source = gauge(MadeSource(), "process_threads", 10 * np.linspace(1, 1.2, 288) * noise(27))
    (alone,) = find_trends(source, GRID)
    for number in range(50):
        gauge(source, "agent_queue_depth", [0.0] * 288, queue=f"q{number}")
    (among,) = find_trends(source, GRID)
    assert among.p_value == alone.p_value > 0


def test_no_p_value_is_zero():
    (found,) = find_trends(gauge(MadeSource(), "process_threads", np.repeat([10.0, 20.0], 144)), GRID)
    assert 0 < found.p_value <= 1e-300


def test_what_could_not_be_judged_is_named():
    source = gauge(MadeSource(), "process_threads", [10.0] * 288)
    source.add("process_open_fds", TIMES[1:10], range(9))
    source.add("process_resident_memory_bytes", TIMES[1:11], [1e8] * 10)
    found = survey_trends(source, GRID)
    assert (found.trends, found.judged) == ((), 2)
    assert [signal.measure.name for signal in found.too_short] == ["process_descriptors"]
    assert survey_trends(MadeSource(), GRID) == TrendSurvey((), 0, ())


def test_what_is_never_below_zero_does_not_fall_by_more_than_all():
    source = gauge(MadeSource(), "process_threads", 100 * np.exp(-np.arange(288) / 20) * noise(28, 0.001))
    (found,) = find_trends(source, GRID)
    assert found.effect >= -1
    assert "-" not in found.sentence.replace("2023-11-14", "")


def test_numbers_beyond_all_bounds_are_judged_without_a_fault():
    source = gauge(MadeSource(), "process_threads", np.linspace(1, 1e308, 288))
    gauge(source, "process_open_fds", np.repeat([-1e308, 1e308], 144))
    gauge(source, "agent_tasks_in_progress", [math.nan, math.inf, -math.inf] * 96)
    gauge(source, "agent_queue_depth", [1e-320 * (step + 1) for step in range(288)], queue="q")
    found = survey_trends(source, GRID)
    assert {one.signal.measure.name for one in found.trends} >= {"process_threads", "queue_depth"}
    assert all(0 <= one.size <= 1 and not math.isnan(one.p_value) and one.sentence for one in found.trends)


def test_a_ratio_is_told_in_points():
    source = gauge(MadeSource(), "system_cpu_utilization_ratio", np.linspace(0.2, 0.6, 288) * noise(9, 0.05))
    (found,) = find_trends(source, GRID)
    assert found.sentence.startswith("CPU utilization of the host rose by 4")
    assert " percentage points (95 % interval 3" in found.sentence
    assert " over 23.9 h, from 19.9 % to 60" in found.sentence


def test_what_may_as_well_be_level_is_not_told():
    told = 0
    for seed in range(40):  # of ratios of few calls most are nothing, and the slope between most pairs is nothing
        random = np.random.default_rng(seed)
        values = np.where(random.random(288) < np.linspace(0.75, 0.35, 288), random.random(288) * 0.3, 0.0)
        for found in find_trends(gauge(MadeSource(), "system_cpu_utilization_ratio", values), GRID):
            told += 1
            assert found.steps or found.trend.low > 0 or found.trend.high < 0
    assert told > 0


def percentiles(late, bounds):
    """Let ten tasks of these seconds end in each step, and read their percentile from buckets."""
    source = MadeSource()
    for bound in (*bounds, math.inf):
        grown = np.concatenate([[0.0], np.cumsum(np.where(np.asarray(late) <= bound, 10.0, 0.0))])
        labels = {
            "gen_ai_agent_name": "a",
            "agent_task": "t",
            "outcome": "success",
            "le": "+Inf" if bound == math.inf else str(bound),
        }
        source.add("agent_task_duration_seconds_bucket", TIMES, grown.tolist(), **labels)
    return source


def test_a_percentile_is_told_between_the_bounds_of_its_buckets():
    measures = [NAMED["task_duration_p95"]]
    bounds = (0.16, 0.32, 0.64, 1.28)
    (found,) = find_trends(percentiles(np.repeat([0.2, 0.9], 144), bounds), GRID, measures=measures)
    about = "95th percentile of the duration of a, t rose from between 160 ms and 320 ms to "
    assert found.sentence.startswith(f"{about}between 640 ms and 1.28 s at ")
    (found,) = find_trends(percentiles(np.repeat([0.2, 2.0], 144), bounds), GRID, measures=measures)
    assert found.sentence.startswith(f"{about}above 1.28 s at ")


def test_a_percentile_that_moves_within_its_bucket_is_a_guess_and_not_told():
    measure = NAMED["task_duration_p95"]
    source = MadeSource()
    share = np.linspace(0.9, 0.1, 288)  # of ten thousand calls ever fewer lie below the lower bound, and none above the upper one
    for bound, below in (("0.16", share), ("0.32", 1 + 0 * share), ("+Inf", 1 + 0 * share)):
        grown = np.concatenate([[0.0], np.cumsum(10_000 * below)]).tolist()
        source.add(
            "agent_task_duration_seconds_bucket", TIMES, grown, gen_ai_agent_name="a", agent_task="t", outcome="success", le=bound
        )
    (signal,) = read(measure, source, GRID)
    assert signal.values[-1] > 1.2 * signal.values[1] > 0  # as Prometheus reads it
    assert find_trends(source, GRID, measures=[measure]) == []


def test_nothing_or_too_little_has_no_trend():
    assert find_trends(MadeSource(), GRID) == []
    few = MadeSource().add("process_threads", [START + 300, START + 600], [1, 100])
    assert find_trends(few, Grid.over(START, START + 900, 300)) == []


def test_bad_input_is_refused():
    with pytest.raises(ConfigurationError, match="least_effect"):
        find_trends(MadeSource(), GRID, least_effect=-1)
