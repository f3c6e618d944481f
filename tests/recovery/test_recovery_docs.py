"""The page has every setting with its default."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from agentgauge.recovery import Backoff, Budget, Recoveries, Recovery

PAGE = (Path(__file__).parents[2] / "docs" / "recovery.md").read_text(encoding="utf-8")


def defaults(kind):
    if is_dataclass(kind):
        for field in fields(kind):
            made = field.default if field.default_factory is MISSING else f"{field.default_factory.__name__}()"
            yield field.name, None if made is MISSING else shown(field.name, made)
        return
    for parameter in inspect.signature(kind).parameters.values():
        yield parameter.name, None if parameter.default is parameter.empty else shown(parameter.name, parameter.default)


def shown(name, value):
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}{' s' * name.endswith('_seconds')}"
    if callable(value):
        return f"`time.{value.__name__}`"
    text = value if isinstance(value, str) else repr(value)
    return "`" + text.replace("'", '"') + "`"


@pytest.mark.parametrize("kind", [Recovery, Budget, Backoff, Recoveries], ids=lambda kind: kind.__name__)
def test_each_setting_stands_in_the_page_with_its_default(kind):
    table = re.search(rf"^\| `{kind.__name__}` \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\|", table, re.MULTILINE))
    del rows[kind.__name__]
    assert rows == {name: default or "" for name, default in defaults(kind)}
