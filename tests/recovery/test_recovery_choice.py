"""The action tried first is the one that recorded outcomes favour, and says why."""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics

import pytest
from recovery_world import Free, World

from agentgauge import ConfigurationError
from agentgauge.recovery import Backoff, Budget, Call, Choice, Failure, OutcomeBook, Recoveries, Recovery, Signature
from agentgauge.recovery.choice import Favoured
from agentgauge.recovery.outcomes import Trial
from agentgauge.testing import FakeClock

REFUSED = Signature("db", "refused", "ConnectionRefusedError")
FAILURE = Failure(component="db", condition="refused", error_type="ConnectionRefusedError", started_at=0)
ACTIONS = [Call(name, lambda: None) for name in ("reconnect", "restart", "clear_cache")]


def fill(book, signature, action, recovered, tried, seconds=1.0):
    for index in range(tried):
        book.add(signature, action, Trial(index < recovered, seconds))


def choose(book, *failed, failure=FAILURE, actions=ACTIONS, wait_seconds=1.0, **settings):
    choice = Favoured(book, **settings).choose(failure, actions, list(failed), wait_seconds)
    return choice.action.name, choice.reason


def test_without_outcomes_the_first_of_the_allow_list_is_tried_and_then_the_next():
    book = OutcomeBook()
    assert choose(book) == (
        "reconnect",
        "nothing is recorded of db/refused/ConnectionRefusedError: reconnect is the first that is allowed",
    )
    assert choose(book, "reconnect")[0] == "restart"
    name, reason = choose(book, "reconnect", "restart")
    assert name == "clear_cache"
    assert reason == (
        "nothing is recorded of db/refused/ConnectionRefusedError: clear_cache is the next that is allowed;"
        " tried against this failure: reconnect, restart"
    )


def test_the_reason_states_the_records_that_favour_the_action():
    book = OutcomeBook()
    fill(book, REFUSED, "restart", 7, 8, 2.1)
    fill(book, REFUSED, "reconnect", 1, 5, 0.5)
    fill(book, REFUSED, "clear_cache", 0, 4, 0.5)
    name, reason = choose(book)
    assert name == "restart"
    assert reason == (
        "restart recovered db/refused/ConnectionRefusedError in 7 of 8, mean 2.1 s; reconnect in 1 of 5, mean 0.5 s;"
        " clear_cache in 0 of 4, mean 0.5 s"
    )


def test_of_two_that_help_alike_the_quicker_one_is_favoured_unless_it_helps_far_less_often():
    quick = OutcomeBook()
    fill(quick, REFUSED, "reconnect", 9, 10, 30.0)
    fill(quick, REFUSED, "restart", 8, 10, 2.0)
    assert choose(quick, actions=ACTIONS[:2])[0] == "restart"
    seldom = OutcomeBook()
    fill(seldom, REFUSED, "reconnect", 9, 10, 3.0)
    fill(seldom, REFUSED, "restart", 1, 10, 2.0)
    assert choose(seldom, actions=ACTIONS[:2])[0] == "reconnect"


def test_an_action_that_just_failed_gives_way_to_another_and_comes_back_when_that_fails_more_often():
    book = OutcomeBook()
    fill(book, REFUSED, "reconnect", 4, 5)
    assert choose(book)[0] == "reconnect"
    assert choose(book, "reconnect", "reconnect")[0] == "restart"
    assert choose(book, "reconnect", "restart", "restart", "clear_cache", "clear_cache")[0] == "reconnect"


def test_where_nothing_is_recorded_of_the_signature_broader_ones_decide_and_the_reason_says_so():
    book = OutcomeBook()
    fill(book, Signature("db", "refused", "OSError"), "clear_cache", 6, 6, 1.5)
    name, reason = choose(book)
    assert name == "clear_cache"
    assert reason == "clear_cache recovered other failures of db in 6 of 6, mean 1.5 s"
    fill(book, Signature("db", "timeout", "TimeoutError"), "restart", 50, 50, 1.5)
    assert choose(book)[0] == "clear_cache", "the same condition says more than others"
    fill(book, REFUSED, "clear_cache", 0, 6, 1.5)
    assert choose(book)[0] == "restart", "and what is recorded of the signature itself says most"
    assert choose(book, failure=Failure(component="web", condition="refused", started_at=0))[0] == "reconnect"


def test_what_is_untried_comes_before_what_has_mostly_failed_and_says_so():
    book = OutcomeBook()
    fill(book, REFUSED, "reconnect", 1, 9)
    name, reason = choose(book)
    assert name == "restart"
    assert "restart is untried against db/refused/ConnectionRefusedError, and promises more; reconnect in 1 of 9" in reason


def test_exploration_tries_also_what_looks_worse_and_is_the_same_for_the_same_seed():
    book = OutcomeBook()
    fill(book, REFUSED, "reconnect", 2, 3)
    fill(book, REFUSED, "restart", 1, 3)

    def drawn(seed):
        return [choose(book, random=random.Random(seed * 1000 + index))[0] for index in range(100)]

    assert drawn(1) == drawn(1)
    counts = {name: drawn(1).count(name) for name in ("reconnect", "restart", "clear_cache")}
    assert counts["reconnect"] > counts["restart"] > 0
    assert {choose(book)[0] for _ in range(20)} == {"reconnect"}


def test_the_only_action_left_needs_no_comparison():
    assert choose(OutcomeBook(), "reconnect", actions=ACTIONS[:1]) == (
        "reconnect",
        "reconnect is the only action that is allowed now; tried against this failure: reconnect",
    )


def test_only_the_latest_fifty_outcomes_count():
    book = OutcomeBook()
    fill(book, REFUSED, "restart", 60, 60)
    fill(book, REFUSED, "restart", 0, 50)
    assert (book.record(REFUSED, "restart").recovered, book.record(REFUSED, "restart").tried) == (0, 50)


def test_only_the_latest_thousand_signatures_are_kept():
    book = OutcomeBook()
    for number in range(1_005):
        book.add(Signature("db", str(number), ""), "restart", Trial(True, 1))
        if number == 900:
            book.add(Signature("db", "0", ""), "restart", Trial(True, 1))
    assert book.record(Signature("db", "0", ""), "restart").tried == 2, "it was seen of late"
    assert book.record(Signature("db", "4", ""), "restart").tried == 0
    assert book.record(Signature("db", "6", ""), "restart").tried == 1


def test_outcomes_survive_the_program_whole(tmp_path):
    path = tmp_path / "outcomes.json"
    book = OutcomeBook(path)
    fill(book, REFUSED, "restart", 7, 8, 2.5)
    book.save()
    again = OutcomeBook(path)
    assert again.record(REFUSED, "restart") == book.record(REFUSED, "restart")
    assert again.record(REFUSED, "restart").mean_seconds == 2.5
    assert [each.name for each in tmp_path.iterdir()] == ["outcomes.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"version": 2, "outcomes": []}',
        '{"version": 1}',
        '{"version": 1, "outcomes": [{"signature": ["db", "refused"], "actions": {}}]}',
        '{"version": 1, "outcomes": [{"signature": ["db", "refused", 3], "actions": {}}]}',
        '{"version": 1, "outcomes": [{"signature": ["db", "a", "b"], "actions": {"restart": [[1, 2]]}}]}',
        '{"version": 1, "outcomes": [{"signature": ["db", "a", "b"], "actions": {"restart": [[true, NaN]]}}]}',
        '{"version": 1, "outcomes": [{"signature": ["db", "a", "b"], "actions": {"restart": [[true, -1]]}}]}',
        '{"version": 1, "outcomes": [{"signature": ["db", "a", "b"], "actions": {"restart": [[true]]}}]}',
        "[" * 100_000,
        "\x00" * 100,
    ],
)
def test_a_file_that_is_no_book_is_set_aside_and_a_new_one_begins(tmp_path, content, caplog):
    path = tmp_path / "outcomes.json"
    path.write_text(content)
    book = OutcomeBook(path)
    assert (tmp_path / "outcomes.json.corrupt").read_text() == content
    assert "outcomes.json.corrupt" in caplog.text
    book.add(REFUSED, "restart", Trial(True, 1.0))
    book.save()
    assert OutcomeBook(path).record(REFUSED, "restart").tried == 1


def test_a_book_that_cannot_be_read_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read it"):
        OutcomeBook(tmp_path)


def test_what_a_crash_in_the_middle_of_a_save_left_is_swept_once_it_is_old(tmp_path):
    old, young = tmp_path / ".outcomes.json.abc", tmp_path / ".outcomes.json.def"
    old.touch()
    young.touch()
    os.utime(old, (1, 1))
    OutcomeBook(tmp_path / "outcomes.json")
    assert [each.name for each in tmp_path.iterdir()] == [young.name]


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "outcomes.json"
    book = OutcomeBook(path)
    book.save()
    before = path.read_text()
    book.add(REFUSED, "restart", Trial(True, 1.0))
    monkeypatch.setattr(json, "dump", _full)
    with pytest.raises(OSError, match="full"):
        book.save()
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["outcomes.json"]


def _full(*_, **__):
    raise OSError("the disk is full")


def test_what_one_program_learned_the_next_one_uses(tmp_path):
    world = World("reconnect", "restart")
    with world.recoveries(outcomes=tmp_path / "outcomes.json") as recoveries:
        assert [each.action for each in world.recover(recoveries, "restart").attempts] == ["reconnect", "restart"]
    with world.recoveries(outcomes=tmp_path / "outcomes.json") as recoveries:
        (attempt,) = world.recover(recoveries, "restart").attempts
    assert attempt.action == "restart"
    assert attempt.reason == (
        "restart recovered db/refused/ConnectionRefusedError in 1 of 1, mean 1.0 s; reconnect in 0 of 1, mean 1.0 s"
    )


# --- the proof --------------------------------------------------------------------------------------------------------------

NAMES = ("reconnect", "restart", "clear_cache", "shed_load")
KINDS = 4
FAULTS = 50


class FixedOrder:
    """Tries the same actions in the same order, again and again."""

    def __init__(self, order):
        self._order = order

    def choose(self, failure, actions, failed, wait_seconds):
        by_name = {action.name: action for action in actions}
        return Choice(by_name[self._order[len(failed) % len(self._order)]], "it is its turn")


def faults_of(seed):
    """Draw 50 faults of four kinds: each has another best action, and what an action does and how long it takes is noisy."""
    draw = random.Random(seed)
    best = draw.sample(NAMES, KINDS)
    helps = [{name: 0.9 if name == best[kind] else draw.uniform(0.02, 0.3) for name in NAMES} for kind in range(KINDS)]
    seconds = {name: draw.uniform(1, 10) for name in NAMES}
    for _ in range(FAULTS):
        kind = draw.randrange(KINDS)
        tries = {
            name: [(draw.random() < helps[kind][name], seconds[name] * draw.uniform(0.5, 1.5)) for _ in range(40)]
            for name in NAMES
        }
        yield kind, tries


def total_seconds(seed, chooser=None, **settings):
    """Recover from all faults of a seed, and return how long the component failed, in virtual seconds."""
    clock = FakeClock()
    now = {}

    def act(name):
        def run():
            now["is_well"], seconds = now["tries"][name].pop(0)
            clock.advance(seconds)

        return run

    recovery = Recovery(
        component="db",
        actions=[Call(name, act(name)) for name in NAMES],
        check=lambda: now["is_well"],
        verify_seconds=0,
        settle_seconds=0,
        budget=Budget(attempts=40, window_attempts=10_000),
        backoff=Backoff(first_seconds=0),
    )
    total = 0.0
    with Recoveries(
        [recovery],
        chooser=chooser,
        clock=clock,
        wall_clock=clock,
        sleep=clock.advance,
        breaker=Free,
        random=random.Random(seed),
        **settings,
    ) as recoveries:
        for kind, tries in faults_of(seed):
            now.update(is_well=False, tries=tries)
            failure = Failure(component="db", condition=f"kind {kind}", error_type=f"Error{kind}", started_at=clock())
            result = recoveries.recover(failure)
            assert result.kind == "recovered"
            total += result.seconds
            clock.advance(100)
    return total


def seconds_of_order(seed, order):
    """Add up what a fixed order takes for the same faults; there are no waits, so that it is a sum."""
    total = 0.0
    for _, tries in faults_of(seed):
        for turn in itertools.count():
            is_well, seconds = tries[order[turn % len(order)]].pop(0)
            total += seconds
            if is_well:
                break
    return total


@pytest.mark.parametrize("seed", range(10))
def test_over_fifty_faults_it_recovers_sooner_than_any_fixed_order_of_the_same_actions(seed):
    orders = {order: seconds_of_order(seed, order) for order in itertools.permutations(NAMES)}
    best = min(orders, key=orders.get)
    assert total_seconds(seed, FixedOrder(best)) == pytest.approx(orders[best]), "the sum is what really happens"
    assert total_seconds(seed) < 0.9 * orders[best]


def test_with_exploration_it_still_recovers_sooner_than_a_typical_fixed_order():
    for seed in range(5):
        typical = statistics.median(seconds_of_order(seed, order) for order in itertools.permutations(NAMES))
        assert total_seconds(seed, explores=True) < 0.85 * typical
