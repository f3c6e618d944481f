"""DSPy: calls of modules, language models, tools, retrievers, evaluations and optimizers, with no line in the program.

Methods are wrapped; DSPy's callbacks are left to the user. A callback costs DSPy 0.5 ms a prediction, is dropped when somebody
configures others, and tells neither tokens nor what a cache answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.instrumentors import dspy_lm, dspy_modules, dspy_retrieval, dspy_runs, dspy_tools

if TYPE_CHECKING:
    from agentgauge.instrumentors.kit import Kit

__all__ = ["instrument"]


def instrument(kit: Kit) -> None:
    """Instrument DSPy, which is imported already.

    Args:
        kit: What it works with; ``kit.undo`` gives everything back.
    """
    for part in (dspy_modules, dspy_lm, dspy_tools, dspy_retrieval, dspy_runs):
        part.instrument(kit)
