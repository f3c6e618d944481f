"""A DSPy program as a processing interface: model calls that fail are tried again, and an answer that is no answer, too.

python examples/processing_dspy.py

The language model runs offline, and fails on purpose every now and then.
"""

from __future__ import annotations

import asyncio
import sys

import dspy
from prometheus_client import REGISTRY

from agentgauge.processing import EnhancedProcessingInterface, ProcessingContext, ProcessingSettings, RetryPolicy
from faults import Faults
from ledger import Ledger
from offline_lm import OfflineModel, offline_lm

_QUESTIONS = tuple(f"How old is the {what}?" for what in ("bridge", "canal", "lighthouse", "glacier", "vineyard", "dam"))
_SHORTEST = 20


class Librarian(EnhancedProcessingInterface[str, str]):
    """Answers questions with a ChainOfThought."""

    settings = ProcessingSettings(
        agent="librarian",
        task="answer",
        max_concurrency=3,
        timeout_seconds=10.0,
        attempt_timeout_seconds=2.0,
        retry=RetryPolicy(retries=3, first_seconds=0.02, on=lambda error: not isinstance(error, TypeError)),
    )

    def __init__(self, model: dspy.LM) -> None:
        super().__init__()
        self._model = model
        self._program = dspy.ChainOfThought("question -> answer")

    async def _process(self, input_data: str, context: ProcessingContext) -> str:
        context.report_progress(0, 1, "asking the model")
        with dspy.context(lm=self._model):
            answer = await self._program.acall(question=input_data)
        context.report_progress(1, 1)
        return str(answer.answer)

    def _validate_output(self, data: str, context: ProcessingContext) -> bool:  # noqa: ARG002 - as the template calls it
        return len(data) >= _SHORTEST


async def main() -> None:
    """Ask all questions at once."""
    ledger = Ledger()
    model = OfflineModel(ledger, seed=7, faults=_FailingFirst(ledger), speed=5)
    async with Librarian(offline_lm(model)) as librarian:
        results = await librarian.process_batch(_QUESTIONS)
    for question, result in zip(_QUESTIONS, results, strict=True):
        said = result.data if result.error is None else f"({result.error.category}: {result.error})"
        print(f"{question:30} {result.metadata['attempts']} attempts: {str(said)[:60]}")
    labels = {"gen_ai_agent_name": "librarian", "agent_task": "answer"}
    retries = REGISTRY.get_sample_value("agent_task_retries_total", labels)
    done = REGISTRY.get_sample_value("agent_task_duration_seconds_count", {**labels, "outcome": "success"})
    print(f"the series say: {done:.0f} answered, {retries:.0f} attempts after the first")


class _FailingFirst(Faults):
    """Lets the first call of every second question fail."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._seen: set[str] = set()

    def happens(self, kind: str, occasion: str) -> bool:
        """Tell whether a fault of a kind happens on an occasion."""
        if kind != "lm_error" or occasion in self._seen:
            return False
        self._seen.add(occasion)
        return any(what in occasion for what in ("canal", "glacier", "dam"))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
