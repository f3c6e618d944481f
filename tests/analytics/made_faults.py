"""A swarm of agents made up, call by call: queues, models, tools, machines, and faults that spread as they do in earnest.

Calls happen, and counters, histograms and gauges count them every 15 s, as agentgauge's do; no signal is made directly.
"""

from __future__ import annotations

import heapq
import math
from array import array
from dataclasses import dataclass, field

import numpy as np

from agentgauge.analytics.frames import Fold, Frame, Grid
from made_source import MadeSource

TICK = 15.0
START = 1_700_000_000 // 60 * 60
KINDS = (
    "model slow",
    "model failing",
    "tool slow",
    "tool failing",
    "host cpu taken",
    "host disk taken",
    "traffic surge",
    "longer prompts",
    "memory leak",
    "event loop blocked",
    "one instance bad",
    "agent loop",
)
JOB = "swarm"
CALL_BOUNDS = np.array([0.01 * 2**power for power in range(14)])
TASK_BOUNDS = np.array([0.01 * 2**power for power in range(17)])
LAG_BOUNDS = np.array([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60])
GC_BOUNDS = np.array([0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1])
STEPS_BOUNDS = np.array([1, 2, 4, 8, 16, 32, 64, 128.0])
TASK, TOOL, CALL = (
    "agent_task_duration_seconds",
    "gen_ai_execute_tool_duration_seconds",
    "gen_ai_client_operation_duration_seconds",
)


class TickSource(MadeSource):
    """A made source whose series all have the same times, 15 s apart: answers the same, sooner."""

    def __init__(self, count: int):
        super().__init__()
        self.times = START + TICK * np.arange(count)
        self._by_metric: dict[str, list[tuple[dict[str, str], np.ndarray]]] = {}

    def put(self, metric: str, values: np.ndarray, **labels: str) -> None:
        self._by_metric.setdefault(metric, []).append(({"job": JOB, **labels}, values))

    def plain(self) -> MadeSource:
        made = MadeSource()
        for metric, found in self._by_metric.items():
            for labels, values in found:
                made.add(metric, self.times.tolist(), values.tolist(), **labels)
        return made

    def frames(self, metric, grid, labels=None, fold=Fold.LAST):
        wanted = set((labels or {}).items())
        ends = np.floor((np.array(grid.times) - START) / TICK).astype(int)
        width = round(grid.step_seconds / TICK)
        found = []
        for own, values in self._by_metric.get(metric, ()):
            if not wanted <= set(own.items()):
                continue
            if fold is Fold.LAST:
                picked = np.where((ends >= 0) & (ends < len(values)), values[np.clip(ends, 0, len(values) - 1)], math.nan)
            elif fold is Fold.COUNT:
                begins = np.floor((np.array(grid.times) - grid.step_seconds - START) / TICK).astype(int)
                inside = np.clip(ends, -1, len(values) - 1) - np.clip(begins, -1, len(values) - 1)
                picked = np.where(inside > 0, inside, math.nan)
            else:
                assert fold is Fold.MEAN, fold
                sums = np.concatenate([[0.0], np.cumsum(values)])
                picked = (sums[np.clip(ends + 1, 0, len(values))] - sums[np.clip(ends + 1 - width, 0, len(values))]) / width
                picked = np.where((ends >= 0) & (ends < len(values)), picked, math.nan)
            if not np.isnan(picked).all():
                found.append(Frame(metric, own, grid, array("d", picked.tolist())))
        return found

    def metrics(self):
        return sorted(self._by_metric)

    def extent(self):
        return float(self.times[0]), float(self.times[-1])


@dataclass
class MadeRun:
    """One run: what Prometheus would have of it, the window that somebody asks about, and what the cause is."""

    kind: str | None
    source: TickSource
    window: Grid
    onset: float
    measures: frozenset[str] = frozenset()
    labels: dict[str, str] = field(default_factory=dict)
    decoys: tuple[str, ...] = ()

    def is_named_by(self, cause) -> bool:
        return cause.signal.measure.name in self.measures and self.labels.items() <= cause.labels.items()


def _noise(rng, count: int, spread: float, memory: float = 0.9) -> np.ndarray:
    """Return slowly wandering noise around zero."""
    steps = rng.normal(0, spread * math.sqrt(1 - memory**2), count)
    found = np.empty(count)
    now = 0.0
    for index in range(count):
        now = memory * now + steps[index]
        found[index] = now
    return found


class Swarm:
    """A planner that hands work to a researcher and a writer, and a digest beside them; of several instances each."""

    def __init__(self, kind: str | None, seed: int, *, hours: float = 3.0, instances: int = 3, step: float = 30.0):
        self.rng = np.random.default_rng([seed, 77])
        rng = self.rng
        self.kind, self.instances = kind, instances
        self.names = [f"10.0.0.{5 + number}:9464" for number in range(instances)]
        self.count = round(hours * 3600 / TICK) + 1
        self.at = np.arange(self.count)
        lasts = rng.uniform(30, 45) * 60
        self.begin = self.count - 1 - round(lasts / TICK)
        self.onset = self.begin + round(rng.uniform(6, 15) * 60 / TICK)
        recovers = rng.random() < 0.3
        self.is_on = (self.at >= self.onset) & (self.at < (self.count - 16 if recovers else self.count))
        self.source = TickSource(self.count)
        self.window = Grid.over(START + self.begin * TICK, START + (self.count - 1) * TICK, step)
        self.reset_at: int | None = None
        self._calls: dict[tuple, list] = {}
        shape = (instances, self.count)
        self.load = rng.uniform(0.6, 0.9) * (
            1 + 0.35 * np.sin(2 * np.pi * (self.at * TICK / 86400 + rng.random())) + _noise(rng, self.count, 0.04)
        )
        self.other_cpu = np.clip(1.0 + np.stack([_noise(rng, self.count, 0.15) for _ in range(instances)]), 0.1, None)
        self.disk_busy = np.clip(0.15 + np.stack([_noise(rng, self.count, 0.03) for _ in range(instances)]), 0.01, 1)
        self.leak, self.lag = np.zeros(shape), np.full(shape, 0.002)
        self.slow = {name: np.ones(shape) for name in ("big", "small", "mini", "embed", "search", "fetch", "format", "rss")}
        self.fails = {name: np.full(shape, 0.01) for name in self.slow}
        self.prompt = np.ones(self.count)
        self.more_steps = np.zeros(self.count)
        self.extra_memory, self.threads = np.zeros(shape), np.full(shape, 24.0)
        self.disk_io = np.full(shape, 2e6)
        self.measures, self.labels = frozenset(), {}

    def plant(self) -> None:  # noqa: C901, PLR0912 - a branch for each kind of fault
        rng, on = self.rng, self.is_on
        ramp = np.clip((self.at - self.onset) * TICK / rng.uniform(15, 60), 0, 1) * on  # takes effect within a minute
        if self.kind == "model slow":
            self.slow["big"] *= 1 + rng.uniform(1.0, 2.5) * ramp
            self._is({"lm_duration_p95", "lm_first_chunk_p95"}, gen_ai_request_model="big")
        elif self.kind == "model failing":
            self.fails["big"] += rng.uniform(0.25, 0.5) * ramp
            self._is({"lm_error_ratio", "lm_retry_rate"}, gen_ai_request_model="big")
        elif self.kind == "tool slow":
            name = ("search", "fetch")[int(rng.integers(2))]
            self.slow[name] *= 1 + rng.uniform(3, 8) * ramp
            self._is({"tool_duration_p95"}, gen_ai_tool_name=name)
        elif self.kind == "tool failing":
            name = ("search", "fetch")[int(rng.integers(2))]
            self.fails[name] += rng.uniform(0.2, 0.5) * ramp
            self._is({"tool_error_ratio"}, gen_ai_tool_name=name)
        elif self.kind == "host cpu taken":
            where = int(rng.integers(self.instances))
            self.other_cpu[where] += rng.uniform(3.2, 6) * ramp
            self._is({"host_cpu"}, instance=self.names[where])
        elif self.kind == "host disk taken":
            where = int(rng.integers(self.instances))
            self.disk_busy[where] += rng.uniform(0.75, 0.85) * ramp
            self.disk_io[where] += 8e7 * ramp
            self._is({"host_disk_busy", "host_disk_io"}, instance=self.names[where])
        elif self.kind == "traffic surge":
            self.load *= 1 + rng.uniform(0.9, 1.8) * ramp
            self._is({"task_rate"}, gen_ai_agent_name="planner")
        elif self.kind == "longer prompts":
            self.prompt *= 1 + rng.uniform(1.0, 2.5) * on
            self.reset_at = self.onset  # a deploy: every program begins anew
            self._is({"lm_input_tokens_mean"}, gen_ai_request_model="big")
        elif self.kind == "memory leak":
            self.leak += rng.uniform(1.5e6, 2.5e6) * np.maximum(0, self.at - self.onset) * TICK
            self._is({"process_memory", "gc_pause_rate"})
        elif self.kind == "event loop blocked":
            where = int(rng.integers(self.instances))
            self.lag[where] += rng.uniform(0.4, 1.0) * ramp
            self._is({"event_loop_lag_p95"}, instance=self.names[where])
        elif self.kind == "one instance bad":
            where = int(rng.integers(self.instances))
            factor = 1 + rng.uniform(2, 4) * ramp
            for name in ("big", "small", "search", "fetch", "format"):
                self.slow[name][where] *= factor
            names = {"lm_duration_p95", "lm_first_chunk_p95", "tool_duration_p95", "task_duration_p95", "task_duration_mean"}
            self._is(names, instance=self.names[where])
        elif self.kind == "agent loop":
            self.more_steps += rng.uniform(3, 6) * on
            self._is({"run_steps_mean", "repeated_tool_call_rate"}, gen_ai_agent_name="researcher")

    def _is(self, measures: set[str], **labels: str) -> None:
        self.measures, self.labels = frozenset(measures), labels

    def decoy(self) -> tuple[str, ...]:
        """Move what has no part in it: at another time, beside the work, or for no reason at all."""
        rng = self.rng
        chosen = rng.choice(
            ["memory", "disk", "rss", "embed", "threads", "threads now", "disk now", "noisy cpu", "early cpu"], 3, replace=False
        )
        away = round(rng.uniform(17, 22) * 60 / TICK)
        elsewhere = self.at >= (self.onset + away if self.onset + away < self.count - 20 else self.onset - away - 60)
        brief = elsewhere & (np.cumsum(elsewhere) < 60)
        where = int(rng.integers(self.instances))
        for name in chosen:
            if name == "memory":
                self.extra_memory[where] += 2.2e9 * elsewhere
            elif name == "disk":
                self.disk_io[where] += 5e7 * brief
                self.disk_busy[where] += 0.5 * brief
            elif name == "rss":
                self.slow["rss"] *= 1 + 4 * (self.at >= self.onset)
            elif name == "embed":
                self.slow["embed"] *= 1 + 3 * elsewhere
            elif name == "threads":
                self.threads[where] += 30 * elsewhere
            elif name == "threads now":
                self.threads[where] += 30 * (self.at >= self.onset)
            elif name == "disk now":
                self.disk_io[where] += 3e7 * (self.at >= self.onset)
            elif name == "noisy cpu":
                self.other_cpu[where] += np.clip(rng.gamma(0.5, 0.8, self.count), 0, 1.2)
            elif name == "early cpu":
                self.other_cpu[where] += 1.2 * (self.at >= self.begin - 160) * (self.at < self.begin - 80)
        return tuple(str(name) for name in chosen)

    def run(self) -> MadeRun:
        self.plant()
        decoys = self.decoy()
        self._machines(self.load)
        arrived = self.rng.poisson(np.clip(self.load, 0, None) * TICK)
        arrival = np.sort(np.repeat(self.at, arrived) * TICK - self.rng.uniform(0, TICK, arrived.sum()))
        inst = self.rng.integers(self.instances, size=len(arrival))
        began, waited, depth = self._through_queue(arrival, inst)
        self._plan(began, inst, is_counted=True)
        self._queue_series(began, waited, inst, depth)
        self._beside()
        self._write()
        return MadeRun(self.kind, self.source, self.window, START + self.onset * TICK, self.measures, self.labels, decoys)

    def _machines(self, load: np.ndarray) -> None:
        """Say how slow each machine is, from who uses it; the work of the swarm goes with the load."""
        steps = 1 + 0.25 * self.more_steps
        own = 0.3 + 1.1 * load * steps / self.instances
        self.own_cpu = np.minimum(own, 3.5) * np.ones((self.instances, 1)) + self.rng.normal(0, 0.03, self.other_cpu.shape)
        wanted = (self.own_cpu + self.other_cpu) / 4
        self.host_cpu = np.clip(wanted, 0.02, 1.0)
        self.pressed = 1 + 10 * np.clip(wanted - 0.85, 0, 1)
        self.own_cpu = self.own_cpu / np.sqrt(self.pressed)
        disk = 1 + 40 * np.clip(self.disk_busy - 0.7, 0, 0.3)
        self.memory = 4e8 + self.leak + self.rng.normal(0, 3e6, self.leak.shape)
        self.gc = 0.003 * (self.memory / 4e8) ** 2.2
        self.held = self.pressed * (1 + 5 * np.clip(self.gc, 0, 0.5))
        self.lag = (self.lag + 0.01 * (self.pressed - 1) + 4 * np.clip(self.gc - 0.004, 0, 1) + 0.004 * (disk - 1)) * (
            1 + self.rng.normal(0, 0.03, self.lag.shape)
        )
        self.disk = disk

    def _tick(self, at: np.ndarray) -> np.ndarray:
        return np.clip(np.ceil((at) / TICK).astype(int), 0, self.count - 1)

    def _record(self, key: tuple, at: np.ndarray, lasted: np.ndarray, inst: np.ndarray) -> None:
        self._calls.setdefault(key, []).append((at, lasted, inst))

    def _held(self, at, inst, size) -> np.ndarray:
        """Return how long own computing and waits for the loop take beside a call."""
        tick = self._tick(at)
        return (
            self.rng.gamma(2.0, size / 2, len(at)) * self.held[inst, tick]
            + self.rng.exponential(1.0, len(at)) * (self.lag[inst, tick])
        )

    def _lm(self, model, agent, at, inst, mask, *, is_counted, tokens=1200.0, base=1.2):
        """Call a model, up to three times; return when it has answered, and where it did not."""
        rng, count = self.rng, len(at)
        now, pending, failed = at.copy(), mask.copy(), np.zeros(count, bool)
        growth = self.prompt if model == "big" else np.ones(self.count)
        for attempt in range(3):
            who = np.flatnonzero(pending)
            if not len(who):
                break
            start, where = now[who], inst[who]
            tick = self._tick(start)
            asked = rng.gamma(6, tokens / 6, len(who)) * growth[tick]
            answered = rng.gamma(4, 60, len(who))
            slow = self.slow[model][where, tick]
            first = base * 0.3 * (0.5 + 0.5 * asked / tokens) * rng.lognormal(0, 0.25, len(who)) * slow
            lasted = first + base * 0.7 * answered / 240 * rng.lognormal(0, 0.15, len(who)) * slow
            is_bad = rng.random(len(who)) < self.fails[model][where, tick]
            lasted = np.where(is_bad, lasted * 0.5, lasted) + self._held(start, where, 0.08)
            now[who] = start + lasted
            if is_counted:
                self._record(("call", model, False), now[who][~is_bad], lasted[~is_bad], where[~is_bad])
                self._record(("call", model, True), now[who][is_bad], lasted[is_bad], where[is_bad])
                self._record(("first", model), now[who][~is_bad], first[~is_bad], where[~is_bad])
                self._record(("tokens", agent, model, "input"), now[who][~is_bad], asked[~is_bad], where[~is_bad])
                self._record(("tokens", agent, model, "output"), now[who][~is_bad], answered[~is_bad], where[~is_bad])
            again = who[is_bad]
            pending[:] = False
            if attempt < 2:
                pending[again] = True
                now[again] += 0.7 * 2**attempt
                if is_counted:
                    self._record(("retry", model), now[again], now[again], inst[again])
            else:
                failed[again] = True
        return now, failed

    def _tool(self, tool, agent, at, inst, mask, *, is_counted, base=0.5, local=0.3):
        who = np.flatnonzero(mask)
        now, failed = at.copy(), np.zeros(len(at), bool)
        start, where = at[who], inst[who]
        tick = self._tick(start)
        lasted = base * self.rng.lognormal(0, 0.4, len(who)) * self.slow[tool][where, tick]
        if tool in {"fetch", "format"}:
            lasted *= self.disk[where, tick]
        lasted += self._held(start, where, local * base)
        is_bad = self.rng.random(len(who)) < self.fails[tool][where, tick]
        now[who] += lasted
        failed[who] = is_bad
        if is_counted:
            self._record(("tool", agent, tool, False), now[who][~is_bad], lasted[~is_bad], where[~is_bad])
            self._record(("tool", agent, tool, True), now[who][is_bad], lasted[is_bad], where[is_bad])
        return now, failed

    def _end(self, agent, task, began, ended, failed, inst) -> None:
        for outcome, some in (("success", ~failed), ("error", failed)):
            self._record(("task", agent, task, outcome), ended[some], (ended - began)[some], inst[some])

    def _plan(self, began, inst, *, is_counted):
        """Run all plans: a small call, then research, then writing; return when each ended."""
        how = {"is_counted": is_counted}
        everyone = np.ones(len(began), bool)
        now, failed = self._lm(
            "small", "planner", began + self._held(began, inst, 0.3), inst, everyone, tokens=500.0, base=0.6, **how
        )
        goes = ~failed
        handed = now
        now, bad = self._research(now, inst, goes, is_counted=is_counted)
        if is_counted:
            self._record(("handoff", "planner", "researcher"), handed[goes], handed[goes], inst[goes])
        failed = failed | bad
        goes = ~failed
        written, bad = self._lm("big", "writer", now, inst, goes, tokens=1500.0, base=1.5, **how)
        styled, _ = self._tool("format", "writer", written, inst, goes & (self.rng.random(len(now)) < 0.6), base=0.2, **how)
        if is_counted:
            self._record(("handoff", "planner", "writer"), now[goes], now[goes], inst[goes])
            self._end("writer", "write", now[goes], styled[goes], bad[goes], inst[goes])
        failed = failed | (bad & goes)
        ended = np.where(goes, styled, now) + self._held(now, inst, 0.3)
        if is_counted:
            self._end("planner", "plan", began, ended, failed, inst)
            self.ended = ended
        return ended

    def _research(self, at, inst, goes, *, is_counted):
        rng, how = self.rng, {"is_counted": is_counted}
        steps = 2 + rng.poisson(1.0 + self.more_steps[self._tick(at)])
        now, failed, taken = at.copy(), np.zeros(len(at), bool), np.zeros(len(at))
        for step in range(int(steps.max(initial=1))):
            active = goes & (steps > step) & ~failed
            if not active.any():
                break
            taken += active
            now, bad = self._lm("big", "researcher", now, inst, active, **how)
            failed |= bad
            chosen = rng.random(len(at)) < 0.55
            used = active & ~bad
            now, missed_search = self._tool("search", "researcher", now, inst, used & chosen, **how)
            now, missed_fetch = self._tool("fetch", "researcher", now, inst, used & ~chosen, base=0.35, **how)
            failed |= (missed_search | missed_fetch) & (rng.random(len(at)) < 0.5)  # what is not fatal is done without
            if is_counted:
                repeats = used & (rng.random(len(at)) < (0.03 if step < 4 else 0.5))
                self._record(("repeat", "researcher", "search"), now[repeats], now[repeats], inst[repeats])
        if is_counted:
            self._end("researcher", "research", at[goes], now[goes], failed[goes], inst[goes])
            self._record(("steps", "researcher"), now[goes], taken[goes], inst[goes])
        return now, failed & goes

    def _through_queue(self, arrival, inst):
        """Let each instance work on eight plans at a time: what comes meanwhile waits."""
        began = arrival.copy()
        for _ in range(2):  # how long a plan takes depends on when it begins, and that on how long others took
            rng, self.rng = self.rng, np.random.default_rng(5)
            lasts = self._plan(began, inst, is_counted=False) - began
            self.rng = rng
            for number in range(self.instances):
                free = [0.0] * 8
                for index in np.flatnonzero(inst == number):
                    start = max(arrival[index], heapq.heappop(free))
                    began[index] = start
                    heapq.heappush(free, start + lasts[index])
        depth = np.stack(
            [
                np.searchsorted(np.sort(arrival[inst == number]), self.at * TICK)
                - np.searchsorted(np.sort(began[inst == number]), self.at * TICK)
                for number in range(self.instances)
            ]
        )
        return began, began - arrival, depth.astype(float)

    def _queue_series(self, began, waited, inst, depth) -> None:
        self._record(("wait",), began, waited, inst)
        for number, name in enumerate(self.names):
            mine = inst == number
            running = np.searchsorted(np.sort(began[mine]), self.at * TICK) - np.searchsorted(
                np.sort(self.ended[mine]), self.at * TICK
            )
            whose = {"gen_ai_agent_name": "planner", "instance": name}
            self.source.put("agent_queue_depth", depth[number], queue="plans", **whose)
            self.source.put("agent_tasks_in_progress", running.astype(float), agent_task="plan", **whose)
            self.memory[number] += 4e6 * running + 2e5 * depth[number]

    def _beside(self) -> None:
        """Digest news beside it all, with a tool that nobody waits for; and embed, for nobody that is watched."""
        count = self.rng.poisson(0.15 * self.count * TICK)
        at = np.sort(self.rng.uniform(0, self.count * TICK, count))
        inst = self.rng.integers(self.instances, size=count)
        all_of = np.ones(count, bool)
        ended, failed = self._lm("mini", "digest", at, inst, all_of, is_counted=True, base=0.8)
        self._tool("rss", "digest", at, inst, all_of, is_counted=True)
        self._end("digest", "summarize", at, ended, failed, inst)
        self._lm("embed", "", at, inst, all_of, is_counted=True, base=0.2, tokens=300.0)

    def _histogram(self, name, key, bounds, **labels) -> None:
        parts = self._calls.get(key, [])
        at = np.concatenate([part[0] for part in parts]) if parts else np.empty(0)
        lasted = np.concatenate([part[1] for part in parts]) if parts else np.empty(0)
        inst = np.concatenate([part[2] for part in parts]) if parts else np.empty(0, int)
        for number, instance in enumerate(self.names):
            mine = (inst == number) & (at <= (self.count - 1) * TICK)
            ticks = self._tick(at[mine])
            counts = np.zeros((self.count, len(bounds) + 1))
            np.add.at(counts, (ticks, np.searchsorted(bounds, lasted[mine])), 1)
            cumulative = np.cumsum(np.cumsum(counts, axis=0), axis=1)
            labels["instance"] = instance
            for index, bound in enumerate([*bounds, math.inf]):
                le = "+Inf" if bound == math.inf else repr(float(bound))
                self._counter(f"{name}_bucket", cumulative[:, index], le=le, **labels)
            self._counter(f"{name}_count", cumulative[:, -1], **labels)
            self._counter(f"{name}_sum", np.cumsum(np.bincount(ticks, lasted[mine], self.count)), **labels)

    def _counter(self, name, values, **labels) -> None:
        if self.reset_at is not None:
            values = values.copy()
            values[self.reset_at :] -= values[self.reset_at - 1]
        self.source.put(name, values, **labels)

    def _counts(self, name, key, *, is_summed=False, **labels) -> None:
        parts = self._calls.get(key, [])
        if not parts:
            return
        at, lasted, inst = (np.concatenate([part[place] for part in parts]) for place in range(3))
        for number, instance in enumerate(self.names):
            mine = (inst == number) & (at <= (self.count - 1) * TICK)
            weights = lasted[mine] if is_summed else np.ones(mine.sum())
            grown = np.bincount(self._tick(at[mine]), weights, self.count)
            self._counter(name, np.cumsum(grown), instance=instance, **labels)

    def _write(self) -> None:
        agent, model = "gen_ai_agent_name", "gen_ai_request_model"
        for key in list(self._calls):
            kind, *rest = key
            if kind == "task":
                self._histogram(TASK, key, TASK_BOUNDS, **{agent: rest[0], "agent_task": rest[1], "outcome": rest[2]})
            elif kind == "tool":
                failed = {"error_type": "TimeoutError"} if rest[2] else {}
                self._histogram(TOOL, key, CALL_BOUNDS, **{agent: rest[0], "gen_ai_tool_name": rest[1]}, **failed)
            elif kind == "call":
                failed = {"error_type": "429"} if rest[1] else {}
                self._histogram(CALL, key, CALL_BOUNDS, **{model: rest[0], "gen_ai_provider_name": "fake"}, **failed)
            elif kind == "first":
                name = "gen_ai_client_operation_time_to_first_chunk_seconds"
                self._histogram(name, key, CALL_BOUNDS, **{model: rest[0], "gen_ai_provider_name": "fake"})
            elif kind == "wait":
                self._histogram("agent_queue_wait_seconds", key, TASK_BOUNDS, **{agent: "planner", "queue": "plans"})
            elif kind == "steps":
                self._histogram("agent_run_steps", key, STEPS_BOUNDS, **{agent: rest[0]})
            elif kind == "tokens":
                self._tokens(key, *rest)
            elif kind == "retry":
                self._counts("agent_lm_retries_total", key, **{model: rest[0], "gen_ai_provider_name": "fake"})
            elif kind == "repeat":
                self._counts("agent_repeated_tool_calls_total", key, **{agent: rest[0], "gen_ai_tool_name": rest[1]})
            elif kind == "handoff":
                self._counts("agent_handoffs_total", key, source=rest[0], target=rest[1], outcome="success")
        self._write_machines()

    def _tokens(self, key, agent, model, kind) -> None:
        of_call = {"gen_ai_request_model": model, "gen_ai_provider_name": "fake", "gen_ai_token_type": kind, "caller": agent}
        self._counts("gen_ai_client_token_usage_sum", key, is_summed=True, **of_call)
        self._counts("gen_ai_client_token_usage_count", key, **of_call)
        if not agent:
            return
        whose = {"gen_ai_agent_name": agent, "gen_ai_request_model": model}
        self._counts("agent_tokens_total", key, is_summed=True, gen_ai_token_type=kind, **whose)
        price = {"big": 3e-6, "small": 5e-7, "mini": 2e-7}[model] * (4 if kind == "output" else 1)
        priced = [(at, tokens * price, inst) for at, tokens, inst in self._calls[key]]
        whole = self._calls.setdefault(("cost", agent, model), [])
        whole.extend(priced)
        if kind == "output":
            self._counts("agent_cost_usd_total", ("cost", agent, model), is_summed=True, **whose)

    def _write_machines(self) -> None:
        rng, put = self.rng, self.source.put
        for number, instance in enumerate(self.names):
            where = {"instance": instance}
            self._counter("process_cpu_seconds_total", np.cumsum(np.clip(self.own_cpu[number], 0.01, 4) * TICK), **where)
            put("process_resident_memory_bytes", self.memory[number], **where)
            put("process_threads", self.threads[number] + rng.integers(0, 3, self.count), **where)
            put("process_open_fds", 80 + rng.gamma(1.0, 25, self.count), **where)  # a constant noisy one
            put("system_cpu_utilization_ratio", self.host_cpu[number], **where)
            used = (3e9 + self.memory[number] + self.extra_memory[number]) / 16e9
            put("system_memory_utilization_ratio", used, **where)
            busy = np.clip(self.disk_busy[number], 0.0, 1.0) * TICK
            self._counter("system_disk_io_time_seconds_total", np.cumsum(busy), system_device="sda", **where)
            for resource, waited in (("cpu", (self.pressed[number] - 1) / 2), ("io", (self.disk[number] - 1) / 13)):
                stalled, of = np.cumsum(np.clip(waited, 0.0, 1.0) * TICK), {"pressure_resource": resource, **where}
                self._counter("system_pressure_stall_time_seconds_total", stalled, pressure_kind="some", **of)
            io = self.disk_io[number] * rng.lognormal(0, 0.2, self.count) * TICK
            self._counter("system_disk_io_bytes_total", np.cumsum(io), system_device="sda", **where)
            net = 1e6 * rng.gamma(2, 0.5, self.count) * TICK
            self._counter("system_network_io_bytes_total", np.cumsum(net), **where)
            paused = self.gc[number] * TICK * rng.lognormal(0, 0.1, self.count)
            self._counter("python_gc_pause_seconds_sum", np.cumsum(paused), generation="2", **where)
            at = np.repeat(self.at * TICK, 8)
            lag = np.repeat(self.lag[number], 8) * rng.lognormal(0, 0.5, len(at))
            self._record(("lag",), at, lag, np.full(len(at), number))
        self._histogram("python_event_loop_lag_seconds", ("lag",), LAG_BOUNDS)


def made_run(kind: str | None, seed: int, **how) -> MadeRun:
    """Return a run with a fault of a kind, or none; three decoys in each."""
    return Swarm(kind, seed, **how).run()
