"""The agents of the research swarm: three of DSPy, one in plain Python that streams, and the workflow that joins them.

``@agent``, ``@task``, ``@tool`` and ``@workflow`` are all that agentgauge asks of your code. The lines ``with ledger...`` are
the demo's own bookkeeping, which the tests compare with what Prometheus says; your code has none.
"""

from __future__ import annotations

import ast
import asyncio
import operator
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import dspy
from dspy import lm15

from agentgauge import Objective, agent, task, tool, workflow
from offline_lm import MODEL_NAME, AsyncOfflineEngine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from faults import Faults
    from ledger import Ledger
    from offline_lm import OfflineModel

__all__ = ["NoFindingsError", "Swarm", "UnsupportedClaimError"]

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class UnsupportedClaimError(Exception):
    """An answer states what its sources do not."""


class NoFindingsError(Exception):
    """Every line of research failed."""


@agent("planner")
class Planner(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Splits a question into lines of research."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self.ask = dspy.Predict("question -> queries: list[str]")

    @task("plan", objective=Objective(success_ratio=0.95, latency_seconds=0.5))
    async def aforward(self, question: str) -> dspy.Prediction:
        """Think of one to three queries."""
        with self._ledger.task("planner", "plan"):
            async with asyncio.timeout(1.5):
                return await self.ask.acall(question=question)


@agent("researcher")
class Researcher(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Answers one query with tools, and checks the answer."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        super().__init__()
        self._ledger = ledger
        self._faults = faults
        self.react = dspy.ReAct("question -> answer", tools=[self.search, self.read_page, self.calculate], max_iters=5)

    @task("research", objective=Objective(success_ratio=0.9, latency_seconds=2))
    async def aforward(self, question: str) -> dspy.Prediction:
        """Use tools until the answer is known."""
        with self._ledger.task("researcher", "research"):
            async with asyncio.timeout(3):
                prediction = await self.react.acall(question=question)
            self.check(prediction.answer)
            return prediction

    @task("check")
    def check(self, answer: str) -> None:
        """Refuse an answer that its sources do not support."""
        with self._ledger.task("researcher", "check"):
            if self._faults.happens("unsupported_claim", answer):
                raise UnsupportedClaimError(answer)

    @tool
    async def search(self, query: str) -> list[str]:
        """Find the titles of pages about a query."""
        with self._ledger.tool("researcher", "search"):
            draw = random.Random(query)
            await asyncio.sleep(draw.uniform(0.01, 0.08))
            if self._faults.happens("tool_error", query):
                raise ConnectionError("the search index does not answer")
            return [f"Page {draw.randint(1, 999)}" for _ in range(3)]

    @tool
    async def read_page(self, title: str) -> str:
        """Read the page of that title."""
        with self._ledger.tool("researcher", "read_page"):
            await asyncio.sleep(random.Random(title).uniform(0.005, 0.03))
            if self._faults.happens("tool_error", title):
                raise FileNotFoundError(title)
            return f"{title} says little about it."

    @tool
    def calculate(self, expression: str) -> float:
        """Evaluate an expression of numbers and + - * /."""
        with self._ledger.tool("researcher", "calculate"):
            return _evaluate(ast.parse(expression, mode="eval").body)


@agent("writer")
class Writer(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Writes a report of what was found."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self.compose = dspy.ChainOfThought("question, findings: list[str] -> report")

    @task("write", objective=Objective(success_ratio=0.95, latency_seconds=0.5))
    async def aforward(self, question: str, findings: list[str]) -> dspy.Prediction:
        """Compose the report."""
        with self._ledger.task("writer", "write"):
            async with asyncio.timeout(1.5):
                return await self.compose.acall(question=question, findings=findings)


@agent("narrator")
class Narrator:
    """Tells a report aloud, word by word: plain Python, without DSPy."""

    def __init__(self, ledger: Ledger, model: OfflineModel) -> None:
        self._ledger = ledger
        self._engine = AsyncOfflineEngine(model)

    @task(objective=Objective(success_ratio=0.95, latency_seconds=2))
    async def narrate(self, report: str, silence_seconds: float = 0.0) -> AsyncGenerator[str, None]:
        """Yield the words of the story as the model says them, after ``silence_seconds``."""
        with self._ledger.task("narrator", "narrate"):
            await asyncio.sleep(silence_seconds)
            request = lm15.Request(model=MODEL_NAME, messages=(lm15.Message.user(f"Tell this as a story: {report}"),))
            self._ledger.note_own_lm_call()
            async with aclosing(self._engine.stream(request)) as events:
                async for event in events:
                    if event.type == "delta":
                        yield event.delta.text


class Swarm:
    """The four agents and their common work.

    Attributes:
        hang_seconds: For how long the narrator is stuck before it tells the next report, to show what a task that hangs looks
            like; 0 once it has begun to.
    """

    def __init__(self, ledger: Ledger, faults: Faults, model: OfflineModel, *, hang_seconds: float = 0.0) -> None:
        self.hang_seconds = hang_seconds
        self._ledger = ledger
        self._faults = faults
        self._planner = Planner(ledger)
        self._researcher = Researcher(ledger, faults)
        self._writer = Writer(ledger)
        self._narrator = Narrator(ledger, model)

    @workflow("answer_question")
    async def answer(self, question: str) -> str:
        """Plan, research every query at once, write, narrate.

        Args:
            question: What the user asks.

        Raises:
            NoFindingsError: Every line of research failed.
        """
        with self._ledger.workflow("answer_question"):
            plan = await self._planner.acall(question=question)
            researches = (self._researcher.acall(question=f"{question} {query}") for query in plan.queries)
            results = await asyncio.gather(*researches, return_exceptions=True)
            findings = [result.answer for result in results if not isinstance(result, BaseException)]
            if not findings:
                raise NoFindingsError(question)
            written = await self._writer.acall(question=question, findings=findings)
            return await self._listen(written.report)

    async def _listen(self, report: str) -> str:
        silence_seconds, self.hang_seconds = self.hang_seconds, 0.0
        is_impatient = self._faults.happens("early_close", report)
        told = ""
        async with aclosing(self._narrator.narrate(report, silence_seconds)) as words:
            async for word in words:
                told += word
                if is_impatient:
                    break
        return told


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _ARITHMETIC:
            return _ARITHMETIC[type(operation)](_evaluate(left), _evaluate(right))
        case _:
            raise ValueError(f"{ast.unparse(node)} is no arithmetic")
