"""What was spent of a budget stays spent when the program is started anew, also by an act that ended it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from recovery_world import World

from agentgauge.recovery import Backoff, Budget, OutcomeBook

TWO_IN_100_SECONDS = {"budget": Budget(attempts=5, window_attempts=2, window_seconds=100), "backoff": Backoff(first_seconds=0)}

CRASHING = """
import os, sys, time
from agentgauge.recovery import Budget, Call, Failure, Recoveries, Recovery

plan = Recovery(component="db", actions=[Call("act", lambda: os._exit(3))], budget=Budget(attempts=5, window_attempts=2))
result = Recoveries([plan], outcomes=sys.argv[1]).recover(Failure(component="db", started_at=time.time()))
print(result.kind, result.reason)
"""


def test_a_program_that_its_own_recovery_crashes_stops_at_the_budget_however_often_it_starts(tmp_path):
    def start():
        command = [sys.executable, "-c", CRASHING, str(tmp_path / "outcomes.json")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert [start().returncode for _ in range(2)] == [3, 3]
    assert start().stdout.split() == ["escalated", "budget"]


def test_what_was_spent_before_comes_back_with_time(tmp_path):
    world = World("act", **TWO_IN_100_SECONDS)

    def recover():
        with world.recoveries(outcomes=tmp_path / "outcomes.json") as recoveries:
            return world.recover(recoveries, "act").kind

    assert [recover() for _ in range(3)] == ["recovered", "recovered", "escalated"]
    world.clock.advance(97)
    assert recover() == "escalated"
    world.clock.advance(2)
    assert [recover() for _ in range(2)] == ["recovered", "recovered"], "both are older than the window"
    assert recover() == "escalated"


def test_without_a_file_each_start_has_its_whole_budget():
    world = World("act", **TWO_IN_100_SECONDS)
    for _ in range(3):
        with world.recoveries() as recoveries:
            assert world.recover(recoveries, "act").kind == "recovered"


def test_a_dry_run_spends_nothing_of_the_next_start(tmp_path):
    world = World("act", **TWO_IN_100_SECONDS)
    for _ in range(3):
        with world.recoveries(outcomes=tmp_path / "outcomes.json", dry_run=True) as recoveries:
            assert world.recover(recoveries).kind == "dry_run"


def test_recoveries_of_one_component_have_budgets_of_their_own_in_the_file_too(tmp_path):
    refused = World("act", conditions=["refused"], **TWO_IN_100_SECONDS)
    other = World("act", conditions=["timeout", "reset"], **TWO_IN_100_SECONDS)
    other.clock = refused.clock

    def recover(world, condition):
        with world.recoveries(outcomes=tmp_path / "outcomes.json") as recoveries:
            return world.recover(recoveries, "act", condition=condition).kind

    assert [recover(refused, "refused") for _ in range(3)] == ["recovered", "recovered", "escalated"]
    assert recover(other, "timeout") == "recovered"
    other.recovery = World("act", conditions=["reset", "timeout"], **TWO_IN_100_SECONDS).recovery
    book = OutcomeBook(tmp_path / "outcomes.json")
    assert len(book.acts(other.recovery.lasting_name)) == 1, "the order of conditions says nothing"


def test_acts_of_a_time_that_has_not_come_count_as_of_now(tmp_path):
    path = tmp_path / "outcomes.json"
    world = World("act", **TWO_IN_100_SECONDS)
    path.write_text(json.dumps({"version": 1, "outcomes": [], "acts": {world.recovery.lasting_name: [9e12, 9e12]}}))
    with world.recoveries(outcomes=path) as recoveries:
        assert world.recover(recoveries, "act").kind == "escalated"
        world.clock.advance(101)
        assert world.recover(recoveries, "act").kind == "recovered"


def test_a_file_of_before_there_were_acts_in_it_is_a_book(tmp_path):
    path = tmp_path / "outcomes.json"
    path.write_text('{"version": 1, "outcomes": []}')
    assert OutcomeBook(path).acts("db/*/*") == ()
    assert [each.name for each in tmp_path.iterdir()] == ["outcomes.json"]


@pytest.mark.parametrize("acts", [[], {"db": 3}, {"db": ["x"]}, {"db": [float("nan")]}, {"db": [-1]}, {"db": [True]}])
def test_a_file_with_other_things_for_acts_is_set_aside(tmp_path, acts):
    path = tmp_path / "outcomes.json"
    path.write_text(json.dumps({"version": 1, "outcomes": [], "acts": acts}))
    assert OutcomeBook(path).acts("db") == ()
    assert [each.name for each in tmp_path.iterdir()] == ["outcomes.json.corrupt"]


def test_old_acts_are_kept_no_longer_than_they_count(tmp_path):
    book = OutcomeBook(tmp_path / "outcomes.json")
    for at in range(1_000):
        book.note_act("db/*/*", at, at - 10)
    assert book.acts("db/*/*") == tuple(range(990, 1_000))
