"""What instruments DSPy, each library in an environment of its own, beside agentgauge and DSPy alone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dspy_table import DspyResult
from peers_environment import install, python_of, run

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DSPY_PEERS", "measured"]

DSPY_PEERS = ("opentelemetry-instrumentation-genai-dspy", "openinference-instrumentation-dspy")
_BESIDE = ("dspy", "genai-prices")  # agentgauge prices what it counts
_MEASURE_SECONDS = 600
_CALLS_A_PREDICT = 10  # a Predict takes longer than ten of the calls that windows are made for


def measured(packages: Sequence[str], calls: int, rounds: int) -> list[DspyResult]:
    """Install these, and measure them; windows have a tenth of ``calls``."""
    results = []
    for package in packages:
        problem = install(package, _BESIDE)
        print(f"{package}, a dspy.Predict", flush=True)
        results.append(DspyResult(package, failure=problem) if problem else _measure(package, calls // _CALLS_A_PREDICT, rounds))
    return results


def _measure(package: str, calls: int, rounds: int) -> DspyResult:
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        script = Path(__file__).with_name("dspy_overhead.py")
        command = [str(python_of(package)), str(script), str(calls), str(rounds), package, str(figures)]
        problem = run(command, _MEASURE_SECONDS, folder)
        if not figures.exists():
            return DspyResult(package, failure=problem or "it wrote no figures")
        return DspyResult(package, **json.loads(figures.read_text(encoding="utf-8")))
