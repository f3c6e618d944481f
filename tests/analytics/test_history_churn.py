"""Series that come and go: what has gone takes no room, what comes back is known, and what is forgotten harms nothing."""

from __future__ import annotations

import math
import sqlite3

import pytest

from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.history import History, Retention, file
from agentgauge.analytics.history import gathering as gathering_module
from agentgauge.analytics.history.gathering import SERIES_IN_PART
from agentgauge.analytics.history.pruning import Pruning
from known_series import series_count

START = 1_700_000_000.0
FOREVER = Retention(raw_seconds=1e9, minute_seconds=1e9, quarter_seconds=1e9, hour_seconds=1e9, points_seconds=1e9)


@pytest.fixture(autouse=True)
def no_power_is_lost(monkeypatch):
    """Wait for no disk: what is told here is not about it."""
    monkeypatch.setattr(file, "_SYNCHRONOUS", "OFF")


def run(number):
    return (("run", str(number)),)


def values_of(history, labels, count=400):
    frames = history.frames("depth", Grid(START, 15.0, count), labels, Fold.MAX)
    return [value for frame in frames for value in frame.values if not math.isnan(value)]


def test_a_block_is_closed_early_where_most_places_are_of_series_that_have_gone(tmp_path):
    path = tmp_path / "h"
    with History(path, retention=FOREVER) as history:
        for index in range(60):
            new = [("depth", run(index * 100 + one), float(index)) for one in range(100)]
            history.write(START + 15 * index, [*new, ("steady", (), 1.0)])
        places = history._writer._gathering.series
        assert places <= 4 * 101 + SERIES_IN_PART + 100  # where sixty sweeps would have had six thousand
        for index in (0, 7, 30, 59):
            assert values_of(history, dict(run(index * 100 + 99))) == [float(index)]
        assert len([v for v in history.frames("steady", Grid(START, 15.0, 60))[0].values if not math.isnan(v)]) == 60
    with History(path, retention=FOREVER) as history:  # which finds the open block as it was left
        history.write(START + 15 * 60, [("depth", run(0), 7.0)])
        history.maintain()
        assert values_of(history, dict(run(0))) == [0.0, 7.0]


def test_a_sweep_that_lacks_most_series_for_once_closes_no_block(tmp_path):
    everything = [("depth", run(one), 1.0) for one in range(2_000)]
    with History(tmp_path / "h") as history:
        for index in range(20):
            history.write(START + 15 * index, everything[: 2_000 if index % 2 else 3])
        assert history._writer._gathering.block == 1


def test_a_series_that_comes_back_after_long_is_not_forgotten_for_what_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering_module, "SWEEPS_IN_BLOCK", 4)
    day = Retention(*[86_400.0] * 5)
    path = tmp_path / "h"
    with History(path, retention=day, clock=lambda: 9e9) as history:
        history.write(START, [("back", (), 1.0)])
        for index in range(1, 1_000):
            history.write(START + index * 900, [("depth", (), 1.0)])
        assert series_count(history) == 1  # it was forgotten once all that was known of it was
        history.write(START + 1_000 * 900, [("depth", (), 1.0)])
        for index in (1_300, 1_900):
            history.write(START + index * 900, [("depth", (), 1.0), ("back", (), 2.0)])
        with sqlite3.connect(path) as connection:  # whoever comes back is known from then on as seen
            seen = connection.execute("SELECT seen FROM series WHERE metric = 'back'").fetchone()
        connection.close()
        assert seen == (START + 1_300 * 900,)
        for index in range(1_901, 1_906):
            history.write(START + index * 900, [("depth", (), 1.0)])
        history.write(START + 1_906 * 900, [("back", (), 3.0)])
        with sqlite3.connect(path) as connection:
            seen = connection.execute("SELECT seen FROM series WHERE metric = 'back'").fetchone()
        connection.close()
        assert seen == (START + 1_906 * 900,)


def test_sweeps_that_go_while_their_block_is_folded_leave_nothing_that_does_not_fit(tmp_path):
    path = tmp_path / "h"
    with History(path, retention=FOREVER) as history:
        brief = [("depth", run(one), 1.5) for one in range(SERIES_IN_PART)]
        for index in range(120):
            history.write(START + 15 * index, [*(brief if index < 10 else []), ("steady", (), float(index))])
        writer = history._writer
        writer._step()  # the first part is folded
        with writer._transaction() as connection:
            writer._gathering = writer._folding = None
            assert Pruning(connection, FOREVER, 1).sweeps_by_size()  # and twenty sweeps go
        for index in range(120, 150):
            history.write(START + 15 * index, [("steady", (), float(index))])
        history.maintain()
        assert values_of(history, dict(run(3))) == []
        values = history.frames("steady", Grid(START, 15.0, 150), fold=Fold.MAX)[0].values
        assert [value for value in values if not math.isnan(value)] == [float(index) for index in range(20, 150)]
    assert not [other.name for other in tmp_path.iterdir() if "corrupt" in other.name]
