"""How every command ends: what is wrong is said in one line, and the status is the same for all."""

from __future__ import annotations

import errno
import json
import os
import re
import sys

import pytest

from agentgauge import cli
from agentgauge.analytics.commands import course, output
from agentgauge.analytics.commands.times import as_time
from agentgauge.analytics.history import History
from agentgauge.analytics.report.document import Unit
from made_day import AGENTS

COMMANDS = ("report", "trends", "anomalies", "forecast", "explain", "recommend", "slo", "compare")
ASKED = {
    "anomalies": ("--measure", "task_duration_p95"),
    "compare": ("--at", "3h", "--measure", "task_duration_p95"),
    "explain": ("--window", "3h/2h"),
    "forecast": ("--measure", "task_rate", "--horizon", "1h", "--concurrency", "4"),
}
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A history of a program that never worked."""
    path, times = tmp_path_factory.mktemp("idle") / "history.db", [1_750_000_000 + 15 * index for index in range(20)]
    with History(path, clock=lambda: times[-1]) as history:
        history.write_points("agentgauge_build_info", (), times, [1.0] * len(times))
    return path


@pytest.fixture
def told(capsys):
    """Run a command that gives no answer; return what it says on standard error."""

    def told(*words):
        assert cli.main(list(words)) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"agentgauge {words[0]}: ")
        assert shown.err.count("\n") == 1
        return shown.err

    return told


@pytest.mark.parametrize("command", [*COMMANDS, "top"])
def test_a_source_that_cannot_be_is_status_2_and_one_line_of_every_command(command, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.db").touch()
    (tmp_path / "junk.db").write_text("junk " * 1000)
    for source, words in (
        ("none.db", "there is no none.db"),
        ("empty.db", "is empty"),
        ("junk.db", "no history"),
        (".", "is a folder"),
        ("http://127.0.0.1:9", "nothing listens there"),
        ("", "--source is empty"),
    ):
        assert words in told(command, "--source", source)


@pytest.mark.parametrize("command", [*COMMANDS, "top"])
def test_files_that_cannot_be_read_are_said_without_a_traceback(command, told, tmp_path, monkeypatch, day):
    assert "cannot be read: No such file" in told(command, "--source", str(day.path), "--token-file", "/nowhere")
    assert "--ca-file '/nowhere'" in told(command, "--source", str(day.path), "--ca-file", "/nowhere")

    def refused(*_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "closed" / "h.db"))

    monkeypatch.setattr("agentgauge.analytics.commands.question.open_source", refused)
    assert told(command, "--source", "x.db").endswith("closed/h.db: Permission denied\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--output", "x.pdf"), "its ending tells no format: give it one of .json, .md, .markdown, .html, .htm, .txt"),
        (("--output", "x"), "its ending tells no format"),
        (("--output", "x.html", "--json"), "is the name of html, and --json contradicts it"),
        (("--output", "x.md", "--format", "text"), "--format text contradicts it: name it *.txt"),
        (("--output", ""), "name a file"),
        (("--output", "."), "is a folder"),
        (("--output", "nowhere/x.md"), "there is no folder 'nowhere'"),
        (("--output", "closed.md"), "no permission to write 'closed.md'"),
        (("--json", "--format", "html"), "contradict each other"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(words, complaint, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closed.md").write_text("older")
    access = os.access
    monkeypatch.setattr(output.os, "access", lambda path, mode: str(path) != "closed.md" and access(path, mode))
    monkeypatch.setattr(course, "source_named", pytest.fail)
    assert complaint in told("report", "--source", "h.db", *words)


def test_a_format_may_be_named_where_the_ending_tells_none(day, tmp_path, capsys):
    for name in ("report.log", "report"):
        words = ["--section", "overview", "--since", "1h", "--format", "text", "--output", str(tmp_path / name)]
        assert cli.main(["report", "--source", str(day.path), *words]) == 0
        assert "researcher" in (tmp_path / name).read_text()
    assert cli.main(["report", "--source", str(day.path), "--section", "overview", "--since", "1h", "--output", "/dev/null"]) == 0
    assert capsys.readouterr().err.count("wrote ") == 3


@pytest.mark.parametrize("command", ["report", "top"])
def test_standard_output_that_is_full_or_closed_is_said(command, day, monkeypatch, capsys):
    class Full:
        encoding = "utf-8"

        def write(self, _text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = [
        command,
        "--source",
        str(day.path),
        *(["--section", "overview", "--since", "1h"] if command == "report" else ["--once"]),
    ]
    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"agentgauge {command}: the answer cannot be written: No space left on device\n"
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(words) == 2
    assert "there is no standard output" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*COMMANDS, "top"])
def test_a_program_that_did_nothing_is_status_2_with_the_reason_where_nothing_can_be_judged(command, idle, capsys):
    words = ["--source", str(idle), *(() if command == "top" else ("--since", "2025-06-15T15:00:00Z"))]
    status = cli.main([command, *words, *(["--at", "2025-06-15T15:09:00Z"] if command == "compare" else []), "--json"])
    shown = capsys.readouterr()
    whole = json.loads(shown.out)
    assert whole["exit_code"] == status
    sentences = [sentence for section in whole["sections"].values() for sentence in section["sentences"]]
    assert sentences
    assert status == (0 if command == "report" else 2), sentences  # the quality of the data is judged


@pytest.mark.parametrize("command", [*COMMANDS, "top"])
def test_help_shows_no_doubled_percent(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert "%%" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--since", "--until", "--step"])
def test_an_empty_time_is_no_default(option, told, day):
    assert f"{option} ''" in told("trends", "--source", str(day.path), option, "")


def test_a_step_that_makes_more_points_than_anybody_waits_for_is_refused(told, day):
    said = told("report", "--source", str(day.path), "--until", str(day.end), "--step", "10ms")
    assert "--step 10 ms cuts 24 h into" in said


# --- JSON -----------------------------------------------------------------------------------------------------------------


def check(whole, command):
    """Compare with what docs/monitoring/reports.md says of the keys."""
    assert list(whole) == ["format", "version", "command", "title", "exit_code", "facts", "sections"]
    assert (whole["format"], whole["command"]) == (1, command)
    for name in ("since", "until", "first_sample", "last_sample"):
        assert ISO.fullmatch(whole["facts"][name]), name
    for section in whole["sections"].values():
        assert list(section) == ["title", "sentences", "findings", "tables", "charts"]
        for finding in section["findings"]:
            assert list(finding) == ["severity", "title", "evidence", "fix", "query", "command"]
            assert finding["severity"] in {"critical", "warning", "info", "ok"}
        for table in section["tables"].values():
            units = {column["name"]: Unit(column["unit"]) for column in table["columns"]}
            assert len(units) == len(table["columns"])
            for row in table["rows"]:
                assert list(row) == list(units)
                for name, cell in row.items():
                    check_cell(cell, units[name])
        for chart in section["charts"].values():
            Unit(chart["unit"])
            for line in chart["series"]:
                assert {len(line[part]) for part in ("values", "low", "high") if line[part] is not None} == {len(chart["times"])}


def check_cell(cell, unit):
    if cell is None:
        return
    if unit is Unit.TIME:
        assert ISO.fullmatch(cell)
    elif unit is Unit.TEXT:
        assert isinstance(cell, str | bool)
    else:
        assert isinstance(cell, int | float)
        assert not isinstance(cell, bool)


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != "report"])
def test_the_json_of_every_command_has_the_keys_that_are_documented(command, day, capsys):
    words = [command, "--source", str(day.path), "--since", "6h", *ASKED.get(command, ()), "--json"]
    assert cli.main(words) == 0
    whole = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    check(whole, command)
    assert any(section["tables"] for section in whole["sections"].values()) or command in {"recommend", "trends"}


# --- one truth ------------------------------------------------------------------------------------------------------------


def test_report_slo_and_compare_count_the_same_calls_of_the_same_window(day, capsys):
    def rows(section, table, *words):
        assert cli.main([*words[:1], "--source", str(day.path), *words[1:], "--json"]) == 0
        return json.loads(capsys.readouterr().out)["sections"][section]["tables"][table]["rows"]

    middle, window = "3h", ("--since", "4h", "--until", "2h")
    tasks = rows("overview", "tasks", "report", "--section", "overview", *window)
    told = {
        f"{row['agent']}, {row['task']}": (row["tasks"] - row["cancelled"], row["errors"], row["error_ratio"]) for row in tasks
    }
    assert set(told) == {f"{agent}, {task}" for agent, task in AGENTS.items()}
    kept = [row for row in rows("slo", "objectives", "slo", *window) if row["promise"] == "success"]
    assert {row["of"]: (row["calls"], row["bad"], pytest.approx(1 - row["ratio"])) for row in kept} == told
    halves = rows("comparison", "differences", "compare", *window, "--at", middle, "--measure", "task_error_ratio")
    assert len(halves) == len(told)
    for row in halves:
        calls, bad, _ = told[row["of"]]
        assert row["count_before"] + row["count_after"] == pytest.approx(calls, abs=1)
        assert row["before"] * row["count_before"] + row["after"] * row["count_after"] == pytest.approx(bad, abs=1e-6)


# --- times ----------------------------------------------------------------------------------------------------------------


def test_days_of_23_and_25_hours_are_what_their_zones_say():
    spring, autumn = (
        ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
    )
    hours = [(as_time("--until", end, now=0) - as_time("--since", begin, now=0)) / 3600 for begin, end in (spring, autumn)]
    assert hours == [23, 25]


def test_a_window_of_the_future_or_the_wrong_way_round_says_what_there_is(told, day):
    assert "is not before --until" in told("slo", "--source", str(day.path), "--since", "1h", "--until", "2h")
    assert "is not before --until" in told("slo", "--source", str(day.path), "--since", "2099-01-01T00:00:00Z")
    message = told("slo", "--source", str(day.path), "--until", "2099-01-01T00:00:00Z")
    assert "it has some from" in message
    assert re.search(r"try (--since \S+ --until \S+)$", message)
