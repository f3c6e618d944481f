"""How many series a history knows, the forgotten ones not included."""

from __future__ import annotations

import sqlite3
from contextlib import closing


def series_count(history):
    with closing(sqlite3.connect(history.path)) as connection:
        return connection.execute("SELECT count(*) FROM series").fetchone()[0]
