from __future__ import annotations

import collections
import json
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import research_swarm
from agentgauge.catalogue import FAMILIES, analytics, reliability
from faults import Faults
from ledger import Ledger
from offline_lm import OfflineModel, offline_lm
from swarm_agents import Swarm

SCRIPT = Path(__file__).parents[2] / "examples" / "research_swarm.py"
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def launch(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def address_of(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline()
    assert line.startswith("metrics: http://127.0.0.1:"), line + process.communicate(timeout=120)[1]
    return line.split()[1]


def samples_of(url: str) -> list[Any]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=OPEN_METRICS), timeout=60) as answer:
        return [sample for family in text_string_to_metric_families(answer.read().decode()) for sample in family.samples]


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@dataclass
class Run:
    status: int
    output: str
    complaints: str
    ledger: dict[str, Any]
    samples: list[Any]
    spans: list[dict[str, Any]]

    def recorded(self, name: str, *labels: str) -> collections.Counter[tuple[str, ...]]:
        """What the samples of that name say, by labels, without the zeros."""
        counts = collections.Counter()
        for sample in self.samples:
            if sample.name == name and sample.value:
                counts[tuple(sample.labels.get(label, "") for label in labels)] += int(sample.value)
        return counts

    def counted(self, kind: str, *keys: str, outcomes: set[str] | None = None) -> collections.Counter[tuple[str, ...]]:
        """What the ledger says of that kind, by keys."""
        counts = collections.Counter()
        for call in self.ledger["calls"]:
            if call["kind"] == kind and (outcomes is None or call["outcome"] in outcomes):
                counts[tuple(call[key] for key in keys)] += call["count"]
        return counts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swarm")
    # A number of questions and not of seconds, in which a busy machine may come to few: what befalls them follows from the seed.
    options = ("--questions", "40", "--seed", "11", "--port", "0", "--faults", "heavy", "--concurrency", "10", "--linger", "600")
    process = launch(*options, "--ledger", str(folder / "ledger.json"), "--spans", str(folder / "spans.jsonl"))
    try:
        url = address_of(process)
        wait_until((folder / "ledger.json").exists)
        samples = samples_of(url)
        process.send_signal(signal.SIGINT)
        output, complaints = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    return Run(
        process.returncode,
        output,
        complaints,
        json.loads((folder / "ledger.json").read_text()),
        samples,
        [json.loads(line) for line in (folder / "spans.jsonl").read_text().splitlines()],
    )


def test_the_demo_ends_with_status_0_and_without_complaints(run):
    assert run.status == 0
    assert run.complaints == ""


def test_the_demo_says_what_it_does_and_what_it_did(run):
    assert "questions, " in run.output
    [header] = [line for line in run.output.splitlines() if line.startswith("agent       task")]
    assert header.split()[2:] == ["calls", "success", "error", "timeout", "cancelled", "abandoned", "p50", "p95"]
    tasks = {line.split()[0] for line in run.output.splitlines() if line.endswith(" s")}
    assert tasks >= {"narrator", "planner", "researcher", "writer"}
    assert "tokens in" in run.output


def test_every_outcome_occurs_where_much_goes_wrong(run):
    assert {outcome for (outcome,) in run.counted("task", "outcome")} >= {"success", "error", "timeout", "cancelled", "abandoned"}


STEPS_OF_DSPY = {"Predict", "ChainOfThought", "ReAct"}


def decorated(counts):
    """Leave out what DSPy's own modules are: the ledger knows what the demo decorates."""
    return collections.Counter({labels: count for labels, count in counts.items() if labels[1] not in STEPS_OF_DSPY})


def test_the_metrics_say_of_tasks_what_the_ledger_says(run):
    recorded = run.recorded("agent_task_duration_seconds_count", "gen_ai_agent_name", "agent_task", "outcome")
    assert decorated(recorded) == run.counted("task", "agent", "name", "outcome")
    assert {name for _, name, _ in recorded} >= STEPS_OF_DSPY
    errors = run.recorded("agent_task_errors_total", "gen_ai_agent_name", "agent_task", "error_type")
    assert decorated(errors) == run.counted("task", "agent", "name", "error_type", outcomes={"error", "timeout"})


def test_the_metrics_say_of_tools_and_workflows_what_the_ledger_says(run):
    tools = run.recorded("gen_ai_execute_tool_duration_seconds_count", "gen_ai_agent_name", "gen_ai_tool_name", "error_type")
    assert tools == run.counted("tool", "agent", "name", "error_type")
    workflows = run.recorded("gen_ai_invoke_workflow_duration_seconds_count", "gen_ai_workflow_name", "error_type")
    assert workflows == run.counted("workflow", "name", "error_type")


def test_the_runs_of_the_agents_are_their_outermost_tasks(run):
    runs = run.recorded("gen_ai_invoke_agent_duration_seconds_count", "gen_ai_agent_name", "error_type")
    outermost = run.counted("task", "agent", "error_type", "name")
    assert runs == collections.Counter(
        {(agent, error): count for (agent, error, name), count in outermost.items() if name != "check"}
    )


def test_every_family_of_agents_has_a_series(run):
    names = {sample.name.removesuffix("_count") for sample in run.samples}
    of_others = reliability.FAMILIES + analytics.FAMILIES  # self_healing.py shows the ones, a program with a history the others
    of_agents = [family for family in FAMILIES if family not in of_others]
    families = {family.name for family in of_agents if family.name.startswith(("agent_", "gen_ai_"))}
    assert families - names <= {
        "agent_task_oldest_start_timestamp_seconds",  # which only a task in progress has
        "gen_ai_client_operation_time_to_first_chunk_seconds",  # no model of DSPy streams in it
        "agent_lm_retries_total",  # there are none
        "agent_lm_cache_hits_total",  # nor a cache
        "agent_lm_repeated_prompts_total",  # nor the same prompt twice
        "agent_lm_unpriced_calls_total",
        "agent_output_parse_failures_total",
        "agent_handoffs_total",  # a workflow calls the agents, none calls another
        "agent_delegation_depth",
        "agent_repeated_tool_calls_total",  # decorated tools show no arguments
    }


def test_every_exemplar_leads_to_a_span(run):
    spans = {(span["trace_id"], span["span_id"]) for span in run.spans}
    exemplars = {(s.exemplar.labels["trace_id"], s.exemplar.labels["span_id"]) for s in run.samples if s.exemplar}
    assert exemplars
    assert exemplars <= spans


def test_the_spans_of_one_question_form_one_tree(run):
    by_id = {span["span_id"]: span for span in run.spans}
    roots = {span["name"] for span in run.spans if span["parent_id"] is None}
    assert roots == {"invoke_workflow answer_question"}
    assert all(by_id[span["parent_id"]]["trace_id"] == span["trace_id"] for span in run.spans if span["parent_id"])


def test_a_demo_with_a_stuck_task_shows_it_and_ends_at_ctrl_c():
    process = launch("--port", "0", "--hang", "600")
    try:
        url = address_of(process)
        stuck = {"gen_ai_agent_name": "narrator", "agent_task": "narrate"}
        name = "agent_task_oldest_start_timestamp_seconds"

        def has_waited_long() -> bool:
            oldest = [sample.value for sample in samples_of(url) if sample.name == name and sample.labels == stuck]
            return bool(oldest) and time.time() - oldest[0] > 2

        wait_until(has_waited_long)
        process.send_signal(signal.SIGINT)
        output, complaints = process.communicate(timeout=120)  # the task is stuck for far longer
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, complaints) == (0, "")
    assert "agent       task" in output


async def test_the_call_that_is_stuck_is_the_first_that_comes_to_the_narrator(fresh):
    ledger = Ledger()
    model = OfflineModel(ledger, seed=1, speed=1000)
    swarm = Swarm(ledger, Faults(ledger), model, hang_seconds=0.01)
    planner, swarm._planner = swarm._planner, None  # the question fails on its way
    with dspy.context(lm=offline_lm(model)):
        with pytest.raises(AttributeError):
            await swarm.answer("How far is it?")
        assert swarm.hang_seconds == 0.01
        swarm._planner = planner
        assert await swarm.answer("How far is it?")
    assert swarm.hang_seconds == 0


def test_a_demo_given_seconds_ends_by_itself():
    process = launch("--port", "0", "--seconds", "1", "--concurrency", "2", "--speed", "10", "--faults", "none")
    output, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    assert "0 failed, 0 cancelled" in output


def test_a_demo_given_a_number_of_questions_answers_them_all_and_ends():
    process = launch("--port", "0", "--questions", "6", "--concurrency", "6", "--speed", "10", "--faults", "none")
    output, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    assert "6 answered, 0 failed, 0 cancelled" in output


@pytest.mark.parametrize("options", [("--seconds", "0"), ("--seconds", "nan"), ("--concurrency", "0"), ("--questions", "0")])
def test_an_option_that_cannot_work_is_refused_with_its_name(options, capsys):
    with pytest.raises(SystemExit) as refused:
        research_swarm.main(options)
    assert refused.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_a_setting_that_cannot_work_is_refused_with_its_name():
    process = launch("--port", "70000")
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "port" in complaints
    assert "Traceback" not in complaints
