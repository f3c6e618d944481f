"""What a command is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

    from agentgauge.analytics.commands.question import Question
    from agentgauge.analytics.report.document import Section

__all__ = ["Command"]


def _nothing(_parser: ArgumentParser) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        title: Of its report.
        examples: Lines of its help.
        sections: Answers.
        add_options: Adds options of its own.
    """

    title: str
    examples: tuple[str, ...]
    sections: Callable[[Question], tuple[Section, ...]]
    add_options: Callable[[ArgumentParser], None] = _nothing
