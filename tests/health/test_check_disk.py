"""``DiskWritableCheck``: directories, full and failing disks, mounts that hang."""

from __future__ import annotations

import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import DiskWritableCheck
from agentgauge.health.status import ComponentType, Schedule, Status

PATIENT = Schedule(timeout_seconds=20)


def look(path, **settings):
    return DiskWritableCheck(**{"name": "disk", "path": path, "schedule": PATIENT, **settings}).check()


def test_a_directory_that_can_be_written_is_healthy_and_left_as_it_was(tmp_path):
    (tmp_path / "mine").write_text("kept")
    found = look(tmp_path)
    assert (found.status, found.condition) == (Status.HEALTHY, "")
    assert found.details["free_bytes"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def noting(calls, name):
    real = getattr(os, name)

    def call(*arguments):
        calls.append((name, arguments[0]))
        return real(*arguments)

    return call


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_writes_puts_on_the_disk_and_reads_the_same_file(tmp_path, monkeypatch):
    calls = []
    for name in ("write", "fsync", "pread", "close"):
        monkeypatch.setattr(os, name, noting(calls, name))
    look(tmp_path)
    ours = [name for name, descriptor in calls if descriptor == calls[0][1]]
    assert ours == ["write", "fsync", "pread", "close"]


def raising(number):
    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("name", "number", "condition"),
    [
        ("write", errno.ENOSPC, "disk_full"),
        ("fsync", errno.ENOSPC, "disk_full"),
        ("write", errno.EDQUOT, "disk_full"),
        ("open", errno.EROFS, "not_writable"),
        ("open", errno.EACCES, "permission"),
        ("fsync", errno.EIO, "not_writable"),
    ],
)
def test_a_disk_that_refuses_is_critical_by_its_cause_and_keeps_nothing(tmp_path, monkeypatch, name, number, condition):
    descriptors = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, name, raising(number))
        found = look(tmp_path)
    assert (found.status, found.condition) == (Status.CRITICAL, condition)
    assert found.suggestions
    assert list(tmp_path.iterdir()) == []
    assert open_descriptors() == descriptors


def test_what_is_read_must_be_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "pread", lambda *_: b"other")
    found = look(tmp_path)
    assert (found.status, found.condition) == (Status.CRITICAL, "not_writable")
    assert "not what was written" in found.message


def test_a_limit_on_the_size_of_files_is_told(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        found = look(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (found.status, found.condition) == (Status.CRITICAL, "not_writable")
    assert any("ulimit" in suggestion for suggestion in found.suggestions)


def test_a_directory_that_is_not_there_is_critical(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nothing", tmp_path / "file", str(tmp_path / "file" / "below")):
        found = look(path)
        assert (found.status, found.condition) == (Status.CRITICAL, "not_writable")
        assert "does not exist" in found.suggestions[0]


def test_a_file_system_that_takes_no_files_is_critical():
    found = look("/proc/self")
    assert found.status is Status.CRITICAL
    assert found.condition in {"not_writable", "permission"}


def test_less_room_than_wanted_is_critical(tmp_path):
    assert look(tmp_path, minimum_free_bytes=1).status is Status.HEALTHY
    found = look(tmp_path, minimum_free_bytes=2**60)
    assert (found.status, found.condition) == (Status.CRITICAL, "disk_full")
    assert found.details["free_bytes"] > 0


def test_a_mount_that_hangs_costs_one_thread_and_the_check_alone(tmp_path, monkeypatch):
    is_over = threading.Event()
    asked = []
    real = os.open

    def hang(path, *arguments):
        asked.append(path)
        is_over.wait(20)
        return real(path, *arguments)

    quick = Schedule(timeout_seconds=0.1)
    (tmp_path / "other").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", hang)
        for _ in range(5):
            found = look(tmp_path, schedule=quick)
            assert (found.status, found.condition) == (Status.DOWN, "timeout")
        assert len(asked) == 1
    assert look(tmp_path / "other").status is Status.HEALTHY
    is_over.set()
    for thread in threading.enumerate():
        if thread.name == "agentgauge-check-aside":
            thread.join(20)
    assert look(tmp_path).status is Status.HEALTHY
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_slow_disk_is_a_warning(tmp_path):
    assert look(tmp_path, slow_seconds=1e-9).condition == "slow"


def test_it_is_storage_by_default_and_takes_a_text_or_a_path(tmp_path):
    assert DiskWritableCheck(name="d", path=Path("/")).component_type is ComponentType.STORAGE
    assert look(str(tmp_path)).status is Status.HEALTHY


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"path": ""}, "path"),
        ({"path": None}, "path"),
        ({"path": "a\0b"}, "path"),
        ({"path": "/", "minimum_free_bytes": -1}, "minimum_free_bytes"),
        ({"path": "/", "minimum_free_bytes": 1.5}, "minimum_free_bytes"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(settings, match):
    with pytest.raises(ConfigurationError, match=match):
        DiskWritableCheck(name="d", **settings)
