"""A report begins with what it comes to, people see rows that say something, and every line to paste works."""

from __future__ import annotations

import io
import json
import re
import shlex
from argparse import Namespace

import pytest
from rich.console import Console

from agentgauge import cli
from agentgauge.analytics.commands.short import in_short
from agentgauge.analytics.history import History
from agentgauge.analytics.report.document import Chart, Column, Document, Finding, Section, Series, Severity, Table, Unit
from agentgauge.analytics.report.html_page import as_html
from agentgauge.analytics.report.json_text import as_json
from agentgauge.analytics.report.markdown import as_markdown
from agentgauge.analytics.report.numbers import left_out
from agentgauge.analytics.report.terminal import show
from agentgauge.analytics.report.text import as_text

BEGIN = 1_764_000_000
STEPS = 240
WINDOW = (f"--since={BEGIN}", f"--until={BEGIN + 60 * STEPS}")
PROMISE = ("--objective", "writer/draft=99%")
BOUNDS = (("0.1", 0), ("1", 1), ("+Inf", 1))


def in_a_terminal(document):
    console = Console(file=io.StringIO(), width=100)
    show(document, console)
    return console.file.getvalue()


class Program:
    """Two agents of a history; the writer fails from some minute on, and its tasks are within runs and a workflow."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys

    def write(self, *, fails_from=STEPS, agents=("researcher", "writer"), memory=None, earlier=0):
        times = [float(BEGIN + 60 * at) for at in range(STEPS + 1)]
        with History(self.path, clock=lambda: times[-1]) as history:
            history.write_points("agentgauge_build_info", {}, times, [1.0] * len(times))
            if memory is not None:
                history.write_points("process_resident_memory_bytes", {}, times, [memory(at) for at in range(len(times))])
            for agent in agents:
                failed = [
                    5.0 * max(0, at - fails_from) + earlier * (at > 60) if agent == "writer" else 0.0 for at in range(len(times))
                ]
                ended = [10.0 * at - bad for at, bad in enumerate(failed)]
                labels = {"gen_ai_agent_name": agent, "agent_task": "draft"}
                for outcome, counts in (("success", ended), ("error", failed)):
                    self._observe(history, "agent_task_duration_seconds", {**labels, "outcome": outcome}, times, counts)
                run = {"gen_ai_agent_name": agent}
                self._observe(history, "gen_ai_invoke_agent_duration_seconds", run, times, [8.0 * at for at in range(len(times))])
            workflow = {"gen_ai_workflow_name": "answer"}
            self._observe(
                history, "gen_ai_invoke_workflow_duration_seconds", workflow, times, [4.0 * at for at in range(len(times))]
            )
        return self

    @staticmethod
    def _observe(history, family, labels, times, counts):
        history.write_points(f"{family}_count", labels, times, counts)
        history.write_points(f"{family}_sum", labels, times, [0.5 * count for count in counts])
        for bound, share in BOUNDS:
            history.write_points(f"{family}_bucket", {**labels, "le": bound}, times, [share * count for count in counts])

    def ask(self, *words, expected=0):
        assert cli.main([words[0], "--source", str(self.path), *WINDOW, *words[1:]]) == expected
        return self.capsys.readouterr()

    def paste(self, line):
        """Run a line as a shell would; return what it answers."""
        name, *words = shlex.split(line)
        assert name == "agentgauge"
        assert cli.main(words) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def program(tmp_path, capsys):
    return Program(tmp_path / "my agents.db", capsys)


def test_a_report_begins_with_the_worst_of_all_sections_each_with_a_line_that_works_when_pasted(program):
    program.write(fails_from=200)
    asked = ("report", *PROMISE, "--section", "overview", "--section", "slo", "--section", "trends")
    text = program.ask(*asked).out
    short = text.partition("In short\n")[2].partition("\nOverview\n")[0]
    assert text.index("In short\n") < text.index("Overview\n") < text.index("Objectives\n")
    assert "  critical writer, draft missed its objective: 91.7 % good, promised 99 %\n" in short
    assert "What could not be judged" not in short
    found = json.loads(program.ask(*asked, "--json").out)["sections"]["short"]["findings"]
    assert [one["severity"] for one in found] == ["critical", *["warning"] * (len(found) - 1)]
    assert len(found) > 1
    for one in (found[0], found[1]):
        assert f"\n{' ' * 11}{one['command']}\n" in short + "\n"
        assert f"\n{'Explanation' if one is found[0] else 'Trends'}\n" in program.paste(one["command"])
    assert "200 of 2,400 calls were bad" in found[0]["evidence"]


def short(asked):
    return " ".join(asked.partition("In short\n")[2].partition("\nOverview\n")[0].split())


def test_all_is_well_is_said_only_where_everything_was_looked_at_and_could_be_judged(program):
    program.write()
    sections = ("--section", "overview", "--section", "slo", "--section", "trends", "--section", "anomalies")
    kept = program.ask("report", *sections, "--objective", "writer/draft=99%").out
    assert "All is well: every objective was kept, nothing was out of the ordinary and nothing got worse." in short(kept)
    without = short(program.ask("report", *sections).out)
    assert "All is well" not in without
    assert "could not be judged, or only in part: Objectives." in without
    assert "Not looked at" not in without


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (("quality",), "Whether all is well is not known. Not looked at: Objectives; Anomalies; Trends."),
        (
            ("slo",),
            "Nothing bad was found in what was looked at: every objective was kept. Not looked at: Anomalies; Trends.",
        ),
        (
            ("slo", "trends"),
            "in what was looked at: every objective was kept and nothing got worse. Not looked at: Anomalies.",
        ),
    ],
)
def test_a_report_of_some_sections_speaks_of_those_alone(sections, said, program):
    program.write()
    wanted = [word for name in ("overview", *sections) for word in ("--section", name)]
    assert said in short(program.ask("report", *wanted, "--objective", "writer/draft=99%").out)


def test_a_report_of_some_sections_that_finds_something_bad_says_where_it_did_not_look(program):
    program.write(fails_from=200)
    said = short(program.ask("report", *PROMISE, "--section", "overview", "--section", "slo").out)
    assert said.startswith("-------- 1 thing needs a look. Not looked at: Anomalies; Trends.")


def test_a_missed_objective_names_the_command_that_explains_its_worst_incident(program):
    program.write(fails_from=200, earlier=8)
    (finding,) = json.loads(program.ask("slo", *PROMISE, "--json").out)["sections"]["slo"]["findings"]
    assert finding["fix"] == "see what moved with its worst incident"
    assert finding["command"].startswith("agentgauge explain ")
    assert f"--since {BEGIN} --until {BEGIN + 60 * STEPS} --window 2025-11-24T19:2" in finding["command"]  # and not 17:00
    assert "Explanation" in program.paste(finding["command"])


def test_what_only_says_again_what_another_section_found_is_told_once(program):
    rose = Finding(Severity.WARNING, "memory rose")
    again = Finding(Severity.WARNING, "memory changed for good", "memory rose")
    sections = (Section("anomalies", "Anomalies", findings=(again,)), Section("trends", "Trends", findings=(rose,)))
    grid = Namespace(count=1, step_seconds=1.0)
    short = in_short(Namespace(source=Namespace(name="h.db"), options=Namespace(), grid=grid), sections)
    assert [one.title for one in short.findings] == ["memory rose"]
    assert short.sentences == ("1 thing needs a look. Not looked at: Objectives.",)


def test_a_line_to_paste_asks_for_the_same_objectives(program):
    program.write(fails_from=239)
    asked = ("report", *PROMISE, "--objective", "researcher/draft=99%,10ms", "--section", "overview", "--section", "slo")
    commands = [one["command"] for one in json.loads(program.ask(*asked, "--json").out)["sections"]["short"]["findings"]]
    (said,) = {program.paste(command) for command in commands}
    assert "researcher, draft: whether calls ended within 10 ms is not known" in said


def test_a_report_of_one_agent_has_no_other_and_an_unknown_one_is_told_who_there_is(program):
    program.write(fails_from=200)
    one, sections = ("--measure", "task_rate"), ("--section", "overview", "--section", "slo")
    for command in (("report", *sections, *PROMISE), ("trends", *one), ("anomalies", *one), ("slo", *PROMISE), ("recommend",)):
        told = program.ask(*command, "--agent", "writer", "--json").out
        assert "researcher" not in told
        assert json.loads(told)["facts"]["agent"] == "writer"
    assert "agentgauge explain --source" in program.ask("report", *sections, *PROMISE, "--agent", "writer").out
    said = program.ask("trends", "--agent", "nobody", expected=2).err
    assert "there is researcher, writer" in said
    assert "did you mean writer?" in program.ask("trends", "--agent", "writr", expected=2).err


def test_where_no_task_of_an_agent_has_an_objective_it_is_said_whose(program):
    program.write()
    assert "\nNo task of writer has an objective: give it one" in program.ask("slo", "--agent", "writer", expected=2).out
    assert "\nNo task has an objective: give it one" in program.ask("slo", expected=2).out


def test_two_agents_at_once_are_refused(program):
    program.write()
    with pytest.raises(SystemExit) as left:
        program.ask("report", "--agent", "writer", "--agent", "researcher")
    assert left.value.code == 2
    assert "argument --agent: writer and researcher were given: ask about one at a time" in program.capsys.readouterr().err


def test_what_users_asked_for_is_counted_before_what_it_took(program):
    program.write()
    first, second = json.loads(program.ask("report", "--section", "overview", "--json").out)["sections"]["overview"]["sentences"]
    assert first == "The workflow answer ran 960 times."
    assert second.startswith("2 agents ran 3,840 times and ended 4,800 tasks, 0 of them badly")


def test_what_was_cancelled_is_no_error_of_tools_models_runs_and_workflows(program):
    program.write()
    families = {
        "tools": ("gen_ai_execute_tool_duration_seconds", "gen_ai_tool_name"),
        "models": ("gen_ai_client_operation_duration_seconds", "gen_ai_request_model"),
        "runs": ("gen_ai_invoke_agent_duration_seconds", "gen_ai_agent_name"),
        "workflows": ("gen_ai_invoke_workflow_duration_seconds", "gen_ai_workflow_name"),
    }
    times = [float(BEGIN + 60 * at) for at in range(STEPS + 1)]
    with History(program.path, clock=lambda: times[-1]) as history:
        for family, label in families.values():
            for error_type, each in (("", 3), ("ValueError", 1), ("asyncio.exceptions.CancelledError", 4), ("GeneratorExit", 2)):
                labels = {label: "some", **({"error_type": error_type} if error_type else {})}
                history.write_points(f"{family}_count", labels, times, [float(each * at) for at in range(len(times))])
    overview = json.loads(program.ask("report", "--section", "overview", "--json").out)["sections"]["overview"]
    for name, (_, label) in families.items():
        of = label.removeprefix("gen_ai_").removesuffix("_name").removeprefix("request_")
        (row,) = (row for row in overview["tables"][name]["rows"] if row[of] == "some")
        whole = row.get("calls", row.get("runs"))
        assert (whole, row["errors"], row["cancelled"], row["error_ratio"]) == (2400, 240, 1440, 0.25)
    assert "some ran 2,400 times (240 with an error, 1,440 cancelled)" in overview["sentences"][0]


def test_a_forecast_shows_what_moves_and_all_of_it_where_that_is_asked_for(program):
    program.write(memory=lambda at: 1e8 + 1e6 * ((at * 7919) % 13))
    told = ("forecast", "--horizon", "10m")
    text = program.ask(*told).out
    assert "No change is to be seen of" in text
    assert "memory of the process " not in text.partition("Memory of the process\n")[0]
    assert "memory of the process " in program.ask(*told, "--all").out.partition("Memory of the process\n")[0]
    rows = json.loads(program.ask(*told, "--json").out)["sections"]["forecast"]["tables"]["forecasts"]["rows"]
    assert "process_memory" in {row["measure"] for row in rows}
    assert "holt" not in program.ask(*told, "--all").out


@pytest.mark.parametrize("written", [as_text, as_markdown, as_html, in_a_terminal])
def test_people_see_the_first_rows_of_a_long_table_and_how_many_there_are(written):
    table = Table("agents", "", (Column("of", "of"),), tuple((f"agent{number:02}",) for number in range(25)))
    document = Document("report", "Report", (), (Section("all", "All", tables=(table,)),))
    told = written(document)
    assert "agent19" in told
    assert "agent20" not in told
    assert "and 5 more: --all shows them, --json has them" in told
    every = written(document.with_all_rows())
    assert "agent24" in every
    assert "--all shows" not in every
    assert len(json.loads(as_json(document))["sections"]["all"]["tables"]["agents"]["rows"]) == 25
    findings = tuple(Finding(Severity.INFO, f"finding{number:02}") for number in range(22))
    listed = Document("report", "Report", (), (Section("all", "All", findings=findings),))
    assert "finding19" in written(listed)
    assert "finding20" not in written(listed)
    assert "and 2 more: --all shows them" in written(listed)
    assert "finding21" in written(listed.with_all_rows())
    assert left_out(Table("few", "", (Column("of", "of"),), (("one",),))) == ""


def test_one_value_is_no_course():
    def chart(*values):
        times = tuple(float(at) for at in range(len(values)))
        return Chart("one", "One", Unit.NUMBER, times, (Series("of", values),))

    assert not chart(1.0).has_course
    assert not chart(float("nan"), 1.0, float("inf")).has_course
    assert chart(1.0, 1.0).has_course


def test_a_chart_of_one_value_is_left_out_of_an_answer(program):
    program.write(memory=lambda at: 1e8)
    charts = json.loads(program.ask("report", "--section", "overview", "--step", "2h", "--json").out)
    assert charts["sections"]["overview"]["charts"] == {}


def test_a_name_that_people_read_in_words_stays_a_name_in_a_title_of_what_a_program_recorded(program):
    with History(program.write().path) as history:
        times = [float(BEGIN + 60 * at) for at in range(60)]
        history.write_points("operation.draft.duration_ms", {"analytics": "store"}, times, [float(at) for at in range(60)])
    text = program.ask("report", "--section", "recorded").out
    assert "\noperation.draft.duration_ms\n" in text
    assert "Operation.draft" not in text


# --- what is advised --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        ("report --section overview", "--since 2030-01-01T00:00:00Z --until 2030-01-02T00:00:00Z"),
        ("explain", "--window 2030-01-01T00:00:00Z/2030-01-02T00:00:00Z"),
        ("compare --after 1764010000/1764014000", "--before 2030-01-01T00:00:00Z/2030-01-02T00:00:00Z"),
        ("compare --before 1764000000/1764004000", "--after 2030-01-01T00:00:00Z/2030-01-02T00:00:00Z"),
    ],
)
def test_a_window_that_is_proposed_can_be_asked_about(asked, program):
    program.write(fails_from=200)
    command, wrong = map(str.split, asked)
    said = program.ask(*command, *wrong, expected=2).err
    advised = said.partition(": try ")[2].split()
    assert advised[0] == wrong[0]
    program.ask(*command, *advised)


@pytest.mark.parametrize(
    ("asked", "advised"),
    [
        ("forecast --horizon 30d --measure task_rate", r"give (--horizon \w+) or"),
        ("slo", r"here with (--objective '[^']+')"),
    ],
)
def test_an_option_that_is_proposed_works_in_its_place(asked, advised, program):
    program.write()
    command, *options = asked.split()
    shown = program.ask(command, *options, expected=2)
    found = re.search(advised, " ".join((shown.out + shown.err).split()))
    program.ask(command, *shlex.split(found[1]), *options[2:])


@pytest.mark.parametrize("words", [("--since", "-5m"), ("--since=-5m",), ("--until", "-5m")])
def test_a_duration_with_a_sign_is_told_to_go_without(words, program):
    said = program.write().ask("trends", *words, expected=2).err
    assert f"{words[0][:7]} '-5m': a duration is that long ago and has no sign, say {words[0][:7]} 5m" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("explain --window -30m", "--window '-30m': a duration is that long ago and has no sign, say --window 30m"),
        ("explain --since -5", "--since '5' is no duration: give one with a unit, such as"),
        ("compare --before -5h/3h --after 1h/now", "--before '-5h': a duration is that long ago and has no sign"),
        (f"compare --before {BEGIN}/{BEGIN + 3600} --after -1h/now", "--after '-1h': a duration is that long ago"),
        ("forecast --horizon -6h", "--horizon '-6h' is no duration: give one, such as"),
        ("trends --step -5m", "--step '-5m' is no duration: give one, such as"),
    ],
)
def test_so_is_one_with_a_sign_that_is_a_window_a_step_or_a_horizon(words, told, program):
    assert told in program.write().ask(*words.split(), expected=2).err


@pytest.mark.parametrize("wrong", ["5h-3h", "abc", "5h/abc", "2026-01-01T00:00:00/now"])
def test_what_is_no_window_is_told_the_form_of_one(wrong, program):
    program.write()
    for words in (("explain", "--window", wrong), ("compare", "--before", wrong, "--after", "1h/now")):
        assert "a window is FROM/TO, such as 5h/3h" in program.ask(*words, expected=2).err


@pytest.mark.parametrize("ended", [{}, {"endsAt": BEGIN - 3600}])
def test_an_alert_from_before_the_source_is_told_when_the_source_begins(ended, program, tmp_path):
    program.write()
    path = tmp_path / "alert.json"
    path.write_text(json.dumps({"labels": {"alertname": "Slow"}, "startsAt": BEGIN - 7200, **ended}))
    said = program.ask("explain", "--alert", str(path), expected=2).err
    assert "my agents.db does, at 2025-11-24 16:00:00 UTC: there is nothing before it to compare with" in said
    path.write_text(json.dumps({"labels": {"alertname": "Slow"}, "startsAt": BEGIN + 7200}))
    assert "\nThis is about the alert Slow.\n" in program.ask("explain", "--alert", str(path)).out


def test_an_alert_that_began_with_the_source_is_not_told_to_be_from_before_it(program, tmp_path):
    path = tmp_path / "alert.json"
    path.write_text(json.dumps({"labels": {"alertname": "Slow"}, "startsAt": BEGIN + 20}))
    with History(program.path) as history:
        history.write_points("agent_tasks_in_progress", {}, [BEGIN + 10.0 + 15 * at for at in range(100)], [1.0] * 100)
    said = program.ask("explain", "--alert", str(path), expected=2).err
    assert "too little to judge by" in said


def test_an_alert_from_after_the_source_is_told_when_the_source_ends(program, tmp_path):
    """As one that says that the program is gone."""
    program.write()
    path = tmp_path / "alert.json"
    path.write_text(json.dumps({"labels": {"alertname": "Gone"}, "startsAt": BEGIN + 60 * STEPS + 300}))
    said = program.ask("explain", "--alert", str(path), expected=2).err
    assert "the alert began after " in said
    assert "my agents.db ends, at 2025-11-24 20:00:00 UTC" in said
    program.ask("explain", *said.split()[-2:])
    path.write_text(json.dumps({"labels": {"alertname": "Gone"}, "startsAt": "yesterday"}))
    assert "the alert Gone started at 'yesterday'" in program.ask("explain", "--alert", str(path), expected=2).err


def test_an_alert_that_is_not_there_is_said_without_a_number_of_the_system(program):
    said = program.write().ask("explain", "--alert", "nosuch.json", expected=2).err
    assert "--alert 'nosuch.json' cannot be read: No such file or directory" in said
