"""What recovery says: why an action failed, without credentials, and which names it does not know."""

from __future__ import annotations

import json
import logging

import pytest
from recovery_world import Free

from agentgauge import ConfigurationError
from agentgauge.health.status import Schedule
from agentgauge.notification import Alert, Event, Notification
from agentgauge.recovery import AlertReceiver, AlertRoute, Budget, Call, Failure, Recoveries, Recovery, read_audit

TOKEN = "a-token-of-the-test"
FAILURE = Failure(component="db", condition="refused", started_at=0)


def one(action=print, **settings):
    return Recovery(component="db", actions=[Call("act", action)], budget=Budget(attempts=1), **settings)


def test_why_an_action_failed_is_in_the_log_the_audit_and_the_result_without_its_credentials(caplog, tmp_path):
    def fail():
        raise RuntimeError("the pool is gone: postgresql://me:s3cr3t@db/x\nforged line " + "x" * 1000)

    caplog.set_level(logging.INFO, "agentgauge.recovery")
    with Recoveries([one(fail)], audit=tmp_path / "audit", breaker=Free) as recoveries:
        (attempt,) = recoveries.recover(FAILURE).attempts
    (outcome,) = (entry for entry in read_audit(tmp_path / "audit").entries if entry.event == "outcome")
    for message in (attempt.error_message, outcome.error_message):
        assert message.startswith("the pool is gone: postgresql://***@db/x forged line")
        assert len(message) <= 300
    assert "act raised RuntimeError: the pool is gone" in caplog.text
    assert "s3cr3t" not in caplog.text + (tmp_path / "audit").read_text()


def test_an_error_that_cannot_say_what_it_is_fails_the_action_all_the_same():
    class Mute(Exception):  # noqa: N818 - it is one
        def __str__(self):
            raise ValueError

    def fail():
        raise Mute

    with Recoveries([one(fail)], breaker=Free) as recoveries:
        (attempt,) = recoveries.recover(FAILURE).attempts
    assert (attempt.outcome, attempt.error_type, attempt.error_message) == ("failed", "Mute", "")


def test_a_recovery_without_check_leaves_the_alert_the_time_that_it_needs_to_end_by_the_default_schedule():
    schedule = Schedule()
    assert schedule.success_threshold == 1
    assert one().verify_seconds > schedule.interval_seconds * (1 + schedule.jitter_ratio) + schedule.timeout_seconds


def told(subject):
    alert = Alert(source="health", subject=subject, severity="critical", summary="down", started_at=0)
    return Notification(event=Event.STARTED, alert=alert, at=0)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_alerts_of_a_component_without_a_recovery_are_told_of_once_for_each_and_not_without_end(caplog):
    with Recoveries([one(conditions=["timeout"])], breaker=Free) as recoveries:
        for subject in ("databse", "databse", "other\nline", "db"):
            recoveries.on_alert(told(subject))
        assert warnings(caplog) == [
            f"alerts of {name!r} are left alone: no Recovery has that component" for name in ("databse", "other line")
        ]
        for number in range(1000):
            recoveries.on_alert(told(f"component {number}"))
        assert len(warnings(caplog)) == 100


def test_a_route_to_a_component_without_a_recovery_is_refused():
    recoveries = Recoveries([one()], breaker=Free)
    with pytest.raises(ConfigurationError, match=r"component='zzz'.*has a Recovery for"):
        AlertReceiver(recoveries, bearer_token=TOKEN, mapping=[AlertRoute(component="zzz", labels={"alertname": "A"})])
    recoveries.close()


def test_alerts_of_alertmanager_without_a_recovery_are_told_of_once_for_each_name(caplog):
    def post(*names):
        alerts = [
            {"status": "firing", "labels": {"alertname": name}, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": name}
            for name in names
        ]
        body = json.dumps({"version": "4", "alerts": alerts}).encode()
        assert receiver.answer("POST", {"Authorization": f"Bearer {TOKEN}"}, body)[0] == 202

    with Recoveries([one()], breaker=Free) as recoveries:
        receiver = AlertReceiver(recoveries, bearer_token=TOKEN)
        post("DiskFull", "Other")
        post("DiskFull")
        assert [line.split("'")[1] for line in warnings(caplog)] == ["DiskFull", "Other"]
        post(*(f"alert {number}" for number in range(1000)))
        assert len(warnings(caplog)) == 100
