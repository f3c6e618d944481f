"""``agentgauge anomalies`` says how much it judged, of what it could not judge, and what would change that."""

from __future__ import annotations

import json

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


def test_where_the_step_is_too_long_it_says_so_and_has_no_answer(ask):
    told = ask("--step", "5m", answers=2)
    assert "0 signals judged" in " ".join(told["sentences"])
    assert "give a shorter --step" in " ".join(told["sentences"])
