"""The commands over a day that everybody knows: what they say is true, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from agentgauge import cli
from agentgauge.analytics import extras
from agentgauge.analytics.commands import course
from made_day import AGENTS, COST

LOADED = """
import sys
from agentgauge import cli
try:
    cli.main(["--help"])
except SystemExit:
    print([name for name in sys.modules if name.startswith("agentgauge.analytics") or name in {"rich", "scipy", "plotly"}])
for command in sys.argv[1:]:
    try:
        cli.main([command, "--help"])
    except SystemExit:
        pass
print([name for name in sys.modules if name in {"numpy", "plotly", "rich", "scipy", "sklearn", "sqlite3", "statsmodels"}])
"""
COMMANDS = ("report", "trends", "anomalies", "forecast", "explain", "recommend", "slo", "compare")


@pytest.fixture
def ask(day, capsys):
    def ask(*words, expected=0):
        assert cli.main([words[0], "--source", str(day.path), *words[1:]]) == expected
        return capsys.readouterr()

    return ask


def answer(ask, *words, **expected):
    return json.loads(ask(*words, "--json", **expected).out, parse_constant=pytest.fail)["sections"]


def test_a_report_counts_what_was_done(ask, day):
    overview = answer(ask, "report", "--section", "overview")["overview"]
    rows = {row["agent"]: row for row in overview["tables"]["tasks"]["rows"]}
    assert {agent: row["tasks"] for agent, row in rows.items()} == day.tasks
    assert {agent: row["errors"] for agent, row in rows.items()} == day.errors
    (spent,) = overview["tables"]["spending"]["rows"]
    assert spent["cost_usd"] == pytest.approx(day.tasks["researcher"] * COST)
    assert spent["input_tokens"] == day.tasks["researcher"] * 900
    assert rows["writer"]["p95_seconds"] == pytest.approx(0.65, abs=0.25)


def test_a_report_of_part_of_the_day_counts_that_part(ask, day):
    whole, part = (
        answer(ask, "report", "--section", "overview", "--since", since)["overview"]["tables"]["tasks"]["rows"][0]["tasks"]
        for since in ("24h", "6h")
    )
    assert 0 < part < whole


def test_anomalies_has_the_slowdown_and_when_it_was(ask, day):
    found = answer(ask, "anomalies", "--measure", "task_duration_p95")["anomalies"]["tables"]["anomalies"]["rows"]
    of_researcher = [row for row in found if row["of"] == "researcher, search" and row["observed"] > 2]
    assert of_researcher
    starts = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day.slow[0] + shift)) for shift in range(-600, 601, 60)]
    assert of_researcher[0]["start"] in starts


def test_explain_without_a_window_takes_the_slowdown_and_blames_the_model(ask):
    moved = answer(ask, "explain")["explanation"]["tables"]["moved"]["rows"]
    causes = [row for row in moved if row["role"] == "cause"]
    assert causes[0]["of"] == "openai, gpt-5-mini"
    assert any(row["role"] == "symptom" and row["of"] == "researcher, search" for row in moved)


def test_compare_finds_the_slowdown_worse_and_the_writer_not(ask):
    rows = answer(
        ask, "compare", "--before", "5h/3h", "--after", "3h/2h", "--measure", "task_duration_p95", "--measure", "task_error_ratio"
    )["comparison"]["tables"]["differences"]["rows"]
    verdicts = {(row["measure"], row["of"]): row["verdict"] for row in rows}
    assert verdicts["task_duration_p95", "researcher, search"] == "worse"
    assert verdicts["task_duration_p95", "writer, write"] in {"same", "unclear"}


def test_slo_counts_calls_and_says_who_missed(ask, day):
    rows = answer(ask, "slo")["slo"]["tables"]["objectives"]["rows"]
    kept = {row["of"]: (row["kept"], row["calls"], row["bad"]) for row in rows if row["promise"] == "success"}
    assert {name.split(", ")[0]: verdict for name, (verdict, _, _) in kept.items()} == {"researcher": "yes", "writer": "no"}
    for name, (_, calls, bad) in kept.items():
        agent = name.split(", ")[0]
        assert calls == pytest.approx(day.tasks[agent], rel=0.02)
        assert bad == pytest.approx(day.errors[agent], rel=0.1)


def test_slo_takes_objectives_from_the_command_line(ask):
    rows = answer(ask, "slo", "--objective", "writer/write=90%,10s")["slo"]["tables"]["objectives"]["rows"]
    assert {row["kept"] for row in rows if row["of"].startswith("writer")} == {"yes"}
    assert "AGENT/TASK" in ask("slo", "--objective", "writer=90%", expected=2).err


def test_forecast_looks_as_far_ahead_as_it_is_told(ask, day):
    for horizon, hours in (("1h", 1), ("3h", 3)):
        rows = answer(ask, "forecast", "--measure", "task_rate", "--horizon", horizon)["forecast"]["tables"]["forecasts"]["rows"]
        assert {row["of"] for row in rows} == {f"{agent}, {task}" for agent, task in AGENTS.items()}
        assert {row["at"] for row in rows} == {
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day.end // 300 * 300 + hours * 3600))
        }
        assert all(row["low"] <= row["expected"] <= row["high"] for row in rows)


def test_top_shows_what_a_history_says_now(day, capsys):
    assert cli.main(["top", "--source", str(day.path), "--once", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["sections"]["top"]["tables"]["agents"]["rows"]
    assert {row["agent"]: row["in_progress"] for row in rows} == {"researcher": 2.0, "writer": 2.0}


# --- how commands end -----------------------------------------------------------------------------------------------------


def test_strict_fails_for_what_is_of_note_alone(ask):
    missed = ("slo", "--objective", "writer/write=99.9%")
    assert json.loads(ask(*missed, "--json").out)["exit_code"] == 0
    assert json.loads(ask(*missed, "--json", "--strict", expected=1).out)["exit_code"] == 1
    ask("report", "--section", "overview", "--strict")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    shown = capsys.readouterr().out
    for words in ("--since", "--source", "--strict", "examples:", "Exit status"):
        assert words in shown


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["trends", "--measure", "task_eror_ratio"], "did you mean task_error_ratio"),
        (["trends", "--since", "yesterday"], "--since 'yesterday' is no time"),
        (["trends", "--format", "html", "--json"], "contradict each other"),
        (["trends", "--output", "/nowhere/x.html"], "there is no folder '/nowhere'"),
        (["compare"], "give what to compare"),
        (["compare", "--at", "90d"], "is not well within the window"),
        (["explain", "--alert", "/nowhere.json"], "cannot be read"),
        (["explain", "--window", "1h", "--alert", "x"], "give one of them"),
        (["forecast", "--horizon", "soon"], "--horizon 'soon' is no duration"),
        (["trends", "--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z"], "it has some from"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_and_is_status_2(words, complaint, ask):
    told = ask(*words, expected=2).err
    assert complaint in told
    assert told.startswith(f"agentgauge {words[0]}: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["reprot"], "did you mean report?"),
        (["trends", "--sicne", "5h"], "did you mean --since?"),
        (["trends", "--since"], "expected one argument"),
        (["report", "--section", "trend"], "did you mean trends?"),
    ],
)
def test_a_misspelt_word_brings_the_right_one(words, complaint, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)
    assert complaint in capsys.readouterr().err


def test_an_unreachable_prometheus_is_named_without_its_password(capsys):
    assert cli.main(["trends", "--source", "http://bob:hunter2@127.0.0.1:9/prom?token=abc123"]) == 2
    told = capsys.readouterr().err
    assert "127.0.0.1:9" in told
    assert "hunter2" not in told
    assert "abc123" not in told


def test_a_missing_library_is_said_with_what_to_type_and_a_report_goes_on_without_it(ask, monkeypatch):
    load = extras.load

    def without_scipy(name):
        if name.partition(".")[0] in {"scipy", "statsmodels", "sklearn", "numpy"}:
            raise ImportError(name)
        return load(name)

    monkeypatch.setattr(extras, "load", without_scipy)
    assert "pip install 'agentgauge[analysis]'" in ask("forecast", expected=2).err
    sections = answer(ask, "report", "--section", "overview", "--section", "forecast")
    assert "pip install 'agentgauge[analysis]'" in sections["forecast"]["sentences"][0]
    assert sections["overview"]["tables"]["tasks"]["rows"]


def test_a_file_is_written_whole_in_the_format_of_its_name_and_the_source_is_never_overwritten(ask, day, tmp_path):
    for name, begins in (("r.html", "<!doctype html>"), ("r.md", "# Report"), ("r.json", "{"), ("r.txt", "Report\n")):
        file = tmp_path / name
        file.write_text("older")
        told = ask("report", "--section", "overview", "--output", str(file))
        assert told.out == ""
        assert file.read_text().startswith(begins)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert "is the source" in ask("report", "--output", str(day.path), expected=2).err


def test_the_history_file_of_the_settings_is_asked_where_no_source_is_named(day, monkeypatch, capsys):
    monkeypatch.setenv("AGENTGAUGE_HISTORY_FILE", str(day.path))
    assert cli.main(["report", "--section", "overview"]) == 0
    assert "researcher" in capsys.readouterr().out


def test_ctrl_c_ends_a_command_quietly(ask, monkeypatch):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(course, "asked", interrupt)
    assert ask("trends", expected=130) == ("", "")


def run(*words, **options):
    return subprocess.Popen([sys.executable, "-m", "agentgauge", *words], stderr=subprocess.PIPE, **options)


def test_a_pipe_that_is_closed_early_is_no_error(day):
    reader, writer = os.pipe()
    os.close(reader)
    program = run("report", "--source", str(day.path), "--section", "overview", stdout=writer)
    os.close(writer)
    assert (program.communicate(timeout=60)[1], program.returncode) == (b"", 141)


def test_a_pipe_gets_plain_text_without_progress_and_no_help_loads_what_it_does_not_need(day):
    program = run("report", "--source", str(day.path), "--section", "overview", stdout=subprocess.PIPE)
    out, err = program.communicate(timeout=60)
    assert (err, b"\x1b" in out, b"researcher" in out) == (b"", False, True)
    helped = [sys.executable, "-c", LOADED, *COMMANDS, "top"]
    shown = subprocess.run(helped, capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if line.startswith("[")] == ["[]", "[]"]
