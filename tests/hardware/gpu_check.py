"""Compare what the GPU collector reads on this machine with what nvidia-smi says; exit 1 where they disagree.

Run it from a checkout, with prometheus-client, psutil and nvidia-ml-py installed and nothing else::

    python tests/hardware/gpu_check.py [--load]

``--load`` keeps the first GPU busy meanwhile, by way of PyTorch.
"""

# ruff: noqa: T201 - it reports to a person
from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "agentgauge"

package = types.ModuleType("agentgauge")  # the package's own __init__ wants OpenTelemetry, which GPU machines may lack
package.__path__ = [str(SOURCE)]
sys.modules["agentgauge"] = package
sys.path.insert(0, str(SOURCE.parent))

from agentgauge.collectors.gpu import GpuCollector  # noqa: E402 - the way to it was made above
from agentgauge.errors import contained_errors  # noqa: E402

MIB = 2**20
# nvidia-smi's name, our series, the factor between them, and by how much two looks may differ
COLUMNS = (
    ("utilization.gpu", ("hw_gpu_utilization_ratio",), 0.01, 0.05),
    ("memory.used", ("hw_gpu_memory_usage_bytes",), MIB, 16 * MIB),
    ("memory.total", ("hw_gpu_memory_limit_bytes",), MIB, MIB),
    ("temperature.gpu", ("hw_temperature_celsius",), 1, 2),
    ("power.draw", ("hw_power_watts",), 1, 10),
    ("enforced.power.limit", ("hw_power_limit_watts",), 1, 0.01),
    ("ecc.errors.corrected.volatile.total", ("hw_errors_total", "corrected"), 1, 0),
    ("ecc.errors.uncorrected.volatile.total", ("hw_errors_total", "uncorrected"), 1, 0),
)
TRIES = 5
BUSY = """
import torch
ballast = torch.empty(2 * 2**30, dtype=torch.uint8, device="cuda")
left = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
print("busy", flush=True)
while True:
    for _ in range(50):
        left @ left
    torch.cuda.synchronize()
"""


def ask_nvidia_smi():
    """Give the values by GPU, ``None`` for what nvidia-smi does not tell."""
    names = ",".join(name for name, *_ in COLUMNS)
    command = ["nvidia-smi", f"--query-gpu=uuid,name,{names}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    rows = csv.reader(answer.splitlines(), skipinitialspace=True)
    return {(uuid, name): [_number(text) for text in values] for uuid, name, *values in rows}


def _number(text):
    try:
        return float(text)
    except ValueError:  # [N/A], [Not Supported]
        return None


def read(collector):
    """Give our values by GPU and series."""
    values = {}
    for metric in collector.collect():
        for sample in metric.samples:
            uuid, name, *more = sample.labels.values()
            values.setdefault((uuid, name), {})[sample.name, *more] = sample.value
    return values


def compare(before, theirs, after):
    """Print both sides, and give what disagrees: theirs must lie between our two looks, give or take the tolerance."""
    wrong = []
    if before.keys() != theirs.keys() or after.keys() != theirs.keys():
        wrong.append(f"we see {sorted(before)}, nvidia-smi {sorted(theirs)}")
    for gpu in sorted(before.keys() & theirs.keys() & after.keys()):
        print(*gpu)
        for (column, series, factor, tolerance), value in zip(COLUMNS, theirs[gpu], strict=True):
            ours = [values[gpu].get(series) for values in (before, after)]
            expected = None if value is None else value * factor
            if None in ours or expected is None:
                is_equal = ours == [None, None] and expected is None
            else:
                is_equal = min(ours) - tolerance <= expected <= max(ours) + tolerance
            print(
                f"  {' '.join(series):42} {ours[0]!s:>22} {ours[1]!s:>22}   nvidia-smi {expected}{'' if is_equal else '  WRONG'}"
            )
            if not is_equal:
                wrong.append(f"{gpu[0]} {column}: ours {ours}, theirs {expected}")
        ratio, *parts = (
            after[gpu].get((f"hw_gpu_memory_{part}",)) for part in ("utilization_ratio", "usage_bytes", "limit_bytes")
        )
        if None not in {ratio, *parts} and abs(ratio - parts[0] / parts[1]) > 1e-9:
            wrong.append(f"{gpu[0]}: memory utilization {ratio} is not {parts}")
    return wrong


def check_values(collector):
    """Compare until both agree, since loads change between two looks."""
    for _ in range(TRIES):
        wrong = compare(read(collector), ask_nvidia_smi(), read(collector))
        if not wrong:
            return []
        time.sleep(1.5)
    return wrong


def check_child(collector):
    """Let a forked child read and close; both must see all there is, the parent afterwards, too."""
    before = {gpu: sorted(values) for gpu, values in read(collector).items()}
    child = os.fork()
    if not child:
        in_child = {gpu: sorted(values) for gpu, values in read(collector).items()}
        collector.close()
        if in_child != before:
            print("child reads", in_child, flush=True)
        os._exit(0 if in_child == before else 1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    wrong = []
    if ended[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
        wrong.append("a forked child hangs")
    elif ended[1]:
        wrong.append("a forked child reads less than its parent")
    after = {gpu: sorted(values) for gpu, values in read(collector).items()}
    if after != before:
        wrong.append(f"after a child closed, the parent reads {after}, not {before}")
    return wrong


def check_load(collector):
    """Keep the first GPU busy and see that it shows."""
    idle = read(collector)
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as load:
        try:
            if load.stdout.readline() != "busy\n":
                return ["PyTorch cannot keep a GPU busy here"]
            time.sleep(3)
            print("under load:")
            wrong = check_values(collector)
            busy = read(collector)
        finally:
            load.kill()
    gains = [busy[gpu].get(("hw_gpu_memory_usage_bytes",), 0) - idle[gpu].get(("hw_gpu_memory_usage_bytes",), 0) for gpu in idle]
    if max(gains) < 2 * 2**30:
        wrong.append(f"2 GiB were taken, and memory in use grew by {gains}")
    if max(values.get(("hw_gpu_utilization_ratio",), 1) for values in busy.values()) < 0.5:
        wrong.append("a GPU is busy, and none shows it")
    return wrong


def main():
    """Run all checks and tell what was wrong."""
    parser = argparse.ArgumentParser(description="Compare the GPU collector with nvidia-smi.")
    parser.add_argument("--load", action="store_true", help="keep a GPU busy with PyTorch, and see that it shows")
    options = parser.parse_args()
    if shutil.which("nvidia-smi") is None:
        print("there is no nvidia-smi here to compare with")
        return 1

    collector = GpuCollector()
    started = time.perf_counter()
    first = read(collector)
    first_seconds = time.perf_counter() - started
    wrong = [] if first else ["the collector reads no GPU"]
    wrong += check_values(collector)
    if options.load:
        wrong += check_load(collector)
    wrong += check_child(collector)

    costs = []
    for _ in range(50):
        started = time.perf_counter()
        collector.collect()
        costs.append(time.perf_counter() - started)
    median, slowest = sorted(costs)[25], max(costs)
    print(f"first sweep {first_seconds * 1000:.2f} ms, then median {median * 1000:.2f} ms, slowest {slowest * 1000:.2f} ms")

    collector.close()
    if read(collector):
        wrong.append("a closed collector still reads")
    again = GpuCollector()
    if not read(again):
        wrong.append("a second collector reads nothing after the first was closed")
    again.close()
    if contained_errors.count_by_hook:
        wrong.append(f"internal errors: {contained_errors.count_by_hook}")
    print(*wrong or ["all agree"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
