"""What doctor prints: text for people, one JSON document for scripts."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agentgauge.doctor.finding import Finding, Section, Status
from agentgauge.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentgauge.doctor.production import Score

__all__ = ["Report"]

_FORMAT = 1
_WIDTH = 120
_HEADINGS = {
    Section.ENVIRONMENT: "this environment",
    Section.PROGRAM: "the program at {url}",
    Section.SERVERS: "Prometheus and Alertmanager",
}
_INDENT = " " * 10


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        url: Where the program was looked for.
        findings: What each check found, with the section it belongs to.
        scores: Of the checklist, by category; None without ``--production``.
        is_strict: Whether a warning is a failure.
    """

    url: str
    findings: list[tuple[Section, Finding]]
    scores: Mapping[Section, Score] | None = None
    is_strict: bool = False

    @property
    def exit_code(self) -> int:
        """0, or 1 where something failed."""
        bad = {Status.FAIL, Status.WARN} if self.is_strict else {Status.FAIL}
        return int(any(finding.status in bad for _, finding in self.findings))

    def as_json(self) -> str:
        """Write one JSON document; its keys are described in docs/doctor.md."""
        document: dict[str, Any] = {
            "format": _FORMAT,
            "version": __version__,
            "url": self.url,
            "exit_code": self.exit_code,
            "counts": self._counts(),
            "findings": [{"section": section.value, **asdict(finding)} for section, finding in self.findings],
        }
        if self.scores is not None:
            whole = _total(self.scores)
            document["score"] = {
                **_score(*whole),
                "categories": {
                    section.value: _score(one.held, one.checked, one.not_shown) for section, one in self.scores.items()
                },
            }
        return json.dumps(document, indent=2)

    def as_text(self) -> str:
        """Write it for people."""
        lines = [f"agentgauge {__version__} doctor"]
        previous = None
        for section, finding in self.findings:
            if section is not previous:
                lines += ["", self._heading(section)]
                previous = section
            lines.append(f"  {finding.status.value:<7} {_plain(finding.title)}")
            lines += _indented(finding.evidence)
            lines += _indented(f"fix: {finding.fix}") if finding.fix and finding.status is not Status.OK else []
        lines += ["", ", ".join(f"{count} {status}" for status, count in self._counts().items())]
        if self.scores is not None:
            lines.append(f"score: {_as_text(*_total(self.scores))}")
        return "\n".join(lines)

    def _heading(self, section: Section) -> str:
        if self.scores is not None and section in self.scores:
            one = self.scores[section]
            return f"{section.value}: {_as_text(one.held, one.checked, one.not_shown)}"
        return _plain(_HEADINGS[section].format(url=self.url))

    def _counts(self) -> dict[str, int]:
        counts = Counter(finding.status for _, finding in self.findings)
        return {status.value: counts[status] for status in Status}


def _total(scores: Mapping[Section, Score]) -> tuple[int, int, int]:
    return (
        sum(one.held for one in scores.values()),
        sum(one.checked for one in scores.values()),
        sum(one.not_shown for one in scores.values()),
    )


def _score(held: int, checked: int, not_shown: int) -> dict[str, float | None]:
    percent = round(100 * held / checked, 1) if checked else None
    return {"held": held, "checked": checked, "not_shown": not_shown, "percent": percent}


def _as_text(held: int, checked: int, not_shown: int) -> str:
    if not checked:
        return f"nothing could be checked, {not_shown} not shown"
    return f"{held} of {checked} hold ({100 * held / checked:.0f} %)" + (f", {not_shown} not shown" if not_shown else "")


def _indented(text: str) -> list[str]:
    return textwrap.wrap(
        _plain(text), _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )


def _plain(text: str) -> str:
    """Leave nothing in that a terminal would obey: evidence quotes what other programs said."""
    return "".join(character if character.isprintable() else " " for character in text)
