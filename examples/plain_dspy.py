"""The research swarm in plain DSPy, as if nobody had ever heard of metrics.

python examples/plain_dspy.py                        answers twelve questions, unseen
agentgauge run examples/plain_dspy.py                the same, with every module, tool and model call measured
agentgauge run examples/plain_dspy.py --linger 600   and stays, so that there is something to scrape

The language model runs offline; nothing else here differs from a program that asks a real one.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import operator
import random
import sys
from typing import TYPE_CHECKING

import dspy

from faults import LEVELS, Faults
from ledger import Ledger
from offline_lm import OfflineModel, offline_lm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_TOPICS = ("bridges", "canals", "lighthouses", "glaciers", "observatories", "railways", "harbours", "vineyards", "dams")


class Planner(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Splits a question into lines of research."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> queries: list[str]")

    async def aforward(self, question: str) -> dspy.Prediction:
        """Think of one to three queries."""
        return await self.ask.acall(question=question)


class Researcher(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Answers one query with tools."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self.react = dspy.ReAct("question -> answer", tools=[self.search, self.read_page, self.calculate], max_iters=5)

    async def aforward(self, question: str) -> dspy.Prediction:
        """Use tools until the answer is known."""
        return await self.react.acall(question=question)

    async def search(self, query: str) -> list[str]:
        """Find the titles of pages about a query."""
        draw = random.Random(query)
        await asyncio.sleep(draw.uniform(0.01, 0.08))
        if self._faults.happens("tool_error", query):
            raise ConnectionError("the search index does not answer")
        return [f"Page {draw.randint(1, 999)}" for _ in range(3)]

    async def read_page(self, title: str) -> str:
        """Read the page of that title."""
        await asyncio.sleep(random.Random(title).uniform(0.005, 0.03))
        return f"{title} says little about it."

    def calculate(self, expression: str) -> float:
        """Evaluate an expression of numbers and + - * /."""
        return _evaluate(ast.parse(expression, mode="eval").body)


class Writer(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Writes a report of what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.compose = dspy.ChainOfThought("question, findings: list[str] -> report")

    async def aforward(self, question: str, findings: list[str]) -> dspy.Prediction:
        """Compose the report."""
        return await self.compose.acall(question=question, findings=findings)


class Narrator(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """Tells a report aloud, as the model says it."""

    def __init__(self) -> None:
        super().__init__()
        self.tell = dspy.Predict("report -> story")

    async def aforward(self, report: str) -> dspy.Prediction:
        """Listen to the story until it is told."""
        streaming = dspy.streamify(self.tell, stream_listeners=[dspy.streaming.StreamListener("story")])
        told = dspy.Prediction(story="")
        async for heard in streaming(report=report):
            if isinstance(heard, dspy.Prediction):
                told = heard
        return told


class Swarm(dspy.Module):  # type: ignore[misc]  # dspy ships no types
    """The four of them and their common work."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.planner = Planner()
        self.researcher = Researcher(faults)
        self.writer = Writer()
        self.narrator = Narrator()

    async def aforward(self, question: str) -> dspy.Prediction:
        """Plan, research every query at once, write, narrate."""
        plan = await self.planner.acall(question=question)
        researches = (self.researcher.acall(question=f"{question} {query}") for query in plan.queries)
        results = await asyncio.gather(*researches, return_exceptions=True)
        findings = [result.answer for result in results if not isinstance(result, BaseException)]
        written = await self.writer.acall(question=question, findings=findings)
        return await self.narrator.acall(report=written.report)


async def work(arguments: argparse.Namespace) -> str:
    """Have the questions answered, a few at once; return what there is to say of it."""
    ledger = Ledger()
    faults = Faults(ledger, arguments.faults, seed=arguments.seed)
    dspy.configure(
        lm=offline_lm(OfflineModel(ledger, seed=arguments.seed, faults=faults, speed=arguments.speed, stall_seconds=2))
    )
    swarm = Swarm(faults)
    places = asyncio.Semaphore(arguments.concurrency)

    async def answer(question: str) -> dspy.Prediction:
        async with places:
            return await swarm.acall(question=question)

    draw = random.Random(arguments.seed)
    questions = (f"How old are the {draw.randint(2, 999)} {draw.choice(_TOPICS)}?" for _ in range(arguments.questions))
    answers = await asyncio.gather(*map(answer, questions), return_exceptions=True)
    answered = sum(isinstance(told, dspy.Prediction) for told in answers)
    tokens = f"{ledger.tokens['input']} tokens in, {ledger.tokens['output']} out"
    return f"{answered} of {arguments.questions} questions answered, {ledger.lm_calls.total()} model calls, {tokens}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description="A swarm of agents in plain DSPy answers questions.")
    parser.add_argument("--questions", type=int, default=12, help="how many (default: 12)")
    parser.add_argument("--concurrency", type=int, default=4, help="questions worked on at once (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="what questions, answers, latencies and faults derive from")
    parser.add_argument("--speed", type=float, default=1.0, help="divides the model's latency (default: 1)")
    parser.add_argument("--faults", choices=sorted(LEVELS), default="normal", help="how much goes wrong (default: normal)")
    parser.add_argument("--linger", type=float, default=0.0, metavar="SECONDS", help="stay for so long after the work")
    arguments = parser.parse_args(argv)

    async def work_and_stay() -> None:
        print(await work(arguments), flush=True)
        await asyncio.sleep(arguments.linger)

    try:
        asyncio.run(work_and_stay())
    except KeyboardInterrupt:
        return 130
    return 0


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _ARITHMETIC:
            return _ARITHMETIC[type(operation)](_evaluate(left), _evaluate(right))
        case _:
            raise ValueError(f"{ast.unparse(node)} is no arithmetic")


if __name__ == "__main__":
    sys.exit(main())
