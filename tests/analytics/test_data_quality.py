import math

import numpy as np
import pytest

from agentgauge.analytics.data_quality import check_quality
from agentgauge.analytics.frames import Grid
from made_source import MadeSource

START = 1_699_920_000
GRID = Grid.over(START, START + 86_400, 300)
TIMES = [START + 300.0 * step for step in range(1, 289)]


def gauge(source, metric, values, **labels):
    return source.add(metric, TIMES[: len(values)], values, **labels)


def program(present, source=None, **labels):
    """Have a program seen in these steps."""
    return gauge(source or MadeSource(), "agentgauge_build_info", [1.0 if here else math.nan for here in present], **labels)


def test_good_data_is_told_to_be_complete_and_bad_data_comes_first():
    source = gauge(MadeSource(), "process_threads", 10 + np.arange(288) % 7)
    gapped = [math.nan if 50 <= step < 60 else float(step % 5) for step in range(288)]
    gauge(source, "process_open_fds", gapped)
    gauge(source, "room_temperature", [float(step % 3) for step in range(99)], room="a")
    found = check_quality(source, GRID)
    assert [one.metric for one in found] == ["room_temperature", "process_open_fds", "process_threads"]
    stale, gap, good = found
    assert stale.quality.is_stale
    assert stale.sentence.startswith("room_temperature of a: 34 % complete; nothing for 15.8 h before the end")
    assert gap.quality.completeness == pytest.approx(278 / 288)
    assert "1 gap, the longest of 55 min from 2023-11-14 04:10:00 UTC" in gap.sentence
    assert good.quality.score == 1
    assert good.sentence == "process_threads: 100 % complete"


def test_a_series_that_comes_less_often_than_the_grid_steps_is_not_gapped_for_that():
    source = MadeSource().add("process_threads", TIMES[::4], [float(step % 7) for step in range(72)])
    (found,) = check_quality(source, GRID)
    assert found.quality.completeness == 1
    assert found.quality.gaps == ()


def test_only_a_gauge_that_agentgauge_does_not_read_itself_is_stuck_or_out_of_line():
    stays = [float(step % 9) for step in range(200)] + [5.0] * 88
    leaps = [float(step % 9) for step in range(287)] + [1e6]
    source = gauge(MadeSource(), "process_open_fds", stays)
    gauge(source, "orders_total", [float(step) for step in range(200)] + [1000.0] * 88)
    gauge(source, "room_temperature", stays)
    gauge(source, "room_bucket", stays, le="+Inf")
    gauge(source, "room_humidity", leaps)
    gauge(source, "room_queue", stays[:200] + [0.0] * 88)  # it rests
    found = {one.metric: one for one in check_quality(source, GRID)}
    assert found.keys() == {"process_open_fds", "orders_total", "room_temperature", "room_humidity", "room_queue"}
    assert {name for name, one in found.items() if one.quality.stuck} == {"room_temperature"}
    assert {name for name, one in found.items() if one.quality.outliers} == {"room_humidity"}
    assert "stuck at 5 since" in found["room_temperature"].sentence
    assert found["room_temperature"].quality.score == 0.5
    assert found["room_humidity"].sentence == "room_humidity: 100 % complete; 1 outlier"
    assert [one.metric for one in check_quality(source, GRID, metrics=["process_open_fds"])] == ["process_open_fds"]


def test_what_is_absent_by_nature_is_no_fault_while_its_program_is_seen():
    source = program([True] * 288)
    now_and_then = [float(START) if step % 10 < 3 else math.nan for step in range(250)]
    gauge(source, "agent_task_oldest_start_timestamp_seconds", now_and_then, gen_ai_agent_name="a")
    gauge(source, "agent_tokens_total", [float(step) for step in range(100)], gen_ai_agent_name="a")  # until a restart
    gauge(source, "accuracy", [0.5, math.nan, 0.5, 0.5, math.nan, math.nan, math.nan, 0.4], analytics="a")  # as it was recorded
    assert [one.metric for one in check_quality(source, GRID)] == ["agentgauge_build_info"]
    named = check_quality(source, GRID, metrics=["agent_task_oldest_start_timestamp_seconds", "agent_tokens_total", "accuracy"])
    scores = {one.metric: one.quality.score for one in named}
    assert scores.pop("accuracy") < 1
    assert set(scores.values()) == {1.0}


def test_an_outage_is_a_fault_of_its_program_and_told_once():
    here = [not 100 <= step < 120 for step in range(250)]
    source = program(here, job="swarm", instance="one")
    program([True] * 288, source, job="swarm", instance="two")
    for name in ("process_threads", "process_open_fds", "room_temperature"):
        gauge(source, name, [float(step % 5) if at else math.nan for step, at in enumerate(here)], job="swarm", instance="one")
    gauge(source, "process_threads", [math.nan if step == 7 else 1.0 for step in range(288)], job="swarm", instance="two")
    bad = [one for one in check_quality(source, GRID) if one.quality.score < 1]
    assert [(one.metric, one.labels["instance"]) for one in bad] == [("agentgauge_build_info", "one"), ("process_threads", "two")]
    assert bad[0].quality.is_stale
    assert "nothing for 3.17 h before the end; 1 gap, the longest of 105 min" in bad[0].sentence


def test_nothing_is_no_data():
    assert check_quality(MadeSource(), GRID) == []
    (found,) = check_quality(gauge(MadeSource(), "room_temperature", [1.0]), GRID)
    assert found.quality.points == 1
    assert found.quality.is_stale
