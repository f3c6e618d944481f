"""Explain over seconds: a program that ran for half a minute, healthy, with a tool that got slow, and too short to judge."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agentgauge import cli
from agentgauge.analytics.explain import explain
from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History
from agentgauge.analytics.steps import sample_interval
from agentgauge.errors import ConfigurationError
from made_minute import START, write
from made_source import MadeSource


def told(path, capsys, *words):
    assert cli.main(["explain", "--source", str(path), "--since", "2023-11-14T00:00:00Z", "--json", *words]) == 0
    section = json.loads(capsys.readouterr().out)["sections"]["explanation"]
    rows = section["tables"]["moved"]["rows"] if section["tables"] else []
    return section, [row for row in rows if row["role"] == "cause"]


@pytest.mark.parametrize("seconds", [20, 30, 60])
def test_a_healthy_program_of_seconds_has_no_cause(seconds, tmp_path, capsys):
    write(tmp_path / "history.db", seconds)
    section, causes = told(tmp_path / "history.db", capsys)
    assert causes == []
    assert "No cause found" in json.dumps(section)


@pytest.mark.parametrize(("seconds", "slow_from"), [(30, 18), (60, 40)])
def test_a_tool_that_got_slow_within_a_minute_is_named_first(seconds, slow_from, tmp_path, capsys):
    write(tmp_path / "history.db", seconds, slow_from=slow_from)
    section, causes = told(tmp_path / "history.db", capsys)
    assert not any("out of the ordinary" in sentence for sentence in section["sentences"]), "which would deny the cause beside it"
    assert causes[0]["measure"] == "tool_duration_p95"
    assert "find" in causes[0]["of"]
    assert "keep" not in causes[0]["of"]


def test_what_changed_for_good_is_explained_where_nothing_is_out_of_the_ordinary_for_a_while(tmp_path, capsys):
    write(tmp_path / "history.db", 120, slow_from=70)
    section, causes = told(tmp_path / "history.db", capsys)
    assert any(sentence.startswith("This is about what changed for good: ") for sentence in section["sentences"])
    assert causes[0]["measure"] == "tool_duration_p95"
    assert "did not move" not in json.dumps(section["sentences"])


def write_a_moment(path, every):
    depth = 10 + np.random.default_rng(3).standard_normal(600)
    depth[400:402] += 40
    with History(path, clock=lambda: START + 600.0 * every) as history:
        times = [START + every * at for at in range(600)]
        history.write_points("agent_queue_depth", {"gen_ai_agent_name": "a", "queue": "q"}, times, depth.tolist())


def test_the_window_about_a_moment_has_as_many_steps_as_it_takes_where_samples_lie_a_minute_apart(tmp_path, capsys):
    write_a_moment(tmp_path / "history.db", 60)
    section, _ = told(tmp_path / "history.db", capsys)
    assert any(sentence.startswith("This is about the worst anomaly: queue depth of a, q.") for sentence in section["sentences"])


def test_an_anomaly_that_is_no_move_of_the_window_about_it_is_said_to_be_none(tmp_path, capsys):
    write_a_moment(tmp_path / "history.db", 15)
    section, causes = told(tmp_path / "history.db", capsys)
    assert causes == []
    (about,) = (sentence for sentence in section["sentences"] if sentence.startswith("This is about the worst anomaly: "))
    assert about.startswith(
        "This is about the worst anomaly: queue depth of a, q. Over the whole window below it did not move by "
    )


def test_the_window_that_is_advised_in_place_of_one_without_samples_works(tmp_path, capsys):
    write(tmp_path / "history.db", 60, slow_from=44)
    words = ["explain", "--source", str(tmp_path / "history.db"), "--since", "2023-11-14T00:00:00Z", "--window"]
    assert cli.main([*words, "3h/2h"]) == 2
    advised = capsys.readouterr().err.strip().rpartition("--window ")[2]
    assert cli.main([*words, advised]) == 0
    assert "duration of find" in capsys.readouterr().out


def test_an_alert_within_a_minute_is_explained_with_what_came_before_it(tmp_path, capsys):
    write(tmp_path / "history.db", 40, slow_from=25)
    alert = {"labels": {"alertname": "Slow", "gen_ai_agent_name": "researcher"}, "startsAt": START + 30}
    (tmp_path / "alert.json").write_text(json.dumps(alert))
    _, causes = told(tmp_path / "history.db", capsys, "--alert", str(tmp_path / "alert.json"))
    assert causes[0]["measure"] == "tool_duration_p95"
    assert "find" in causes[0]["of"]


def test_too_few_seconds_are_refused_with_what_there_is_and_what_it_takes(tmp_path, capsys):
    write(tmp_path / "history.db", 9)
    assert cli.main(["explain", "--source", str(tmp_path / "history.db"), "--since", "2023-11-14T00:00:00Z"]) == 2
    complaint = capsys.readouterr().err
    assert "too little to judge by" in complaint
    assert "needs 8 steps (8 s) of each" in complaint


@pytest.mark.parametrize("every", [1, 5, 15, 30, 60, 600])
def test_the_interval_of_samples_is_found(every):
    times = [START + every * place for place in range(1 + 1800 // every)]
    source = MadeSource().add("process_start_time_seconds", times, [START] * len(times))
    assert sample_interval(source, Grid.over(START, START + 1800, 1)) == pytest.approx(every, rel=0.25)


@pytest.mark.parametrize(("every", "seconds", "step"), [(1, 40, 1), (1, 240, 5), (15, 600, 15), (1, 3600, 30), (30, 3600, 30)])
def test_a_window_is_looked_at_as_finely_as_it_needs_and_samples_come(every, seconds, step):
    begin = START // 30 * 30
    times = [begin + every * place for place in range(1 + seconds // every)]
    source = MadeSource().add("process_start_time_seconds", times, [START] * len(times))
    window = Grid.over(begin + seconds / 2, begin + seconds, 1)
    assert explain(source, window).window.step_seconds == step


def test_a_window_that_no_step_suits_is_refused():
    source = MadeSource().add("process_start_time_seconds", [START + 60 * place for place in range(4)], [START] * 4)
    with pytest.raises(ConfigurationError, match="too little to judge by"):
        explain(source, Grid.over(START + 120, START + 180, 1))
