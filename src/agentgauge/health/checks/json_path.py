"""A path into a JSON document: names, and numbers of list items in brackets."""

from __future__ import annotations

import re
from typing import Any

from agentgauge.errors import ConfigurationError

__all__ = ["JsonPathError", "parse_json_path", "step_into"]

_STEP = re.compile(r"""\.?([^.\[\]"'\s]+)|\[(-?\d+)\]|\[(?:"([^"]*)"|'([^']*)')\]""")


class JsonPathError(LookupError):
    """The document has nothing at a path."""


def parse_json_path(path: object) -> tuple[str | int, ...]:
    """Return the steps of a path such as ``$.checks[0].status`` or ``$["a.b"]``; the ``$`` may be left out.

    Raises:
        ConfigurationError: It is none.
    """
    fix = "write one such as 'status', '$.checks[0].status' or '$[\"a.b\"]'"
    if not isinstance(path, str):
        raise ConfigurationError(f"json_path={path!r}: {fix}")
    text = path.removeprefix("$")
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (not steps and text is path and text.startswith(".")):
            raise ConfigurationError(f"json_path={path!r}: {fix}")
        name, index, double, single = match.groups()
        steps.append(int(index) if index is not None else next(each for each in (name, double, single) if each is not None))
        position = match.end()
    return tuple(steps)


def step_into(document: Any, steps: tuple[str | int, ...]) -> Any:
    """Return what stands at a path.

    Raises:
        JsonPathError: Nothing does.
    """
    for step in steps:
        is_there = isinstance(document, dict) if isinstance(step, str) else isinstance(document, list)
        if not is_there:
            raise JsonPathError(step)
        try:
            document = document[step]
        except (KeyError, IndexError):
            raise JsonPathError(step) from None
    return document
