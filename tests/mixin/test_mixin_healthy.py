"""Agents that do well fire nothing but the watchdog: for five minutes here, for an hour in ``make soak``."""

import math

import pytest

from expressions import load_rules, rule_expressions
from healthy import JOB, SCALE, SECONDS

pytestmark = pytest.mark.servers

# These judge the machine by limits that no program can state, and whatever else runs on it presses on it, other tests first of
# all. That the healthy program is not to blame is shown below. Everything else that is said of a machine follows limits that
# the program exports, and it exports such as no machine can exceed.
OF_THE_MACHINE = {"AgentgaugeHostPressureHigh", "AgentgaugeContainerCpuThrottled"}


@pytest.mark.parametrize("minute", range(1, math.ceil(SECONDS / 60) + 1))
def test_agents_that_do_well_fire_nothing_but_the_watchdog(healthy, minute):
    fired = healthy.until(min(60 * minute, SECONDS))
    assert fired - OF_THE_MACHINE == {"AgentgaugeWatchdog"}


def test_whoever_presses_on_the_machine_it_is_not_the_healthy_program(healthy):
    cores = f'rate(process_cpu_seconds_total{{job="{JOB}"}}[{SECONDS:.0f}s])'
    # twelve times as many sweeps and looks as by default take most of it
    assert healthy.stack.query(f"{cores} < 0.5"), healthy.stack.query(cores)


def test_every_alert_was_evaluated_from_data_that_it_wants(healthy):
    ask = healthy.stack.query
    groups = healthy.stack._api("rules")["groups"]
    shipped = sorted(rule.title for rule in rule_expressions(load_rules()))
    assert sorted(rule["name"] for group in groups for rule in group["rules"]) == shipped
    assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    assert ask("sum(prometheus_rule_evaluation_failures_total) == 0")
    window = f"{SECONDS:.0f}s"
    assert ask(f'min(avg_over_time(up{{job="{JOB}"}}[{window}])) > 0.9'), "it was hardly scraped"
    assert ask(f'sum(increase(agent_task_duration_seconds_count{{outcome="success"}}[{window}])) > {2 * SECONDS}'), (
        "it hardly worked"
    )
    for series in (
        "job_agent_task_objective:agent_objective_burn:rate1h",
        "job_agent_period:agent_cost_usd:forecast",
        "system_cpu_utilization_ratio",
        "agentgauge_threshold_breached",
        f"agent_queue_depth offset {1800 * SCALE:.0f}s",
        "job_agent:agent_task_calls:expected1h",
        "job_agent:agent_task_failures:ratio_rate5m_avg1d",
        "job_agent:gen_ai_invoke_agent_duration_seconds:mean5m_avg1d",
        "job_agent:agent_cost_usd:increase5m_avg1d",
        "job_agent_task:agent_tasks_shed:ratio_increase15m",
        'agent_health_status{agent_health_status="healthy"} == 1',
        'agent_circuit_breaker_state{agent_circuit_breaker_state="closed"} == 1',
        "agent_health_check_interval_seconds",
        "agent_recovery_escalations_total",
        "agentgauge_notifications_total",
        "agentgauge_anomaly_score",
        'agentgauge_analysis_signals{state="judged"} > 10',
    ):
        assert ask(f"count({series}) > 0"), series
