"""A monitor that nobody holds any more goes, though its own checks refer to it, and its gauges with it."""

from __future__ import annotations

import gc
import time
import weakref

from agentgauge.health import FunctionCheck, SystemHealthMonitor
from agentgauge.testing import isolated


class Service:
    """Holds the monitor whose check it answers."""

    def __init__(self):
        self.monitor = SystemHealthMonitor([FunctionCheck(name="service", function=self.ping)])

    def ping(self):
        return True


def test_a_monitor_whose_check_belongs_to_its_holder_goes_with_it():
    with isolated() as fresh:
        service = Service()
        service.monitor.check_all_health_blocking()
        labels = {"component": "service", "component_type": "custom"}
        assert fresh.value("agent_health_last_check_timestamp_seconds", **labels) is not None
        gone = weakref.ref(service)
        del service
        deadline = time.monotonic() + 30
        while gone() is not None and time.monotonic() < deadline:  # the thread of its check may be about to end
            gc.collect()
            time.sleep(0.001)
        assert gone() is None
        assert fresh.value("agent_health_last_check_timestamp_seconds", **labels) is None
