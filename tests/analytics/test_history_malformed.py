"""What callers give a history that is no sample costs that call alone: a healthy file is never set aside for it."""

from __future__ import annotations

import logging
import math
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgauge.analytics.frames import Grid
from agentgauge.analytics.history import History, file, writer
from agentgauge.errors import ConfigurationError, HistoryError, SourceError

START = 1_700_000_100.0
LABELS = (("queue", "a"),)
ODD = [
    None,
    True,
    7,
    1.5,
    1 << 2000,
    "text",
    "",
    "\ud800",
    b"x",
    (),
    [],
    {},
    object(),
    1j,
    ("a",),
    (("a",),),
    (("a", "b"), 3),
    [("a", "b")],
]


@pytest.fixture(autouse=True, scope="module")
def no_power_is_lost():
    """Wait for no disk: what is told here is not about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "_SYNCHRONOUS", "OFF")
        yield


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Give a file with two blocks that are folded and one that is open."""
    path = tmp_path_factory.mktemp("filled") / "h"
    with History(path) as history:
        for index in range(250):
            history.write(START + 15 * index, [("depth", LABELS, index / 7)])
        history.maintain()
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Give a history that has a known series, with a sweep that is folded and one that is not."""
    with History(tmp_path_factory.mktemp("malformed") / "h") as history:
        for index in range(125):
            history.write(START + 15 * index, [("depth", LABELS, float(index))])
        history.maintain()
        yield history


@settings(max_examples=60, deadline=None)
@given(
    metric=st.sampled_from(["depth", *ODD]),
    labels=st.sampled_from([LABELS, *ODD]),
    value=st.sampled_from([1.0, *ODD]),
    is_last=st.booleans(),
)
def test_a_malformed_sample_is_refused_by_name_and_costs_neither_the_file_nor_the_next_sweep(
    kept, metric, labels, value, is_last
):
    samples = [("depth", LABELS, 1.0), (metric, labels, value)][:: 1 if is_last else -1]
    at = START + 15 * 125
    try:
        kept.write(at, samples)
    except ConfigurationError as error:
        assert str(error).startswith("samples: ")  # noqa: PT017 - it may be a good sample, too
    kept.write(at, [("depth", LABELS, 125.0)])
    is_whole(kept)


@pytest.mark.parametrize(
    "samples", [[()], [("depth", LABELS)], [("depth", LABELS, 1.0, 2.0)], [None], [7], ["abc"], [("depth", [["queue"]], 1.0)]]
)
def test_what_is_no_name_labels_and_value_is_refused(kept, samples):
    with pytest.raises(ConfigurationError, match=r"samples: .* give a name, a tuple of pairs of label and value, and a number"):
        kept.write(START + 15 * 126, samples)
    is_whole(kept)


def test_a_write_in_the_middle_of_another_is_refused_and_the_other_is_kept_whole(tmp_path):
    told = []

    class Meanwhile:  # as a signal handler would
        def __float__(self) -> float:
            for write in (lambda: history.write(START + 15, []), lambda: history.write_points("noted", {}, [START], [1.0])):
                with pytest.raises(HistoryError, match="in the middle of another write") as refusal:
                    write()
                told.append(refusal)
            return 2.0

    with History(tmp_path / "h") as history:
        history.write(START, [("depth", LABELS, 1.0)])
        history.write(START + 30, [("depth", LABELS, Meanwhile()), ("new", LABELS, 3.0)])
        grid = Grid(START, 15, 3)
        assert list(history.frames("depth", grid)[0].values) == [1.0, 1.0, 2.0]
        assert history.metrics() == ["depth", "new"]
        history.write_points("noted", {}, [START], [1.0])
    assert len(told) == 2


def test_a_write_whose_end_was_interrupted_holds_up_no_other(tmp_path, monkeypatch):
    """Ctrl-C twice: the second comes while what the first one interrupted is undone."""

    def interrupt(*_errors):
        raise KeyboardInterrupt

    class Interrupted:
        def __float__(self) -> float:
            monkeypatch.setattr(writer, "suppress", interrupt)
            raise KeyboardInterrupt

    with History(tmp_path / "h") as history:
        history.write(START, [("depth", LABELS, 1.0)])
        with pytest.raises(KeyboardInterrupt):
            history.write(START + 15, [("new", LABELS, 3.0), ("depth", LABELS, Interrupted())])
        monkeypatch.undo()
        history.write(START + 30, [("depth", LABELS, 2.0)])
        assert list(history.frames("depth", Grid(START, 15, 3))[0].values) == [1.0, 1.0, 2.0]
        assert history.metrics() == ["depth"]


@pytest.mark.parametrize("at", [None, "now", math.nan, math.inf, 1 << 2000, [START], START * 1000, -1e20])
def test_a_sweep_without_a_time_is_refused(kept, at):
    with pytest.raises(ConfigurationError, match="at: "):
        kept.write(at, [("depth", LABELS, 1.0)])
    is_whole(kept)


@settings(max_examples=40, deadline=None)
@given(
    metric=st.sampled_from(["noted", *ODD]),
    labels=st.sampled_from([{}, *ODD]),
    times=st.sampled_from([[START], "text", None, [None], ["1"], [math.nan], [1 << 2000], b"12345678", [START, START], [1e20]]),
    values=st.sampled_from([[1.0], "text", None, [None], ["1"], [1 << 2000], b"12345678"]),
)
def test_malformed_points_are_refused_and_nothing_that_is_no_number_is_stored(kept, metric, labels, times, values):
    is_good = isinstance(metric, str) and times == [START] and values == [1.0]
    try:
        kept.write_points(metric, labels, times, values)
    except ConfigurationError:
        assert not is_good or not isinstance(labels, dict)
    except TypeError:
        assert times is None or values is None
    assert set(kept.points("noted", {})[1]) <= {1.0}
    is_whole(kept)


def test_what_the_caller_s_samples_raise_while_they_are_made_reaches_the_caller(kept):
    def samples():
        yield ("depth", LABELS, 1.0)
        raise ValueError("a fault of the caller's")

    with pytest.raises(ValueError, match="a fault of the caller's"):
        kept.write(START + 15 * 126, samples())
    is_whole(kept)


def is_whole(history):
    values = history.frames("depth", Grid(START, 15.0, 125), {"queue": "a"})[0].values
    assert list(values) == list(range(125))
    assert not [other.name for other in history.path.parent.iterdir() if "corrupt" in other.name]


@pytest.mark.parametrize(
    ("damage", "is_met"),
    [
        ("UPDATE member SET series = x'01'", "write"),
        ("UPDATE member SET series = 'text'", "write"),
        ("UPDATE series SET labels = '{'", "write"),
        ("UPDATE series SET labels = 7", "write"),
        ("UPDATE series SET labels = CAST(x'ff' AS TEXT)", "write"),
        ("DELETE FROM series", "write"),
        ("UPDATE part SET numbers = x'0102'", "fold"),
        ("UPDATE part SET numbers = 5", "fold"),
        ("UPDATE block SET ends = 5 WHERE is_whole", "fold"),
        ("UPDATE block SET ends = NULL WHERE is_whole", "fold"),
        ("UPDATE chunk SET last = 9.5", "read"),
        ("UPDATE chunk SET last = x'64'", "read"),
        ("UPDATE chunk SET last = x'6402'", "read"),
    ],
)
def test_whatever_in_the_file_cannot_be_what_was_written_sets_it_aside_or_is_told_to_who_reads(
    tmp_path, filled, caplog, damage, is_met
):
    path = shutil.copy(filled, tmp_path / "h")
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    caplog.set_level(logging.ERROR)
    with History(path) as history:
        if is_met == "read":
            with pytest.raises(SourceError, match="it is damaged"):
                history.frames("depth", Grid(START, 15.0, 200))
        else:
            for index in range(250, 375 if is_met == "fold" else 251):
                history.write(START + 15 * index, [("depth", LABELS, float(index))])
            history.maintain()
            assert "damaged" in caplog.text
    assert bool([other.name for other in tmp_path.iterdir() if "corrupt" in other.name]) == (is_met != "read")
