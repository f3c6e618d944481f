"""Text that is worked on under limits: what fails is tried again, what is invalid or too much is refused, and all of it is seen.

python examples/processing_text.py
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY

from agentgauge.processing import (
    EnhancedProcessingInterface,
    Priority,
    ProcessingContext,
    ProcessingSettings,
    Progress,
    RetryPolicy,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_LONGEST = 2_000
_STORY = "The harbour was quiet. A lamp burned in the tower! Who had lit it? Nobody knew."


class Keywords(EnhancedProcessingInterface[str, list[str]]):
    """Finds the words that a text says most often; the dictionary that it asks is not always there."""

    settings = ProcessingSettings(
        agent="keywords",
        max_concurrency=4,
        queue_limit=8,
        timeout_seconds=2.0,
        retry=RetryPolicy(retries=2, first_seconds=0.01),
    )

    async def _initialize(self) -> None:
        self._draw = random.Random(4)
        self._dull = {"the", "was", "and", "had", "who", "lit"}

    def _validate_input(self, input_data: str, context: ProcessingContext) -> None:  # noqa: ARG002 - as the template calls it
        if not input_data.strip():
            raise ValueError("there is no text")
        if len(input_data) > _LONGEST:
            raise ValueError(f"the text has {len(input_data)} characters, {_LONGEST} at the most")

    async def _process(self, input_data: str, context: ProcessingContext) -> list[str]:
        sentences = _sentences(input_data)
        words: Counter[str] = Counter()
        for number, sentence in enumerate(sentences, 1):
            await self._ask_dictionary()
            words.update(word for word in re.findall(r"\w{3,}", sentence.lower()) if word not in self._dull)
            context.report_progress(number, len(sentences))
        return [word for word, _ in words.most_common(3)]

    async def _stream(self, input_data: str, context: ProcessingContext) -> AsyncGenerator[list[str], None]:
        for sentence in _sentences(input_data):
            yield await self._process(sentence, context)

    async def _ask_dictionary(self) -> None:
        await asyncio.sleep(0.01)
        if self._draw.random() < 0.05:  # noqa: PLR2004 - one in twenty
            raise ConnectionError("the dictionary does not answer")


def _sentences(text: str) -> list[str]:
    return re.findall(r"[^.!?]+[.!?]?", text.strip())


async def main() -> None:
    """Work on one text, on a stream, and on more than there is room for."""
    async with Keywords() as keywords:

        def show(progress: Progress) -> None:
            print(f"  {progress.ratio:4.0%}, about {progress.remaining_seconds:.2f} s left")

        print("one text:")
        result = await keywords.process(_STORY, ProcessingContext(user="ann", on_progress=show))
        print(f"  {result.status}: {result.data} after {result.metadata['attempts']} attempts")

        print("sentence by sentence:")
        async with aclosing(keywords.stream(_STORY)) as found:
            async for words in found:
                print(f"  {words}")

        print("what cannot be:")
        for text, context in (("", None), (_STORY * 20, ProcessingContext(timeout_seconds=0.05))):
            error = (await keywords.process(text, context)).error
            if error is not None:
                print(f"  {error.category}: {error} (again: {'yes' if error.retryable else 'no'})")

        print("twenty at once, with room for four and a queue of eight:")
        contexts = [ProcessingContext(priority=Priority.HIGH if number >= 15 else Priority.LOW) for number in range(20)]  # noqa: PLR2004
        results = await asyncio.gather(*(keywords.process(_STORY, context) for context in contexts))
        print(f"  {dict(Counter(result.status.value for result in results))}")
        important = Counter(
            result.status.value for result, context in zip(results, contexts, strict=True) if context.priority > 0
        )
        print(f"  of the important ones: {dict(important)}")
    shed = REGISTRY.get_sample_value(
        "agent_tasks_shed_total", {"gen_ai_agent_name": "keywords", "agent_task": "process", "reason": "queue_full"}
    )
    print(f"the series say: {shed:.0f} shed since the queue was full")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
