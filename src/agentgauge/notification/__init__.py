"""Alerts of this process: what is wrong now, who is told of it, and that each is told once.

A source states all that is wrong (``AlertBook.update``), which gives what there is to tell; a ``Notifier`` tells it to handlers,
each in a lane of its own, so that one that hangs or fails costs itself. Thresholds on readings are one such source, health checks
another. Destinations are handlers that send messages, by a policy (``Delivery``) that says what is told, and when.
"""

from agentgauge.notification.alerts import Alert, AlertBook, AlertHandler, Event, Notification
from agentgauge.notification.delivery import Delivery, DeliveryError, Routed
from agentgauge.notification.destination import Destination
from agentgauge.notification.lane import HandlerReport
from agentgauge.notification.log import LogDestination
from agentgauge.notification.mail import EmailDestination
from agentgauge.notification.notifier import Notifier
from agentgauge.notification.slack import SlackDestination
from agentgauge.notification.webhook import WebhookDestination

__all__ = [
    "Alert",
    "AlertBook",
    "AlertHandler",
    "Delivery",
    "DeliveryError",
    "Destination",
    "EmailDestination",
    "Event",
    "HandlerReport",
    "LogDestination",
    "Notification",
    "Notifier",
    "Routed",
    "SlackDestination",
    "WebhookDestination",
]
