"""The demo with ``--history``: a file that can be analysed, and what to type next."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.sources import open_source

SCRIPT = Path(__file__).parents[2] / "examples" / "research_swarm.py"
DOCS = Path(__file__).parents[2] / "docs" / "monitoring" / "history.md"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "the history.db"
    options = ("--port", "0", "--questions", "8", "--speed", "20", "--seed", "1", "--linger", "2.2", "--history", str(path))
    run = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, timeout=240, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return path, run.stdout


def test_the_demo_writes_a_history_of_all_it_showed(demo):
    path, _ = demo
    history = open_source(path)
    first, last = history.extent()
    assert last - first >= 2
    frames = history.frames("agent_task_duration_seconds_count", Grid.over(first - 1, last + 1, 1.0))
    tasks = {(frame.labels["gen_ai_agent_name"], frame.labels["agent_task"]) for frame in frames if frame.values[-2] > 0}
    assert ("dispatcher", "take_in") in tasks
    assert {frame.labels["job"] for frame in frames} == {"research-swarm"}
    assert sum(frame.values[-2] for frame in frames if frame.labels["agent_task"] == "take_in") == 8
    history.close()


def test_the_history_has_every_call_of_the_model_but_those_that_no_framework_makes(demo):
    path, output = demo
    said, own = re.search(r"language model: (\d+) calls, .*; (\d+) of the calls are the narrator's", output).groups()
    history = open_source(path)
    frames = history.frames("gen_ai_client_operation_duration_seconds_count", Grid.over(*history.extent(), 1.0))
    assert sum(frame.values[-1] for frame in frames) == int(said) - int(own)
    assert 0 < int(own) <= 8
    history.close()


def test_the_summary_says_which_commands_to_run_next(demo):
    path, output = demo
    commands = [line.split(maxsplit=2) for line in output.splitlines() if line.startswith("  agentgauge ")]
    assert [words[1] for words in commands] == ["report", "trends", "anomalies", "slo", "recommend"]
    assert all(words[2] == f"--source '{path}'" for words in commands)
