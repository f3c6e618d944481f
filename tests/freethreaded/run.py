"""``make test-freethreaded``: the tests of what threads share, where no GIL is, nor may be at the end.

Not among them are tests that fork, since forking with threads on a free-threaded build is not supported, and tests of memory,
since CPython 3.13t keeps every class and interned name for ever.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

STRESS = (
    "tests/freethreaded/test_stress.py",
    "tests/recording/test_concurrent_recording.py",
    "tests/recording/test_recorder.py",
    "tests/recording/test_interrupted_drains.py",
    "tests/recording/test_contained_faults.py",
    "tests/recording/test_generators.py",
    "tests/recording/test_generator_contexts.py",
    "tests/recording/test_outcomes.py",
    "tests/recording/test_track.py",
    "tests/recording/test_spans.py",
    "tests/recording/test_agent_metrics.py",
    "tests/recording/test_agent_report_faults.py",
    "tests/recording/test_fleet.py",
    "tests/collectors/test_host_collector.py",
    "tests/collectors/test_sweep.py",
    "tests/exposition/test_metrics_server.py",
    "tests/exposition/test_text_page.py",
    "tests/test_monitor.py",
    "tests/breaker/test_breaker_half_open.py",
    "tests/breaker/test_breaker_listeners.py",
    "tests/breaker/test_breaker_machine.py",
    "tests/breaker/test_breaker_windowed.py",
    "tests/health/test_health_course.py",
    "tests/recovery/test_recovery_properties.py",
)

LEFT_OUT = ("tests/collectors/test_sweep.py::test_a_scrape_while_the_interpreter_exits_does_no_harm",)
"""Needs a class of the main module to be collected at exit, which CPython 3.13t does not do."""


def main(arguments: list[str]) -> int | str:
    if sys._is_gil_enabled():
        return "this interpreter has a GIL: use a free-threaded build, with PYTHON_GIL=0"
    sys.stdout.write(f"Python {platform.python_version()} without the GIL, {os.cpu_count()} CPUs\n")
    sys.stdout.flush()
    code = pytest.main([*(arguments or STRESS), *(f"--deselect={test}" for test in LEFT_OUT), "-q", "-p", "no:cacheprovider"])
    return "an extension module has switched the GIL on" if sys._is_gil_enabled() else code


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    sys.exit(main(sys.argv[1:]))
