"""Where a folder may only be read: a history in it is read all the same, and who wants to write is told what to do."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agentgauge.analytics.history import History
from agentgauge.analytics.own_history import OwnHistory
from agentgauge.analytics.sources import open_source
from agentgauge.config import Config
from agentgauge.errors import AgentgaugeError

START = 1_700_000_000.0
SOMEBODY = 65_534


@pytest.fixture
def folder():
    """Give a folder that other users may look into, with a history."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with History(folder / "h") as history:
            for index in range(5):
                history.write(START + 15 * index, [("depth", (), float(index))])
        yield folder
        folder.chmod(0o755)


class Child:
    """A forked process without the rights of a superuser; it does one thing each time it is asked, and says what came of it."""

    def __init__(self, *deeds):
        asked, self._ask = os.pipe()
        self._said, say = os.pipe()
        self._process = os.fork()
        if not self._process:
            try:
                os.close(self._ask)
                if os.geteuid() == 0:  # who runs the tests may be allowed everything
                    os.setgroups([])
                    os.setgid(SOMEBODY)
                    os.setuid(SOMEBODY)
                for deed in deeds:
                    os.read(asked, 1)
                    try:
                        text = str(deed())
                    except AgentgaugeError as error:
                        text = f"{type(error).__name__}: {error}"
                    os.write(say, text.encode())
            finally:
                os._exit(0)
        os.close(asked)
        os.close(say)

    def next(self):
        os.write(self._ask, b".")
        return os.read(self._said, 10_000).decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._ask)
        os.close(self._said)
        os.waitpid(self._process, 0)


def start(path):
    OwnHistory(Config(history_file=str(path)), CollectorRegistry())


def test_a_history_that_lies_where_nothing_can_be_written_is_read_and_seen_to_grow_when_somebody_else_writes(folder):
    path = folder / "h"
    folder.chmod(0o555)
    opened = []

    def extent():
        opened[:] = opened or [open_source(path)]
        return opened[0].extent()

    with Child(extent, extent, extent, extent, extent) as child:
        assert child.next() == "(1700000000.0, 1700000060.0)"
        assert sorted(other.name for other in folder.iterdir()) == ["h", "h.lock"]
        folder.chmod(0o755)
        with History(path) as history:
            for index in range(5, 160):
                history.write(START + 15 * index, [("depth", (), float(index))])
                if index in {5, 150}:
                    assert child.next() == f"(1700000000.0, {START + 15 * index})"
        folder.chmod(0o555)
        assert child.next() == f"(1700000000.0, {START + 15 * 159})"
        assert child.next() == f"(1700000000.0, {START + 15 * 159})"


def test_who_may_not_write_in_the_folder_is_told_the_setting_and_what_to_do(folder):
    path = folder / "h"
    folder.chmod(0o555)
    with Child(lambda: History(path), lambda: start(path), lambda: start(folder / "new")) as child:
        told = child.next()
        assert told.startswith(f"HistoryError: {path} cannot be written: Permission denied: {path}.lock: ")
        assert told.endswith("let this program write in that folder, or give another path")
        for name in ("h", "new"):
            told = child.next()
            assert told.startswith(f"ConfigurationError: history_file='{folder}/{name}': this program may not write in {folder};")
            assert told.endswith("give it that right, or another path")


def test_who_may_not_look_into_the_folder_is_told_so(folder):
    path = folder / "h"
    with Child(
        lambda: open_source(path), lambda: History(path, is_read_only=True), lambda: start(path), lambda: start(path / "x" / "y")
    ) as child:
        folder.chmod(0o600)
        assert (
            child.next() == f"SourceError: {path} cannot be read: Permission denied: give this user that right, and its folder's"
        )
        assert child.next().startswith(f"HistoryError: {path}: this program may not read it, or not look into its folder")
        assert child.next().startswith(f"ConfigurationError: history_file='{path}': this program may not write in")
        assert child.next().startswith(f"ConfigurationError: history_file='{path}/x/y': {path}/x is no folder to write in")


def test_a_file_that_may_not_be_read_or_written_is_told_of_and_not_waited_for(folder):
    path = folder / "h"
    path.chmod(0o000)
    with Child(lambda: open_source(path), lambda: start(path), lambda: start(path)) as child:
        assert "it, or what SQLite keeps beside it, cannot be opened: look at its permissions" in child.next()
        folder.chmod(0o777)
        path.chmod(0o444)
        assert child.next().startswith(
            f"ConfigurationError: history_file: {path} cannot be written: Permission denied: {path}.lock"
        )
        (folder / "h.lock").chmod(0o666)
        assert child.next().startswith(f"ConfigurationError: history_file: {path}: this program may not write to it")
        path.chmod(0o644)
    assert open_source(path).extent() == (START, START + 60)
