"""Which deploy came with what moved: a new version, or a restart, just before it began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentgauge.analytics.amounts import moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agentgauge.analytics.deploys import Deploy
    from agentgauge.analytics.explain.moves import Moved

__all__ = ["deploy_of", "deploy_words"]

_MOST_STEPS, _MOST_SECONDS = 10, 300.0  # what a deploy does to every call is seen within minutes
_NAMES = {"service_version": "service version", "agentgauge_version": "agentgauge"}


def deploy_of(moved: Moved, jobs: Collection[str], deploys: Iterable[Deploy]) -> Deploy | None:
    """Return the deploy that came with what moved: the last that began no later than it, and a few minutes before at most.

    Args:
        moved: What moved.
        jobs: In which jobs it is.
        deploys: All that there were.
    """
    first = moved.onset - min(_MOST_SECONDS, _MOST_STEPS * moved.signal.grid.step_seconds)
    fit = [
        one
        for one in deploys
        if one.labels.get("job", "") in jobs
        and first <= one.until.timestamp()
        and one.at.timestamp() <= moved.onset + moved.slack_seconds + moved.rise_seconds
    ]
    return max(fit, key=lambda one: (one.at, one.what == "service_version"), default=None)


def deploy_words(deploy: Deploy) -> str:
    """Return it as people read it: ``a deploy (service version 1.0 → 1.1 of swarm at 2026-05-04 12:00:00 UTC)``."""
    of = f" of {deploy.labels['job']}" if deploy.labels.get("job") else ""
    at = moment(round(deploy.at.timestamp()))
    if deploy.what == "restart":
        return f"a restart{of} (at {at})"
    return f"a deploy ({_NAMES[deploy.what]} {deploy.before} → {deploy.after}{of} at {at})"
