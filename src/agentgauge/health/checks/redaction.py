"""Text for people without what must not be shown, as checks and recovery both need it."""

from agentgauge.redaction import HIDDEN, redact

__all__ = ["HIDDEN", "redact"]
