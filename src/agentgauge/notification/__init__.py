"""Alerts of this process: what is wrong now, who is told of it, and that each is told once.

A source states all that is wrong (``AlertBook.update``), which gives what there is to tell; a ``Notifier`` tells it to handlers,
each in a lane of its own, so that one that hangs or fails costs itself. Thresholds on readings are one such source.
"""

from agentgauge.notification.alerts import Alert, AlertBook, AlertHandler, Event, Notification
from agentgauge.notification.lane import HandlerReport
from agentgauge.notification.notifier import Notifier

__all__ = ["Alert", "AlertBook", "AlertHandler", "Event", "HandlerReport", "Notification", "Notifier"]
