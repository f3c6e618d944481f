"""What becomes of the file of a history: kills, damage, full disks, forks, second writers, other people's files."""

from __future__ import annotations

import math
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from agentgauge.analytics.frames import Fold, Grid
from agentgauge.analytics.history import History, Retention, file
from agentgauge.errors import HistoryError, SourceError
from known_series import series_count

START = 1_700_000_000.0
FOREVER = Retention(raw_seconds=1e9, minute_seconds=1e9, quarter_seconds=1e9, hour_seconds=1e9, points_seconds=1e9)


def fill(history, first, last, *, series=40):
    for index in range(first, last):
        history.write(START + 15 * index, [("depth", (("queue", str(one)),), index + one / 7) for one in range(series)])


def values_at(history, first, last, queue="0"):
    frames = history.frames("depth", Grid(START + 15 * first + 10, 15.0, last - first), {"queue": queue}, Fold.MAX)
    return [value for value in frames[0].values if not math.isnan(value)] if frames else []


@pytest.fixture
def no_power_is_lost(monkeypatch):
    """Wait for no disk: what is told then is not about it."""
    monkeypatch.setattr(file, "_SYNCHRONOUS", "OFF")


def test_nothing_acknowledged_is_lost_by_a_writer_that_is_killed_at_any_moment(tmp_path):
    program = textwrap.dedent("""
        import sys
        from agentgauge.analytics.history import History, Retention, file
        forever = Retention(1e9, 1e9, 1e9, 1e9, 1e9)
        history = History(sys.argv[1], retention=forever)
        extent = history.extent()
        index = 0 if extent is None else round((extent[1] - 1.7e9) / 15) + 1
        while True:
            history.write(1.7e9 + 15 * index, [("depth", (("queue", str(one)),), index + one / 7) for one in range(40)])
            history.write_points("noted", {}, [1.7e9 + 15 * index], [float(index)])
            print(index, flush=True)
            index += 1
    """)
    path = tmp_path / "h"
    chance = random.Random(7)
    acknowledged: list[int] = []
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as child:
            acknowledged += [int(child.stdout.readline()) for _ in range(chance.randrange(1, 120))]
            child.send_signal(signal.SIGKILL)
            acknowledged += map(int, child.stdout.read().split("\n")[:-1])
        with History(path, is_read_only=True) as history:
            got = values_at(history, 0, acknowledged[-1] + 1, "7")
            assert got == [index + 1 for index in range(acknowledged[-1] + 1)]
            assert set(history.points("noted", {})[1]).issuperset(acknowledged)
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    assert acknowledged[-1] > 120  # blocks were folded between the kills


def test_a_second_writer_is_told_who_writes_and_may_read(tmp_path):
    path = tmp_path / "h"
    with History(path) as history:
        fill(history, 0, 3)
        with pytest.raises(HistoryError, match=f"process {os.getpid()}: one process writes"):
            History(path)
        program = "import sys; from agentgauge.analytics.history import History; History(sys.argv[1])"
        other = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
        assert "HistoryError" in other.stderr
        assert f"is being written by process {os.getpid()}" in other.stderr
        with History(path, is_read_only=True) as reader:
            assert values_at(reader, 0, 3) == [0, 1, 2]
            with pytest.raises(HistoryError, match="open for reading"):
                reader.write(START, [])
            fill(history, 3, 5)
            assert values_at(reader, 0, 5) == [0, 1, 2, 3, 4]
    with History(path) as history:
        fill(history, 5, 6)


@pytest.mark.usefixtures("no_power_is_lost")
def test_a_forked_child_reads_by_itself_cannot_write_and_leaves_its_parents_file_alone(tmp_path):
    with History(tmp_path / "h") as history:
        fill(history, 0, 150)
        values_at(history, 0, 3)
        child = os.fork()
        if child == 0:
            fault = 1
            try:
                try:
                    history.write(START + 9000, [])
                except HistoryError as error:
                    fault = 0 if "forked from" in str(error) else 2
                if values_at(history, 0, 150) != list(range(150)):
                    fault = 3
                history.close()
                del history
            finally:
                os._exit(fault)
        fill(history, 150, 160)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fill(history, 160, 170)
        assert values_at(history, 0, 170) == list(range(170))
        with pytest.raises(HistoryError, match="one process writes"):
            History(tmp_path / "h")
    History(tmp_path / "h").close()


def test_a_child_that_exits_in_the_ordinary_way_closes_nothing_of_its_parents(tmp_path):
    program = textwrap.dedent("""
        import os, sys
        from agentgauge.analytics.history import History
        history = History(sys.argv[1])
        history.write(1.7e9, [("depth", (), 1.0)])
        history.metrics()
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print(os.path.getsize(sys.argv[1] + "-wal") > 0)
        history.write(1.7e9 + 15, [("depth", (), 2.0)])
        print(history.extent())
    """)
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path / "h")], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout.split("\n")[:2] == ["True", "(1700000000.0, 1700000015.0)"]


def corrupt_header(path):
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def corrupt_middle(path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4000)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.usefixtures("no_power_is_lost")
@pytest.mark.parametrize("damage", [corrupt_header, corrupt_middle, truncate], ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_set_aside_with_a_message_and_a_new_one_begun(tmp_path, caplog, damage):
    path = tmp_path / "h"
    with History(path) as history:
        fill(history, 0, 400)
    damage(path)
    damaged = path.read_bytes()
    with pytest.raises((HistoryError, SourceError)), History(path, is_read_only=True) as reader:
        values_at(reader, 0, 400)
    with History(path) as history:
        fill(history, 500, 503)
        assert values_at(history, 500, 503) == [500, 501, 502]
    (aside,) = [other for other in tmp_path.iterdir() if ".corrupt-" in other.name and not other.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == damaged
    assert "damaged" in caplog.text
    assert str(aside) in caplog.text


@pytest.mark.usefixtures("no_power_is_lost")
def test_damage_that_shows_while_it_is_written_is_set_aside_too_and_the_write_is_kept(tmp_path, caplog):
    path = tmp_path / "h"
    with History(path, retention=FOREVER) as history:
        fill(history, 0, 130)
        history.maintain()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE chunk SET last = x'7a00'")
        connection.execute("UPDATE block SET ends = x'00'")
    connection.close()
    with History(path, retention=FOREVER) as history:
        with pytest.raises(SourceError, match="it is damaged"):
            values_at(history, 0, 100)
        fill(history, 500, 900)
        assert values_at(history, 899, 900) == [899]
        assert "damaged" in caplog.text
    assert [other.name for other in tmp_path.iterdir() if ".corrupt-" in other.name]


@pytest.mark.parametrize("kind", ["text", "database", "wal database", "zeros"])
def test_somebody_elses_file_is_refused_and_left_as_it_is(tmp_path, kind):
    path = tmp_path / "notes"
    if kind == "text":
        path.write_text("dear diary\n" * 500)
    elif kind == "zeros":
        path.write_bytes(b"\0" * 5000)
    else:
        connection = sqlite3.connect(path)
        if kind == "wal database":
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE diary (day)")
        connection.commit()
        connection.close()
    before = path.read_bytes()
    for is_read_only in (False, True):
        with pytest.raises(HistoryError, match="is no history of agentgauge, and is left as it is"):
            History(path, is_read_only=is_read_only)
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["notes"]


def test_where_there_is_none_to_read_or_no_folder_the_message_says_so(tmp_path):
    with pytest.raises(HistoryError, match="there is no history at"):
        History(tmp_path / "none", is_read_only=True)
    with pytest.raises(HistoryError, match="cannot be written: No such file or directory"):
        History(tmp_path / "folder" / "h")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_writing_goes_on_once_there_is_space(tmp_path):
    """A limit on the size of files is what every machine has; to SQLite it is a disk that takes no more."""
    program = textwrap.dedent("""
        import resource, signal, sys
        from agentgauge.analytics.history import History
        from agentgauge.errors import HistoryError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        history = History(sys.argv[1])
        kept, refused = [], 0
        for index in range(400):
            if index == 100:
                resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            if index == 300:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            try:
                history.write(1.7e9 + 15 * index, [("depth", (("queue", str(one)),), float(index)) for one in range(400)])
                kept.append(index)
            except HistoryError as error:
                refused += 1
                text = str(error)
        print(refused > 50, "no space left" in text or "the disk gave an error" in text)
        print(kept[-100:] == list(range(300, 400)), *kept)
    """)
    path = tmp_path / "h"
    ran = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    said, counted = ran.stdout.splitlines()
    assert said == "True True"
    assert counted.startswith("True")
    kept = [float(index) for index in counted.split()[1:]]
    with History(path) as history:
        assert [value for value in values_at(history, 0, 400) if value in kept] == kept
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_a_disk_that_fills_up_while_it_folds_costs_nothing_and_folding_goes_on_when_there_is_space(tmp_path):
    path = tmp_path / "h"
    child = os.fork()
    if not child:
        fault = 1
        try:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            with History(path, retention=FOREVER) as history:
                fill(history, 0, 120, series=1_200)
                resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "h-wal").stat().st_size + 20_000, hard))
                try:
                    while True:  # the log has some room left, and more where it begins anew
                        history.maintain()
                        fill(history, 120, 121, series=1_200)
                except HistoryError:
                    is_read = values_at(history, 0, 120, "1199") == [index + 1199 / 7 for index in range(120)]
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                    history.maintain()
                    fault = 0 if is_read and values_at(history, 0, 120) == list(range(120)) else 2
        finally:
            os._exit(fault)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM chunk").fetchone()[0] >= 1_200
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.usefixtures("no_power_is_lost")
def test_it_keeps_to_its_size_the_oldest_sweeps_go_first_and_no_write_fails(tmp_path):
    with History(tmp_path / "h", retention=FOREVER, max_bytes=2_000_000) as history:
        chance = random.Random(3)
        for index in range(1000):
            history.write(START + 15 * index, [("depth", (("queue", str(one)),), chance.random()) for one in range(200)])
            if index % 100 == 99:
                assert history.file_bytes() <= 2_000_000 + 32_768  # and the index of the log
        last = START + 15 * 999
        end = Grid.over(last - 600, last + 15, 15)
        assert len([value for value in history.frames("depth", end, {"queue": "3"})[0].values if not math.isnan(value)]) >= 40
        early, late = (
            history.frames("depth", Grid.over(at, at + 1800, 15), {"queue": "3"}, Fold.MAX)[0].values
            for at in (START, last - 1800)
        )
        assert len(set(late)) == 120
        assert len(set(early)) <= 31  # only minutes are left, at best


@pytest.mark.usefixtures("no_power_is_lost")
def test_points_give_way_too(tmp_path):
    with History(tmp_path / "h", max_bytes=1_100_000, clock=lambda: START) as history:
        for batch in range(12):
            times = [START + batch * 10_000 + second for second in range(10_000)]
            history.write_points("noted", {}, times, [math.sin(at) for at in times])
            assert history.file_bytes() < 1_300_000  # without being asked to
        kept = history.points("noted", {})[0]
        assert kept[-1] == START + 119_999
        assert 5_000 < len(kept) < 100_000


def test_points_are_forgotten_when_their_time_is_past_without_being_asked_to(tmp_path):
    now = [START]
    with History(tmp_path / "h", retention=Retention(points_seconds=100.0), clock=lambda: now[0]) as history:
        history.write_points("noted", {}, [START - 101, START - 99], [1.0, 2.0])
        assert list(history.points("noted", {})[0]) == [START - 99]
        now[0] += 2
        for _ in range(2):
            history.write_points("noted", {}, [now[0] - index / 1_000 for index in range(5_000)], [3.0] * 5_000)
        assert START - 99 not in history.points("noted", {})[0]
        history.write(START - 50, [("depth", (), 1.0)])  # a clock that leaps ahead of what is swept makes nothing go
        now[0] += 1e6
        history.maintain()
        assert len(history.points("noted", {})[0]) == 5_000


def test_a_sweep_is_synced_to_the_disk_unless_a_test_says_otherwise(tmp_path):
    with History(tmp_path / "h") as history:
        assert history._writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


VERSION_1 = """
CREATE TABLE series (id INTEGER PRIMARY KEY AUTOINCREMENT, metric TEXT NOT NULL, labels TEXT NOT NULL, UNIQUE (metric, labels));
CREATE TABLE block (id INTEGER PRIMARY KEY AUTOINCREMENT, width INTEGER NOT NULL, is_whole INTEGER NOT NULL DEFAULT 0,
    since REAL, until REAL, ends BLOB);
CREATE TABLE chunk (id INTEGER PRIMARY KEY, last BLOB NOT NULL, least BLOB, greatest BLOB, mean BLOB, count BLOB);
CREATE TABLE sweep (id INTEGER PRIMARY KEY, block INTEGER NOT NULL, at REAL NOT NULL UNIQUE);
CREATE TABLE part (id INTEGER PRIMARY KEY, numbers BLOB NOT NULL);
CREATE TABLE member (block INTEGER NOT NULL, place INTEGER NOT NULL, series BLOB NOT NULL, PRIMARY KEY (block, place))
    WITHOUT ROWID;
INSERT INTO series VALUES (7, 'depth', '{"queue":"0"}');
INSERT INTO block (id, width, since) VALUES (3, 0, 1700000000.0);
INSERT INTO member VALUES (3, 0, x'0700000000000000');
INSERT INTO sweep VALUES (1, 3, 1700000000.0), (2, 3, 1700000015.0);
INSERT INTO part VALUES (1, x'000000000000F03F'), (2, x'0000000000000040');
PRAGMA application_id = 1634158641;
PRAGMA user_version = 1;
"""


def test_a_file_of_version_1_is_brought_up_to_date_and_what_it_has_is_read(tmp_path):
    path = tmp_path / "h"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.close()
    with pytest.raises(HistoryError, match=r"an earlier agentgauge .*open it once for writing"):
        History(path, is_read_only=True)
    with History(path, retention=FOREVER) as history:
        assert values_at(history, 0, 2) == [1.0, 2.0]
        fill(history, 2, 200, series=1)
        history.write_points("noted", {}, [START], [3.0])
        history.maintain()
        assert values_at(history, 0, 200) == [1.0, 2.0, *range(2, 200)]
        assert series_count(history) == 2
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    for is_read_only in (False, True):
        with pytest.raises(HistoryError, match=r"a later agentgauge .*upgrade"):
            History(path, is_read_only=is_read_only)


def test_one_that_was_left_behind_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    path = tmp_path / "h"
    with History(path) as history:
        fill(history, 0, 10)
        copied = tmp_path / "copied"
        copied.mkdir()
        shutil.copy(path, copied / "h")
        shutil.copy(tmp_path / "h-wal", copied / "h-wal")
    connect = sqlite3.connect

    def as_on_a_medium_that_may_only_be_read(database, **settings):
        if "immutable" not in database:
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            return _Refusing(error)
        return connect(database, **settings)

    monkeypatch.setattr(sqlite3, "connect", as_on_a_medium_that_may_only_be_read)
    with History(path, is_read_only=True) as history:
        assert values_at(history, 0, 10) == list(range(10))
    with pytest.raises(HistoryError, match="copy both"):
        History(copied / "h", is_read_only=True)


class _Refusing:
    def __init__(self, error):
        self._error = error

    def execute(self, _):
        raise self._error

    def close(self):
        """Close nothing."""
