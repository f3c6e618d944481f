"""A clock that leaps ahead: nothing is written under a time that is taken back, and nothing is lost under one that stays."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from agentgauge.analytics.history import History
from agentgauge.analytics.sampler import Sampler
from agentgauge.catalogue.analytics import HISTORY_MEMORY_ONLY
from agentgauge.errors import HistoryError
from agentgauge.testing import FakeClock
from made_store import MadeStore

FULL = HistoryError("there is no space left on the disk")
YEAR = 365 * 86_400.0


@pytest.fixture
def leaping(fresh, tmp_path):
    """Give a sampler that has written one sweep, its store, its clock, and by how much the latter is ahead."""
    store, clock, leap = MadeStore(), FakeClock(1_500.0), [0.0]
    (tmp_path / "history.db").touch()
    sampler = Sampler(
        str(tmp_path / "history.db"),
        lambda: store,
        CollectorRegistry(),
        store=store,
        clock=lambda: clock.now + leap[0],
        monotonic=clock,
    )
    sweep(sampler, clock)
    assert store.times == [1_515.0]
    return sampler, store, clock, leap


def sweep(sampler, clock, times=1, seconds=15.0):
    for _ in range(times):
        clock.advance(seconds)
        sampler.sweep()


def swept(fresh, outcome):
    return fresh.value("agentgauge_history_sweeps_total", outcome=outcome) or 0


def test_a_clock_that_leaps_ahead_and_is_set_right_costs_the_sweeps_between_and_none_after_it(leaping, fresh, caplog):
    sampler, store, clock, leap = leaping
    leap[0] = YEAR
    sweep(sampler, clock, 3)
    assert "leapt ahead by more than a day" in caplog.text
    assert store.times == [1_515.0]
    leap[0] = 0.0
    sweep(sampler, clock, 2)
    assert store.times == [1_515.0, 1_575.0, 1_590.0]
    assert (swept(fresh, "kept"), swept(fresh, "dropped"), swept(fresh, "written")) == (3, 3, 3)


def test_a_clock_that_stays_where_it_leapt_to_is_believed_after_ten_minutes_and_nothing_is_lost(leaping, fresh):
    sampler, store, clock, leap = leaping
    leap[0] = YEAR
    sweep(sampler, clock, 40)
    assert store.times == [1_515.0]
    sweep(sampler, clock)
    sweep(sampler, clock)
    assert store.times == [1_515.0, *(YEAR + 1_530 + 15 * number for number in range(42))]
    assert swept(fresh, "dropped") == 0


def test_what_waited_for_the_disk_before_the_clock_leapt_is_not_lost_with_the_leap(leaping, fresh):
    sampler, store, clock, leap = leaping
    store.wrong = FULL
    sweep(sampler, clock, 2)
    leap[0] = YEAR
    sweep(sampler, clock, 2)
    leap[0], store.wrong = 0.0, None
    sweep(sampler, clock)
    assert store.times == [1_515.0, 1_530.0, 1_545.0, 1_590.0]
    assert swept(fresh, "dropped") == 2


AHEAD = "with sweeps of a time to come, more than a day ahead of the clock of this machine"


def test_a_clock_that_was_ahead_when_the_program_began_costs_what_was_written_under_it_and_nothing_after(leaping, fresh, caplog):
    sampler, store, clock, leap = leaping
    leap[0] = -YEAR  # it was a year ahead before
    sweep(sampler, clock, 40)
    assert "more than a day ahead of the clock of this machine: what comes waits ten minutes" in caplog.text
    assert (store.times, fresh.value("agentgauge_history_memory_only")) == ([1_515.0], None)
    assert sampler._facts == sampler._facts | {HISTORY_MEMORY_ONLY: 1.0}
    sweep(sampler, clock, 2)
    assert store.set_aside == [(AHEAD, [1_515.0])]
    assert store.times == [-YEAR + 1_530 + 15 * number for number in range(42)]
    assert (swept(fresh, "kept"), swept(fresh, "dropped"), swept(fresh, "written")) == (40, 0, 43)
    assert sampler._facts == sampler._facts | {HISTORY_MEMORY_ONLY: 0.0}


def test_a_clock_that_is_behind_and_is_set_right_within_ten_minutes_costs_the_sweeps_between_alone(leaping, fresh):
    sampler, store, clock, leap = leaping
    leap[0] = -YEAR
    sweep(sampler, clock, 20)
    leap[0] = 0.0
    sweep(sampler, clock, 2)
    leap[0] = -YEAR
    sweep(sampler, clock, 40)  # the ten minutes begin anew
    assert store.set_aside == []
    assert store.times == [1_515.0, 1_830.0, 1_845.0]
    assert (swept(fresh, "kept"), swept(fresh, "dropped"), swept(fresh, "written")) == (60, 20, 3)


def test_a_history_from_a_time_to_come_is_kept_under_another_name_and_what_comes_is_written(fresh, tmp_path, caplog):
    path, clock = tmp_path / "history.db", FakeClock(1_700_000_010.0)
    with History(path) as history:
        history.write(4e9, [("depth", (), 1.0)])

    def reopen():
        return History(path, clock=clock)

    sampler = Sampler(str(path), reopen, CollectorRegistry(), clock=clock, monotonic=clock)  # another had it when it began
    sweep(sampler, clock, 42)
    [aside] = tmp_path.glob("history.db.ahead-*[0-9]Z")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        f"agentgauge found the history {path} {AHEAD}: it is kept as {aside}, and a new one is begun"
    ]
    sampler._close()
    with History(aside, is_read_only=True) as past, History(path, is_read_only=True) as present:
        assert past.last_sweep() == 4e9
        assert present.extent() == (1_700_000_025.0, 1_700_000_640.0)
    assert (swept(fresh, "kept"), swept(fresh, "dropped"), swept(fresh, "written")) == (40, 0, 42)


@pytest.mark.parametrize("seconds", [86_000.0, 86_399.0])
def test_a_leap_of_less_than_a_day_is_none(leaping, seconds):
    sampler, store, clock, leap = leaping
    leap[0] = seconds
    sweep(sampler, clock)
    assert len(store.times) == 2


def test_a_machine_that_was_suspended_for_days_while_its_clocks_went_on_is_not_doubted(leaping):
    sampler, store, clock, _ = leaping
    sweep(sampler, clock, seconds=7 * 86_400.0)
    assert len(store.times) == 2
