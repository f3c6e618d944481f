"""How numbers lie on disk: every column comes back to the last bit, and what is kept once is read from where it is."""

from __future__ import annotations

import contextlib
import math
import random
import sqlite3
import zlib
from array import array

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.history import History, file
from agentgauge.analytics.history.columns import DamageError, pack, unpack

START = 1_700_000_100.0


@pytest.fixture(autouse=True, scope="module")
def no_power_is_lost():
    """Wait for no disk: what is told here is not about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "_SYNCHRONOUS", "OFF")
        yield


numbers = st.one_of(
    st.floats(),
    st.integers(-(2**54), 2**54).map(float),
    st.integers(-(2**50), 2**50).map(lambda value: value / 1000),
    st.integers(0, 300).map(float),
    st.sampled_from([-0.0, 0.0, 255.0, 256.0, math.inf, math.nan]),
)
columns = st.one_of(
    st.lists(numbers, min_size=1, max_size=40),
    st.lists(st.integers(-(2**53), 2**53).map(float), min_size=1, max_size=40),
    st.lists(st.integers(-(10**9), 10**9).map(lambda value: value / 1e6), min_size=1, max_size=40),
    st.tuples(numbers, st.integers(1, 40)).map(lambda pair: [pair[0]] * pair[1]),
)


@settings(max_examples=150, deadline=None)
@given(columns)
@example([1.0, -(2.0**53)])  # the step between them is no float
def test_every_column_comes_back_to_the_last_bit(values):
    column = array("d", values)
    assert unpack(pack(column), len(column)).tobytes() == column.tobytes()


@settings(max_examples=100, deadline=None)
@given(columns, st.integers(0, 400), st.integers(0, 255))
def test_a_column_that_was_damaged_is_some_numbers_or_said_to_be_none(values, at, byte):
    packed = bytearray(pack(array("d", values)))
    packed[at % len(packed)] = byte
    with contextlib.suppress(DamageError):
        assert len(unpack(bytes(packed), len(values))) == len(values)


def test_a_column_as_version_2_first_had_it_is_still_read():
    column = array("d", [1.5, math.pi, -2.0])
    stored = column.tobytes()
    planes = b"".join(stored[byte::8] for byte in range(8))
    assert unpack(b"p" + planes, 3) == column
    assert unpack(b"z" + zlib.compress(planes, 1), 3) == column
    assert list(unpack(b"c" + stored[:8], 3)) == [1.5] * 3


def test_what_counts_takes_less_than_a_byte_a_sample_and_what_is_steady_two_bytes():
    chance = random.Random(5)
    counter = array("d", [0.0])
    for _ in range(119):
        counter.append(counter[-1] + chance.randrange(4, 7))
    assert len(pack(counter)) < len(counter)
    assert len(pack(array("d", [value / 1000 for value in counter]))) < len(counter)
    assert len(pack(array("d", [3.0]) * 120)) == 2


def test_buckets_that_are_as_the_last_values_are_kept_once_and_every_fold_reads_them(tmp_path):
    path = tmp_path / "h"
    grid = Grid(math.ceil(START / 60) * 60 + 60.0, 60.0, 100)
    with History(path) as history:
        for index in range(600):
            history.write(START + 15 * index, [("calls_total", (), float(index)), ("steady", (), 7.0)])
        history.maintain()
        first = (grid.start - START) // 15
        expected = {Fold.LAST: first, Fold.MAX: first, Fold.MIN: first - 3, Fold.MEAN: first - 1.5, Fold.COUNT: 4.0}
        for fold, value in expected.items():
            assert history.frames("calls_total", grid, fold=fold)[0].values[0] == value
            assert set(history.frames("steady", grid, fold=fold)[0].values) == ({4.0} if fold is Fold.COUNT else {7.0})
    connection = sqlite3.connect(path)
    kept = "SELECT count(*) FROM chunk JOIN block ON block.id = chunk.id >> 32 WHERE width = 60 AND"
    (greatest,) = connection.execute(f"{kept} greatest IS NOT NULL").fetchone()
    (least,) = connection.execute(f"{kept} least IS NOT NULL").fetchone()
    connection.close()
    assert greatest == 0  # a counter ends each bucket where it is greatest, and what is steady everywhere
    assert least > 0


@pytest.mark.parametrize("is_read_only", [False, True])
def test_the_same_question_is_answered_anew_after_each_write(tmp_path, is_read_only):
    grid = Grid(START, 15.0, 300)
    with History(tmp_path / "h") as history:
        history.write(START, [("depth", (), 0.0)])
        reader = History(tmp_path / "h", is_read_only=True) if is_read_only else history
        for index in range(1, 300):
            history.write(START + 15 * index, [("depth", (), float(index))])
            if index % 7 == 0 or 118 <= index <= 125:
                for _ in range(2):
                    values = reader.frames("depth", grid, fold=Fold.MAX)[0].values
                    assert [value for value in values if not math.isnan(value)] == list(range(index + 1))
        reader.close()
