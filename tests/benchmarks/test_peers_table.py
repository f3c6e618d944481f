from __future__ import annotations

import pytest

from peers_table import Peer, Result, plain_reason, render
from readme import between_markers

VERSIONS = {"spanner": "1.2.3", "opentelemetry-sdk": "1.45.2", "prometheus-client": "0.26.0"}
SYNC = {"bare": 100, "prometheus": 2100, "ours": 600, "span": 16100, "ours, span": 20100, "peer": 40100}
ASYNC = {"bare": 200, "prometheus": 3200, "ours": 1200, "span": 20200, "ours, span": 25200, "peer": 80200}
SPANNER = Peer("spanner", "@span", "on")


def row_of(table: str, start: str) -> list[str]:
    return next([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith(start))


def test_a_row_shows_what_is_added_to_the_bare_function_and_its_ratios_to_the_same_process():
    table = render([Result(SPANNER, {"sync": SYNC, "async": ASYNC}, VERSIONS)], "Measured somewhere")
    assert row_of(table, "| spanner") == [
        "spanner 1.2.3 `@span`", "span", "on", "40 µs", "80 µs", "2.5x / 4.0x", "2.0x / 3.2x", "80x / 80x",
    ]  # fmt: skip
    assert "Measured somewhere. opentelemetry-sdk 1.45.2 beside spanner; prometheus-client 0.26.0 beside spanner." in table


def test_a_peer_that_makes_no_span_is_compared_with_metrics():
    peer = Peer("counter", "@count", "none", is_span=False)
    row = row_of(render([Result(peer, {"sync": {**SYNC, "peer": 6100}})], "Measured"), "| counter")
    assert row[1] == "metrics"
    assert row[3:] == ["6.00 µs", "-", "3.0x / -", "12x / -", "12x / -"]


def test_the_yardsticks_are_medians_over_all_environments():
    figures = [{"sync": {**SYNC, "prometheus": 100 + nanoseconds}} for nanoseconds in (1000, 2000, 9000)]
    table = render([Result(SPANNER, nanoseconds) for nanoseconds in figures], "Measured")
    assert row_of(table, "| yardstick: prometheus_client")[3] == "2.00 µs"
    assert row_of(table, "| **agentgauge `@task`, metrics only**")[5] == "0.25x / -"


def test_a_peer_that_fails_costs_its_row_and_says_why():
    good = Result(SPANNER, {"sync": SYNC, "async": ASYNC}, VERSIONS)
    bad = Result(Peer("broken", "@broken", "off"), failure="it does not install (no wheel)")
    table = render([bad, good], "Measured")
    assert row_of(table, "| broken")[3] == "not measured: it does not install (no wheel)"
    assert row_of(table, "| spanner")[3] == "40 µs"


def test_a_kind_that_fails_leaves_the_other_and_is_named_below():
    result = Result(SPANNER, {"sync": SYNC}, VERSIONS, failures={"async": "2000 calls were made, 0 are held"})
    table = render([result], "Measured")
    assert row_of(table, "| spanner")[3:5] == ["40 µs", "-"]
    assert "- spanner 1.2.3 `@span`, async: 2000 calls were made, 0 are held." in table


def test_every_row_has_as_many_cells_as_the_head():
    failed = Result(Peer("broken", "@broken", "off"), failure="no")
    lines = [line for line in render([failed, Result(SPANNER, {"sync": SYNC})], "Measured").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_only_what_is_between_the_markers_changes_and_again_to_the_same():
    page = "before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n"
    once = between_markers(page, "peers", "new")
    assert once == "before\n<!-- peers -->\nnew\n<!-- /peers -->\nafter\n"
    assert between_markers(once, "peers", "new") == once


@pytest.mark.parametrize(
    "page", ["", "<!-- peers -->", "<!-- /peers --><!-- peers -->", "<!-- peers -->" * 2 + "<!-- /peers -->"]
)
def test_a_page_without_its_two_markers_is_refused(page):
    with pytest.raises(ValueError, match="once each"):
        between_markers(page, "peers", "new")


def test_a_reason_is_one_line_without_addresses_paths_and_bars():
    output = "Traceback ...\nerror: a|b of /opt/secret/place cannot be had from https://registry.example/simple\n\nbye\n"
    assert plain_reason(output) == "error: a/b of ... cannot be had from ..."
    assert plain_reason("") == "it said nothing"
    assert len(plain_reason("error " + "x" * 1000)) < 200
