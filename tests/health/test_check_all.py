"""What holds for all checks that come with agentgauge, and that the monitor runs each of them."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import sqlite3

import pytest
from check_servers import listening, serving, silent

from agentgauge import health
from agentgauge.health import HealthChecker, Schedule, Status, SystemHealthMonitor, checks

SETTINGS = {
    "AgentCheck": {"agent": "researcher"},
    "DatabaseCheck": {"connect": lambda: sqlite3.connect(":memory:")},
    "DiskWritableCheck": {"path": "/tmp"},
    "DnsCheck": {"host": "localhost"},
    "FunctionCheck": {"function": bool},
    "HttpCheck": {"url": "http://127.0.0.1:1/"},
    "LmCheck": {"base_url": "http://127.0.0.1:1/v1"},
    "RedisCheck": {"url": "redis://127.0.0.1:1"},
    "SystemResourcesCheck": {},
    "TcpCheck": {"host": "127.0.0.1", "port": 1},
}
EACH = pytest.mark.parametrize("kind", SETTINGS)


def test_all_are_exported_from_both_places():
    exported = {name for name in checks.__all__ if name.endswith("Check")}
    assert exported == set(SETTINGS)
    assert exported <= set(health.__all__)


@EACH
def test_each_is_a_frozen_dataclass_of_names_that_a_monitor_takes(kind):
    made = getattr(health, kind)(name="it", **SETTINGS[kind])
    assert isinstance(made, HealthChecker)
    assert not hasattr(made, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"
    with pytest.raises(TypeError):
        getattr(health, kind)("it")
    assert isinstance(hash(made), int)
    assert copy.copy(made) == made
    assert dataclasses.replace(made, name="other").name == "other"
    assert repr(made).startswith(f"{kind}(name='it'")


@EACH
def test_each_refuses_what_is_no_name_and_no_schedule(kind):
    for wrong in ({"name": " "}, {"schedule": 30}, {"component_type": "agent"}):
        with pytest.raises(health.checks.settings.ConfigurationError, match=next(iter(wrong))):
            getattr(health, kind)(**{"name": "it", **SETTINGS[kind], **wrong})


@EACH
def test_each_says_by_its_docstring_what_it_looks_at_and_raises(kind):
    documented = getattr(health, kind).__doc__
    assert "Attributes:" in documented
    assert "ConfigurationError" in documented


def test_the_monitor_runs_checks_for_threads_and_for_asyncio_at_once():
    async def well():
        await asyncio.sleep(0)
        return Status.WARNING, "so so"

    async def main(url, port):
        schedule = Schedule(timeout_seconds=20, failure_threshold=1)
        monitor = SystemHealthMonitor(
            [
                health.HttpCheck(name="http", url=url, schedule=schedule),
                health.TcpCheck(name="tcp", host="127.0.0.1", port=port, schedule=schedule),
                health.DatabaseCheck(name="sqlite", connect=lambda: sqlite3.connect(":memory:"), schedule=schedule),
                health.FunctionCheck(name="coroutine", function=well, schedule=schedule),
                health.RedisCheck(
                    name="hangs", url=f"redis://127.0.0.1:{port}", schedule=Schedule(timeout_seconds=0.5, failure_threshold=1)
                ),
            ]
        )
        await monitor.check_all_health()
        return {component.name: component.status for component in monitor.health_report().components}

    with serving(lambda _request: (200, {}, b"")) as url, listening(silent) as port:
        found = asyncio.run(main(url, port))
    assert found == {
        "http": Status.HEALTHY,
        "tcp": Status.HEALTHY,
        "sqlite": Status.HEALTHY,
        "coroutine": Status.WARNING,
        "hangs": Status.DOWN,
    }
