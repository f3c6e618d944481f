"""What a history answers is what a plain model of its samples answers, whatever became of them meanwhile."""

from __future__ import annotations

import math
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.history import History, Retention, file
from agentgauge.analytics.history import gathering as gathering_module
from agentgauge.analytics.history.tiers import bucket_of
from agentgauge.errors import ConfigurationError, HistoryError, SourceError
from known_series import series_count
from made_source import MadeSource

START = 1_700_000_000.0
FOREVER = Retention(raw_seconds=1e9, minute_seconds=1e9, quarter_seconds=1e9, hour_seconds=1e9, points_seconds=1e9)
SERIES = [("depth", (("queue", "a"),)), ("depth", (("queue", "b"),)), ("calls_total", ())]


@pytest.fixture(autouse=True, scope="module")
def no_power_is_lost():
    """Wait for no disk: what is told here is not about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "_SYNCHRONOUS", "OFF")
        yield


def agree(history, model, grid, fold, *, metrics=("depth", "calls_total")):
    for metric in metrics:
        mine = {tuple(sorted(frame.labels.items())): frame.values for frame in history.frames(metric, grid, fold=fold)}
        theirs = {tuple(sorted(frame.labels.items())): frame.values for frame in model.frames(metric, grid, fold=fold)}
        assert mine.keys() == theirs.keys(), (metric, grid, fold)
        for labels, values in theirs.items():
            assert list(mine[labels]) == pytest.approx(list(values), rel=1e-12, abs=0, nan_ok=True), (metric, labels, grid, fold)


NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 9))  # none that is too small to be calculated with
sweeps_of = st.lists(
    st.tuples(
        st.sampled_from([0.5, 5.0, 15.0, 15.0, 15.0, 47.0, 60.0, 400.0, 4000.0, 90_000.0]),
        st.lists(st.one_of(st.none(), st.integers(-3, 9), NUMBERS), min_size=3, max_size=3),
        st.sampled_from(["", "", "", "", "maintain", "reopen"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sweeps=sweeps_of,
    block=st.sampled_from([2, 7, 120]),
    step=st.sampled_from([1.0, 7.5, 15.0, 60.0, 120.0, 420.0, 900.0, 3600.0, 7200.0]),
    back=st.integers(1, 40),
)
def test_frames_are_those_of_the_model_in_every_fold_while_blocks_fold_and_the_file_is_reopened(sweeps, block, step, back):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering_module, "SWEEPS_IN_BLOCK", block)
        path = Path(folder) / "h"
        history = History(path, retention=FOREVER)
        at = START
        times: list[float] = []
        columns: list[list[float]] = [[], [], []]
        for wait, values, event in sweeps:
            at += wait
            times.append(at)
            for column, value in zip(columns, values, strict=True):
                column.append(math.nan if value is None else float(value))
            history.write(at, [(*key, float(value)) for key, value in zip(SERIES, values, strict=True) if value is not None])
            if event == "maintain":
                history.maintain()
            elif event == "reopen":
                history.close()
                history = History(path, retention=FOREVER)
        model = MadeSource()
        for (metric, labels), column in zip(SERIES, columns, strict=True):
            model.add(metric, times, column, **dict(labels))
        grid = Grid.over(at - back * step, at + 2 * step, step)
        for fold in Fold:
            agree(history, model, grid, fold)
        history.maintain()
        with History(path, is_read_only=True) as reader:
            for fold in Fold:
                agree(reader, model, grid, fold)
        history.close()


def a_day(path, *, interval=60.0, hours=29, **settings_):
    """Write and model a gauge that goes up and down and a counter that is reset; the gauge is missing for an hour."""
    history = History(path, clock=lambda: 9e9, **settings_)
    times, gauge, counter = [], [], []
    for index in range(int(hours * 3600 / interval)):
        at = START + index * interval + 0.25
        times.append(at)
        gauge.append(math.nan if 4 * 3600 < at - START < 5 * 3600 else math.sin(index / 50) * 100 + index % 7)
        counter.append(float(index % 3000 * 3))
        samples = [("calls_total", (), counter[-1])]
        if not math.isnan(gauge[-1]):
            samples.append(("depth", (("queue", "a"),), gauge[-1]))
        history.write(at, samples)
    model = MadeSource().add("depth", times, gauge, queue="a").add("calls_total", times, counter)
    return history, model, times


@given(st.integers(-1_000_000_000, 4_000_000_000), st.sampled_from([60, 900, 3600]), st.sampled_from([-math.inf, 0.0, math.inf]))
@example(28_333_333, 60, math.inf)
def test_a_time_is_in_the_bucket_that_ends_at_or_after_it_however_near_that_is(number, width, direction):
    at = math.nextafter(float(number * width), direction) if direction else float(number * width)
    bucket = bucket_of(at, width)
    assert (bucket - 1) * width < at <= bucket * width


def test_tiers_answer_as_sweeps_do_where_the_step_is_a_whole_number_of_buckets(tmp_path):
    keeping, model, times = a_day(tmp_path / "all", interval=20, hours=10, retention=FOREVER)
    short = Retention(raw_seconds=3600, minute_seconds=4 * 3600, quarter_seconds=1e8, hour_seconds=1e9)
    forgetting, slow, slow_times = a_day(tmp_path / "some", retention=short)
    end, slow_end = times[-1], slow_times[-1]
    with keeping, forgetting:
        for fold in Fold:
            for step, hours in ((15, 2), (60, 9), (900, 12), (3600, 12)):
                agree(keeping, model, Grid.over(end - hours * 3600, end, step), fold)
            agree(forgetting, slow, Grid.over(slow_end - 1800, slow_end, 15), fold)
            agree(forgetting, slow, Grid.over(slow_end - 3 * 3600, slow_end, 60), fold)
            agree(forgetting, slow, Grid.over(START, START + 20 * 3600, 900), fold)
        assert forgetting.extent()[1] == slow_end


def test_where_only_wider_buckets_are_left_a_shorter_step_gets_the_bucket_it_lies_in(tmp_path):
    short = Retention(raw_seconds=3600, minute_seconds=3600, quarter_seconds=1e8, hour_seconds=1e9)
    history, model, _ = a_day(tmp_path / "h", retention=short)
    quarter = Grid(math.ceil((START + 8 * 3600) / 900) * 900.0, 900.0, 8)
    fine = Grid.over(quarter.start - 900, quarter.end, 60)
    with history:
        for fold in Fold:
            coarse = model.frames("depth", quarter, fold=fold)[0].values
            got = list(history.frames("depth", fine, fold=fold)[0].values)
            for index, at in enumerate(fine.times):
                holder = math.ceil((at - quarter.start) / 900)
                if fold is Fold.LAST:
                    holder = math.floor((at - quarter.start) / 900)
                    if holder < 0:
                        continue
                expected = coarse[holder] / 15 if fold is Fold.COUNT else coarse[holder]
                assert got[index] == pytest.approx(expected, rel=1e-12), (fold, at)


def test_points_of_any_time_are_folded_as_sweeps_are_and_the_later_of_two_is_kept(tmp_path):
    times = [START + second for second in (700, 0, 30, 31, 59.5, 60, 400)]
    values = [7.0, 1.0, math.nan, 3.0, 4.0, -5.0, 6.0]
    with History(tmp_path / "h") as history:
        history.write_points("depth", {"queue": "p"}, times, [9.0] * 7)
        history.write_points("depth", (("queue", "p"),), times, values)
        history.write_points("depth", {"queue": "p"}, [], [])
        order = sorted(range(7), key=times.__getitem__)
        model = MadeSource().add("depth", [times[i] for i in order], [values[i] for i in order], queue="p")
        for fold in Fold:
            for step in (1, 15, 60, 300):
                agree(history, model, Grid.over(START - 100, START + 1500, step), fold)
        assert list(history.points("depth", {"queue": "p"}, START + 31, START + 60)[1]) == [3.0, 4.0, -5.0]
        assert history.extent() == (START, START + 700)
        with pytest.raises(ConfigurationError, match="nan is no time"):
            history.write_points("depth", {}, [math.nan], [1.0])
        with pytest.raises(ConfigurationError, match="2 times for 1"):
            history.write_points("depth", {}, [1.0, 2.0], [1.0])


def test_what_lies_in_the_future_is_kept_and_read_where_it_is_asked_for_and_no_part_of_the_extent(tmp_path):
    with History(tmp_path / "h", clock=lambda: START + 60) as history:
        history.write_points("planned", {}, [START + 86_400], [7.0])
        assert history.extent() is None
        history.write(START, [("depth", (), 1.0)])
        history.write_points("planned", {}, [START + 30], [6.0])
        assert history.extent() == (START, START + 30)
        history.maintain()
        assert history.points("planned", {})[1].tolist() == [6.0, 7.0]
        assert history.frames("planned", Grid(START + 86_400, 60.0, 1))[0].values[0] == 7.0
        assert history.last_sweep() == START


def test_labels_select_by_the_whole_name_and_value_whatever_they_are_made_of(tmp_path):
    values = ["a", "aa", 'a"', 'x","queue":"a', '"queue":"a"', "\\", "\ud800", "%", "é"]
    with History(tmp_path / "h") as history:
        history.write(START, [("depth", (("queue", value), ("z", "1")), float(index)) for index, value in enumerate(values)])
        for index, value in enumerate(values):
            for labels in ({"queue": value}, {"queue": value, "z": "1"}, {"queue": value, "none": ""}):
                (frame,) = history.frames("depth", Grid(START, 15.0, 1), labels)
                assert frame.values[0] == index
        assert history.frames("depth", Grid(START, 15.0, 1), {"queue": "b"}) == []
        assert len(history.frames("depth", Grid(START, 15.0, 1), {"z": "1"})) == len(values)


def test_points_and_sweeps_of_one_series_count_together_and_the_last_is_the_sweeps(tmp_path):
    grid = Grid(60.0 * 30_000_000, 60.0, 2)
    with History(tmp_path / "h") as history:
        history.write(grid.start - 30, [("depth", (), 4.0)])
        history.write_points("depth", {}, [grid.start - 20, grid.start - 10, grid.start + 600], [1.0, 10.0, 8.0])
        expected = {Fold.LAST: 4.0, Fold.MIN: 1.0, Fold.MAX: 10.0, Fold.MEAN: 5.0, Fold.COUNT: 3.0}
        assert {fold: history.frames("depth", grid, fold=fold)[0].values[0] for fold in Fold} == expected
        history.write(grid.start + 30, [])
        assert history.frames("depth", Grid(grid.start + 60, 60.0, 1))[0].values[0] == 10.0


def test_a_sweep_that_is_late_is_sorted_in_one_of_the_same_time_replaces_and_one_of_folded_time_is_refused(tmp_path):
    with History(tmp_path / "h", retention=FOREVER) as history:
        for at, value in ((60, 1.0), (120, 2.0), (90, 3.0), (120, 4.0)):
            history.write(START + at, [("depth", (), value)])
        history.write(START + 120, [("other", (), 1.0)])
        history.write(START + 120, [("depth", (), 5.0)])
        got = history.frames("depth", Grid(START + 60, 30.0, 3))[0].values
        assert list(got) == [1.0, 3.0, 5.0]
        for index in range(130):
            history.write(START + 200 + index, [("depth", (), float(index))])
        with pytest.raises(HistoryError, match="the clock went back"):
            history.write(START + 150, [("depth", (), 1.0)])
        with pytest.raises(ConfigurationError, match="nan is no time"):
            history.write(math.nan, [])
        history.write(START + 500, [("depth", (), 8.0)])
        assert history.frames("depth", Grid(START + 500, 1.0, 1))[0].values[0] == 8.0


def test_a_series_keeps_its_identity_whatever_its_names_are_made_of_and_in_whatever_order(tmp_path):
    odd = (("\ud800\x00\"'", "a\\b\n\U0001f600"), ("z", "%_;--"))
    with History(tmp_path / "h") as history:
        history.write(START, [("m\udfff\x00", odd, 1.0)])
        history.write(START + 1, [("m\udfff\x00", (odd[1], odd[0], ("empty", "")), 2.0)])
        assert series_count(history) == 1
        assert history.metrics() == ["m\udfff\x00"]
        (frame,) = history.frames("m\udfff\x00", Grid(START, 1.0, 2), {"z": "%_;--", "absent": ""})
        assert frame.labels == dict(odd)
        assert list(frame.values) == [1.0, 2.0]
        assert history.frames("m\udfff\x00", Grid(START, 1.0, 2), {"z": "other"}) == []
        assert history.frames("m\udfff\x00", Grid(START - 900, 1.0, 2)) == []


def test_numbers_of_series_are_not_used_again_and_places_of_those_that_ended_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering_module, "SWEEPS_IN_BLOCK", 4)
    with History(tmp_path / "h", retention=FOREVER) as history:
        for index in range(80):
            history.write(START + index * 15, [("depth", (("run", str(index)),), float(index)), ("steady", (), 1.0)])
        history.maintain()
        assert series_count(history) == 81
        for index in range(79):
            at = math.ceil(START + index * 15)
            (frame,) = history.frames("depth", Grid(at - 15.0, 15.0, 3), {"run": str(index)})
            assert [value for value in frame.values if not math.isnan(value)] == [float(index)]
        history.write(START + 80 * 15, [("steady", (), 1.0)])
        history.write(START + 81 * 15, [("steady", (), 1.0)])
        assert history._writer._gathering.series <= 5


def test_series_are_forgotten_with_the_last_that_is_known_of_them(tmp_path):
    brief = Retention(raw_seconds=900, minute_seconds=900, quarter_seconds=900, hour_seconds=900, points_seconds=900)
    with History(tmp_path / "h", retention=brief, clock=lambda: 9e9) as history:
        history.write(START, [("gone", (), 1.0)])
        history.write_points("noted", {}, [START], [1.0])
        for index in range(1, 10 * 96):
            history.write(START + index * 900, [("depth", (), 1.0)])
        history.maintain()
        assert history.metrics() == ["depth"]
        assert history.points("noted", {})[0].tolist() == []


def test_threads_read_while_another_writes(tmp_path):
    faults = []
    with History(tmp_path / "h") as history:
        history.write(START, [("depth", (), 0.0)])

        def read():
            try:
                for _ in range(40):
                    (frame,) = history.frames("depth", Grid.over(START - 15, START + 15 * 400, 15))
                    there = [value for value in frame.values if not math.isnan(value)]
                    assert there[: len(set(there))] == sorted(set(there))
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for index in range(1, 400):
            history.write(START + 15 * index, [("depth", (), float(index))])
        for thread in threads:
            thread.join()
    assert faults == []


def test_a_closed_one_says_so_and_settings_that_cannot_work_are_refused(tmp_path):
    history = History(tmp_path / "h")
    assert history.extent() is None
    assert history.metrics() == []
    assert history.frames("depth", Grid(START, 15.0, 3)) == []
    history.close()
    history.close()
    with pytest.raises(HistoryError, match="is closed"):
        history.write(START, [])
    with pytest.raises(SourceError, match="is closed"):
        history.metrics()
    for wrong in ({"max_bytes": 10}, {"clock": 3.0}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            History(tmp_path / "other", **wrong)
    with pytest.raises(ConfigurationError, match="coarser"):
        Retention(raw_seconds=1e6, minute_seconds=1e3)
    with pytest.raises(ConfigurationError, match="raw_seconds"):
        Retention(raw_seconds=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h", "h.lock"]
