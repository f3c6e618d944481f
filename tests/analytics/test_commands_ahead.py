"""``agentgauge trends`` and ``forecast``: what they say where there is little or nothing, and that they say one thing only."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from agentgauge import cli
from agentgauge.analytics.history import History

START = 1_700_006_400
LABELS = (("agent_task", "search"), ("gen_ai_agent_name", "researcher"), ("outcome", "success"))


@pytest.fixture
def ask(tmp_path, monkeypatch, capsys):
    """Ask about a history that a test writes: ``write(metric, values, labels)``, of samples that are ``step`` seconds apart."""
    path = tmp_path / "history.db"

    def ask(*words, expected=0):
        until = words[0] != "trends" or "--until" in words
        more = () if until else ("--since", "2023-11-01T00:00:00Z")
        assert cli.main([*words, *more, "--source", str(path), "--json"]) == expected
        shown = capsys.readouterr()
        return json.loads(shown.out)["sections"] if shown.out else shown.err

    def write(metric, values, labels=(), step=1, begin=START):
        with History(path, clock=lambda: begin + step * len(values)) as history:  # nothing of it is past its time
            known = [(begin + step * at, float(value)) for at, value in enumerate(values) if not math.isnan(value)]
            history.write_points(metric, labels, [at for at, _ in known], [value for _, value in known])

    ask.write = write
    return ask


WHOLE = ("--since", "2023-11-01T00:00:00Z")


def traffic(ask, rates, step=1, seconds=2.0):
    """Have tasks end, so many in each step."""
    done = [0.0]
    for rate in rates:
        done.append(done[-1] + rate * step)
    ask.write("agentgauge_build_info", [1.0] * len(done), step=step)
    ask.write("agent_task_duration_seconds_count", done, LABELS, step)
    ask.write("agent_task_duration_seconds_sum", [seconds * count for count in done], LABELS, step)


@pytest.mark.parametrize("strictly", [(), ("--strict",)])
def test_without_data_nothing_is_called_well(strictly, ask):
    ask.write("agentgauge_build_info", [1.0] * 60)
    said = ask("trends", *strictly, expected=2)["trends"]["sentences"]
    assert "There is nothing to judge" in said[0]
    said = ask("forecast", *WHOLE, *strictly, expected=2)["forecast"]["sentences"]
    assert "There is nothing to forecast" in said[0]


def test_a_measure_without_a_value_is_named(ask):
    ask.write("process_threads", range(60))
    said = ask("trends", "--measure", "queue_depth", "--strict", expected=2)["trends"]["sentences"]
    assert said[0].startswith("There is nothing of queue_depth to judge")
    assert ask("trends", "--measure", "process_threads")["trends"]["tables"]


def test_a_window_in_which_the_program_was_down_has_no_answer(ask):
    ask.write("process_threads", [float(at) if at < 100 or at > 500 else math.nan for at in range(600)], step=60)
    window = ("--since", "2023-11-15T03:00:00Z", "--until", "2023-11-15T05:00:00Z")  # the samples end at 01:40 and go on at 08:21
    assert "nothing to judge" in ask("trends", *window, expected=2)["trends"]["sentences"][0]


def test_too_few_values_are_said_to_be_too_few(ask):
    ask.write("process_threads", range(6))
    said = ask("trends", expected=2)["trends"]["sentences"]
    assert said[0] == "Too short to judge, with fewer than 10 values: threads of the process."
    ask.write("process_open_fds", range(30), begin=START - 24)
    said = ask("trends")["trends"]["sentences"]
    assert said[1] == "Too short to judge, with fewer than 10 values: threads of the process."


def test_what_stands_still_is_said_to_and_of_how_many_signals(ask):
    ask.write("process_threads", [4.0] * 60)
    (said,) = ask("trends")["trends"]["sentences"]
    assert said == "Of 1 signal none rose, fell or stepped by more than chance would have it."


def test_the_table_has_the_moment_of_the_greatest_step(ask):
    sway = [math.sin(at**2) / 20 for at in range(240)]
    ask.write("process_threads", [level + sway[at] for at, level in enumerate([10.0] * 80 + [12.0] * 80 + [40.0] * 80)])
    (row,) = ask("trends", "--step", "1s")["trends"]["tables"]["trends"]["rows"]
    assert (row["direction"], row["stepped_at"], row["is_worse"]) == ("stepped", "2023-11-15T00:02:40Z", True)
    assert row["effect_ratio"] == pytest.approx(3, abs=0.05)
    assert row["size"] == pytest.approx(0.75, abs=0.02)


def test_the_horizon_is_what_the_history_carries_and_that_is_said(ask):
    traffic(ask, [5 + math.sin(at) for at in range(61)])
    forecast = ask("forecast", *WHOLE)["forecast"]
    said = "It looks 10 s ahead. 62 s were seen, and carry a third as far: --horizon 20s is the farthest."
    assert forecast["sentences"][0] == said
    assert {row["at"] for row in forecast["tables"]["forecasts"]["rows"]} == {"2023-11-15T00:01:11Z"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--horizon", "6h"), "--horizon '6h' is farther than 61 s carry, a third as far: give --horizon 20s or less"),
        (("--step", "5ms"), "--step 5 ms is finer than the samples of"),
        (("--concurrency", "0"), "--concurrency 0: give how many tasks one replica works on at once"),
    ],
)
def test_what_cannot_be_forecast_is_said_in_the_words_of_the_command(words, complaint, ask):
    traffic(ask, [5.0] * 60)
    told = ask("forecast", *WHOLE, *words, expected=2)
    assert complaint in told
    assert "horizon_seconds" not in told
    assert "grid" not in told


def test_a_horizon_of_too_many_steps_is_refused_with_the_longest(ask):
    traffic(ask, [5.0] * 10_000)
    told = ask("forecast", *WHOLE, "--horizon", "50m", "--step", "1s", expected=2)
    assert "--horizon '50m' is 3,000 steps of 1 s: give a longer --step, or --horizon 33m or less" in told


@pytest.mark.parametrize("measure", [(), ("--measure", "task_rate"), ("--measure", "process_threads")])
def test_the_capacity_is_planned_for_the_load_that_is_forecast(measure, ask):
    chance = [(at * 7919) % 13 / 13 for at in range(144)]
    traffic(ask, [8 + 4 * math.sin(2 * math.pi * at / 24) + chance[at] for at in range(144)], step=1800)
    ask.write("process_threads", [10 + chance[at] for at in range(144)], step=1800)
    sections = ask("forecast", *WHOLE, "--horizon", "12h", "--concurrency", "4", *measure)
    (plan,) = sections["capacity"]["tables"]["capacity"]["rows"]
    shown = ask("forecast", *WHOLE, "--horizon", "12h", "--measure", "task_rate") if "process_threads" in measure else sections
    chart = next(one for one in shown["forecast"]["charts"].values() if one["title"] == "tasks of researcher, search")
    (expected,) = [one for one in chart["series"] if one["name"].startswith("expected")]
    highs = [(high, at) for high, at in zip(expected["high"], chart["times"], strict=True) if high is not None]
    assert len(highs) == 24
    most, at = max(highs)
    busiest_at = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    assert (plan["tasks_per_second"], plan["busiest_at"]) == (most, busiest_at)
    assert plan["duration_seconds"] == pytest.approx(2)
    assert plan["replicas"] == math.ceil(plan["tasks_per_second"] * 2 / 0.7 / 4)


def test_what_will_move_is_told_first_and_what_never_moved_is_left_out(ask):
    ask.write("process_threads", [100.0 + at for at in range(120)])
    ask.write("process_open_fds", [7.0] * 120)
    ask.write("process_resident_memory_bytes", [1e8 + 1e6 * ((at * 7919) % 13) for at in range(120)])
    forecast = ask("forecast", *WHOLE, "--step", "1s", "--horizon", "30s")["forecast"]
    assert forecast["sentences"][0].startswith("threads of the process will be about 24")
    assert forecast["sentences"][1] == "No change is to be seen of 2 signals of 3 (--all shows them)."
    assert [row["measure"] for row in forecast["tables"]["forecasts"]["rows"]] == ["process_threads", "process_memory"]


def runs(ask, rates):
    """Have each run of an agent be a task with two others inside, and wait in a queue before."""
    times = len(rates)
    done = [0.0]
    for rate in rates:
        done.append(done[-1] + rate)
    agent = ("gen_ai_agent_name", "researcher")
    ask.write("agentgauge_build_info", [1.0] * (times + 1))
    for task, seconds in (("research", 2.0), ("ReAct", 1.9), ("Predict", 0.5)):
        many = 3 if task == "Predict" else 1
        labels = (("agent_task", task), agent, ("outcome", "success"))
        ask.write("agent_task_duration_seconds_count", [many * count for count in done], labels)
        ask.write("agent_task_duration_seconds_sum", [many * seconds * count for count in done], labels)
    ask.write("gen_ai_invoke_agent_duration_seconds_count", done, (agent,))
    ask.write("gen_ai_invoke_agent_duration_seconds_sum", [2 * count for count in done], (agent,))
    ask.write("agent_queue_depth", [15.0] * (times + 1), (("gen_ai_agent_name", "dispatcher"), ("queue", "questions")))


def test_the_replicas_are_told_of_the_outermost_task_and_what_waits_is_told_beside_them(ask):
    runs(ask, [5 + math.sin(at) for at in range(120)])
    capacity = ask("forecast", *WHOLE, "--step", "1s", "--horizon", "30s", "--concurrency", "4")["capacity"]
    told = capacity["sentences"]
    assert told[0].startswith("researcher, research needs ")
    assert told[1] == "These run inside the above and are part of their load: researcher, Predict; researcher, ReAct."
    assert told[2].startswith("In the queue dispatcher, questions 15 wait of late: the rates above are of what was worked off")
    assert told[2].endswith("To work these off, too, within 30 s takes 0.5/s more.")
    assert len(told) == 3
    rows = capacity["tables"]["capacity"]["rows"]
    marked = {row["of"]: row["is_outermost"] for row in rows}
    assert marked == {"researcher, Predict": False, "researcher, ReAct": False, "researcher, research": True}


def test_the_farthest_horizon_that_is_told_works_and_one_beyond_it_is_refused(ask):
    traffic(ask, [5 + math.sin(at) for at in range(100)], step=7)  # neither seconds nor steps are a third as many
    words = ("forecast", *WHOLE, "--step", "15s", "--measure", "task_rate")
    told = ask(*words, "--horizon", "1h", expected=2)
    longest = told.split("give --horizon ")[1].split()[0]
    assert "or 3 h of history" in told
    assert ask(*words, "--horizon", longest)["forecast"]["tables"]["forecasts"]["rows"]
    assert f"--horizon {longest} is the farthest" in ask(*words)["forecast"]["sentences"][0]
    beyond = f"{int(longest[:-1]) + 15}{longest[-1]}" if longest.endswith("s") else f"{int(longest[:-1]) + 1}{longest[-1]}"
    assert "is farther than" in ask(*words, "--horizon", beyond, expected=2)
