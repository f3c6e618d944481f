"""What the tests of AgentMetricsCollector share."""

from __future__ import annotations

import uuid

from prometheus_client import CollectorRegistry

from agentgauge.recording.agent_metrics import AgentMetricsCollector
from agentgauge.recording.collector import RecorderCollector
from agentgauge.recording.recorder import Recorder
from agentgauge.testing import FakeClock

AGENT = {"gen_ai_agent_name": "clerk"}
FAULTS = ("unknown", "duplicate", "already_ended", "evicted", "bad_value")


class Desk:
    """A collector on a recorder and a registry of its own, with a clock that moves when told to."""

    def __init__(self, **settings):
        self.clock = FakeClock()
        self.recorder = Recorder(clock=self.clock, wall_clock=lambda: 50_000.0)
        self.registry = CollectorRegistry()
        self.registry.register(RecorderCollector(self.recorder))
        self.metrics = AgentMetricsCollector("clerk", recorder=self.recorder, **settings)

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, {**AGENT, **labels})

    def ended(self, task="file", outcome="success"):
        return self.value("agent_task_duration_seconds_count", agent_task=task, outcome=outcome)

    def in_progress(self, task="file"):
        return self.value("agent_tasks_in_progress", agent_task=task)

    def faults(self):
        counts = {fault: self.value("agent_task_protocol_faults_total", fault=fault) for fault in FAULTS}
        return {fault: count for fault, count in counts.items() if count}

    def do(self, count=1, *, seconds=1.0, task="file", category=None):
        for _ in range(count):
            task_id = uuid.uuid4()
            self.metrics.start_task(task_id, task)
            self.clock.advance(seconds)
            if category is None:
                self.metrics.complete_task(task_id)
            else:
                self.metrics.fail_task(task_id, "it broke", category)


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text")

    __str__ = __repr__
