from __future__ import annotations

import re

from dspy_table import DspyResult, render_dspy

NANOSECONDS = {
    "bare": 300_000,
    "callback": 500_000,
    "ours: metrics": 330_000,
    "ours: spans and metrics": 400_000,
    "spans": 700_000,
}
RECORDS = {
    "ours: metrics": {"tokens": "metrics", "cost": "metrics"},
    "ours: spans and metrics": {"tokens": "both", "cost": "metrics"},
    "spans": {"tokens": "spans", "cost": ""},
}
LEFT = {"ours: metrics": {"lm": 1}, "ours: spans and metrics": {"lm": 1, "spans": 2}, "spans": {"spans": 4}}
VERSIONS = {"peer": "1.2", "dspy": "3.4.1", "opentelemetry-sdk": "1.45.2"}
RESULT = DspyResult("peer", NANOSECONDS, RECORDS, LEFT, VERSIONS)


def row_of(table: str, start: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line[1:-1].split("|")]


def test_a_row_shows_what_is_added_to_dspy_alone_and_where_each_thing_showed():
    table = render_dspy([RESULT], "Measured somewhere")
    assert row_of(table, "| peer") == ["peer 1.2, spans", "400 µs", "4.0x", "4", "spans", "-"]
    assert row_of(table, "| **agentgauge, metrics only**") == [
        "**agentgauge, metrics only**", "30 µs", "", "0", "metrics", "metrics"
    ]  # fmt: skip
    assert row_of(table, "| yardstick")[1] == "200 µs"
    assert "Measured somewhere; dspy 3.4.1, opentelemetry-sdk 1.45.2." in table


def test_metrics_are_compared_with_our_metrics_and_spans_with_our_spans():
    way = {"metrics": 390_000}
    records = {**RECORDS, "metrics": {"tokens": "metrics", "cost": ""}}
    result = DspyResult("peer", {**NANOSECONDS, **way}, records, LEFT, VERSIONS)
    assert row_of(render_dspy([result], "Measured"), "| peer 1.2, metrics")[2] == "3.0x"


def test_ours_is_the_median_over_the_environments():
    others = [DspyResult("peer", {"bare": 0, "ours: metrics": added}, RECORDS) for added in (10_000, 20_000, 90_000)]
    assert row_of(render_dspy(others, "Measured"), "| **agentgauge, metrics only**")[1] == "20 µs"


def test_a_library_that_fails_costs_its_row_and_says_why():
    table = render_dspy([DspyResult("broken", failure="it does not install (no wheel)"), RESULT], "Measured")
    assert row_of(table, "| broken")[:2] == ["broken", "not measured: it does not install (no wheel)"]
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert not re.search(r"nan|None", table)
