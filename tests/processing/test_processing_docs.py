"""The user's page has every setting with its default, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from agentgauge.processing import Priority, ProcessingContext, ProcessingSettings, RetryPolicy

PAGE = (Path(__file__).parents[2] / "docs" / "processing.md").read_text(encoding="utf-8")
MADE = {"retry": "RetryPolicy()", "request_id": "drawn at random", "metadata": "{}"}  # defaults that are made for each
SHOWN = {"on": "(ConnectionError, TimeoutError)"}


def rows(heading):
    section = PAGE.partition(f"### `{heading}`\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))


def shown(field):
    if field.name in MADE:
        assert field.default_factory is not dataclasses.MISSING
        text = MADE[field.name]
    else:
        text = SHOWN.get(field.name, repr(field.default).replace("'", '"'))
    return text if text == "drawn at random" else f"`{text}`"


@pytest.mark.parametrize("kind", [ProcessingSettings, RetryPolicy, ProcessingContext])
def test_every_setting_stands_in_the_page_with_its_default(kind):
    assert rows(kind.__name__) == {field.name: shown(field) for field in dataclasses.fields(kind)}


def test_the_defaults_that_the_page_writes_otherwise_are_what_it_says():
    assert RetryPolicy().on == (ConnectionError, TimeoutError)
    assert ProcessingSettings().retry == RetryPolicy()
    assert ProcessingContext().metadata == {}


def test_every_priority_stands_in_the_page_with_its_number():
    told = re.search(r"priorit.*?\.\n", PAGE.partition("### `ProcessingContext`\n")[2], re.DOTALL).group()
    assert [f"`Priority.{each.name}` ({each.value})" in told for each in Priority] == [True] * 4
