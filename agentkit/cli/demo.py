"""`agentkit demo`."""

from __future__ import annotations


def demo() -> int:
    """To come."""
    return 0
