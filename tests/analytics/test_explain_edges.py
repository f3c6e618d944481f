"""Explaining where there is little to go by: no traffic, nothing that changes, one agent, resets, and the edges of a history."""

from __future__ import annotations

import numpy as np
import pytest

from agentgauge.analytics.explain import explain
from agentgauge.analytics.frames import Grid
from agentgauge.errors import ConfigurationError
from made_fleet import BAD, BEFORE, made_fleet
from made_program import add_calls
from made_source import MadeSource

BEGIN, COUNT = 1_700_006_400, 180
WINDOW = Grid(BEGIN + 151 * 60, 60, 29)  # the last half hour of three


def minutes(first, count):
    return Grid(BEGIN + first * 60, 60, count)


def one_agent(*, slow_from=COUNT, silent=(0, 0), begins_anew=0, a_minute=10.0, seed=0):
    """A task a few times a minute for three hours, and nothing else."""
    random, source = np.random.default_rng(seed), MadeSource()
    times = [float(BEGIN + 60 * minute) for minute in range(COUNT)]
    calls = [random.lognormal(-2, 0.5, random.poisson(a_minute)) * (6 if at >= slow_from else 1) for at in range(COUNT)]
    calls[silent[0] : silent[1]] = [np.empty(0)] * (silent[1] - silent[0])
    whose = {"gen_ai_agent_name": "researcher", "agent_task": "search", "outcome": "success"}
    add_calls(source, "agent_task_duration_seconds", times, calls, **whose)
    for _, _, _, values in source.series if begins_anew else ():
        values[begins_anew:] = [value - values[begins_anew - 1] for value in values[begins_anew:]]
    return source


def causes(source, window=WINDOW, **how):
    return [cause.signal.measure.name for cause in explain(source, window, **how).causes]


def test_of_one_agent_alone_its_task_is_named_once_with_nothing_behind_it():
    found = explain(one_agent(slow_from=160, begins_anew=160), WINDOW)
    (cause,) = found.causes
    assert cause.signal.title == "95th percentile of the duration of researcher, search"
    assert "nothing that is measured and could be behind it moved" in cause.sentence
    assert [one.signal.measure.name for one in found.symptoms] == ["task_duration_mean"]


def test_no_traffic_nothing_that_changes_rare_calls_and_a_program_that_began_anew_have_no_cause():
    assert causes(one_agent(silent=(0, COUNT))) == []
    assert causes(one_agent(begins_anew=165)) == []
    assert causes(one_agent(silent=(0, 155))) == [], "traffic that begins is no trouble"
    assert [causes(one_agent(a_minute=0.3, seed=seed)) for seed in range(10)] == [[]] * 10
    steady = MadeSource()
    for metric in ("process_resident_memory_bytes", "system_cpu_utilization_ratio", "agent_queue_depth"):
        steady.add(metric, [BEGIN + 60 * minute for minute in range(COUNT)], [1.0] * COUNT, queue="plans")
    assert causes(steady) == []


def test_traffic_that_stops_is_named():
    assert causes(one_agent(silent=(155, COUNT))) == ["task_rate"]


def test_work_that_waits_for_a_disk_that_is_not_busy_is_explained_by_the_pressure_on_it():
    """As on a volume that is throttled: some wait for 60 % of the time, all of them for 50 %, which is within it."""
    source = one_agent(slow_from=160)
    for kind, share in (("some", 0.6), ("full", 0.5)):
        waited = np.cumsum([60 * (share if minute >= 160 else 0.01) for minute in range(COUNT)]).tolist()
        times = [BEGIN + 60 * minute for minute in range(COUNT)]
        labels = {"pressure_resource": "io", "pressure_kind": kind}
        source.add("system_pressure_stall_time_seconds_total", times, waited, **labels)
    (cause,) = explain(source, WINDOW).causes
    assert (cause.signal.measure.name, cause.labels) == ("host_pressure", {"pressure_resource": "io"})
    assert cause.after == pytest.approx(0.6)
    assert cause.sentence.startswith("pressure stall time of io rose to 60")


def test_a_window_beyond_the_last_sample_is_cut_there_and_what_ends_with_the_samples_has_not_fallen():
    found = explain(one_agent(), minutes(160, 60))
    assert found.window.end <= BEGIN + 60 * COUNT
    assert not found.moved


@pytest.mark.parametrize("first", [-90, COUNT + 10])
def test_a_window_or_a_time_to_compare_with_outside_the_history_is_refused_with_what_there_is(first):
    for window, before in ((minutes(first, 30), None), (WINDOW, minutes(first, 30))):
        with pytest.raises(ConfigurationError, match=r"has no samples in .* it has some from 2023-11-15 00:00:00 UTC to 2023"):
            explain(one_agent(), window, before=before)


@pytest.mark.parametrize(("first", "count"), [(151, 29), (140, 12), (100, 80), (160, 10)])
def test_a_time_to_compare_with_that_overlaps_the_window_is_refused(first, count):
    with pytest.raises(ConfigurationError, match="overlaps the window"):
        explain(one_agent(slow_from=160), WINDOW, before=minutes(first, count))


def test_a_time_to_compare_with_far_from_the_window_is_read_where_it_is_for_instances_too():
    source, window = made_fleet("tool", BEGIN), Grid(BEGIN + 60 * (BEFORE + 1), 60, 30)
    found = explain(source, window, before=minutes(5, 30))
    assert found.causes[0].labels == {"gen_ai_tool_name": "search", **BAD}
    assert found.causes[0].signal.grid == window
    assert len(found.causes[0].signal.values) == window.count
    assert abs(found.causes[0].onset - BEGIN - 60 * (BEFORE + 8)) <= 60
