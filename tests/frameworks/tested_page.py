"""The page that says with which versions of the frameworks the tests have passed: read, brought up to date, written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row", "updated"]

_BEGIN, _END = "<!-- frameworks -->", "<!-- /frameworks -->"
_HEAD = "| framework | package | | version | Python | tests | date |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """What became of one version.

    Attributes:
        framework: Its name in ``environments.toml``.
        package: What was tested.
        which: ``minimum`` or ``latest``.
        version: The version that was installed, empty where none was.
        python: The interpreter's version.
        tests: How many passed, or what went wrong.
        date: When.
    """

    framework: str
    package: str
    which: str
    version: str
    python: str
    tests: str
    date: str

    def __str__(self) -> str:
        return (
            f"| {self.framework} | {self.package} | {self.which} | {self.version} | {self.python} | {self.tests} | {self.date} |"
        )


def updated(page: str, rows: list[Row], order: list[str]) -> str:
    """Return the page with these rows in the place of those of the same framework and version; others stay as they are.

    Args:
        page: The page as it is.
        rows: What was measured.
        order: The frameworks that there are, in the order of the table; rows of others are left out.

    Raises:
        ValueError: The page does not have its markers once each, in order.
    """
    if page.count(_BEGIN) != 1 or page.count(_END) != 1 or page.index(_BEGIN) > page.index(_END):
        raise ValueError(f"the page needs {_BEGIN} and {_END} once each, in this order")
    before, rest = page.split(_BEGIN)
    table, after = rest.split(_END)
    known = {(row.framework, row.which): row for row in [*_rows(table), *rows]}
    lines = [str(known[name, which]) for name in order for which in ("minimum", "latest") if (name, which) in known]
    return "\n".join([f"{before}{_BEGIN}", _HEAD, *lines, f"{_END}{after}"])


def _rows(table: str) -> list[Row]:
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines if "| package |" not in line]
