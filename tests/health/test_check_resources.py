"""``SystemResourcesCheck``: readings of this very machine, judged by thresholds."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from agentgauge.errors import ConfigurationError
from agentgauge.health.checks import SystemResourcesCheck
from agentgauge.health.status import ComponentType, Status
from agentgauge.system_metrics import SystemMetricsManager
from agentgauge.targets import DEFAULT_THRESHOLDS, Threshold

MEMORY = "system_memory_utilization_ratio"
ALWAYS = 0.000001


class Fake:
    """A collector whose one reading a test sets."""

    def __init__(self, value):
        self.value = value

    def collect(self):
        return {"queue_depth": self.value}


@pytest.fixture
def manager():
    with SystemMetricsManager(collectors=(), thresholds=(), registry=CollectorRegistry(), collector_timeout_seconds=20) as made:
        yield made


def closed(check):
    for made in check._made:
        made.close()


def test_readings_within_their_limits_are_healthy_and_a_breach_has_its_thresholds_severity():
    for threshold, status, condition in (
        (Threshold(MEMORY, 0.999999, "critical"), Status.HEALTHY, ""),
        (Threshold(MEMORY, ALWAYS, "warning"), Status.WARNING, "threshold"),
        (Threshold(MEMORY, ALWAYS, "critical"), Status.CRITICAL, "threshold"),
        (Threshold(MEMORY, ALWAYS, "info"), Status.HEALTHY, ""),
    ):
        check = SystemResourcesCheck(name="host", thresholds=[threshold])
        found = check.check()
        closed(check)
        assert (found.status, found.condition) == (status, condition)
        assert bool(found.suggestions) is bool(condition)
        assert found.details["score"] is not None


def test_the_likeliest_cause_of_a_breach_is_named_by_its_metric():
    check = SystemResourcesCheck(name="host", thresholds=[Threshold(MEMORY, ALWAYS)])
    found = check.check()
    closed(check)
    assert MEMORY in found.message
    assert "memory" in found.suggestions[0]


def test_with_its_defaults_it_watches_cpu_memory_and_file_systems_with_their_time_to_hold():
    check = SystemResourcesCheck(name="host")
    found = check.check()
    thresholds = check._made[0]._knowledge.states
    closed(check)
    assert set(thresholds) == set(DEFAULT_THRESHOLDS)
    assert found.status is Status.HEALTHY  # they hold for two minutes at least
    assert check.component_type is ComponentType.SYSTEM


def test_of_several_breaches_the_worst_counts_and_all_are_told(manager):
    manager.add_collector("queue", Fake(50))
    manager.set_threshold("queue_depth", 10, "warning")
    manager.set_threshold("queue_depth", 60, "critical", "<")
    found = SystemResourcesCheck(name="host", manager=manager).check()
    assert (found.status, len(found.details["alerts"])) == (Status.CRITICAL, 2)


def test_a_manager_of_the_programs_is_asked_and_a_reading_that_comes_back_ends_it(manager):
    fake = Fake(50)
    manager.add_collector("queue", fake)
    manager.set_threshold("queue_depth", 10, "critical", hysteresis=2)
    check = SystemResourcesCheck(name="host", manager=manager)
    assert check.check().status is Status.CRITICAL
    fake.value = 9
    assert check.check().status is Status.CRITICAL  # it has not come back by the hysteresis
    fake.value = 7
    assert check.check().status is Status.HEALTHY


def test_samples_count_from_check_to_check(manager):
    manager.add_collector("queue", Fake(50))
    manager.set_threshold("queue_depth", 10, "critical", minimum_samples=3)
    check = SystemResourcesCheck(name="host", manager=manager)
    assert [check.check().status for _ in range(3)] == [Status.HEALTHY, Status.HEALTHY, Status.CRITICAL]


def test_a_check_makes_one_manager_for_good():
    check = SystemResourcesCheck(name="host", thresholds=[Threshold(MEMORY, ALWAYS, minimum_samples=3)])
    assert [check.check().status for _ in range(3)] == [Status.HEALTHY, Status.HEALTHY, Status.WARNING]
    assert len(check._made) == 1
    closed(check)


def test_a_manager_that_collects_is_not_asked_to_read_again(manager):
    reads = []

    class Counting(Fake):
        def collect(self):
            reads.append(1)
            return super().collect()

    manager.add_collector("queue", Counting(1))
    manager.set_threshold("queue_depth", 10)

    async def main():
        await manager.start_collection(3600)
        try:
            for _ in range(3):
                assert SystemResourcesCheck(name="host", manager=manager).check().status is Status.HEALTHY
        finally:
            await manager.stop_collection()

    asyncio.run(main())
    assert len(reads) == 1


def test_what_nothing_is_read_of_is_unknown_and_never_well(manager):
    manager.set_threshold("queue_depht", 10)
    found = SystemResourcesCheck(name="host", manager=manager).check()
    assert (found.status, found.condition) == (Status.UNKNOWN, "unmeasured")
    assert "queue_depht" in found.message


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": ["system_cpu"]}, "thresholds"),
        ({"thresholds": 3}, "thresholds"),
        ({"manager": object()}, "manager"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(settings, match):
    with pytest.raises(ConfigurationError, match=match):
        SystemResourcesCheck(name="host", **settings)


def test_thresholds_and_a_manager_together_are_refused(manager):
    with pytest.raises(ConfigurationError, match="thresholds"):
        SystemResourcesCheck(name="host", manager=manager, thresholds=DEFAULT_THRESHOLDS)
