"""What benchmarks write into the README: between a pair of markers, with when and where it was measured."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["between_markers", "measured_by"]


def between_markers(page: str, name: str, text: str) -> str:
    """Return the page with the text between the markers of that name, in place of what was there.

    Raises:
        ValueError: The page does not have each marker once, in order.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page needs {begin} and {end} once each, in this order")
    before, rest = page.split(begin)
    return f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def measured_by(command: str) -> str:
    """Say when, how and on which machine: a sentence without its full stop."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    processor = model[1].strip() if model else platform.machine()
    return (
        f"Measured on {datetime.now(UTC).date().isoformat()} by `{command}` with Python {platform.python_version()} on "
        f"{platform.system()} ({processor}, {os.cpu_count()} CPUs, shared)"
    )
