"""``make test``: every test, in two processes at once, and what they covered together.

Much of the time goes by in waiting, for servers, intervals and child processes, and meanwhile the other process computes. The
halves are fixed, so that in every run the same tests are before a test; and none is in neither, as the second has all that the
first has not. Arguments are those of pytest, and one process runs what they choose: ``tests/halves.py tests/recording -k fork``.
"""

from __future__ import annotations

import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# With what waits longest: a program that does well for five minutes.
FIRST = ("tests/mixin", "tests/analytics")


def main(arguments: list[str]) -> int:
    """Run the tests, and combine what was covered.

    Args:
        arguments: Those of pytest; without any, all tests run.

    Returns:
        The exit status of the half that failed, or 0.
    """
    os.chdir(ROOT)
    compileall.compile_dir("src", quiet=1)  # once, and not in each of a thousand children where Python is told to keep nothing
    if arguments:
        os.execv(sys.executable, _pytest(".coverage", *arguments))
    with tempfile.TemporaryFile() as kept:  # what two write at once nobody can read
        first = subprocess.Popen(_pytest(".coverage.first", *FIRST))
        rest = (f"--ignore={folder}" for folder in FIRST)
        second = subprocess.Popen(_pytest(".coverage.second", *rest), stdout=kept, stderr=subprocess.STDOUT)
        # A terminal interrupts the halves itself. Then, as here, they end the servers that they have started.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: [half.send_signal(signal.SIGINT) for half in (first, second)])
        status = first.wait() or second.wait()
        second.wait()
        kept.seek(0)
        shutil.copyfileobj(kept, sys.stdout.buffer)
        sys.stdout.flush()
    combine = ("combine", "--quiet", "--data-file=.coverage", ".coverage.first", ".coverage.second")
    return status or subprocess.call((sys.executable, "-m", "coverage", *combine))


def _pytest(covered: str, *arguments: str) -> tuple[str, ...]:
    # each half would remember its failures as if there were no others
    once = () if covered == ".coverage" else ("-p", "no:cacheprovider")
    return (sys.executable, "-m", "coverage", "run", f"--data-file={covered}", "-m", "pytest", *once, *arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
