"""The heartbeat file, and ``agentgauge probe``, which tells by it whether a program lives and is ready."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentgauge
from agentgauge import ConfigurationError, heartbeat, probe
from agentgauge.errors import contained_errors
from agentgauge.heartbeat import Heartbeat

PATIENCE_SECONDS = 60.0
ALONE = [sys.executable, "-I", "-S", probe.__file__]
AS_INSTALLED = [sys.executable, "-m", "agentgauge", "probe"]

WRITER = """
import sys, time
from agentgauge.heartbeat import Heartbeat
Heartbeat(sys.argv[1], interval_seconds=float(sys.argv[2])).start()
print("started", flush=True)
time.sleep(600)
"""


@dataclass
class Report:
    is_ready: bool = True
    status: str = "healthy"


class Source:
    def __init__(self, report=None):
        self.report = report or Report()

    def health_report(self):
        if isinstance(self.report, Exception):
            raise self.report
        return self.report


@pytest.fixture
def path(tmp_path):
    return tmp_path / "heartbeat"


@pytest.fixture
def beating(path):
    """Start a heartbeat on the file; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(source=None, interval_seconds=0.01, **options):
            beat = Heartbeat(path, source, interval_seconds, **options)
            stack.callback(beat.stop)
            beat.start()
            return beat

        yield start


@contextlib.contextmanager
def writer(path, interval_seconds=600.0):
    """Run another process that writes the file."""
    command = [sys.executable, "-c", WRITER, str(path), str(interval_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "started\n"
            yield process
        finally:
            process.kill()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.005)


def holds_in_a_child(condition):
    """Fork, and tell whether the condition holds there."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if condition() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def ask(capsys, *words):
    status = probe.main([str(word) for word in words])
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("\n") == 1
    return status, printed.out + printed.err


def fields_of(path):
    return json.loads(path.read_text())


def write(path, **changed):
    """Write a file as this process would, but for what is changed."""
    fields = {
        "format": probe.FORMAT,
        "monotonic_seconds": time.monotonic(),
        **probe.identity(),
        "interval_seconds": 5.0,
        "ready": True,
        "status": "healthy",
        **changed,
    }
    path.write_text(json.dumps(fields))


# --- the probe -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [ALONE, AS_INSTALLED], ids=["alone", "installed"])
def test_the_command_tells_of_another_process_whether_it_lives(command, path):
    def run(*words):
        done = subprocess.run(
            [*command, str(path), *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    with writer(path) as process:
        status, line = run("--ready")
        assert (status, line.startswith(f"ok: process {process.pid}, last heartbeat ")) == (0, True)
    assert run() == (1, f"process {process.pid} has ended\n")


def test_the_command_loads_neither_agentgauge_nor_what_takes_long():
    loaded = subprocess.run(
        [*ALONE[:3], "-c", f"import runpy, sys; runpy.run_path({probe.__file__!r}); print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    ).stdout.split()
    assert not {"agentgauge", "argparse", "pathlib", "logging", "subprocess", "prometheus_client", "threading"} & set(loaded)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize(("status", "is_ready"), [(0, True), (1, False)])
def test_the_status_does_not_depend_on_whether_the_line_can_be_written(path, redirection, status, is_ready):
    write(path, ready=is_ready)
    shell = f"{shlex.join([*ALONE, str(path), '--ready'])} {redirection}"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (status, b"")


def test_a_status_with_odd_letters_is_told_as_far_as_it_can_be(path):
    write(path, status="\ud800")
    done = subprocess.run([*ALONE, str(path)], capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_that_is_fresh_is_well(path, capsys):
    write(path, ready=False, status="critical")
    status, line = ask(capsys, path)
    assert status == 0
    assert line.startswith(f"ok: process {os.getpid()}, last heartbeat 0.0 s old, health critical")


def test_readiness_is_asked_for_with_an_option(path, capsys):
    write(path, ready=False, status="critical")
    assert ask(capsys, "--ready", path) == (1, f"process {os.getpid()} is not ready: its health is critical\n")
    write(path)
    assert ask(capsys, path, "--ready")[0] == 0


def test_a_beat_that_is_too_old_is_not_well_though_the_process_lives(path, capsys):
    write(path, monotonic_seconds=time.monotonic() - 100)
    status, line = ask(capsys, path)
    assert status == 1
    assert line.startswith("the last heartbeat is 100.")
    assert line.endswith(f"s old, more than 30 s: process {os.getpid()} lives, but does not get to write\n")
    assert ask(capsys, path, "--max-age", "1000")[0] == 0
    assert ask(capsys, path, "--max-age=1000")[0] == 0
    assert ask(capsys, path, "--max-age=99")[0] == 1
    write(path, monotonic_seconds=time.monotonic() - 100, interval_seconds=60)
    assert ask(capsys, path)[0] == 0  # six of its intervals


def test_a_process_that_has_ended_is_told_by_its_id(path, capsys):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    write(path, pid=process.pid)
    assert ask(capsys, path) == (1, f"process {process.pid} has ended\n")


def test_a_process_that_nobody_has_waited_for_has_ended(path, capsys):
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        wait_until(lambda: probe._process(child)[0] == "Z")
        write(path, pid=child, process_start=probe._process(child)[1])
        assert ask(capsys, path) == (1, f"process {child} has ended\n")
    finally:
        os.waitpid(child, 0)


def test_another_process_with_the_same_id_is_told_by_when_it_started(path, capsys):
    write(path, process_start=probe.identity()["process_start"] - 1)
    assert ask(capsys, path) == (1, f"process {os.getpid()} has ended, and another has its id\n")


def test_a_stopped_process_is_named_as_such_when_its_beat_is_late(path, capsys):
    with writer(path, 0.01) as process:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: probe._process(process.pid)[0] == "T")
        assert ask(capsys, path, "--max-age=1000")[0] == 0
        wait_until(lambda: ask(capsys, path, "--max-age=0.2")[0] == 1)
        line = ask(capsys, path, "--max-age=0.2")[1]
        assert line.endswith(f"process {process.pid} is stopped (SIGSTOP, or a debugger)\n")
        os.kill(process.pid, signal.SIGCONT)
        wait_until(lambda: ask(capsys, path, "--max-age=10")[0] == 0)


def test_a_file_of_an_earlier_boot_says_nothing(path, capsys):
    write(path, boot_id="0b7e")
    assert ask(capsys, path) == (1, "the heartbeat is from before this machine started\n")


@pytest.mark.parametrize("seconds", [1e12, math.nan, math.inf])
def test_a_file_that_is_dated_in_the_future_says_nothing(path, capsys, seconds):
    write(path, monotonic_seconds=seconds)
    assert ask(capsys, path)[0] == 1


def test_in_another_pid_namespace_age_alone_counts(path, capsys):
    write(path, pid=2**22 + 5, process_start=0, pid_namespace="pid:[1]")
    assert ask(capsys, path)[0] == 0
    write(path, pid=2**22 + 5, pid_namespace="pid:[1]", monotonic_seconds=time.monotonic() - 100)
    assert ask(capsys, path)[0] == 1


def test_without_a_proc_that_shows_it_a_process_lives_as_long_as_it_can_be_signalled(path, capsys, monkeypatch):
    write(path)
    real_open = open

    def no_proc(name, *args, **options):
        if str(name).endswith("/stat"):
            raise FileNotFoundError(name)
        return real_open(name, *args, **options)

    monkeypatch.setattr("builtins.open", no_proc)
    assert ask(capsys, path)[0] == 0
    write(path, pid=2**22 + 5)
    assert ask(capsys, path) == (1, f"process {2**22 + 5} has ended\n")


def test_where_there_is_no_file_nothing_has_started(path, capsys):
    said = f"there is no {path}: no program has started that writes it, or it has stopped\n"
    assert ask(capsys, path) == (1, said)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1024,
        b"{",
        b"[]",
        b"null",
        b"5",
        b'{"format": "agentgauge-heartbeat-2"}',
        b'{"format": "agentgauge-heartbeat-1"}',
        b"[" * 4096,
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_something_else_is_named(path, capsys, content):
    path.write_bytes(content)
    assert ask(capsys, path) == (1, f"{path} is no heartbeat file of agentgauge\n")


@pytest.mark.parametrize(
    "changed", [{"pid": "x"}, {"pid": None}, {"monotonic_seconds": "soon"}, {"interval_seconds": []}, {"pid": 1e400}]
)
def test_a_file_with_a_broken_field_is_named(path, capsys, changed):
    write(path, **changed)
    assert ask(capsys, path) == (1, f"{path} is no heartbeat file of agentgauge\n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from(["format", "monotonic_seconds", "boot_id", "pid", "interval_seconds", "status"]), JSON))
def test_no_content_makes_the_probe_fail_but_by_its_status(tmp_path_factory, changed):
    path = tmp_path_factory.getbasetemp() / "any-heartbeat"
    write(path, **changed)
    assert probe.main([str(path)]) in (0, 1)


def test_what_is_no_file_is_named_at_once(tmp_path, capsys):
    assert ask(capsys, tmp_path)[0] == 1
    os.mkfifo(tmp_path / "pipe")  # which a plain open would wait at
    assert ask(capsys, tmp_path / "pipe")[0] == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "give one heartbeat file"),
        ([""], "give one heartbeat file"),
        (["a", "b"], "give one heartbeat file"),
        (["a", "--", "b"], "give one heartbeat file"),
        (["--bogus", "a"], "unrecognized arguments: --bogus"),
        (["--max-age", "soon", "a"], "--max-age 'soon': give a number of seconds above 0, such as 30"),
        (["--max-age=0", "a"], "--max-age '0': give"),
        (["--max-age=nan", "a"], "--max-age 'nan': give"),
        (["a", "--max-age"], "--max-age '': give"),
    ],
)
def test_a_wrong_option_is_said_in_one_line_with_status_2(words, complaint, capsys):
    status, line = ask(capsys, *words)
    assert status == 2
    assert line.startswith(f"agentgauge probe: {complaint}")


def test_a_file_whose_name_looks_like_an_option_can_be_given(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "--ready")
    assert ask(capsys, "--", "--ready")[0] == 0


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_told(word, capsys):
    assert probe.main([word]) == 0
    assert "--max-age SECONDS" in capsys.readouterr().out


# --- the file ------------------------------------------------------------------------------------------------------------


def test_the_file_says_who_writes_it_and_how_it_is(path, beating):
    beating(Source(Report(is_ready=False, status="critical")), 600.0)
    wait_until(lambda: fields_of(path)["status"] == "critical")
    fields = fields_of(path)
    assert {name: fields[name] for name in ("format", "pid", "interval_seconds", "ready")} == {
        "format": "agentgauge-heartbeat-1",
        "pid": os.getpid(),
        "interval_seconds": 600.0,
        "ready": False,
    }
    assert time.monotonic() - PATIENCE_SECONDS < fields["monotonic_seconds"] <= time.monotonic()
    assert fields["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert path.stat().st_mode & 0o444 == 0o444  # a probe may be another user's


def test_it_is_renewed_again_and_again(path, beating):
    beating()
    seen = set()
    wait_until(lambda: seen.add(fields_of(path)["monotonic_seconds"]) or len(seen) >= 3)


def test_a_reader_never_finds_half_of_it(path, beating):
    beating(interval_seconds=0.0001)
    for _ in range(300):
        assert len(path.read_bytes()) == 1024
        assert probe.read(str(path)).pid == os.getpid()


def test_stop_removes_it_and_ends_the_threads(path, beating):
    beat = beating(Source())
    names = {"agentgauge-heartbeat", "agentgauge-heartbeat-health"}
    assert names <= {thread.name for thread in threading.enumerate()}
    beat.stop()
    beat.stop()
    assert list(path.parent.iterdir()) == []
    assert not names & {thread.name for thread in threading.enumerate()}


def test_a_change_of_health_is_written_at_once(path):
    source = Source()
    beat = Heartbeat(path, source, 600.0)
    beat.start()
    try:
        wait_until(lambda: fields_of(path)["ready"])
        source.report = Report(is_ready=False, status="down")
        beat._ask()
        wait_until(lambda: not fields_of(path)["ready"])
        assert fields_of(path)["status"] == "down"
    finally:
        beat.stop()


def test_a_source_that_raises_all_of_a_sudden_is_not_taken_for_what_it_said_before(path):
    source = Source()
    beat = Heartbeat(path, source, 600.0)
    beat.start()
    try:
        wait_until(lambda: fields_of(path)["ready"])
        source.report = LookupError("its own fault")
        beat._ask()
        wait_until(lambda: not fields_of(path)["ready"])
        assert fields_of(path)["status"] == "unknown"
    finally:
        beat.stop()


def test_without_a_source_it_is_ready_and_its_health_unknown(path, beating):
    beating()
    assert (fields_of(path)["ready"], fields_of(path)["status"]) == (True, "unknown")


def test_a_source_that_raises_leaves_the_program_alive_and_not_ready(path, beating, capsys):
    before = contained_errors.count_by_hook.get("health", 0)
    beating(Source(LookupError("its own fault")))
    wait_until(lambda: contained_errors.count_by_hook.get("health", 0) > before + 2)
    assert ask(capsys, path)[0] == 0
    assert ask(capsys, path, "--ready") == (1, f"process {os.getpid()} is not ready: its health is unknown\n")


def test_a_source_that_hangs_leaves_the_program_alive_and_soon_not_ready(path, beating, capsys, monkeypatch):
    gate = threading.Event()

    class Hung(Source):
        def health_report(self):
            if hangs:
                gate.wait(PATIENCE_SECONDS)
            return super().health_report()

    hangs = False
    beat = beating(Hung())
    wait_until(lambda: fields_of(path)["ready"])
    hangs = True
    monkeypatch.setattr(heartbeat, "_FRESH_INTERVALS", 0.01)
    wait_until(lambda: not fields_of(path)["ready"])
    written = fields_of(path)["monotonic_seconds"]
    wait_until(lambda: fields_of(path)["monotonic_seconds"] > written)
    assert ask(capsys, path)[0] == 0
    assert fields_of(path)["status"] == "unknown"
    gate.set()
    beat.stop()


def test_a_forked_child_neither_writes_nor_removes_its_parent_s_file(path, beating):
    beat = beating()

    def stop():
        beat.stop()
        return not any("heartbeat" in thread.name for thread in threading.enumerate()) and path.exists()

    assert holds_in_a_child(stop)
    assert fields_of(path)["pid"] == os.getpid()


def test_while_another_process_writes_the_file_this_one_does_not_and_then_it_does(path, beating, caplog):
    with writer(path) as process:
        beat = beating()
        assert fields_of(path)["pid"] == process.pid
        beat._beat()
        beat._beat()
        [said] = [record.getMessage() for record in caplog.records if "heartbeat" in record.getMessage()]
        assert said.startswith(f"process {process.pid} writes the heartbeat file {path}; process {os.getpid()} does not, until ")
        process.kill()
        process.wait()
        wait_until(lambda: fields_of(path)["pid"] == os.getpid())


def test_a_process_that_starts_in_the_same_instant_spoils_nothing(path, beating, monkeypatch):
    real_open, real_replace = os.open, os.replace

    def open_in_the_other(name, flags, *mode):
        if flags & os.O_CREAT:
            os._exit(0)  # as far as it got when this one went on
        return real_open(name, flags, *mode)

    def begin():
        monkeypatch.setattr(os, "open", open_in_the_other)
        Heartbeat(path).start()

    def replace(new, place):
        assert holds_in_a_child(begin)
        real_replace(new, place)

    monkeypatch.setattr(os, "replace", replace)
    beating(interval_seconds=600.0)
    assert fields_of(path)["pid"] == os.getpid()


def test_stop_leaves_a_file_that_another_process_writes(path, beating):
    with writer(path) as process:
        beating().stop()
        assert fields_of(path)["pid"] == process.pid


def test_a_writer_that_is_stuck_gives_the_file_up(path, beating):
    with writer(path, 0.001) as process:
        os.kill(process.pid, signal.SIGSTOP)
        beating()
        wait_until(lambda: fields_of(path)["pid"] == os.getpid())


@pytest.mark.parametrize("fault", ["create", "write"])
def test_a_full_disk_does_not_end_the_beat(path, beating, monkeypatch, fault):
    beat = beating(interval_seconds=600.0)
    before = fields_of(path)["monotonic_seconds"]
    real_open, real_write = os.open, os.write

    def open_(name, flags, *mode):
        if flags & os.O_CREAT and fault == "create":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_open(name, flags, *mode)

    def write_(descriptor, data):
        if fault == "write" and os.fstat(descriptor).st_size == 0:
            return real_write(descriptor, data[:100])
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "write", write_)
    beat._beat()
    assert fields_of(path)["monotonic_seconds"] > before
    assert len(path.read_bytes()) == 1024
    assert [entry.name for entry in path.parent.iterdir()] == ["heartbeat"]


def test_a_folder_that_goes_away_is_counted_and_ends_nothing(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    beat = Heartbeat(folder / "heartbeat", interval_seconds=0.01)
    beat.start()
    before = contained_errors.count_by_hook.get("heartbeat", 0)
    folder.rename(tmp_path / "gone")
    wait_until(lambda: contained_errors.count_by_hook.get("heartbeat", 0) > before)
    (tmp_path / "gone").rename(folder)
    written = fields_of(folder / "heartbeat")["monotonic_seconds"]
    wait_until(lambda: fields_of(folder / "heartbeat")["monotonic_seconds"] > written)
    beat.stop()


def test_what_a_killed_process_left_is_swept(path, beating):
    path.with_name(f".heartbeat.{os.getpid()}.new").write_text("half")
    beating()
    wait_until(lambda: [entry.name for entry in path.parent.iterdir()] == ["heartbeat"])


def test_no_link_is_followed(path, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("precious")
    path.symlink_to(mine)
    with pytest.raises(ConfigurationError, match="something else than a heartbeat file"):
        Heartbeat(path)
    path.unlink()
    path.with_name(f".heartbeat.{os.getpid()}.new").symlink_to(mine)
    beat = Heartbeat(path)
    beat.start()
    beat.stop()
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("wrong", [5, "", None, "a\0b"])
def test_what_is_no_path_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="heartbeat_file="):
        Heartbeat(wrong)


def test_a_path_that_cannot_work_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match="no folder to write in"):
        Heartbeat(tmp_path / "no" / "heartbeat")
    with pytest.raises(ConfigurationError, match="something else than a heartbeat file"):
        Heartbeat(tmp_path)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigurationError, match="something else than a heartbeat file"):
        Heartbeat(tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"
    (tmp_path / "empty").touch()
    Heartbeat(tmp_path / "empty")


def test_why_the_file_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot be written \(File name too long"):
        Heartbeat(tmp_path / ("x" * 254)).start()


def test_a_named_pipe_that_takes_the_file_s_place_holds_nothing_up(path, beating, monkeypatch):
    beat = beating(interval_seconds=600.0)
    path.unlink()
    os.mkfifo(path)

    def refuse(_new, _place):
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as in a folder with the sticky bit

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No such device or address"):
        beat._beat()


def test_arguments_that_cannot_work_are_refused(path):
    with pytest.raises(ConfigurationError, match="heartbeat_interval_seconds=0"):
        Heartbeat(path, interval_seconds=0)
    with pytest.raises(ConfigurationError, match="source="):
        Heartbeat(path, object())


def test_a_heartbeat_starts_once(path, beating):
    beat = beating()
    with pytest.raises(RuntimeError, match="starts once"):
        beat.start()


# --- start() -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(fresh):
    """Start agentgauge with these settings and no collectors; it is stopped with the test."""
    agentgauge.stop()
    yield lambda **settings: agentgauge.start(**{"port": 0, "registry": fresh.registry, "collectors": ()} | settings)
    agentgauge.stop()


def test_start_writes_the_file_and_stop_removes_it(path, running, capsys):
    running(heartbeat_file=path, heartbeat_interval_seconds=0.5)
    assert fields_of(path)["interval_seconds"] == 0.5
    assert ask(capsys, path, "--ready")[0] == 0
    agentgauge.stop()
    assert not path.exists()


def test_the_file_comes_from_the_environment_and_needs_no_server(path, running, monkeypatch, capsys):
    monkeypatch.setenv("AGENTGAUGE_HEARTBEAT_FILE", str(path))
    running(is_server_enabled=False)
    assert ask(capsys, path, "--ready")[0] == 0


def test_the_file_shows_the_health_of_the_monitor_that_start_was_given(path, running, capsys):
    source = Source(Report(is_ready=False, status="down"))
    running(heartbeat_file=path, heartbeat_interval_seconds=0.01, health=source)
    wait_until(lambda: fields_of(path)["status"] == "down")
    assert ask(capsys, path)[0] == 0
    assert ask(capsys, path, "--ready")[0] == 1


def test_a_file_that_cannot_work_ends_the_start_before_anything_starts(tmp_path, running):
    threads = set(threading.enumerate())
    with pytest.raises(ConfigurationError, match="heartbeat_file="):
        running(heartbeat_file=tmp_path / "no" / "heartbeat")
    assert set(threading.enumerate()) <= threads


def test_a_second_start_with_another_file_is_refused(path, running):
    monitor = running(heartbeat_file=path)
    assert agentgauge.start(heartbeat_file=path) is monitor
    with pytest.raises(ConfigurationError, match="another heartbeat_file"):
        agentgauge.start(heartbeat_file=path.with_name("other"))


def test_a_forked_child_that_starts_anew_leaves_the_file_to_its_living_parent(path, running):
    running(heartbeat_file=path, heartbeat_interval_seconds=600.0)

    def start_and_stop():
        running(heartbeat_file=path, heartbeat_interval_seconds=600.0)
        agentgauge.stop()
        return fields_of(path)["pid"] == os.getppid()

    assert holds_in_a_child(start_and_stop)
    assert fields_of(path)["pid"] == os.getpid()
