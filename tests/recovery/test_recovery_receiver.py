"""What Alertmanager posts is checked, mapped, taken up once and acknowledged, or refused as a whole so that it comes again."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recovery_world import Free, Gate, wait_until

from agentgauge import ConfigurationError
from agentgauge.notification import WebhookDestination
from agentgauge.recovery import AlertReceiver, AlertRoute, Call, Recoveries, Recovery
from agentgauge.recovery.alertmanager import PayloadError, read_payload

TOKEN = "letmein-letmein"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def alert(fingerprint="f1", *, status="firing", starts_at="2026-01-31T12:00:00.123456789Z", **labels):
    return {
        "status": status,
        "labels": {"alertname": "AgentgaugeTaskStuck", **labels},
        "annotations": {"summary": "It hangs."},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": fingerprint,
    }


def payload(*alerts, **changes):
    document = {
        "version": "4",
        "groupKey": '{}:{alertname="AgentgaugeTaskStuck"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "recovery",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": list(alerts),
    }
    return json.dumps(document | changes).encode()


@pytest.fixture
def site(fresh):
    """Recoveries of a few components, of which one is held, with a receiver."""

    class Site:
        def __init__(self):
            self.gate = Gate()
            self.acted = []

        def plan(self, component, **settings):
            plan = {"component": component, "actions": [Call("act", self.acted.append)], "check": lambda: True}
            return Recovery(**(plan | {"settle_seconds": 0} | settings))

        def value(self, result):
            return fresh.value("agent_recovery_requests_total", result=result)

        def post(self, *alerts, receiver=None, **changes):
            return (receiver or self.receiver).answer("POST", HEADERS, payload(*alerts, **changes))

        def results(self, count):
            return wait_until(lambda: self.recoveries.results if len(self.recoveries.results) >= count else None)

    made = Site()
    plans = [
        made.plan("researcher"),
        made.plan("writer/draft"),
        made.plan("db"),
        made.plan("held", actions=[Call("hold", made.gate)]),
    ]
    made.recoveries = Recoveries(plans, breaker=Free, most_waiting=2)
    made.receiver = AlertReceiver(made.recoveries, bearer_token=TOKEN)
    yield made
    made.gate.leave.set()
    assert made.recoveries.close(60)


# --- who may post -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": "Bearer \udcff"},
        {"Agentgauge-Signature": "t=0,v1=" + hmac.new(TOKEN.encode(), b"0.\xff", hashlib.sha256).hexdigest()},
    ],
)
def test_without_the_credentials_nothing_is_read(site, headers):
    assert site.receiver.answer("POST", headers, b"\xff")[0] == 401
    assert site.value("refused") == 1


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_the_token_opens_in_whatever_case_its_header_and_scheme_are(site, name):
    assert site.receiver.answer("POST", {name: f"bearer  {TOKEN} "}, payload())[0] == 202


SECRET = "a-secret-of-mine"
SIGNED_AT = 1_000_000


def signature(body, at=SIGNED_AT, secret=SECRET):
    return {
        "Agentgauge-Signature": f"t={at},v1=" + hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    }


def test_a_signature_opens_where_a_secret_is_set_and_only_for_the_body_that_was_signed(site):
    receiver = AlertReceiver(site.recoveries, hmac_secret=SECRET, wall_clock=lambda: SIGNED_AT)
    body = payload(alert(component="db"))
    assert receiver.answer("POST", signature(body), body)[0] == 202
    assert receiver.answer("POST", signature(body), body + b" ")[0] == 401
    assert receiver.answer("POST", signature(body, secret="another"), body)[0] == 401
    assert receiver.answer("POST", HEADERS, body)[0] == 401


@pytest.mark.parametrize(("seconds", "status"), [(0, 202), (299, 202), (-299, 202), (301, 401), (-301, 401)])
def test_what_was_signed_long_ago_is_refused_so_that_it_cannot_be_posted_again_by_whoever_saw_it(site, seconds, status):
    receiver = AlertReceiver(site.recoveries, hmac_secret=SECRET, wall_clock=lambda: SIGNED_AT + seconds)
    body = payload(alert(component="db"))
    assert receiver.answer("POST", signature(body), body)[0] == status


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.replace("t=", "t=1"),
        lambda header: header.replace("t=", ""),
        lambda header: header.replace("t=", "t=-"),
        lambda header: header.replace("t=", "t=\u0661"),
        lambda header: "t=" + "9" * 10_000 + header,
        lambda header: header.replace(",v1=", ",v2="),
        lambda header: header + "0",
        lambda _: "",
        lambda _: "t=,v1=",
    ],
)
def test_a_signature_that_is_none_opens_nothing(site, change):
    receiver = AlertReceiver(site.recoveries, hmac_secret=SECRET, wall_clock=lambda: SIGNED_AT)
    headers = {name: change(header) for name, header in signature(b"").items()}
    assert receiver.answer("POST", headers, b"")[0] == 401


def test_what_a_webhook_of_the_package_signs_the_receiver_takes(site):
    webhook = WebhookDestination("http://127.0.0.1/", signing_secret=SECRET)
    body = payload(alert(component="db"))
    receiver = AlertReceiver(site.recoveries, hmac_secret=SECRET)
    assert receiver.answer("POST", webhook._headers(body), body)[0] == 202


def test_only_post_is_served_and_only_up_to_a_size(site):
    assert site.receiver.answer("GET", HEADERS, b"")[0] == 405
    receiver = AlertReceiver(site.recoveries, bearer_token=TOKEN, largest_body=10)
    assert receiver.answer("POST", HEADERS, payload())[0] == 413


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({}, "bearer_token, hmac_secret"),
        ({"bearer_token": ""}, "bearer_token"),
        ({"bearer_token": "short"}, "bearer_token"),
        ({"bearer_token": "with a space"}, "bearer_token"),
        ({"bearer_token": 12345678}, "bearer_token"),
        ({"hmac_secret": "\u00fcmlautumlaut"}, "hmac_secret"),
        ({"bearer_token": TOKEN, "path": "alerts"}, "path"),
        ({"bearer_token": TOKEN, "path": "/alerts?x"}, "path"),
        ({"bearer_token": TOKEN, "path": None}, "path"),
        ({"bearer_token": TOKEN, "mapping": [{}]}, "mapping"),
        ({"bearer_token": TOKEN, "mapping": 3}, "mapping"),
        ({"bearer_token": TOKEN, "largest_body": 0}, "largest_body"),
        ({"bearer_token": TOKEN, "wall_clock": 3}, "wall_clock"),
        ({"bearer_token": TOKEN, "recoveries": None}, "recoveries"),
    ],
)
def test_a_receiver_that_could_not_work_is_refused_without_showing_its_secret(site, arguments, setting):
    with pytest.raises(ConfigurationError, match=setting) as refused:
        AlertReceiver(**({"recoveries": site.recoveries} | arguments))
    assert "with a space" not in str(refused.value)
    assert TOKEN not in repr(site.receiver)


@pytest.mark.parametrize(
    "arguments",
    [
        {"component": "", "labels": {"a": "b"}},
        {"component": "a"},
        {"component": "a", "labels": ["a"]},
        {"component": "a", "labels": {"a": 1}},
        {"component": "a", "labels": {"a": "b"}, "condition": 1},
    ],
)
def test_a_route_that_could_not_work_is_refused(arguments):
    with pytest.raises(ConfigurationError):
        AlertRoute(**arguments)


# --- what may be posted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is no JSON"),
        (b"\xff\xfe", "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b"[]", "no JSON object"),
        (payload(version="3"), '"version" must be "4"'),
        (payload(version=4), '"version" must be "4"'),
        (payload(alerts={}), '"alerts" must be a list'),
        (payload(alerts=[3]), "alerts[0] must be an object"),
        (payload(alerts=[0] * 10_001), "more than 10000"),
        (payload(alert(), alert(status="odd")), "alerts[1].status"),
        (payload(alert() | {"labels": {}}), "alerts[0].labels must not be empty"),
        (payload(alert() | {"labels": {"a": 1}}), "alerts[0].labels must be an object of texts"),
        (payload(alert() | {"labels": {"a": "x" * 5_000}}), "alerts[0].labels has a text of more than"),
        (payload(alert() | {"annotations": []}), "alerts[0].annotations"),
        (payload(alert() | {"fingerprint": ""}), "alerts[0].fingerprint"),
        (payload(alert() | {"fingerprint": None}), "alerts[0].fingerprint"),
        (payload(alert() | {"startsAt": "yesterday"}), "alerts[0].startsAt"),
        (payload(alert() | {"startsAt": None}), "alerts[0].startsAt"),
    ],
)
def test_what_alertmanager_does_not_post_is_refused_with_a_message_that_says_where(site, body, said):
    status, text = site.receiver.answer("POST", HEADERS, body)
    assert status == 400
    assert said in text
    assert site.recoveries.results == ()


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["4", "firing"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "alerts", "status", "labels", "startsAt", "fingerprint"]), inner, max_size=6
            )
        ),
        max_leaves=12,
    )
    | st.just({"version": "4", "alerts": []})
)
def test_no_document_is_more_than_refused(document):
    with suppress(PayloadError):
        assert isinstance(read_payload(json.dumps(document).encode()), list)


# --- what becomes of it -------------------------------------------------------------------------------------------------------


def test_alerts_are_about_the_component_that_their_labels_name(site):
    status, text = site.post(
        alert("1", component="db", condition="refused", error_type="OSError"),
        alert("2", gen_ai_agent_name="writer", agent_task="draft"),
        alert("3", gen_ai_agent_name="researcher", agent_task="search"),
        alert("4", gen_ai_agent_name="stranger"),
        alert("5", component="stranger"),
        alert("6"),
    )
    assert (status, json.loads(text)) == (202, {"accepted": 3, "unmatched": 3})
    failures = {result.failure.component: result.failure for result in site.results(3)}
    assert set(failures) == {"db", "writer/draft", "researcher"}
    assert failures["db"].signature == ("db", "refused", "OSError")
    assert failures["researcher"].signature == ("researcher", "AgentgaugeTaskStuck", "")
    assert failures["researcher"].started_at == pytest.approx(1769860800.123456)
    assert (failures["db"].source, failures["db"].summary) == ("alertmanager", "It hangs.")
    assert failures["db"].labels["alertname"] == "AgentgaugeTaskStuck"
    assert (site.value("accepted"), site.value("unmatched")) == (3, 3)


def test_what_labels_say_begins_no_line_of_a_log_and_fills_none(site, caplog):
    caplog.set_level("INFO")
    site.post(alert("1", component="db", condition="refused\n2026-01-31 ERROR forged", error_type="\ud800" + "x" * 4_000))
    (result,) = site.results(1)
    assert result.failure.condition == "refused 2026-01-31 ERROR forged"
    assert result.failure.error_type == "x" * 199 + "\u2026"
    assert not any("\n" in record.getMessage() for record in caplog.records)


def test_an_alert_of_a_condition_that_no_recovery_is_for_is_unmatched(site):
    recoveries = Recoveries([site.plan("agent", conditions=["stuck"])], breaker=Free)
    receiver = AlertReceiver(recoveries, bearer_token=TOKEN)
    for _ in range(2):
        status, text = site.post(alert("1", component="agent", condition="error_ratio"), receiver=receiver)
        assert (status, json.loads(text)) == (202, {"unmatched": 1})
    assert recoveries.results == ()
    assert json.loads(site.post(alert("2", component="agent", condition="stuck"), receiver=receiver)[1]) == {"accepted": 1}
    assert recoveries.close(60)


def test_routes_come_first_and_the_first_that_fits_decides(site):
    mapping = [
        AlertRoute(component="db", labels={"alertname": "Down", "job": "postgres"}, condition="down", error_type="Down"),
        AlertRoute(component="researcher", labels={"alertname": "Down"}),
    ]
    receiver = AlertReceiver(site.recoveries, bearer_token=TOKEN, mapping=mapping)
    site.post(
        alert("1", alertname="Down", job="postgres", component="researcher"),
        alert("2", alertname="Down", job="other"),
        receiver=receiver,
    )
    assert {result.failure.signature for result in site.results(2)} == {("db", "down", "Down"), ("researcher", "Down", "")}


def test_an_alert_that_is_sent_again_is_acted_upon_once_and_one_that_fires_anew_again(site):
    for expected in ("accepted", "duplicate", "duplicate"):
        assert json.loads(site.post(alert("1", component="db"))[1]) == {expected: 1}
        site.results(1)
    again = alert("1", component="db", starts_at="2026-01-31T13:00:00Z")
    assert json.loads(site.post(again)[1]) == {"accepted": 1}
    assert len(site.results(2)) == len(site.acted) == 2
    assert (site.value("accepted"), site.value("duplicate")) == (2, 2)


def test_of_the_same_alert_posted_at_once_one_acts(site):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(site.post(alert("1", component="db"))[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.results(1)
    assert sorted(answers) == ['{"accepted": 1}\n', *['{"duplicate": 1}\n'] * 7]
    assert len(site.acted) == 1


def test_a_resolved_alert_is_recorded_and_calls_off_what_waits(site):
    site.post(alert("1", component="held", condition="a"))
    site.gate.wait_entered()
    site.post(alert("2", component="held", condition="b"))
    assert json.loads(site.post(alert("2", status="resolved", component="held", condition="b"), status="resolved")[1]) == {
        "resolved": 1
    }
    site.gate.leave.set()
    assert [result.kind for result in site.results(2)] == ["recovered", "cancelled"]
    assert site.value("resolved") == 1


def test_an_alert_is_acknowledged_at_once_whatever_recovery_is_at(site):
    assert site.post(alert("1", component="held"))[0] == 202  # returns, although the action is held
    site.gate.wait_entered()


def test_what_cannot_be_taken_up_is_refused_and_taken_up_when_it_comes_again(site):
    site.post(alert("0", component="held", condition="0"))
    site.gate.wait_entered()
    alerts = [alert(str(number), component="held", condition=str(number)) for number in range(1, 5)]
    status, text = site.post(*alerts)
    assert (status, text) == (503, "2 of 4 alerts could not be taken up now; send them again\n")
    site.gate.leave.set()
    site.results(3)
    status, text = site.post(*alerts)
    assert (status, json.loads(text)) == (202, {"duplicate": 2, "accepted": 2})
    assert len(site.results(5)) == 5
    assert site.value("refused") == 2


def test_after_the_stop_alertmanager_is_asked_to_come_again(site):
    site.recoveries.stop()
    assert site.post(alert("1", component="db"))[0] == 503


def test_a_fault_of_ours_is_not_acknowledged(site, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(site.recoveries, "report", lambda failure: 1 / 0)
        assert site.post(alert("1", component="db"))[0] == 503
    assert json.loads(site.post(alert("1", component="db"))[1]) == {"accepted": 1}


def test_it_is_served_by_the_programs_own_server(site):
    import urllib.error
    import urllib.request
    from urllib.parse import urljoin

    import agentgauge

    def post(page, headers):
        url = urljoin(page, site.receiver.path)
        request = urllib.request.Request(url, data=payload(alert(str(time.time()), component="db")), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    monitor = agentgauge.start(port=0, collectors=(), receivers=[site.receiver])
    try:
        assert post(monitor.url, HEADERS) == 202
        assert post(monitor.url, {"Content-Type": "application/json"}) == 401
    finally:
        agentgauge.stop()
    assert len(site.results(1)) == 1
