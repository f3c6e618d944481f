"""``agentgauge anomalies`` says how much it judged, of what it could not judge, and what would change that."""

from __future__ import annotations

import itertools
import json
import math
import re

import pytest

from agentgauge import cli
from agentgauge.analytics.history import History

BEGIN = 1_764_000_000


@pytest.fixture
def ask(tmp_path, capsys):
    path = tmp_path / "agents.history"
    times = [float(BEGIN + 15 * index) for index in range(300)]
    with History(path, clock=lambda: times[-1]) as history:
        history.write_points("agentgauge_build_info", {}, times, [1.0] * 300)
        whom = {"gen_ai_agent_name": "r", "agent_task": "t"}
        history.write_points("agent_tasks_in_progress", whom, times, [3.0 + index % 3 for index in range(300)])
        done = [float(index // 3) for index in range(300)]  # a hundred tasks in 75 minutes
        for suffix in ("count", "sum"):
            history.write_points(f"agent_task_duration_seconds_{suffix}", whom | {"outcome": "success"}, times, done)

    def asked(*options: str, answers: int = 0):
        end = f"--until={BEGIN + 15 * 299}"
        code = cli.main(["anomalies", "--source", str(path), end, "--since", str(BEGIN), "--json", *options])
        out, err = capsys.readouterr()
        assert code == answers, err
        return json.loads(out)["sections"]["anomalies"]

    return asked


def test_it_names_what_it_could_not_judge_with_what_is_known_of_it_and_how_long_a_window_would_do(ask):
    told = ask()
    rows = {row["measure"]: row for row in told["tables"]["unjudged"]["rows"]}
    assert rows.keys() == {"task_error_ratio", "task_duration_mean"}
    assert rows["task_error_ratio"]["calls"] == pytest.approx(99, abs=1)
    assert rows["task_error_ratio"]["values"] < 64
    assert rows["task_error_ratio"]["enough_seconds"] > 75 * 60
    assert "2 signals judged; of 2 there is too little to judge by" in " ".join(told["sentences"])


def test_a_percentile_is_told_with_the_bounds_of_its_bucket(tmp_path, capsys):
    path = tmp_path / "agents.history"
    times = [float(BEGIN + 15 * index) for index in range(300)]
    bounds = (0.25, 0.5, 1.0, 2.0, 4.0, math.inf)
    usual, worst = (0, 15, 20, 20, 20, 20), (0, 0, 0, 0, 20, 20)  # of twenty waits, how many end within each bound
    with History(path, clock=lambda: times[-1]) as history:
        history.write_points("agentgauge_build_info", {}, times, [1.0] * 300)
        for bound, often, late in zip(bounds, usual, worst, strict=True):
            each = [late if 200 <= index < 208 else often + (index * 7 % 4 if often == 15 else 0) for index in range(300)]
            counts = [float(total) for total in itertools.accumulate(each)]
            labels = {"gen_ai_agent_name": "r", "queue": "inbox", "le": f"{bound:g}".replace("inf", "+Inf")}
            history.write_points("agent_queue_wait_seconds_bucket", labels, times, counts)
    asked = ("anomalies", "--source", str(path), f"--since={BEGIN}", f"--until={BEGIN + 15 * 299}", "--measure", "queue_wait_p95")
    assert cli.main([*asked, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["sections"]["anomalies"]["findings"]
    assert re.match(
        r"about 3\.\d+ s, between 2 s and 4 s, where about \d+ ms, between 500 ms and 1 s, was expected, until ",
        found["evidence"],
    )


def test_where_the_step_is_too_long_it_says_so_and_has_no_answer(ask):
    told = ask("--step", "5m", answers=2)
    assert "0 signals judged" in " ".join(told["sentences"])
    assert "give a shorter --step" in " ".join(told["sentences"])


def test_a_silence_of_several_is_told_once_with_how_many_were_silent(tmp_path, capsys):
    times = [float(BEGIN + at) for at in range(240)]
    with History(tmp_path / "history.db", clock=lambda: times[-1]) as history:
        history.write_points("agentgauge_build_info", {}, times, [1.0] * 240)
        for agent, each in (("a", 20), ("b", 8)):
            done = [float(each * (at - max(0, min(at, 140) - 130))) for at in range(240)]  # and nothing for ten seconds
            whom = {"gen_ai_agent_name": agent, "agent_task": "t", "outcome": "success"}
            history.write_points("agent_task_duration_seconds_count", whom, times, done)
    words = [
        "anomalies",
        "--source",
        str(tmp_path / "history.db"),
        "--since",
        str(BEGIN),
        f"--until={BEGIN + 239}",
        "--step",
        "1s",
    ]
    cli.main([*words, "--measure", "task_rate", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["sections"]["anomalies"]["findings"]
    assert found["title"].startswith("nothing came of 2 signals from 2025-11-24 16:02:1")
    assert found["evidence"].startswith("tasks of a, t: 0/s where 20/s was expected, until ")
    assert found["evidence"].endswith("; with it tasks of b, t")
