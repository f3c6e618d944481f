"""Explaining with deploys: one that came with a fault is named, in its place where nothing measured is behind it."""

from __future__ import annotations

import numpy as np
import pytest

from agentgauge.analytics.amounts import amount
from agentgauge.analytics.explain import explain
from agentgauge.analytics.frames import Grid
from made_program import add_calls
from made_source import MadeSource

BEGIN, COUNT, FAULT = 1_700_006_400, 120, 90
WINDOW = Grid.over(BEGIN + 80 * 30, BEGIN + (COUNT - 1) * 30, 30)
TIMES = [float(BEGIN + 30 * number) for number in range(COUNT)]
TASK = {"gen_ai_agent_name": "bot", "agent_task": "answer", "outcome": "success"}
TOOL = {"gen_ai_agent_name": "bot", "gen_ai_tool_name": "find"}
HOST = {"job": "swarm", "instance": "a:9464"}


def swarm(*, slow=True, deployed=None, restarted=None, job="swarm", tool=False, disk=()):
    """An agent six times slower from a step on, by its own work or its tool; a deploy, a restart, a disk busy for a while."""
    random, source = np.random.default_rng(5), MadeSource()
    calls = [random.uniform(0.02, 0.03, 60) * (6 if slow and at >= FAULT else 1) for at in range(COUNT)]
    add_calls(source, "agent_task_duration_seconds", TIMES, calls, **TASK, **HOST)
    if tool:
        add_calls(source, "gen_ai_execute_tool_duration_seconds", TIMES, calls, **TOOL, **HOST)
    if deployed is not None:
        is_old = [at < deployed for at in range(COUNT)]
        for version, is_there in (("1.0", is_old), ("1.1", [not old for old in is_old])):
            seen = [1.0 if there else float("nan") for there in is_there]
            source.add("target_info", TIMES, seen, service_version=version, job=job)
            source.add("agentgauge_build_info", TIMES, seen, version=f"0.{version}", job=job)
    if restarted is not None:
        starts = [BEGIN - 5.0 if at < restarted else TIMES[restarted] - 5 for at in range(COUNT)]
        source.add("process_start_time_seconds", TIMES, starts, **{**HOST, "job": job})
    if disk:
        busy = [30 * (0.9 if disk[0] <= at < disk[1] else 0.03) * random.uniform(0.95, 1.0) for at in range(COUNT)]
        source.add("system_disk_io_time_seconds_total", TIMES, np.cumsum(busy).tolist(), system_device="sda", **HOST)
    return source


def causes(**how):
    return explain(swarm(**how), WINDOW).causes


@pytest.mark.parametrize("deployed", [FAULT, FAULT - 4])
def test_a_deploy_just_before_an_agent_got_slow_with_nothing_behind_it_is_the_likely_cause(deployed):
    (cause,) = causes(deployed=deployed)
    assert (cause.deploy.before, cause.deploy.after, cause.deploy.labels["job"]) == ("1.0", "1.1", "swarm")
    assert cause.sentence.startswith("a deploy (service version 1.0 → 1.1 of swarm at 2023-11-15 00:")
    assert " UTC), with which " in cause.sentence
    assert "undoing it" in cause.advice


def test_a_restart_is_named_as_one_and_the_programs_new_version_rather_than_what_came_with_it():
    (restart,) = causes(restarted=FAULT)
    assert restart.sentence.startswith("a restart of swarm (at 2023-11-15 00:44:55 UTC), with which ")
    (deploy,) = causes(restarted=FAULT, deployed=FAULT)
    assert deploy.deploy.what == "service_version"


def test_a_deploy_beside_what_is_measured_is_named_beside_it():
    (cause,) = causes(deployed=FAULT, tool=True)
    assert cause.signal.measure.name == "tool_duration_p95"
    assert cause.sentence.startswith("95th percentile of the duration of find rose to")
    assert cause.sentence.endswith(" UTC) came with it.")
    assert "the tool" in cause.advice


@pytest.mark.parametrize("how", [{"deployed": 60}, {"deployed": FAULT + 6}, {"deployed": FAULT, "job": "other"}])
def test_a_deploy_long_before_after_or_of_another_job_has_no_part_in_it(how):
    (cause,) = causes(**how)
    assert cause.deploy is None
    assert "deploy" not in cause.sentence


def test_a_deploy_after_which_nothing_got_worse_is_no_cause():
    assert not causes(slow=False, deployed=FAULT, restarted=FAULT)


def test_a_neighbours_disk_that_is_busy_for_a_while_after_an_agent_got_slow_for_good_is_not_its_cause():
    (cause,) = causes(deployed=FAULT, disk=(FAULT + 1, FAULT + 10))
    assert cause.signal.measure.name in {"task_duration_mean", "task_duration_p95"}
    assert cause.deploy is not None
    (lasting,) = causes(disk=(FAULT, COUNT))
    assert lasting.signal.measure.name == "host_disk_busy", "one that lasts is"


def test_a_percentile_is_told_between_the_bounds_of_its_bucket():
    (cause,) = causes(tool=True)
    assert cause.bounds
    low = max(bound for bound in cause.bounds if bound < cause.after)
    high = min(bound for bound in cause.bounds if bound >= cause.after)
    words = (
        f"rose to about {amount(cause.after, 'seconds')}, between {amount(low, 'seconds')} and {amount(high, 'seconds')}, from "
    )
    assert words in cause.sentence
