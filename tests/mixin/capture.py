"""The input series of the rules' cases, captured from programs that do what the scenarios tell them to.

python tests/mixin/capture.py [models ...]     writes them into alerts/tests, for all scenarios or for these
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from expressions import RULE_TESTS, load_rules, milliseconds, read_yaml, rule_expressions
from mixin_checks import selectors_of
from series_notation import STALE, notation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SCENARIOS = Path(__file__).parent / "scenarios"
_OF_THE_SCRAPER = {"up", "ALERTS"}


class Target(Protocol):
    """What is scraped: a ``Program``, or the recorded pages of a server."""

    @property
    def job(self) -> str:
        """The job as part of which it is scraped."""

    @property
    def instance(self) -> str:
        """Where it is scraped."""

    @property
    def about(self) -> str:
        """What there is to know of it, in a sentence; may be empty."""

    def pages(self, names: frozenset[str], interval_seconds: float) -> Iterator[str | None]:
        """Yield what each scrape brings, at least the series of these names; None where nobody can reach it."""


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A file of cases, and the scenarios behind it.

    Attributes:
        path: Where the cases are.
        scenarios: What there is to scrape, by the name of the case.
        by_hand: Why the series of other cases cannot be captured, by the name of the case.
        also: Further names of series, for which an alert's texts ask, by the name of the case.
    """

    path: Path
    scenarios: Mapping[str, Sequence[Target]]
    by_hand: Mapping[str, str]
    also: Mapping[str, frozenset[str]]

    def captured(self) -> str:
        """Return the file's text with the input series that scraping gives now."""
        content = read_yaml(self.path.read_text(encoding="utf-8"))
        rules = [
            rule for name in content["rule_files"] for rule in rule_expressions(load_rules((self.path.parent / name).resolve()))
        ]
        series = {}
        for test in content["tests"]:
            if (targets := self.scenarios.get(test["name"])) is not None:
                names = needed(test, rules) | self.also.get(test["name"], frozenset())
                series[test["name"]] = _captured(targets, names, milliseconds(test["interval"]) / 1000)
        return "".join(_replaced(self.path.read_text(encoding="utf-8"), series))


def case_files() -> dict[str, CaseFile]:
    """Return the files whose cases have scenarios: ``scenarios/models.py`` is that of ``models_test.yml``."""
    files = {}
    for name in sorted(path.stem for path in SCENARIOS.glob("*.py")):
        module = importlib.import_module(f"scenarios.{name}")
        if hasattr(module, "CASES"):
            by_hand, also = getattr(module, "BY_HAND", {}), getattr(module, "ALSO", {})
            files[name] = CaseFile(RULE_TESTS / f"{name}_test.yml", module.CASES, by_hand, also)
    return files


def needed(test: Mapping[str, Any], rules: Iterable[Any]) -> frozenset[str]:
    """Return the names of the series from which the alerts and expressions of a case are made, through all records."""
    asked = {case["alertname"] for case in test.get("alert_rule_test", ())}
    exprs: dict[str, list[str]] = {}
    for rule in rules:
        exprs.setdefault(rule.title, []).append(rule.expr)
    waiting = [expr for title in asked for expr in exprs[title]] + [case["expr"] for case in test.get("promql_expr_test", ())]
    found: set[str] = set()
    while waiting:
        names = {selector.name for selector in selectors_of(waiting.pop())} - found
        found |= names
        waiting += [expr for name in names for expr in exprs.get(name, ())]
    return frozenset(found - exprs.keys())


def _captured(targets: Iterable[Target], names: frozenset[str], interval_seconds: float) -> list[str]:
    """Scrape the targets one after another, and return the lines of their series."""
    lines = []
    for target in targets:
        labels = f'job="{target.job}",instance="{target.instance}"'
        series = scraped(target.pages(names - _OF_THE_SCRAPER, interval_seconds), names)
        if target.about and series:
            lines.append(f"      # {target.about}\n")
        for text, samples in series.items():
            name, _, own = text.removesuffix("}").partition("{")
            quoted = f"{name}{{{labels}{own and ','}{own}}}".replace("'", "''")
            lines.append(f"      - {{series: '{quoted}', values: {notation(samples)}}}\n")
    return lines


def scraped(pages: Iterable[str | None], names: frozenset[str]) -> dict[str, list[float | str | None]]:
    """Return the samples of each series, as a scraper stores them."""
    series: dict[str, list[float | str | None]] = {"up": []} if "up" in names else {}
    for index, page in enumerate(pages):
        shown = dict(_samples(page or "", names))
        if "up" in names:
            shown["up"] = float(page is not None)
        for text in shown:
            series.setdefault(text, [None] * index)
        for text, samples in series.items():
            is_over = index > 0 and isinstance(samples[-1], float)
            samples.append(shown.get(text, STALE if is_over else None))
    for samples in series.values():
        while samples[-1] is None:
            samples.pop()
    return series


def _samples(page: str, names: frozenset[str]) -> Iterator[tuple[str, float]]:
    for line in page.splitlines():
        text, _, value = line.rpartition(" ")
        if not line.startswith("#") and text.partition("{")[0] in names:
            yield (_without_empty(text) if '=""' in text else text), float(value)


def _without_empty(text: str) -> str:
    """Leave out labels without a value, which are none to Prometheus."""
    return re.sub(r'(?<={)\w+="",?', "", re.sub(r',\w+=""', "", text))


def _replaced(text: str, series: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a file's lines, with other input series of the cases of these names."""
    name, is_old = "", False
    for line in text.splitlines(keepends=True):
        if line.startswith("  - name:"):
            name = read_yaml(line)[0]["name"]
        is_old = is_old and line.startswith("      ")
        if not is_old:
            is_old = name in series and line.startswith("    input_series:")
            yield line if not is_old else "    input_series:\n" if series[name] else "    input_series: []\n"
            if is_old:
                yield from series[name]


def main() -> None:
    """Write the files anew."""
    files = case_files()
    for name in sys.argv[1:] or files:
        files[name].path.write_text(files[name].captured(), encoding="utf-8")


if __name__ == "__main__":
    main()
