"""The example that heals itself: what is broken in it comes back, and its lines say how."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "examples" / "self_healing.py"


def test_a_killed_store_and_a_hanging_agent_come_back_by_themselves():
    ended = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True, timeout=240, check=False)
    story = re.sub(r"^ *[\d.]+ s  ", "", ended.stdout, flags=re.MULTILINE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    for component, broken, action in (
        ("store", "the store was killed", "restart_store"),
        ("archivist", "the archivist hangs", "restart_archivist"),
    ):
        # in this order
        assert re.search(
            rf"^{broken}$.*^{component}: \[critical\] started.*^{component}: {action}, since .+: recovered$"
            rf".*^{component}: recovered [\d.]+ s after its alert$",
            story,
            re.DOTALL | re.MULTILINE,
        ), story
    assert re.search(r"^\d+ notes were filed; all is well$", story, re.MULTILINE)
