from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version
from run import PAGE, ROOT, environments
from tested_page import Row, updated

from agentgauge.instrumentors.roster import FRAMEWORKS

EMPTY = "# Head\n<!-- frameworks -->\n<!-- /frameworks -->\ntail\n"
TABLE = Path(__file__).with_name("environments.toml")


def row(framework: str, which: str, tests: str) -> Row:
    return Row(framework, f"{framework}-package", which, "1.0", "3.11.7", tests, "2026-11-22")


def test_what_ran_replaces_its_own_row_and_leaves_the_others_in_the_order_of_the_table():
    order = ["first", "second"]
    page = updated(EMPTY, [row("second", "latest", "5 passed"), row("first", "latest", "4 passed")], order)
    page = updated(page, [row("first", "minimum", "3 passed"), row("second", "latest", "1 of 5 failed")], order)
    rows = [line for line in page.splitlines() if line.startswith(("| first", "| second"))]
    assert rows == list(
        map(
            str,
            [row("first", "minimum", "3 passed"), row("first", "latest", "4 passed"), row("second", "latest", "1 of 5 failed")],
        )
    )
    assert page.startswith("# Head\n<!-- frameworks -->\n| framework |")
    assert page.endswith("|\n<!-- /frameworks -->\ntail\n")


def test_a_framework_that_is_no_longer_tested_goes_from_the_page():
    page = updated(EMPTY, [row("first", "latest", "4 passed")], ["first"])
    assert "first" not in updated(page, [], ["second"])


@pytest.mark.parametrize("page", ["", "<!-- frameworks -->", "<!-- /frameworks --><!-- frameworks -->"])
def test_a_page_without_its_two_markers_is_refused(page):
    with pytest.raises(ValueError, match="once each"):
        updated(page, [], [])


def test_each_framework_is_tested_at_the_minimum_that_is_promised_and_at_the_latest():
    minimums = {each.framework: each for each in environments(TABLE, re.compile(""), ["minimum"])}
    for name, framework in FRAMEWORKS.items():
        if name == "genai-spans":
            continue  # its frameworks are rows of their own
        assert f"{framework.distribution}=={framework.minimum_version}" in minimums[name].requirements
        assert f"--editable {ROOT}[{name}]" in " ".join(minimums[name].requirements)
    latest = {each.framework: each for each in environments(TABLE, re.compile(""), ["latest"])}
    assert latest.keys() == minimums.keys()
    assert all(each.package in each.requirements for each in latest.values())


def test_every_environment_has_tests():
    chosen = list(environments(TABLE, re.compile(""), ["latest"]))
    assert [each.framework for each in chosen if not each.tests] == []


def test_the_page_shows_every_environment_and_each_passed():
    table = PAGE.read_text(encoding="utf-8").split("<!-- frameworks -->")[1]
    rows = {tuple(cell.strip() for cell in line.split("|")[1:4:2]): line for line in table.splitlines() if line.startswith("| ")}
    names = [entry["name"] for entry in tomllib.loads(TABLE.read_text(encoding="utf-8"))["framework"]]
    for name in names:
        for which in ("minimum", "latest"):
            assert re.search(r"\| \d+ passed \|", rows[name, which]), rows.get((name, which))


def test_no_minimum_is_newer_than_what_was_the_latest():
    table = PAGE.read_text(encoding="utf-8")
    versions = {
        (cells[1].strip(), cells[3].strip()): cells[4].strip()
        for line in table.splitlines()
        if len(cells := line.split("|")) == 9
    }
    for (name, which), version in versions.items():
        if which == "minimum":
            assert Version(version) <= Version(versions[name, "latest"])
