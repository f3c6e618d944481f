"""``agentgauge run`` gives a program without a line of ours the series that the decorated demo has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAIN = EXAMPLES / "plain_dspy.py"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTGAUGE_", "OTEL_"))}
RUN = (sys.executable, "-m", "agentgauge", "run", "--port", "0")
SIZE = ("--seed", "3", "--speed", "10")

# What no program has that does not say it: what it promises. And where nothing is decorated, nothing is reported twice.
SAID_BY_THE_PROGRAM = {
    "agent_budget_usd",
    "agent_objective_success_ratio",
    "agent_objective_latency_seconds",
    "agent_objective_latency_missed_total",
    "agentgauge_calls_suppressed_total",
}


def launch(*command, **environment):
    return subprocess.Popen(
        command,
        env={**ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def samples_when(done, url):
    """Scrape until the page says that the work is done."""
    deadline = time.monotonic() + 120
    while True:
        with urllib.request.urlopen(url, timeout=60) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        if done(samples):
            return samples
        assert time.monotonic() < deadline
        time.sleep(0.1)


def total(samples, name, **labels):
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def value_sets(samples, name, label):
    return {sample.labels[label] for sample in samples if sample.name == name}


def label_names(samples):
    """The names of labels that each name of a series bears, but for those of what only the demo's dispatcher tells of itself."""
    names = defaultdict(set)
    for sample in samples:
        if sample.labels.get("gen_ai_agent_name") != "dispatcher" and sample.name not in SAID_BY_THE_PROGRAM:
            names[sample.name] |= sample.labels.keys()
    return dict(names)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The samples of the plain program under ``agentgauge run``, what it said, and the samples of the decorated demo."""
    size = (*SIZE, "--questions", "12", "--linger", "600")
    prices = tmp_path_factory.mktemp("plain") / "prices.json"
    prices.write_text('{"offline": {"input_usd_per_million": 0.15, "output_usd_per_million": 0.6}}')
    command = (*RUN, "--service-name", "plain", PLAIN, *size, "--faults", "heavy")
    plain = launch(*command, AGENTGAUGE_PRICES_FILE=str(prices))
    demo = launch(sys.executable, EXAMPLES / "research_swarm.py", "--port", "0", *size, "--faults", "heavy")
    try:
        [demo_url] = re.findall(r"metrics: (http\S+)", demo.stdout.readline())
        [plain_url] = re.findall(r"metrics: (http\S+)", plain.stderr.readline())
        said = plain.stdout.readline()
        yield (
            samples_when(lambda _: True, plain_url),
            said,
            samples_when(lambda found: total(found, "gen_ai_invoke_workflow_duration_seconds_count") == 12, demo_url),
        )
    finally:
        for process in (plain, demo):
            process.kill()
            process.communicate()


def test_the_plain_program_has_every_series_of_the_decorated_demo(pages):
    plain, _, demo = map(label_names, (pages[0], [], pages[2]))
    assert {name: labels for name, labels in demo.items() if not labels <= plain.get(name, set())} == {}
    assert "agent_task_duration_seconds_bucket" in demo


def test_agents_tools_and_the_workflow_bear_the_names_of_their_classes(pages):
    plain, _, demo = pages
    runs = "gen_ai_invoke_agent_duration_seconds_count"
    assert value_sets(plain, runs, "gen_ai_agent_name") == {"Planner", "Researcher", "Writer", "Narrator"}
    assert {name.lower() for name in value_sets(plain, runs, "gen_ai_agent_name")} == value_sets(
        demo, runs, "gen_ai_agent_name"
    ) - {"dispatcher"}
    tools = "gen_ai_execute_tool_duration_seconds_count"
    assert value_sets(plain, tools, "gen_ai_tool_name") == value_sets(demo, tools, "gen_ai_tool_name")
    workflows = value_sets(plain, "gen_ai_invoke_workflow_duration_seconds_count", "gen_ai_workflow_name")
    assert workflows == {"Swarm"}


def test_the_calls_of_the_model_are_those_that_the_model_counted(pages):
    samples, said, _ = pages
    calls, tokens_in, tokens_out = map(int, re.search(r"(\d+) model calls, (\d+) tokens in, (\d+) out", said).groups())
    assert total(samples, "gen_ai_client_operation_duration_seconds_count") == calls > 12
    assert total(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == tokens_in
    assert total(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == tokens_out
    assert total(samples, "gen_ai_invoke_workflow_duration_seconds_count") == 12
    assert total(samples, "agentgauge_internal_errors_total") == 0


def test_the_plain_program_knows_nothing_of_agentgauge():
    code = PLAIN.read_text().partition("from __future__")[2]  # what comes before says how to run it
    assert code
    assert "agentgauge" not in code
    process = launch(sys.executable, "-W", "error", PLAIN, *SIZE, "--questions", "3", "--faults", "none")
    printed, complaints = process.communicate(timeout=120)
    assert (process.returncode, complaints) == (0, "")
    assert printed.startswith("3 of 3 questions answered, ")
