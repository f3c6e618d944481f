"""What a copy of the file alone has, and when."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from agentgauge.analytics.history import History

TIMES = [1_700_000_000.0 + at for at in range(50)]


def extent(path):
    with History(path, is_read_only=True) as history:
        return history.extent()


def test_a_file_that_its_writer_closed_is_whole_without_its_log_although_another_still_reads_it(tmp_path):
    path = tmp_path / "history.db"
    with History(path, clock=lambda: TIMES[-1]) as history:
        history.write(TIMES[0], [("up", (), 1.0)])
        with History(path, is_read_only=True) as reader:
            assert reader.extent() == (TIMES[0], TIMES[0])
            for at in TIMES[1:]:
                history.write(at, [("up", (), 1.0)])
            history.close()
            shutil.copy(path, tmp_path / "copy.db")
            assert reader.extent() == (TIMES[0], TIMES[-1])
    assert extent(tmp_path / "copy.db") == (TIMES[0], TIMES[-1])


@pytest.mark.parametrize("is_held", [False, True])
def test_a_reader_in_the_middle_of_its_reading_keeps_no_writer_from_closing_and_no_backup_from_being_whole(tmp_path, is_held):
    path = tmp_path / "history.db"
    with History(path, clock=lambda: TIMES[-1]) as history, closing(sqlite3.connect(path)) as reader:
        history.write(TIMES[0], [("up", (), 1.0)])
        if is_held:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sweep").fetchone()
        for at in TIMES[1:]:
            history.write(at, [("up", (), 1.0)])
        history.close()
        with closing(sqlite3.connect(path)) as one, closing(sqlite3.connect(tmp_path / "copy.db")) as other:
            one.backup(other)
        assert extent(path) == extent(tmp_path / "copy.db") == (TIMES[0], TIMES[-1])
