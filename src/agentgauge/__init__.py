"""Prometheus and OpenTelemetry instrumentation for AI agents."""

__version__ = "0.1.0"
