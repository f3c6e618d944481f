"""What ``import agentgauge`` costs, beside importing what it is made of: each in a fresh process, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from rows import Row, Suite

if TYPE_CHECKING:
    from collections.abc import Collection

    from rows import Effort

__all__ = ["SUITES"]

_NAME = "import agentgauge"
_OURS = "agentgauge"
_PARTS = "opentelemetry.trace, opentelemetry.sdk.trace, prometheus_client, psutil, wrapt"
_RUNS_A_TRIAL = 3


def _cpu_seconds(modules: str, cache: str) -> float:
    # Modules of all are read from compiled files, also where the environment says that none shall be written.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}
    code = f"import time; began = time.process_time(); import {modules}; print(time.process_time() - began)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)  # noqa: S603 - a line of ours
    return float(done.stdout)


def _measure(_names: Collection[str], effort: Effort) -> list[Row]:
    ours, parts = [], []
    with tempfile.TemporaryDirectory() as cache:
        for run in range(_RUNS_A_TRIAL * effort.trials + 1):
            seconds = _cpu_seconds(_OURS, cache), _cpu_seconds(_PARTS, cache)
            if run:  # the first compiles
                ours.append(seconds[0])
                parts.append(seconds[1])
    best, reference = min(ours), min(parts)
    return [Row(_NAME, best / reference, best * 1e3, reference * 1e3, "ms", "api, sdk.trace, prometheus_client, psutil, wrapt")]


SUITES = (Suite((_NAME,), _measure),)
