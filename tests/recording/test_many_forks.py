"""A thousand forks of a program that records, scrapes and logs leave no child that hangs, and exact books."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORKS = int(os.environ.get("FORKS", "1000"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def test_forks_from_calls_handlers_and_threads_while_others_record_scrape_and_log_hang_no_child_and_lose_no_count(tmp_path):
    """The program is fork_storm.py; each of its children checks that it starts from zero, records, and can be scraped."""
    program, output = Path(__file__).with_name("fork_storm.py"), tmp_path / "output"
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", str(program)]
    with output.open("w") as opened:
        done = subprocess.run(
            [*command, str(FORKS), str(tmp_path / "log")], stdout=opened, stderr=opened, timeout=600, check=False
        )
    assert done.returncode == 0, output.read_text()
    assert output.read_text().startswith(f"{FORKS} forks in "), output.read_text()
