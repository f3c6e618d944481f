"""The examples of the processing template end by themselves, say nothing on stderr, and print what they are about."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTGAUGE_", "OTEL_"))}


def printed_by(name):
    process = subprocess.run(
        (sys.executable, "-W", "error", EXAMPLES / name),
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def test_the_text_example_processes_streams_refuses_and_sheds():
    printed = printed_by("processing_text.py")
    assert "100%, about 0.00 s left" in printed
    assert "completed: ['harbour', 'quiet', 'lamp']" in printed
    assert "['lamp', 'burned', 'tower']" in printed
    assert "validation: the input is not valid: ValueError: there is no text (again: no)" in printed
    assert re.search(r"timeout: .* \(again: yes\)", printed)
    assert "'refused': 8" in printed
    assert "the series say: 8 shed" in printed
    assert "refused" not in re.search(r"of the important ones: (.*)", printed)[1]


def test_the_dspy_example_answers_every_question_and_tries_again_what_failed():
    printed = printed_by("processing_dspy.py")
    assert len(re.findall(r"^How old .* attempts: \w", printed, re.MULTILINE)) == 6
    assert len(re.findall(r"2 attempts", printed)) == 3
    assert "the series say: 6 answered, 3 attempts after the first" in printed


def test_the_pipeline_example_has_one_deadline_for_all_and_leaves_a_closed_archive_alone():
    printed = printed_by("processing_pipeline.py")
    assert "bridges: It is told on bridges, page 1." in printed
    assert re.search(r"^canals: (timeout|deadline): ", printed, re.MULTILINE)
    assert printed.count("sealed: dependency: ConnectionError") == 2
    assert "sealed: circuit_open: the circuit breaker refuses" in printed
    assert "publish -> research" in printed
