from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dspy
import pytest
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import TracerProvider

import agentgauge
from dspy_overhead import PREDICT, SUITES
from dspy_program import INPUT_TOKENS, OUTPUT_TOKENS, instant_lm, predictor
from dspy_records import LOOKED_FOR, records
from dspy_ways import Callback, Ours, Tally, Way, taking_turns
from measure import measure

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "dspy_overhead.py"


@pytest.fixture(autouse=True)
def _settings_are_given_back(fresh, monkeypatch):
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", None)
    before = {name: dspy.settings.get(name) for name in ("lm", "callbacks")}
    yield
    agentgauge.stop()
    dspy.configure(**before)


class Books(Way):
    """A way that holds what the test writes into it."""

    def __init__(self, **held: float) -> None:
        super().__init__()
        self.held = held
        self.states: list[str] = []

    def enter(self) -> None:
        self.states.append("entered")

    def leave(self) -> None:
        self.states.append("left")

    def collected(self):
        return dict(self.held)


def call(books: Books, **left: float):
    def run(calls: int) -> None:
        for name, each in left.items():
            books.held[name] += each * calls

    return run


def test_calls_are_told_from_what_one_call_leaves():
    books = Books(spans=0, tokens=0.0)
    run = call(books, spans=4, tokens=1801.0)
    tally = Tally("books", books, run)
    assert tally.one == {"spans": 4, "tokens": 1801.0}
    run(25)
    assert tally.settle() == 25
    assert tally.settle() == 0


def test_a_call_of_which_a_part_is_missing_is_an_error_that_names_it():
    books = Books(calls=0, tokens=0)
    tally = Tally("books", books, call(books, calls=1, tokens=10))
    call(books, calls=3, tokens=10)(1)
    with pytest.raises(RuntimeError, match="books: 3 calls leave 10 tokens, one leaves 10"):
        tally.settle()


def test_something_that_the_first_call_did_not_leave_is_an_error():
    books = Books(calls=0)
    tally = Tally("books", books, call(books, calls=1))
    books.held |= {"calls": books.held["calls"] + 1, "errors": 1}
    with pytest.raises(RuntimeError, match="1 calls leave 1 errors, one leaves 0"):
        tally.settle()


def test_a_way_that_records_nothing_is_an_error():
    with pytest.raises(RuntimeError, match="deaf: a call was made, and nothing of it was recorded"):
        taking_turns({"deaf": Books(spans=0)}, lambda _: None)


def test_each_way_is_left_before_the_next_is_entered_and_what_was_recorded_meanwhile_is_passed_over():
    first, second = Books(calls=0), Books(calls=0)

    def run(calls: int) -> None:
        for books in (first, second):
            if books.states[-1:] == ["entered"]:
                books.held["calls"] += calls

    subjects, left = taking_turns({"first": first, "second": second}, run)
    first.held["calls"] += 7  # the books are shared with somebody
    measure(subjects, calls=5, rounds=2)
    subjects[0].prepare()
    assert [subject.name for subject in subjects] == ["bare", "first", "second"]
    assert left == {"first": {"calls": 1}, "second": {"calls": 1}}
    assert first.states == second.states == ["entered", "left"] * 4


def test_a_predict_under_agentgauge_leaves_its_task_its_lm_call_and_its_tokens():
    subjects, left = taking_turns({"ours": Ours()}, predictor())
    assert {name: left["ours"][name] for name in ("task", "lm", "tokens used")} == {
        "task": 1, "lm": 1, "tokens used": INPUT_TOKENS + OUTPUT_TOKENS
    }  # fmt: skip
    assert left["ours"]["agent_cost_usd_total"] > 0
    assert measure(subjects, calls=3, rounds=2).keys() == {"bare", "ours"}


def test_nothing_of_agentgauge_stays_in_dspy_while_dspy_alone_or_a_callback_is_timed():
    bare = dspy.Module.__dict__["__call__"]
    subjects, _ = taking_turns({"ours": Ours(), "callback": Callback()}, predictor())
    states = {}
    for subject in subjects:
        subject.prepare()
        states[subject.name] = dspy.Module.__dict__["__call__"] is bare, len(dspy.settings.callbacks)
    subjects[0].prepare()
    assert states == {"bare": (True, 0), "ours": (False, 0), "callback": (True, 1)}
    assert dspy.settings.callbacks == []


def test_the_model_answers_and_each_thing_looked_for_shows_in_our_metrics():
    dspy.configure(lm=instant_lm())
    assert dspy.Predict("question -> answer")(question="?").answer == "42"
    assert records("") == {"ours: metrics": dict.fromkeys(LOOKED_FOR, "metrics")}


def test_nothing_is_found_where_nothing_observes(monkeypatch):
    monkeypatch.setattr("dspy_records.ways_of", lambda *_: {"nothing": Way()})
    assert records("") == {"nothing": dict.fromkeys(LOOKED_FOR, "")}


def test_the_row_of_the_table_is_measured_in_a_process_of_its_own():
    done = subprocess.run([sys.executable, str(SCRIPT), "5", "2"], capture_output=True, text=True, check=False, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["nanoseconds"].keys() == {"bare", "callback", "ours: metrics"}
    assert min(found["nanoseconds"].values()) > 0
    assert found["left"]["ours: metrics"]["task"] == 1
    assert [suite.names for suite in SUITES] == [(PREDICT,)]


def test_the_provider_of_spans_is_ours_only_while_spans_are_timed():
    from dspy_ways import Outlet

    provider = TracerProvider(shutdown_on_exit=False)
    way = Ours(Outlet(provider, lambda: 0))
    way.enter()
    assert trace_api._TRACER_PROVIDER is provider
    way.leave()
    assert trace_api._TRACER_PROVIDER is None
