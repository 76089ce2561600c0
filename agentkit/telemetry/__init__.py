"""Traces and metrics of tasks, in OpenTelemetry's words."""

from agentkit.telemetry.jsonl import JsonLinesExporter
from agentkit.telemetry.profile import Profile, ProfiledExporter
from agentkit.telemetry.setup import TraceHandle, trace_to

__all__ = ["JsonLinesExporter", "Profile", "ProfiledExporter", "TraceHandle", "trace_to"]
