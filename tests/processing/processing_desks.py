"""Interfaces that the tests ask for work."""

from __future__ import annotations

import asyncio

from agentgauge.processing import EnhancedProcessingInterface, ProcessingSettings


class Upper(EnhancedProcessingInterface):
    """Does what its input says: raises an exception, waits for seconds, awaits a function's answer, or says a word aloud."""

    def __init__(self, **settings):
        super().__init__(settings=ProcessingSettings(**settings))
        self.begun = []
        self.ended = []
        self.inside = self.most_inside = 0

    async def _process(self, input_data, context):
        self.begun.append(input_data)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            return await self._answer(input_data)
        finally:
            self.inside -= 1
            self.ended.append(input_data)

    @staticmethod
    async def _answer(input_data):
        if isinstance(input_data, Exception):
            raise input_data
        if callable(input_data):
            return await input_data()
        if isinstance(input_data, int | float):
            await asyncio.sleep(input_data)
            return input_data
        return input_data.upper()


class FakeBreaker:
    """Says what it is told, and writes down how calls ended."""

    def __init__(self):
        self.refusal = None
        self.endings = []

    def acquire(self):
        if self.refusal is not None:
            raise self.refusal
        return self

    def release(self, error=None):
        self.endings.append(error)


async def until(condition):
    """Let other tasks go on until something holds."""
    while not condition():  # noqa: ASYNC110 - nobody would set an event
        await asyncio.sleep(0)


def sums(registry, name, label=None):
    """The samples of a name: their sum, or their sums by a label."""
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == name:
                key = sample.labels.get(label) if label else None
                found[key] = found.get(key, 0) + sample.value
    return found if label else found.get(None, 0)
