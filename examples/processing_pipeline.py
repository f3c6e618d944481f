"""A pipeline of three interfaces with one deadline: it reaches all of them, and each is an agent of its own in the series.

python examples/processing_pipeline.py
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from prometheus_client import REGISTRY

from agentgauge.breaker import CircuitBreaker
from agentgauge.processing import EnhancedProcessingInterface, ProcessingContext, ProcessingSettings, remaining_seconds


@dataclass(frozen=True)
class Report:
    """What the pipeline makes of a topic."""

    topic: str
    findings: tuple[str, ...]
    text: str


class Research(EnhancedProcessingInterface[str, tuple[str, ...]]):
    """Looks a topic up; the archive behind it may be closed, and is left alone then."""

    settings = ProcessingSettings(
        agent="research", raises=True, breaker=CircuitBreaker("archive", minimum_calls=4, open_seconds=60.0)
    )

    async def _process(self, input_data: str, context: ProcessingContext) -> tuple[str, ...]:
        await asyncio.sleep(0.02)
        if input_data == "sealed":
            raise ConnectionError("the archive is closed")
        context.report_progress(1, 1)
        return tuple(f"{input_data}, page {page}" for page in range(1, 4))


class Write(EnhancedProcessingInterface[tuple[str, ...], str]):
    """Writes a text about what was found, as long as there is time."""

    settings = ProcessingSettings(agent="write", raises=True, max_concurrency=2)

    async def _process(self, input_data: tuple[str, ...], context: ProcessingContext) -> str:
        sentences = []
        for number, finding in enumerate(input_data, 1):
            await asyncio.sleep(0.02)
            sentences.append(f"It is told on {finding}.")
            context.report_progress(number, len(input_data))
        return " ".join(sentences)


class Publish(EnhancedProcessingInterface[str, Report]):
    """The pipeline: research, write, and put together."""

    settings = ProcessingSettings(agent="publish", timeout_seconds=5.0)

    async def _initialize(self) -> None:
        self._research, self._write = Research(), Write()
        await self._research.initialize()
        await self._write.initialize()

    async def _shutdown(self) -> None:
        await self._write.shutdown()
        await self._research.shutdown()

    async def _process(self, input_data: str, context: ProcessingContext) -> Report:  # noqa: ARG002 - as the template calls it
        findings = (await self._research.process(input_data)).unwrap()
        print(f"    {input_data}: {len(findings)} findings, {remaining_seconds():.1f} s left to write")
        text = (await self._write.process(findings)).unwrap()
        return Report(input_data, findings, text)


async def main() -> None:
    """Publish some topics: one goes well, one has too little time, and one has an archive that is closed."""
    async with Publish() as publish:
        for topic, seconds in (("bridges", 5.0), ("canals", 0.05), ("sealed", 5.0), ("sealed", 5.0), ("sealed", 5.0)):
            result = await publish.process(topic, ProcessingContext(timeout_seconds=seconds))
            if result.error is None:
                print(f"{topic}: {result.unwrap().text}")
            else:
                print(f"{topic}: {result.error.category}: {result.error}")
    for target in ("research", "write"):
        outcomes = {
            outcome: REGISTRY.get_sample_value(
                "agent_handoffs_total", {"source": "publish", "target": target, "outcome": outcome}
            )
            for outcome in ("success", "error", "cancelled")
        }
        print(f"the series say: publish -> {target}", {name: int(count) for name, count in outcomes.items() if count})


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
