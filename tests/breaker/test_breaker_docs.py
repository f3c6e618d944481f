"""The user's page has every setting with its default, and nothing else."""

from __future__ import annotations

import inspect
import re
import time
from pathlib import Path

from agentgauge.breaker import CircuitBreaker, CountWindow

PAGE = (Path(__file__).parents[2] / "docs" / "circuit-breaker.md").read_text(encoding="utf-8")
SHOWN = {"window": "CountWindow(100)", "recorded": "(Exception,)", "clock": "time.monotonic"}


def test_every_setting_stands_in_the_page_with_its_default():
    section = PAGE.partition("## Settings\n")[2].partition("\n#")[0]
    told = dict(re.findall(r"^\| `(\w+)` \|(.*?)\|", section, re.MULTILINE))
    parameters = inspect.signature(CircuitBreaker).parameters.values()
    expected = {each.name: f" `{SHOWN.get(each.name, repr(each.default))}` " for each in parameters}
    expected["name"] = " "
    assert told == expected


def test_the_defaults_that_the_page_writes_otherwise_are_what_it_says():
    parameters = inspect.signature(CircuitBreaker).parameters
    assert parameters["name"].default is inspect.Parameter.empty
    assert parameters["window"].default == CountWindow(100)
    assert parameters["recorded"].default == (Exception,)
    assert parameters["clock"].default is time.monotonic
