"""Alerts reach a webhook, a mailbox, a chat and a pager through a real Alertmanager with the shipped configuration."""

import copy
import datetime as dt
import json
import urllib.request
from contextlib import contextmanager

import pytest
import yaml

from expressions import ALERTMANAGER, RULES, load_rules, scaled_rules
from receivers import SECRETS, receiving
from stack import Stack

pytestmark = pytest.mark.servers

ANNOTATIONS = {
    "summary": "The summary.",
    "description": "50% of <something> & more.",
    "runbook_url": "https://example.com/runbook.md",
    "dashboard_url": "/d/agentgauge-agents?var-job=a",
}
WAITS = {"group_wait": "0s", "group_interval": "1s"}
PLACES = {"url", "slack_api_url_file", "smtp_smarthost", "smtp_auth_password_file", "routing_key_file", "credentials_file"}
ALWAYS = [{"times": [{"start_time": "00:00", "end_time": "24:00"}]}]
NEVER = [{"years": ["1999"]}]


def _walk(node):
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(child)


def _adapted(folder, receivers, *, muted=NEVER):
    """Return the shipped configuration with the addresses, secrets, waits and times of a test."""
    secrets = {"slack-url": f"http://{receivers.http_address}/slack"} | SECRETS
    for name, secret in secrets.items():
        (folder / name).write_text(secret, encoding="utf-8")
    config = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    for node in _walk(config):
        for key in node:
            if key.endswith("_file"):
                node[key] = str(folder / node[key].rpartition("/")[2])
            elif key in WAITS:
                node[key] = WAITS[key]
            elif key == "url":
                node[key] = f"http://{receivers.http_address}/{node[key].rpartition('/')[2]}"
        if "routing_key_file" in node:
            node["url"] = f"http://{receivers.http_address}/pagerduty"
    config["global"] |= {"smtp_smarthost": receivers.smtp_address, "smtp_require_tls": False}
    config["time_intervals"] = [{**interval, "time_intervals": muted} for interval in config["time_intervals"]]
    config["templates"] = [str(ALERTMANAGER.parent / path) for path in config["templates"]]
    return config


@contextmanager
def _running(folder, receivers, rules=(), **options):
    path = folder / "alertmanager.json"
    path.write_text(json.dumps(_adapted(folder, receivers, **options)), encoding="utf-8")
    with Stack([], folder, rules=rules, alertmanager_config=path) as stack:
        yield stack


@pytest.fixture(scope="module")
def receivers():
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory, receivers):
    folder = tmp_path_factory.mktemp("delivery")
    down = {
        "alert": "AgentgaugeTargetDown",
        "expr": 'label_replace(label_replace(vector(1), "job", "escalated", "", ""), "instance", "e:1", "", "")',
        "labels": {"severity": "critical"},
        "annotations": ANNOTATIONS,
    }
    rules = scaled_rules(load_rules(RULES / "escalation.yml"), 1 / 450)  # a quarter of an hour is two seconds
    rules["groups"][0]["rules"].append(down)
    path = folder / "rules.json"
    path.write_text(json.dumps(rules), encoding="utf-8")
    with _running(folder, receivers, [path]) as running:
        yield running


def _tell(stack, *alerts, ended=False):
    """Tell Alertmanager that alerts fire, or that they have ended, as Prometheus does."""
    ends = {"endsAt": dt.datetime.now(dt.UTC).isoformat()} if ended else {}
    body = json.dumps([{"labels": labels, "annotations": ANNOTATIONS, **ends} for labels in alerts]).encode()
    request = urllib.request.Request(
        f"{stack.alertmanager_url}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()


def _alert(name, severity, agent, **labels):
    return {"alertname": f"Agentgauge{name}", "severity": severity, "job": "a", "gen_ai_agent_name": agent, **labels}


def test_only_addresses_secrets_waits_and_times_differ_from_what_is_shipped(tmp_path, receivers):
    shipped = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    adapted = _adapted(tmp_path, receivers)
    for config in (shipped, adapted):
        for node in _walk(config):
            for key in PLACES | set(WAITS) | {"smtp_require_tls"}:
                node.pop(key, None)
        config["time_intervals"] = [interval["name"] for interval in config["time_intervals"]]
        config["templates"] = len(config["templates"])
    assert adapted == shipped


def test_a_warning_and_its_end_reach_the_webhook_with_its_token_and_the_chat_with_its_texts(stack, receivers):
    alert = _alert("TaskStuck", "warning", "chatty", agent_task="t")
    _tell(stack, alert)
    (posted,) = receivers.wait_for(lambda: receivers.posted("/alerts", "chatty"))
    assert (posted["version"], posted["status"], posted["receiver"]) == ("4", "firing", "operators")
    assert [(one["status"], one["labels"], one["annotations"]) for one in posted["alerts"]] == [("firing", alert, ANNOTATIONS)]
    assert {post.authorization for post in receivers.posts if post.path == "/alerts"} == {"Bearer letmein"}
    (said,) = receivers.wait_for(lambda: receivers.posted("/slack", "chatty"))
    assert said["channel"] == "#agents"
    (attachment,) = said["attachments"]
    assert attachment["title"] == "[FIRING 1] warning: AgentgaugeTaskStuck in a, agent chatty"
    assert attachment["title_link"] == "https://grafana.example/d/agentgauge-agents?var-job=a"
    assert attachment["color"] == "warning"
    summary, description, what_to_do, see = attachment["text"].strip().splitlines()
    assert (summary, description) == (ANNOTATIONS["summary"], ANNOTATIONS["description"])
    assert what_to_do.endswith(f"What to do: {ANNOTATIONS['runbook_url']}")
    assert see == "See: https://grafana.example/d/agentgauge-agents?var-job=a"

    _tell(stack, alert, ended=True)
    _, ended = receivers.wait_for(lambda: receivers.posted("/alerts", "chatty"), 2)
    assert (ended["status"], [one["status"] for one in ended["alerts"]]) == ("resolved", ["resolved"])
    _, ended = receivers.wait_for(lambda: receivers.posted("/slack", "chatty"), 2)
    (attachment,) = ended["attachments"]
    assert attachment["title"] == "[RESOLVED] warning: AgentgaugeTaskStuck in a, agent chatty"
    assert (attachment["color"], attachment["text"].strip()) == ("good", f"Over: {ANNOTATIONS['description']}")
    assert receivers.mailed("chatty") == []


def test_information_reaches_the_mailbox_with_a_password_as_text_and_as_a_page(stack, receivers):
    _tell(stack, _alert("RunDurationUnusual", "info", "curious"))
    (mail,) = receivers.wait_for(lambda: receivers.mailed("curious"))
    assert (mail["From"], mail["To"]) == ("alertmanager@example.com", "agents@example.com")
    assert mail["Subject"] == "[FIRING 1] info: AgentgaugeRunDurationUnusual in a, agent curious"
    text = mail.get_body(("plain",)).get_content()
    page = mail.get_body(("html",)).get_content()
    assert {ANNOTATIONS["summary"], ANNOTATIONS["description"]} <= set(text.replace("\r", "").splitlines())
    assert "50% of &lt;something&gt; &amp; more." in page
    assert f'<a href="{ANNOTATIONS["runbook_url"]}">What to do</a>' in page
    assert '<a href="https://grafana.example/d/agentgauge-agents?var-job=a">See</a>' in page
    assert receivers.posted("/slack", "curious") == receivers.posted("/alerts", "curious") == []


def test_what_is_critical_calls_the_pager_and_mutes_the_agents_warnings_until_it_is_over(stack, receivers):
    critical = _alert("ErrorBudgetBurnFast", "critical", "broken", agent_task="t", objective="success")
    slow = _alert("ErrorBudgetBurnSlow", "warning", "broken", agent_task="t", objective="success")
    _tell(stack, critical)
    (called,) = receivers.wait_for(lambda: receivers.posted("/pagerduty", "broken"))
    assert (called["routing_key"], called["event_action"]) == (SECRETS["pagerduty-on-call"], "trigger")
    assert called["payload"]["severity"] == "critical"
    assert called["payload"]["summary"] == "[FIRING 1] critical: AgentgaugeErrorBudgetBurnFast in a, agent broken"
    assert ANNOTATIONS["runbook_url"] in called["payload"]["custom_details"]["alerts"]
    (said,) = receivers.wait_for(lambda: receivers.posted("/slack", "broken"))
    assert (said["channel"], said["attachments"][0]["color"]) == ("#agents-on-call", "danger")

    _tell(stack, slow, _alert("QueueGrowing", "warning", "sound"))
    receivers.wait_for(lambda: receivers.posted("/alerts", "sound"))  # of another agent, and told of later
    assert receivers.posted("/alerts", "broken") == []
    _tell(stack, critical, ended=True)
    _, ended = receivers.wait_for(lambda: receivers.posted("/pagerduty", "broken"), 2)
    assert (ended["routing_key"], ended["event_action"]) == (SECRETS["pagerduty-on-call"], "resolve")
    (late,) = receivers.wait_for(lambda: receivers.posted("/alerts", "broken"))
    assert [one["labels"]["alertname"] for one in late["alerts"]] == ["AgentgaugeErrorBudgetBurnSlow"]


def test_what_stays_critical_calls_a_second_pager_and_mailbox_and_not_for_its_own_sake(stack, receivers):
    def called(key):
        calls = receivers.posted("/pagerduty", "escalated")
        return [one for one in calls if one["routing_key"] == SECRETS[key]]

    (first,) = receivers.wait_for(lambda: called("pagerduty-on-call"))
    assert "AgentgaugeTargetDown" in first["payload"]["summary"]
    (second,) = receivers.wait_for(lambda: called("pagerduty-second-line"))
    assert "AgentgaugeCriticalUnresolved in escalated" in second["payload"]["summary"]
    assert "AgentgaugeTargetDown in job escalated on e:1" in second["payload"]["custom_details"]["alerts"]
    (mail,) = receivers.wait_for(lambda: receivers.mailed("escalated"))
    assert mail["To"] == "second-line@example.com"
    stack.wait_until(  # twice as long as the escalation took
        lambda: stack.query('count_over_time(ALERTS{alertname="AgentgaugeCriticalUnresolved",alertstate="firing"}[1m]) > 5')
    )
    (unresolved,) = stack.query('ALERTS{alertname="AgentgaugeCriticalUnresolved"}')
    assert unresolved["metric"]["unresolved"] == "AgentgaugeTargetDown"
    assert (len(called("pagerduty-on-call")), len(called("pagerduty-second-line"))) == (1, 1)


def test_the_watchdog_reaches_the_dead_mans_switch_and_nobody_else(stack, receivers):
    _tell(stack, _alert("Watchdog", "info", "rex"))
    receivers.wait_for(lambda: receivers.posted("/watchdog", "rex"))
    assert [post.path for post in receivers.posts if "rex" in json.dumps(post.body)] == ["/watchdog"]
    assert receivers.mailed("rex") == []


def test_information_is_muted_at_the_times_that_say_so_and_warnings_are_not(tmp_path, receivers):
    with _running(tmp_path, receivers, muted=ALWAYS) as stack:
        _tell(stack, _alert("RunDurationUnusual", "info", "sleepless"))
        warning = _alert("TaskStuck", "warning", "awake")
        _tell(stack, warning)
        receivers.wait_for(lambda: receivers.posted("/alerts", "awake"))
        _tell(stack, warning, ended=True)
        receivers.wait_for(lambda: receivers.posted("/alerts", "awake"), 2)  # a group_interval later
    assert receivers.mailed("sleepless") == []


def test_a_wrong_password_is_refused_by_the_mail_server(tmp_path, receivers):
    config = copy.deepcopy(_adapted(tmp_path, receivers))
    (tmp_path / "smtp-password").write_text("wrong", encoding="utf-8")
    path = tmp_path / "alertmanager.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    with Stack([], tmp_path, rules=[], alertmanager_config=path) as stack:
        _tell(stack, _alert("RunDurationUnusual", "info", "stranger"))

        def failures():
            with urllib.request.urlopen(f"{stack.alertmanager_url}/metrics", timeout=60) as page:
                lines = page.read().decode().splitlines()
            name = 'alertmanager_notification_requests_failed_total{integration="email"} '
            return [line for line in lines if line.startswith(name) and line != name + "0"]

        stack.wait_until(failures)
    assert receivers.mailed("stranger") == []
