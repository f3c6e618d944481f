"""A reader knows at each moment which series there are, and reads only those that are new to it."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History, file
from agentgauge.analytics.history.columns import DamageError
from agentgauge.analytics.history.gathering import labels_of, series_id, spelled
from agentgauge.analytics.history.roster import Roster
from agentgauge.analytics.history.schema import create_or_migrate

START = 1_700_000_000.0
NAMES = ("depth", "größe")
LABELS = ({}, {"queue": "a"}, {"queue": "b"}, {"queue": "a", "run": "a"}, {"other": '"queue":"a"'})
ASKED = [(name, frozenset(labels.items())) for name in NAMES for labels in LABELS]
KINDS = st.sampled_from(["come", "come", "go"])
CHANGES = st.lists(st.tuples(KINDS, st.sampled_from(NAMES), st.sampled_from(LABELS)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CHANGES, st.sets(st.sampled_from(ASKED))), max_size=8))
def test_what_comes_and_goes_between_two_questions_is_known_as_to_one_who_asks_for_the_first_time(rounds):
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_or_migrate(connection, "")
        roster = Roster()
        for changes, asked in rounds:
            for change, name, labels in changes:
                key = (spelled(name), labels_of(labels))
                if change == "come":
                    series_id(connection, *key, 1.0)
                else:
                    connection.execute("DELETE FROM series WHERE metric = ? AND labels = ?", key)
            roster.catch_up(connection)
            for question in asked:
                assert roster.series_of(connection, *question) == Roster().series_of(connection, *question)


def test_a_sweep_of_the_same_series_makes_no_reader_read_their_names_again(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_SYNCHRONOUS", "OFF")
    samples = [("depth", (("queue", str(number)),), 1.0) for number in range(30)]
    grid = Grid(START, 15.0, 4)
    with History(tmp_path / "h") as history:
        history.write(START, samples[:29])
        assert len(history.frames("depth", grid, {"queue": "28"})) == 1
        statements = []
        history._reader.set_trace_callback(statements.append)
        history.write(START + 15, samples)
        assert list(history.frames("depth", grid, {"queue": "28"})[0].values) == pytest.approx([1.0] * 4)
        assert history.frames("depth", grid, {"queue": "29"})
        told = [statement for statement in statements if "metric" in statement and "series" in statement]
        assert told[0] == "SELECT id, metric, labels FROM series WHERE id > 29 ORDER BY id"
        assert len(told) == 2  # the other is of what was not asked before


def damaged(*_arguments):
    raise DamageError("a part of a sweep cannot be read")


def test_another_file_in_the_place_of_a_damaged_one_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_SYNCHRONOUS", "OFF")
    path, grid = tmp_path / "h", Grid(START, 15.0, 4)
    with History(path) as history:
        history.write(START, [("depth", (("queue", "a"),), 1.0)])
        assert [frame.labels for frame in history.frames("depth", grid)] == [{"queue": "a"}]
        monkeypatch.setattr(history._writer._gathering, "write", damaged)
        history.write(START, [("depth", (("queue", "b"),), 2.0), ("depth", (("queue", "c"),), 2.0)])
        assert [frame.labels for frame in history.frames("depth", grid)] == [{"queue": "b"}, {"queue": "c"}]
