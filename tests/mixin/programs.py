"""Programs that tests start beside themselves, and what such a program said where it ended too early."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_STOP_SECONDS = 60


class Program:
    """``troubled.py`` as a child process, once it serves its metrics.

    Args:
        kind: With which faults: see there.
        folder: Where what it says goes.

    Attributes:
        url: Where its metrics are.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._log = folder / f"{kind}.log"
        with self._log.open("w") as log:
            command = [sys.executable, str(Path(__file__).with_name("troubled.py")), kind]
            self._process = subprocess.Popen(
                command,
                env=os.environ | {"TMPDIR": str(folder)},
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self.check()

    @property
    def address(self) -> str:
        """The host and port that serve its metrics."""
        return urlsplit(self.url).netloc

    def check(self) -> None:
        """Fail if it has ended, with what it said."""
        assert self._process.poll() is None, self._log.read_text()

    def stop(self) -> None:
        """End it, and wait for that."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Program]:
    """Let it run while the block does."""
    program = Program(kind, folder)
    try:
        yield program
    finally:
        program.stop()
