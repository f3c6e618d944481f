"""``agentgauge slo``, ``compare`` and ``recommend``: what they show, and how they end where there is nothing to judge."""

from __future__ import annotations

import json

import pytest

from agentgauge import cli
from agentgauge.analytics.history import History

BEGIN = 1_700_006_400
STEPS = 240
TIMES = [BEGIN + 60.0 * step for step in range(STEPS + 1)]
CALLS, ERRORS = "agent_task_duration_seconds_count", "agent_task_errors_total"
SEARCH = {"gen_ai_agent_name": "researcher", "agent_task": "search"}
IDLE = {"gen_ai_agent_name": "idler", "agent_task": "wait"}
PROMISE = "agent_objective_success_ratio"


def written(path, *series):
    """Write a history of four hours; a series is its name, its labels and its value by number of minute."""
    with History(path, clock=lambda: TIMES[-1] + 1) as history:
        for name, labels, value in series:
            known = [(at, value(number)) for number, at in enumerate(TIMES) if value(number) is not None]
            history.write_points(name, labels, [at for at, _ in known], [found for _, found in known])
    return path


def bad(number):
    """Five bad calls a minute from the 100th minute to the 120th."""
    return 5 * min(20, max(0, number - 100))


def version(which):
    return lambda number: 1 if (number < 120) == (which == "1.4") else None


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return written(
        tmp_path_factory.mktemp("slo") / "history.db",
        (PROMISE, SEARCH, lambda _: 0.99),
        (PROMISE, IDLE, lambda _: 0.99),
        (CALLS, {**SEARCH, "outcome": "success"}, lambda number: 10 * number - bad(number)),
        (CALLS, {**SEARCH, "outcome": "error"}, bad),
        (CALLS, {**IDLE, "outcome": "success"}, lambda _: 0),
        (ERRORS, {**SEARCH, "error_type": "RateLimitError"}, lambda number: 4 * bad(number) / 5),
        (ERRORS, {**SEARCH, "error_type": "ValueError"}, lambda number: bad(number) / 5),
        ("target_info", {"service_version": "1.4"}, version("1.4")),
        ("target_info", {"service_version": "1.5"}, version("1.5")),
    )


@pytest.fixture
def ask(source, capsys):
    def ask(*words, expected=0, path=source):
        window = ("--since", str(BEGIN), "--until", str(int(TIMES[-1])))
        assert cli.main([words[0], "--source", str(path), *window, *words[1:]]) == expected
        return capsys.readouterr()

    return ask


def section(told, name):
    return json.loads(told.out)["sections"][name]


def test_slo_shows_what_was_missed_its_budget_and_the_incident_with_its_length_and_cause(ask):
    found = section(ask("slo", "--json"), "slo")
    row = next(one for one in found["tables"]["objectives"]["rows"] if one["of"] == "researcher, search")
    assert (row["kept"], row["calls"], row["bad"], row["incidents"], row["mttr_seconds"]) == ("no", 2400, 100, 1, 1200)
    assert row["budget_spent_ratio"] == pytest.approx(100 / 24)
    (incident,) = found["tables"]["incidents"]["rows"]
    assert (incident["start"], incident["duration_seconds"], incident["bad"]) == ("2023-11-15T01:40:00Z", 1200, 100)
    assert incident["cause"] == "80% of 100 errors were RateLimitError"
    days = [(one["of"], one["kept"], one["calls"]) for one in found["tables"]["periods"]["rows"]]
    assert days == [("idler, wait", "no data", 0), ("researcher, search", "no", 2400)]


def test_an_objective_without_calls_is_neither_kept_nor_missed_and_strict_does_not_pass_it(ask):
    words = ("slo", "--objective", "researcher/search=90%", "--json")
    found = section(ask(*words), "slo")
    assert found["sentences"][0] == "1 of 2 objectives were kept, 0 missed, 1 can be told neither: there was no call."
    assert [(one["severity"], one["title"]) for one in found["findings"]] == [
        ("warning", "idler, wait: nothing is known of its objective (success)")
    ]
    ask(*words, "--strict", expected=1)


def test_an_objective_of_a_task_that_there_is_not_is_refused_with_those_that_there_are(ask):
    assert "did you mean researcher/search?" in ask("slo", "--objective", "researcher/serach=99%", expected=2).err
    told = ask("slo", "--strict", "--objective", "nobody/x=1%", expected=2).err
    assert "this window has no such task; there is idler/wait, researcher/search" in told


def test_a_latency_that_no_program_counts_is_said_not_to_be_known(ask):
    words = ("slo", "--objective", "researcher/search=90%,3s", "--json")
    titles = [one["title"] for one in section(ask(*words), "slo")["findings"]]
    assert titles[0] == "researcher, search: whether calls ended within 3 s is not known"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["slo"], "No task ran in this window, and none has an objective."),
        (["compare", "--at", str(BEGIN + 7200)], "There is nothing to compare: neither window has any of the measures."),
        (["recommend"], "There is nothing to advise on: no task, tool or LM call ended in this window."),
    ],
)
def test_a_window_in_which_nothing_ran_is_no_answer(command, words, ask, tmp_path):
    empty = written(tmp_path / "history.db", ("up", {}, lambda _: 1))
    assert words in ask(*command, path=empty, expected=2).out.replace("\n", " ")


def test_tasks_without_objectives_are_no_answer_and_are_named(ask, tmp_path):
    source = written(tmp_path / "history.db", (CALLS, {**SEARCH, "outcome": "success"}, lambda number: number))
    assert "researcher/search" in ask("slo", path=source, expected=2).out


def test_versions_are_compared_and_one_that_there_is_not_is_refused_with_those_that_there_are(ask, tmp_path):
    measure = ("--measure", "task_error_ratio", "--json")
    found = section(ask("compare", "--versions", "1.4", "1.5", *measure), "comparison")
    (row,) = found["tables"]["differences"]["rows"]
    assert (row["of"], row["verdict"], row["after"]) == ("researcher, search", "better", 0)
    told = ask("compare", "--versions", "1.4", "1.6", expected=2).err
    assert "--versions: no program had the service_version '1.6' in this window; there is 1.4, 1.5" in told
    silent = written(tmp_path / "history.db", (CALLS, {**SEARCH, "outcome": "success"}, lambda number: number))
    assert "service.version=" in ask("compare", "--versions", "1", "2", path=silent, expected=2).err


def test_a_comparison_that_has_too_little_of_everything_says_why(ask, tmp_path):
    source = written(tmp_path / "history.db", (CALLS, {**SEARCH, "outcome": "success"}, lambda number: number // 100))
    words = ("compare", "--at", str(BEGIN + 7200), "--measure", "task_error_ratio")
    assert "There is nothing to compare: 1 measure: fewer than 10 calls." in ask(*words, path=source, expected=2).out


def test_a_comparison_says_of_how_many_it_is_and_what_each_would_have_found(ask):
    found = section(ask("compare", "--at", str(BEGIN + 7200), "--json"), "comparison")
    many = len(found["tables"]["differences"]["rows"])
    (told,) = (sentence for sentence in found["sentences"] if "compared" in sentence)
    assert told.startswith(f"{many} measures were compared: intervals and p are corrected for that, so that all intervals hold")
    assert all("detectable" in row for row in found["tables"]["differences"]["rows"])
    words = ("compare", "--at", str(BEGIN + 7200), "--measure", "task_error_ratio", "--json")
    alone = section(ask(*words), "comparison")
    assert any("1 measure compared; intervals are of 95 %" in sentence for sentence in alone["sentences"])
    (row,) = alone["tables"]["differences"]["rows"]
    assert row["detectable"] > 0
    assert all("percentage points" in one["evidence"] for one in alone["findings"])


def test_a_deploy_and_its_versions_have_the_same_verdicts_though_the_new_one_worked_before_it_was_seen(ask, tmp_path):
    slow = {**SEARCH, "outcome": "success"}
    deploy = 120

    def took(number):  # two calls of the new version in the very step in which it was first seen
        return 0.1 * 10 * min(number, deploy - 1) + 60 * max(0, number - deploy + 1)

    source = written(
        tmp_path / "history.db",
        (CALLS, slow, lambda number: 10 * number),
        ("agent_task_duration_seconds_sum", slow, took),
        ("target_info", {"service_version": "1.4"}, version("1.4")),
        ("target_info", {"service_version": "1.5"}, version("1.5")),
    )
    measure = ("--measure", "task_duration_mean", "--json", "--step", "1m")
    (row,) = section(ask("compare", "--deploy", *measure, path=source), "comparison")["tables"]["differences"]["rows"]
    assert (row["verdict"], row["before"]) == ("worse", pytest.approx(0.1))
    (row,) = section(ask("compare", "--versions", "1.4", "1.5", *measure, path=source), "comparison")["tables"]["differences"][
        "rows"
    ]
    assert (row["verdict"], row["before"]) == ("worse", pytest.approx(0.1))
