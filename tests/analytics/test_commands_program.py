"""From a program with a history to the commands' answers."""

from __future__ import annotations

import json
import subprocess
import sys

from agentgauge import cli

PROGRAM = """
import contextlib, time, agentgauge, agentgauge.monitor
agentgauge.start(port=0, history_file="history.db", history_interval_seconds=1)
for number in range(300):
    with contextlib.suppress(ValueError, TimeoutError), agentgauge.track("researcher", "search") as call:
        time.sleep(0.005)
        if number % 10 == 0:
            raise ValueError
        if number % 10 == 1:
            raise TimeoutError
        if number % 10 == 2:
            call.set_outcome("cancelled")
agentgauge.stop()
"""


def test_a_report_and_its_objectives_count_what_a_short_program_did(tmp_path, capsys):
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, check=True, timeout=120)
    assert cli.main(["report", "--source", str(tmp_path / "history.db"), "--section", "overview", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["sections"]["overview"]["tables"]["tasks"]["rows"]
    assert (row["agent"], row["task"], row["tasks"], row["cancelled"]) == ("researcher", "search", 300, 30)
    assert (row["errors"], row["error_ratio"]) == (60, 60 / 270)  # of those that were not cancelled
    assert cli.main(["slo", "--source", str(tmp_path / "history.db"), "--objective", "researcher/search=70%", "--json"]) == 0
    (kept,) = json.loads(capsys.readouterr().out)["sections"]["slo"]["tables"]["objectives"]["rows"]
    assert (kept["calls"], kept["bad"], kept["ratio"]) == (270, 60, 1 - 60 / 270)
