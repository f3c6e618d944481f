from __future__ import annotations

import pytest

from bars import BARS
from cost_table import render
from rows import Row

CALL, AMOUNT, NOTHING = "no SDK, sync", "one sweep of the collectors", "lost of 8 threads' calls"


def bar_cell_of(name, value):
    line = render([Row(name, value, value, None, BARS[name].unit)]).splitlines()[-1]
    return line.split("|")[5].strip()


@pytest.mark.parametrize(("name", "shown"), [(CALL, "0.1x"), (AMOUNT, "2 ms"), (NOTHING, "0 calls")])
def test_a_row_that_misses_its_bar_is_marked_and_one_that_just_meets_it_is_not(name, shown):
    bar = BARS[name].bar

    assert bar_cell_of(name, bar) == shown
    assert bar_cell_of(name, bar * 1.001 + 0.0001) == f"{shown} **missed**"


def test_every_line_of_the_table_has_as_many_cells_as_its_head():
    rows = [Row(name, bar.bar * factor, 1.0, 2.0, "ns", "another") for name, bar in BARS.items() for factor in (0, 2)]

    lines = render(rows).splitlines()
    assert len(lines) == len(rows) + 2
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
