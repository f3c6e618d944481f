"""What commands say where there is one of something, and that figures in words and tables have their unit."""

from __future__ import annotations

import re

import pytest

from agentgauge import cli
from agentgauge.analytics.history import History

BEGIN = 1_764_000_000
TOOL = {"gen_ai_agent_name": "researcher", "gen_ai_tool_name": "search"}
WINDOW = (f"--since={BEGIN}", f"--until={BEGIN + 60 * 299}")


@pytest.fixture
def told(tmp_path, capsys):
    path = tmp_path / "agents.history"
    times = [float(BEGIN + 60 * index) for index in range(300)]
    with History(path, clock=lambda: times[-1]) as history:
        history.write_points("agentgauge_build_info", {}, times, [1.0] * 300)
        megabytes = [180 if 200 <= minute < 230 else 80 + minute % 4 for minute in range(300)]
        history.write_points("process_resident_memory_bytes", {}, times, [float(many << 20) for many in megabytes])
        calls = "gen_ai_execute_tool_duration_seconds"
        for metric, each in (("agent_repeated_tool_calls_total", 0.5), (f"{calls}_count", 1.0), (f"{calls}_sum", 2.0)):
            history.write_points(metric, TOOL, times, [each * minute for minute in range(300)])

    def asked(command: str, *options: str) -> str:
        assert cli.main([command, "--source", str(path), *WINDOW, *options]) == 0
        return capsys.readouterr().out

    return asked


def test_one_piece_of_advice_is_one_and_its_gain_has_its_unit(told):
    text = told("recommend")
    assert "1 piece of advice.\n" in text
    assert re.search(r"Expected gain: 2[34](\.\d)? min/day\.", " ".join(text.split()))
    assert text.partition("Expected gains")[2].partition("Evidence")[0].count(" min/day") == 3
    assert "2 s" in text.partition("Evidence")[2]


def test_one_anomaly_is_one_stretch_of_time_and_its_table_has_units(told):
    text = told("anomalies", "--measure", "process_memory")
    assert "1 stretch of time was out of the ordinary." in text
    (row,) = [line for line in text.splitlines() if " level shift " in line and line.startswith("  2")]
    assert row.count(" MiB") == 2


def test_a_forecast_has_units(told):
    assert "MiB" in told("forecast", "--measure", "process_memory").partition("\nIn ")[2].partition("\n\n")[0]


def test_a_comparison_has_units(told):
    text = told("compare", "--at", f"{BEGIN + 60 * 150}", "--measure", "process_memory")
    (row,) = [line for line in text.splitlines() if " MiB " in line and not line.startswith("   ")]
    assert "  memory of the process  " in row
    assert row.count(" MiB ") >= 5
