"""The check that is run on GPU machines would notice a wrong reading: here it meets a driver and an nvidia-smi that are fakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAM = """
import sys
sys.path[:0] = sys.argv.pop(1).split(":")
import pynvml
from nvml_driver import FakeDriver, Gpu
pynvml.CDLL = lambda name: driver
import gpu_check
gpu_check.TRIES = 1
driver = FakeDriver({gpus})
sys.exit(gpu_check.main())
"""
AGREEING = ["GPU-1", "NVIDIA H200", "37", "250", "1000", "41", "76.54", "700.00", "5", "2"]


def check(folder, row, gpus="Gpu()"):
    """Run the check beside an nvidia-smi that says ``row``."""
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho '{', '.join(row)}'\n")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    path = f"{HERE}:{HERE.parent / 'hardware'}"
    words = [sys.executable, "-c", PROGRAM.format(gpus=gpus), path]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_readings_that_nvidia_smi_confirms_pass(tmp_path):
    result = check(tmp_path, AGREEING)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("all agree\n")
    assert "OpenTelemetry" not in result.stderr


def test_what_neither_tells_passes(tmp_path):
    failures = "failures={'nvmlDeviceGetUtilizationRates': 3, 'nvmlDeviceGetTotalEccErrors': 3}"
    row = [*AGREEING[:2], "[N/A]", *AGREEING[3:8], "[N/A]", "[N/A]"]
    result = check(tmp_path, row, f"Gpu({failures})")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (0, "GPU-2"),
        (2, "50"),
        (3, "300"),
        (4, "1002"),
        (5, "45"),
        (6, "100.00"),
        (7, "699.00"),
        (8, "4"),
        (9, "[N/A]"),
    ],
)
def test_a_reading_that_nvidia_smi_denies_fails(tmp_path, column, value):
    result = check(tmp_path, [*AGREEING[:column], value, *AGREEING[column + 1 :]])
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr == ""
    assert "all agree" not in result.stdout


def test_a_machine_without_a_gpu_fails(tmp_path):
    result = check(tmp_path, AGREEING, "")
    assert result.returncode == 1
    assert "the collector reads no GPU" in result.stdout
