"""The log has a line for each notification, in the level of its severity, with its data beside it."""

from __future__ import annotations

import logging

import pytest

from agentgauge import ConfigurationError
from agentgauge.notification import LogDestination, Notifier


def test_each_notification_is_a_line_in_the_level_of_its_severity(caplog, make):
    caplog.set_level(logging.DEBUG)
    LogDestination()(
        [make(severity=severity) for severity in ("info", "warning", "critical")] + [make("ended", "disk", "critical")]
    )
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("agentgauge.alerts", "INFO", "[info] started: disk is full"),
        ("agentgauge.alerts", "WARNING", "[warning] started: disk is full"),
        ("agentgauge.alerts", "ERROR", "[critical] started: disk is full"),
        ("agentgauge.alerts", "INFO", "[critical] ended: disk is full"),
    ]
    assert caplog.records[2].alert["alert"]["subject"] == "disk"


def test_logger_and_levels_are_what_one_wants(caplog, make):
    caplog.set_level(logging.DEBUG)
    mine = logging.getLogger("mine")
    LogDestination(logger=mine, levels={"critical": logging.CRITICAL}, ended_level=logging.DEBUG)(
        [make(severity="critical"), make(), make("ended")]
    )
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("mine", "CRITICAL"),
        ("mine", "WARNING"),
        ("mine", "DEBUG"),
    ]


def test_no_text_of_an_alert_begins_a_line_of_its_own(caplog, make):
    LogDestination()(make(summary="x\n2026-01-01 ERROR forged\r\x1b[31m\u2028y %s %d"))
    assert caplog.records[0].getMessage() == "[warning] started: x 2026-01-01 ERROR forged [31m y %s %d"


def test_as_a_handler_it_writes_at_once_and_everything(caplog, make):
    caplog.set_level(logging.INFO)
    notifier = Notifier()
    notifier.add(LogDestination())
    for event in ("started", "ended", "started"):
        notifier.tell([make(event)])
        assert notifier.flush(60)
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"logger": 3}, r"^logger=3: give a logging.Logger"),
        ({"levels": {"fatal": 50}}, r"^levels=.*give a dict by severity"),
        ({"levels": [1]}, r"^levels=.*give a dict by severity"),
        ({"levels": {"info": "INFO"}}, r"^level 'INFO': give a level"),
        ({"ended_level": None}, r"^level None: give a level"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_the_fix(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        LogDestination(**settings)
