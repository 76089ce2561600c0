"""Traces and metrics of tasks, in OpenTelemetry's words."""
