"""Recovery: what is done about a failure, within limits, and what came of it.

A ``Recovery`` says what may be done when a component fails; ``Recoveries`` does it, and learns what helps. Failures come from the
alerts of this process (``monitor.add_alert_handler(recoveries.on_alert)``) and from an Alertmanager (``AlertReceiver``).
"""

from agentgauge.recovery.actions import Action, Call, ClearCache, Reconnect, RestartAgent, ShedLoad
from agentgauge.recovery.audit import AuditEntry, AuditLog, AuditTrail, read_audit
from agentgauge.recovery.choice import Choice, Chooser
from agentgauge.recovery.failure import Attempt, Failure, Result, Signature
from agentgauge.recovery.outcomes import OutcomeBook
from agentgauge.recovery.plan import ANY, Backoff, Budget, Recovery
from agentgauge.recovery.receiver import AlertReceiver, AlertRoute
from agentgauge.recovery.recoveries import Recoveries
from agentgauge.recovery.restarts import RestartSubprocess, RestartTask, RestartThread

__all__ = [
    "ANY",
    "Action",
    "AlertReceiver",
    "AlertRoute",
    "Attempt",
    "AuditEntry",
    "AuditLog",
    "AuditTrail",
    "Backoff",
    "Budget",
    "Call",
    "Choice",
    "Chooser",
    "ClearCache",
    "Failure",
    "OutcomeBook",
    "Reconnect",
    "Recoveries",
    "Recovery",
    "RestartAgent",
    "RestartSubprocess",
    "RestartTask",
    "RestartThread",
    "Result",
    "ShedLoad",
    "Signature",
    "read_audit",
]
