"""A program that does well, scraped by servers with the shipped rules, while other tests run.

An hour of the rules takes five minutes. What judges by a day's history, the adaptive bands and the traffic to be expected,
needs seven hours of it: for those rules five minutes are more than eight.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from expressions import RULES, load_rules, scaled_rules
from programs import running
from stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = float(os.environ.get("HEALTHY_SECONDS", "300"))  # with less, the bands have no history
SCALE, LONG_SCALE = 1 / 12, 1 / 100
NEEDS_LONG = {"agentgauge-adaptive", "agentgauge-traffic"}
SCRAPE_SECONDS, EVALUATION_SECONDS = 1, 2  # as if every 12 and every 24
JOB = "agentgauge"
_FIRST_SECONDS = 10  # within which Prometheus comes to its first reading


class HealthyRun:
    """The program, a Prometheus that scrapes it and both servers, and an Alertmanager that tells nobody; ``stop`` ends them.

    Attributes:
        stack: The servers.
        program: What does well.
        began: From when on Prometheus has readings of it, on the monotonic clock.
    """

    def __init__(self, parent: Path) -> None:
        """Begin.

        Args:
            parent: Where its folder is made; of a session that is killed it stays behind.
        """
        with ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="healthy-", dir=parent)))
            self.program = opened.enter_context(running("healthy", folder))
            self.stack = opened.enter_context(_stack(folder, self.program.address))
            self.began = time.monotonic() + _FIRST_SECONDS
            self._opened = opened.pop_all()

    def stop(self) -> None:
        """End the servers and the program."""
        self._opened.close()

    def fired(self) -> set[str]:
        """Return the names of all alerts that have fired since the beginning."""
        window = f"{time.monotonic() - self.began + 2 * _FIRST_SECONDS:.0f}s"
        return {one["metric"]["alertname"] for one in self.stack.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{window}])')}

    def until(self, seconds: float) -> set[str]:
        """Wait until so many seconds have passed since the beginning, and return what has fired by then."""
        time.sleep(max(0.0, self.began + seconds - time.monotonic()))
        self.program.check()
        return self.fired()


def shortened(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules as they are in this run."""
    groups = [
        group
        for one in rules["groups"]
        for group in scaled_rules({"groups": [one]}, LONG_SCALE if one["name"] in NEEDS_LONG else SCALE)["groups"]
    ]
    return {"groups": groups}


def _stack(folder: Path, address: str) -> Stack:
    rules, alertmanager = folder / "rules.yml", folder / "alertmanager.yml"
    rules.write_text(yaml.safe_dump(shortened(load_rules(RULES))), encoding="utf-8")
    alertmanager.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", encoding="utf-8")
    stack = Stack([], folder, rules=[rules], alertmanager_config=alertmanager)
    every = f"{SCRAPE_SECONDS}s"
    stack._config["global"] = {
        "scrape_interval": every,
        "scrape_timeout": every,
        "evaluation_interval": f"{EVALUATION_SECONDS}s",
    }
    targets = {JOB: address, "prometheus": stack.prometheus_address, "alertmanager": stack.alertmanager_address}
    stack._config["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
    ]
    return stack
