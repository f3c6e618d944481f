"""Saved files come back as they were, whole or not at all; what is amiss in one is named and touches nothing."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import pickle
import resource
import signal
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentgauge import files
from agentgauge.analytics import formats
from agentgauge.analytics.base import BaseAnalytics
from agentgauge.analytics.formats import signed_pickle
from agentgauge.analytics.formats.signed_pickle import to_pickle
from agentgauge.analytics.history import History
from agentgauge.errors import ConfigurationError, HistoryError

KEY = b"sixteen bytes or more"
FORMATS = ("json", "sqlite", "pickle")
NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name.strip() and name.isprintable())
POINTS = st.lists(st.tuples(st.floats(-6e10, 2.5e11), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=10)


def made(pairs=((1.0, 2.5), (2.0, -0.0)), metric="latency"):
    analytics = BaseAnalytics("researcher")
    analytics.set_retention_policy()
    for at, value in pairs:
        analytics.record_metric(metric, value, at)
    return analytics


def told(analytics):
    return {
        metric: list(zip(analytics.points(metric).times, analytics.points(metric).values, strict=True))
        for metric in analytics.metrics()
    }


def loaded(path, **arguments):
    analytics = BaseAnalytics()
    analytics.load(path, pickle_key=KEY, **arguments)
    return analytics


@pytest.mark.parametrize("format_type", FORMATS)
@pytest.mark.parametrize("compress", [False, True])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    metrics=st.dictionaries(NAMES, POINTS, max_size=3),
    period=st.one_of(st.none(), st.floats(1e300, 1e308)),
    count=st.one_of(st.none(), st.integers(10, 10**6)),
)
@example(metrics={"a.b/ü'\"": [(0.1, 5e-324), (0.1, 1.7976931348623157e308)]}, period=None, count=None)
def test_what_is_saved_comes_back(tmp_path, format_type, compress, metrics, period, count):
    analytics = BaseAnalytics("researcher")
    analytics.set_retention_policy(period, count)
    for metric, pairs in metrics.items():
        for at, value in pairs:
            analytics.record_metric(metric, value, at)
    path = analytics.save(tmp_path / "any name", format_type, compress, pickle_key=KEY)
    back = loaded(path)
    assert told(back) == told(analytics)
    assert back._own_book().retention == analytics._own_book().retention


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.json", b'{"format": "agentgauge-analytics"'),
        ("a", b"{"),
        ("a.db", b"SQLite format 3\0"),
        ("a.SQLITE3", b"SQLite format 3\0"),
        ("a.pkl", b"agentgauge signed pickle 1\n"),
        ("a.json.gz", b"\x1f\x8b"),
    ],
)
def test_auto_goes_by_the_ending_when_saving_and_by_the_content_when_loading(tmp_path, name, begins):
    path = made().save(tmp_path / name, pickle_key=KEY)
    assert path.read_bytes().startswith(begins)
    path.rename(tmp_path / "other.txt")
    assert told(loaded(tmp_path / "other.txt")) == {"latency": [(1.0, 2.5), (2.0, 0.0)]}


@pytest.mark.parametrize("name", ["a.csv", "a.CSV.gz", "a.parquet", "a.yaml", "a.zip", "a.tgz", "a.jpeg"])
def test_an_ending_that_means_another_format_is_refused_unless_the_format_is_said(tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"let the name end in \.json, \.db or \.pickle, or say format_type="):
        made().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert told(loaded(made().save(tmp_path / name, "json"))) == {"latency": [(1.0, 2.5), (2.0, 0.0)]}


def test_a_database_is_read_by_any_tool(tmp_path):
    made().save(tmp_path / "a.db")
    database = sqlite3.connect(tmp_path / "a.db")
    assert database.execute("SELECT metric, time, value FROM points JOIN metrics USING (metric_id)").fetchall() == [
        ("latency", 1.0, 2.5),
        ("latency", 2.0, 0.0),
    ]
    database.close()


# --- pickles --------------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.mkdir, ("opened",)


def test_a_pickle_is_neither_written_nor_opened_without_a_key(tmp_path):
    for key in (None, b"short", "a text of many characters"):
        with pytest.raises(ConfigurationError, match="pickle_key"):
            made().save(tmp_path / "a.pickle", pickle_key=key)
    assert list(tmp_path.iterdir()) == []
    made().save(tmp_path / "a.pickle", pickle_key=KEY)
    with pytest.raises(ConfigurationError, match="give pickle_key="):
        BaseAnalytics().load(tmp_path / "a.pickle")
    with pytest.raises(HistoryError, match="not signed with this key"):
        BaseAnalytics().load(tmp_path / "a.pickle", pickle_key=b"another sixteen bytes")


def test_a_pickle_that_save_did_not_sign_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("evil.pickle").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(HistoryError, match="did not sign"):
        loaded("evil.pickle")
    assert not Path("opened").exists()


def test_no_byte_of_a_signed_pickle_can_be_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(signed_pickle, "_Plain", lambda _: pytest.fail("it was unpickled"))
    content = made().save(tmp_path / "a.pickle", pickle_key=KEY).read_bytes()
    for place in range(len(content)):
        (tmp_path / "a.pickle").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(HistoryError):
            loaded(tmp_path / "a.pickle")
        (tmp_path / "a.pickle").write_bytes(content[:place])
        with pytest.raises(HistoryError):
            loaded(tmp_path / "a.pickle")


def test_even_a_signed_pickle_names_no_globals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.pickle").write_bytes(to_pickle({"format": Evil()}, KEY))
    with pytest.raises(HistoryError, match=r"it names posix\.mkdir"):
        loaded("a.pickle")
    assert not Path("opened").exists()


# --- what is amiss --------------------------------------------------------------------------------------------------------


def document(**changes):
    whole = {
        "format": "agentgauge-analytics",
        "version": 1,
        "name": "researcher",
        "saved_at": None,
        "retention": {"period_seconds": None, "max_data_points": None},
        "metrics": {"latency": {"times": [1.0, 2], "values": [3, 4.5]}},
    }
    return {**whole, **changes}


def points(times, values):
    return {"metrics": {"latency": {"times": times, "values": values}, "cost": {"times": [5.0], "values": [6.0]}}}


AMISS = [
    ({"version": "1"}, "'version' is '1'", 2),
    ({"version": True}, "'version' is True", 2),
    ({"version": 0}, "'version' is 0", 2),
    ({"name": 5}, "'name' is 5", 2),
    ({"colour": "red"}, "'colour'", 2),
    ({"retention": []}, "'retention' is a list", 2),
    ({"retention": {"period_seconds": -1}}, r"'retention\.period_seconds' is -1", 2),
    ({"retention": {"max_data_points": 1.5}}, r"'retention\.max_data_points' is 1\.5", 2),
    ({"metrics": None}, "'metrics' is missing", 0),
    ({"metrics": {"": {}}}, "'metrics' is ''", 0),
    (points([1.0], "x"), r"'metrics\.latency\.values' is 'x'", 1),
    (points([1.0, 2.0], [1.0]), r"'metrics\.latency' is '2 times and 1 values'", 2),
    (points([1.0, "now"], [1.0, 2.0]), r"'metrics\.latency\.times\[1\]' is 'now'", 2),
    (points([1.0, 1e12], [1.0, 2.0]), r"'metrics\.latency\.times\[1\]' is 1000000000000\.0", 2),
    (points([1.0, 2.0], [None, 2.0]), r"'metrics\.latency\.values\[0\]' is missing", 2),
    (points([1.0, 2.0], [10**400, True]), r"'metrics\.latency\.values\[0\]' is 1000", 1),
]


@pytest.mark.parametrize(("changes", "named", "kept"), AMISS)
def test_a_field_that_is_amiss_is_named_or_left_out_and_counted(tmp_path, changes, named, kept):
    (tmp_path / "a.json").write_text(json.dumps(document(**changes)))
    analytics = made()
    with pytest.raises(HistoryError, match=named):
        analytics.load(tmp_path / "a.json")
    assert told(analytics) == told(made())
    analytics.load(tmp_path / "a.json", validate_schema=False)
    assert sum(map(len, told(analytics).values())) == kept
    assert analytics.refused()["bad_file"] >= 1


@pytest.mark.parametrize("format_type", FORMATS)
def test_a_file_of_more_metrics_than_the_object_takes_is_refused_or_the_first_are_held(tmp_path, format_type):
    source = BaseAnalytics()
    for number in range(5):
        source.record_metric(f"m{number}", 1.0, 1.0)
    path = source.save(tmp_path / "a", format_type, pickle_key=KEY)
    analytics = BaseAnalytics(max_metrics=2)
    analytics.record_metric("latency", 1.0, 1.0)
    with pytest.raises(
        HistoryError, match=r"'metrics' is 'of 5 names', but must be of at most 2, the max_metrics of this object"
    ):
        analytics.load(path, pickle_key=KEY)
    assert (analytics.metrics(), analytics.refused()) == (["latency"], {})
    analytics.load(path, validate_schema=False, pickle_key=KEY)
    assert (analytics.metrics(), analytics.refused()) == (["m0", "m1"], {"bad_file": 3})


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_file_of_a_newer_agentgauge_says_what_to_do(tmp_path, is_strict):
    (tmp_path / "a.json").write_text(json.dumps(document(version=2)))
    database = sqlite3.connect(made().save(tmp_path / "a.db"))
    database.executescript("PRAGMA user_version = 2; DROP TABLE points")
    database.close()
    for name in ("a.json", "a.db"):
        with pytest.raises(HistoryError, match=r"'version' is 2, written by a newer agentgauge.*pip install --upgrade"):
            loaded(tmp_path / name, validate_schema=is_strict)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b"[]",
        b"\xff\xfe",
        b"NaN",
        json.dumps(document()).replace("4.5", "NaN").encode(),
        json.dumps(document()).replace("4.5", "1e999").encode(),
        json.dumps(document()).replace("4.5", "1" * 5000).encode(),
        json.dumps(document()).encode()[:-1] + b', "version": 1}',
        b"SQLite format 3\0",
        b"\x1f\x8b",
        gzip.compress(b"{"),
        b"agentgauge signed pickle 2\n" + bytes(40),
    ],
)
def test_a_file_that_is_none_of_ours_changes_nothing(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    analytics = made()
    with pytest.raises(HistoryError, match="/a: "):
        analytics.load(tmp_path / "a", pickle_key=KEY)
    assert told(analytics) == told(made())


@pytest.mark.parametrize("format_type", FORMATS)
@pytest.mark.parametrize("compress", [False, True])
def test_a_file_that_is_cut_off_anywhere_changes_nothing(tmp_path, format_type, compress):
    content = (
        made([(float(at), at * 1.1) for at in range(300)])
        .save(tmp_path / "a", format_type, compress, pickle_key=KEY)
        .read_bytes()
    )
    for length in range(0, len(content) - 1, max(1, len(content) // 60)):  # JSON without its last newline is whole
        (tmp_path / "a").write_bytes(content[:length])
        with pytest.raises(HistoryError):
            loaded(tmp_path / "a")


def test_other_databases_are_not_taken_for_ours(tmp_path):
    database = sqlite3.connect(tmp_path / "other.db")
    database.executescript("CREATE TABLE t (a)")
    database.close()
    database = sqlite3.connect(made().save(tmp_path / "ours.db"))
    database.executescript("DROP TABLE points; CREATE VIEW points AS SELECT 1 AS metric_id, 2.0 AS time, 3.0 AS value")
    database.close()
    database = sqlite3.connect(made().save(tmp_path / "computed.db"))
    database.executescript(
        "CREATE TABLE other (metric_id INTEGER, time REAL, value REAL AS (length(zeroblob(1000000000))));"
        "INSERT INTO other SELECT metric_id, time FROM points; DROP TABLE points; ALTER TABLE other RENAME TO points"
    )
    database.close()
    for name, says in (("other.db", "did not write"), ("ours.db", "other tables"), ("computed.db", "other tables")):
        with pytest.raises(HistoryError, match=says):
            loaded(tmp_path / name)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_history_is_told_from_a_saved_file_and_what_reads_it(tmp_path, is_open):
    path = tmp_path / "my history.db"
    history = History(path)
    history.write(1.0, [("latency", (), 1.0)])
    if not is_open:
        history.close()
    with pytest.raises(HistoryError, match=r"it is a history.*agentgauge report --source '.*my history\.db'"):
        loaded(path)
    history.close()


def test_what_is_too_long_or_becomes_so_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "MOST_BYTES", 10_000)
    (tmp_path / "long").write_bytes(b" " * 10_001)
    (tmp_path / "bomb").write_bytes(gzip.compress(b" " * 5_000_000))
    for name in ("long", "bomb"):
        with pytest.raises(HistoryError, match="longer than 10000 bytes"):
            loaded(tmp_path / name)
    with pytest.raises(HistoryError, match="longer than 10000 bytes"):
        made([(float(at), at * 1.1) for at in range(1000)]).save(tmp_path / "unreadable")
    assert not (tmp_path / "unreadable").exists()


def test_what_would_fill_the_memory_when_it_is_parsed_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    (tmp_path / "bomb").write_bytes(gzip.compress(b"[" + b"{}," * 1_000_000, 1))
    with pytest.raises(HistoryError, match="more than 1000000 mappings and lists"):
        loaded(tmp_path / "bomb")


def test_a_pipe_or_a_folder_is_refused_and_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(HistoryError, match=name):
            loaded(tmp_path / name)
        with pytest.raises(HistoryError, match="a folder, a pipe or a device"):
            made().save(tmp_path / name)
    with pytest.raises(HistoryError, match="No such file"):
        loaded(tmp_path / "missing")
    with pytest.raises(HistoryError, match="there is no folder"):
        made().save(tmp_path / "no" / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


@pytest.mark.parametrize("path", [None, 5, "", "..", "a\0b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ConfigurationError, match="path="):
        made().save(path)
    with pytest.raises(ConfigurationError, match="path="):
        made().load(path)
    with pytest.raises(ConfigurationError, match="format_type='yaml'"):
        made().save("a", "yaml")


# --- whole or not at all --------------------------------------------------------------------------------------------------


def test_the_file_before_is_kept_and_links_and_permissions_stay(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    made([(1.0, 1.0)]).save(link)
    real.chmod(0o640)
    made([(1.0, 2.0)]).save(link)
    made([(1.0, 3.0)]).save(link, create_backup=False)
    made([(1.0, 4.0)]).save(link)
    assert link.is_symlink()
    assert [told(loaded(path))["latency"][0][1] for path in (link, tmp_path / "real.json.bak")] == [4.0, 3.0]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "real.json", "real.json.bak"]


def test_the_file_before_is_kept_where_there_are_no_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    (tmp_path / "a.json").write_text("before")
    (tmp_path / "a.json").chmod(0o604)
    made().save(tmp_path / "a.json")
    assert (tmp_path / "a.json.bak").read_text() == "before"
    assert stat.S_IMODE((tmp_path / "a.json.bak").stat().st_mode) == 0o604
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("format_type", FORMATS)
def test_a_full_disk_leaves_what_was_there(tmp_path, format_type):
    path = made([(1.0, 1.0)]).save(tmp_path / "a", format_type, pickle_key=KEY)
    before = path.read_bytes()
    long = made([(float(at), at * 1.1) for at in range(20_000)])
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(HistoryError, match="/a: it cannot be written: File too large; what was there is unchanged"):
            long.save(path, format_type, pickle_key=KEY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a"]


def test_a_rename_that_is_refused_leaves_what_was_there(tmp_path, monkeypatch):
    path = made([(1.0, 1.0)]).save(tmp_path / "a.json")

    def refuse(*_):
        raise PermissionError(13, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(HistoryError, match="Read-only file system"):
        made([(1.0, 2.0)]).save(path)
    assert told(loaded(path)) == {"latency": [(1.0, 1.0)]}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_what_killed_programs_left_is_swept_after_an_hour_and_nothing_else(tmp_path):
    old, new, other = ".agentgauge-0123456789abcdef.part", ".agentgauge-fedcba9876543210.part", ".agentgauge-mine.part"
    for name in (old, new, other):
        (tmp_path / name).write_text("left")
    for name in (old, other):
        os.utime(tmp_path / name, (time.time() - 4000, time.time() - 4000))
    made().save(tmp_path / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new, other, "a.json"])


@contextlib.contextmanager
def saving(path, format_type):
    """Save over and over, in a child that is killed at the end."""
    long = made([(float(at), float(at)) for at in range(3000)])
    begun, say_begun = os.pipe()
    child = os.fork()
    if not child:
        try:
            while True:
                long.save(path, format_type, pickle_key=KEY)
                os.write(say_begun, b".")  # a pipe holds more than are ever said
        finally:
            os._exit(1)
    os.close(say_begun)
    assert os.read(begun, 1) == b"."
    try:
        yield
    finally:
        os.close(begun)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("format_type", FORMATS)
def test_a_kill_in_mid_save_leaves_a_whole_file_and_readers_see_no_other(tmp_path, format_type):
    path = tmp_path / "a"
    made([(1.0, 1.0)]).save(path, format_type, pickle_key=KEY)
    for reads in range(1, 6):
        with saving(path, format_type):
            counts = {len(loaded(path).points("latency")) for _ in range(reads)}
        assert counts <= {1, 3000}
        assert len(loaded(path).points("latency")) in {1, 3000}
        if (backup := tmp_path / "a.bak").exists():
            assert len(loaded(backup).points("latency")) in {1, 3000}


def test_a_save_while_others_record_has_each_point_whole(tmp_path):
    analytics = made([(0.0, 0.0)])
    analytics.set_retention_policy(max_data_points=3000)
    is_over = threading.Event()

    def record():
        number = 0.0
        while not is_over.is_set():
            number += 1.0
            analytics.record_metric("latency", number, number)

    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            found = loaded(analytics.save(tmp_path / "a.json")).points("latency")
            assert found.times == found.values
            assert not math.isnan(sum(found.values))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
