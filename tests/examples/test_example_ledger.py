from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ledger as ledger_module
from ledger import Ledger, outcome_of


def test_no_bookkeeping_of_the_examples_needs_agentgauge():
    examples = Path(ledger_module.__file__).parent
    code = "import sys, offline_lm, ledger, faults; print('agentgauge' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=examples, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "success"),
        (ValueError(), "error"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "abandoned"),
    ],
)
def test_an_outcome_follows_from_what_left_the_call(error, outcome):
    assert outcome_of(error) == outcome


def test_a_call_is_in_progress_until_its_block_ends():
    ledger = Ledger()
    with ledger.task("a", "t"):
        assert ledger.in_progress["task", "a", "t"] == 1
        assert ledger.count("task") == 0
    assert ledger.in_progress["task", "a", "t"] == 0
    assert ledger.count("task", "a", "t", "success") == 1


def test_an_exception_is_counted_by_its_full_name_and_goes_on():
    ledger = Ledger()
    error = json.JSONDecodeError("x", "y", 0)
    with pytest.raises(json.JSONDecodeError) as caught, ledger.tool("a", "search"):
        raise error
    assert caught.value is error
    assert ledger.as_dict()["calls"] == [
        {
            "kind": "tool",
            "agent": "a",
            "name": "search",
            "outcome": "error",
            "error_type": "json.decoder.JSONDecodeError",
            "count": 1,
        }
    ]


def test_no_call_of_many_threads_is_lost():
    ledger = Ledger()

    def work():
        for _ in range(500):
            with ledger.task("a", "t"):
                ledger.note_lm_call("success", 2, 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.count("task") == 2000
    assert ledger.tokens == {"input": 4000, "output": 2000}


def test_quantiles_are_those_of_the_durations():
    ledger = Ledger()
    ledger.durations["a", "t"].extend(number / 100 for number in range(101))
    assert ledger.quantiles("a", "t") == pytest.approx((0.5, 0.95))
    assert ledger.quantiles("a", "unknown") == (0.0, 0.0)


def test_what_is_written_is_what_was_counted(tmp_path):
    ledger = Ledger()
    with ledger.workflow("answer"):
        ledger.note_question("asked")
        ledger.note_fault("lm_error")
    ledger.write(tmp_path / "ledger.json")
    assert json.loads((tmp_path / "ledger.json").read_text()) == ledger.as_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.json"]
