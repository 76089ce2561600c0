"""What is sent of a transcript: windows that fit, counted once, valid for every provider."""

from agentkit.memory.tokens import MessageCounter, RunningCount
from agentkit.memory.window import units, valid_window, window_start

__all__ = ["MessageCounter", "RunningCount", "units", "valid_window", "window_start"]
