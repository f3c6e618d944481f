"""How many replicas or places a load needs: Little's law, a target utilization, limits, and no flapping."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agentgauge.errors import ConfigurationError
from agentgauge.requirements import require_count, require_ratio

__all__ = ["CapacityPlan", "capacity"]

_ROUNDING = 1e-9  # 6.000000000000001 places are six


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What a load needs.

    Attributes:
        load: The places that are busy at once: arrivals a second times seconds each.
        concurrency: The places to have, so that the target share of them is busy, headroom included.
        wanted_replicas: Replicas that have so many places, before limits and damping.
        replicas: Replicas to run.
        utilization: The share of the places of ``replicas`` that the load keeps busy; above 1 means a queue that grows.
        reason: ``load``, ``minimum``, ``maximum``, or ``held`` where fewer would do, but not by enough to scale down.
    """

    load: float
    concurrency: float
    wanted_replicas: int
    replicas: int
    utilization: float
    reason: str


def capacity(
    rate: float,
    duration_seconds: float,
    *,
    concurrency_per_replica: int,
    target_utilization: float = 0.7,
    headroom: float = 0.0,
    min_replicas: int = 1,
    max_replicas: int = 1000,
    current_replicas: int | None = None,
    scale_down_margin: float = 0.1,
) -> CapacityPlan:
    """Turn a load into replicas by Little's law: busy places = arrivals a second times seconds each.

    Args:
        rate: Arrivals a second.
        duration_seconds: How long one keeps a place busy, on average.
        concurrency_per_replica: How many a replica does at once.
        target_utilization: The share of the places that should be busy, above 0 and up to 1.
        headroom: By what share more is planned for: 0.2 for 20 %.
        min_replicas: Never fewer.
        max_replicas: Never more.
        current_replicas: How many run now; unless given, nothing is held back.
        scale_down_margin: Fewer than run now are told only where they would carry this share more than the load, so that a
            load that sways about a step does not start and stop a replica again and again.

    Raises:
        ConfigurationError: A setting makes no sense.

    Source: J. D. C. Little, "A Proof for the Queuing Formula: L = lambda W", Operations Research 9(3), 1961.
    """
    require_count("concurrency_per_replica", concurrency_per_replica, "4")
    require_ratio("target_utilization", target_utilization, "0.7")
    require_count("min_replicas", min_replicas, "1", least=0)
    require_count("max_replicas", max_replicas, "20")
    if current_replicas is not None:
        require_count("current_replicas", current_replicas, "3", least=0)
    if min_replicas > max_replicas:
        raise ConfigurationError(f"min_replicas={min_replicas} is above max_replicas={max_replicas}: give a range")
    for setting, share in (("headroom", headroom), ("scale_down_margin", scale_down_margin)):
        if not 0 <= share < math.inf:
            raise ConfigurationError(f"{setting}={share!r}: give a share from 0 on, such as 0.2")
    for setting, amount in (("rate", rate), ("duration_seconds", duration_seconds)):
        if not 0 <= amount < math.inf:
            raise ConfigurationError(f"{setting}={amount!r}: give a number from 0 on")
    load = rate * duration_seconds
    places = load * (1 + headroom) / target_utilization
    wanted = math.ceil(places / concurrency_per_replica - _ROUNDING)
    chosen, reason = wanted, "load"
    if current_replicas is not None and wanted < current_replicas:
        safe = math.ceil(places * (1 + scale_down_margin) / concurrency_per_replica - _ROUNDING)
        if safe > wanted:
            chosen, reason = min(current_replicas, safe), "held"
    if chosen < min_replicas:
        chosen, reason = min_replicas, "minimum"
    elif chosen > max_replicas:
        chosen, reason = max_replicas, "maximum"
    offered = chosen * concurrency_per_replica
    utilization = load / offered if offered else 0.0 if not load else math.inf
    return CapacityPlan(load, places, wanted, chosen, utilization, reason)
